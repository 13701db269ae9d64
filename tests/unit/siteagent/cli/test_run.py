"""Failures of every kind: exit code, document, prose."""

import errno
import io
import json
import signal

import pytest

from shared.errors import (
    BugError,
    DamagedError,
    ExhaustedError,
    FarkeepError,
    HostileError,
    NewerFormatError,
    PartialError,
    RefusedError,
    UnavailableError,
    UsageError,
)
from siteagent.cli import cmd_version
from siteagent.cli.output import Output
from siteagent.cli.run import PIPE_CLOSED, Interrupted, run


def ended(words: list[str], environment: dict[str, str] | None = None) -> tuple[int, bytes, str]:
    stdout, stderr = io.BytesIO(), io.StringIO()
    code = run(words, Output(stdout, stderr), environment or {})
    return code, stdout.getvalue(), stderr.getvalue()


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr(cmd_version, "run", fail)


FAMILIES = {RefusedError: 1, UsageError: 2, PartialError: 3, DamagedError: 4, UnavailableError: 5, ExhaustedError: 6,
            HostileError: 7, NewerFormatError: 1, BugError: 70}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_its_code_and_its_document(
    family: type[FarkeepError], monkeypatch: pytest.MonkeyPatch
) -> None:
    raising(monkeypatch, family("what", subject="whom", next_step="how"))
    code, stdout, stderr = ended(["version", "--json"])
    assert code == FAMILIES[family]
    assert json.loads(stdout) == {"error": {"kind": family.kind, "message": "what", "subject": "whom", "next": "how"}}
    assert stderr == "farkeep: what: whom\n  next: how\n"


@pytest.mark.parametrize(("error", "code", "kind"), [
    (OSError(errno.ENOSPC, "full", "/x"), 6, "exhausted"), (OSError(errno.EACCES, "no", "/x"), 1, "refused"),
    (OSError(errno.EIO, "bad", b"/x"), 5, "unavailable"), (MemoryError(), 6, "exhausted"),
    (ValueError("oops"), 70, "bug"), (OSError("without a number"), 70, "bug"),
])  # fmt: skip
def test_other_exceptions_find_a_family(
    error: Exception, code: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raising(monkeypatch, error)
    found, stdout, _ = ended(["--json", "version"])
    assert (found, json.loads(stdout)["error"]["kind"]) == (code, kind)


def test_a_bug_says_so_and_shows_its_trace_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, ValueError("oops \x1b[1m"))
    _, _, stderr = ended(["version"])
    assert "this is a bug in Farkeep" in stderr
    assert "Traceback" not in stderr
    for words, environment in ((["version", "-v"], {}), (["version"], {"FARKEEP_DEBUG": "1"})):
        _, stdout, stderr = ended(words, environment)
        assert "Traceback" in stderr
        assert "\x1b" not in stderr
        assert stdout == b""


@pytest.mark.parametrize(("interrupt", "code"), [
    (KeyboardInterrupt(), 130), (Interrupted(signal.SIGINT), 130), (Interrupted(signal.SIGTERM), 143)])  # fmt: skip
def test_an_interrupt_has_the_code_of_its_signal(
    interrupt: KeyboardInterrupt, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    raising(monkeypatch, interrupt)
    found, stdout, stderr = ended(["version", "--json"])
    assert found == code
    assert json.loads(stdout)["error"]["kind"] == "interrupted"
    assert "interrupted by SIG" in stderr


def test_a_wrong_line_answers_in_json_when_json_is_asked_for() -> None:
    code, stdout, _ = ended(["bakcup", "--json"])
    assert (code, json.loads(stdout)["error"]["kind"]) == (2, "usage")
    code, stdout, _ = ended(["bakcup", "--jsonl"])
    assert (code, json.loads(stdout)["error"]["kind"]) == (2, "usage")
    assert ended(["bakcup"])[1] == b""


def test_help_goes_to_standard_output_and_is_a_document_too() -> None:
    code, stdout, _ = ended(["--help"])
    assert code == 0
    assert stdout.startswith(b"usage: farkeep")
    code, stdout, _ = ended(["backup", "--help", "--json"])
    assert code == 0
    assert json.loads(stdout)["help"].startswith("usage: farkeep backup")


class _Closed(io.BytesIO):
    def write(self, _: object) -> int:
        raise BrokenPipeError(errno.EPIPE, "nobody reads")


def test_a_closed_pipe_ends_a_command_quietly() -> None:
    stderr = io.StringIO()
    assert run(["version"], Output(_Closed(), stderr), {}) == PIPE_CLOSED
    assert stderr.getvalue() == ""


def test_the_version_is_said_twice_in_the_same_words() -> None:
    code, stdout, _ = ended(["version"])
    document = json.loads(ended(["version", "--json"])[1])
    assert code == 0
    assert stdout.decode() == f"farkeep {document['version']}\n"
