"""What a command says: one document, safe names."""

import io
import json

import pytest

from shared.errors import DamagedError, RefusedError
from siteagent.cli.output import Output, name_fields
from tests.support.command_line import Terminal


class BinaryTerminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


def made(*, is_json: bool = False, is_jsonl: bool = False) -> tuple[Output, io.BytesIO, io.StringIO]:
    stdout, stderr = io.BytesIO(), io.StringIO()
    output = Output(stdout, stderr)
    output.is_json, output.is_jsonl = is_json, is_jsonl
    return output, stdout, stderr


def test_a_document_is_printed_only_when_it_is_wanted() -> None:
    output, stdout, _ = made()
    output.document({"a": 1})
    assert stdout.getvalue() == b""
    output, stdout, _ = made(is_json=True)
    output.document({"a": 1})
    assert stdout.getvalue() == b'{"a": 1}\n'


def test_json_is_ascii_without_any_control_character() -> None:
    output, stdout, _ = made(is_json=True)
    text = "\x1b[31m\x7f\x9b\u202eä\n"
    output.document({"name": text})
    raw = stdout.getvalue()
    assert all(0x20 <= byte < 0x7F for byte in raw[:-1])
    assert json.loads(raw) == {"name": text}


def test_a_list_is_one_document_or_a_line_each() -> None:
    rows = [{"n": 1}, {"n": 2}]
    output, stdout, _ = made(is_json=True)
    output.records(iter(rows))
    assert json.loads(stdout.getvalue()) == rows
    output, stdout, _ = made(is_jsonl=True)
    output.records(iter(rows))
    assert [json.loads(line) for line in stdout.getvalue().splitlines()] == rows


def test_a_failure_is_the_document_and_prose() -> None:
    output, stdout, stderr = made(is_json=True)
    output.failure(RefusedError("no \x1b[2J", subject="/a\udcff", next_step="go\non"))
    assert json.loads(stdout.getvalue()) == {
        "error": {"kind": "refused", "message": "no \x1b[2J", "subject": "/a\\udcff", "next": "go\non"}}
    assert stderr.getvalue() == "farkeep: no \\x1b[2J: /a\\xff\n  next: go\\x0aon\n"


def test_a_failure_after_content_adds_nothing_to_standard_output() -> None:
    output, stdout, stderr = made(is_json=True)
    output.raw(may_be_terminal=True).write(b"content")
    output.failure(DamagedError("gone", next_step="look"))
    assert stdout.getvalue() == b"content"
    assert "gone" in stderr.getvalue()


def test_a_failure_before_content_is_the_document() -> None:
    output, stdout, _ = made(is_json=True)
    output.raw(may_be_terminal=True)
    output.failure(DamagedError("gone", next_step="look"))
    assert json.loads(stdout.getvalue())["error"]["kind"] == "damaged"


def test_a_failure_in_the_middle_of_lines_is_the_last_line() -> None:
    output, stdout, _ = made(is_jsonl=True)

    def rows() -> "list[dict[str, int]]":
        raise DamagedError("gone", next_step="look")

    with pytest.raises(DamagedError):
        output.records(row for row in [{"n": 1}, *rows()])
    output.failure(DamagedError("gone", next_step="look"))
    assert [sorted(json.loads(line)) for line in stdout.getvalue().splitlines()] == [["error"]]


def test_an_archive_does_not_go_to_a_terminal() -> None:
    output = Output(BinaryTerminal(), Terminal())
    with pytest.raises(RefusedError, match="terminal"):
        output.raw(may_be_terminal=False)
    assert output.raw(may_be_terminal=True).write(b"x") == 1


def test_quiet_leaves_errors_and_warnings() -> None:
    output, _, stderr = made()
    output.is_quiet = True
    output.say("chatter")
    output.warn("take care")
    output.failure(RefusedError("no"))
    assert stderr.getvalue() == "take care\nfarkeep: no\n"


def test_a_table_is_aligned_and_safe() -> None:
    output, stdout, _ = made()
    output.table(("name", "size>"), [("a\x1b[1m", "7"), ("b", "1 024")])
    assert stdout.getvalue().decode().splitlines() == ["name       size", "a\\x1b[1m      7", "b         1 024"]


def test_colour_is_only_used_when_asked_for() -> None:
    for has_colour in (False, True):
        stderr = io.StringIO()
        Output(io.BytesIO(), stderr, has_colour=has_colour).failure(RefusedError("no"))
        assert ("\x1b[31m" in stderr.getvalue()) is has_colour


@pytest.mark.parametrize(("name", "fields"), [
    (b"plain", {"path": "plain"}), ("käse\n".encode(), {"path": "käse\n"}),
    (b"a\xff", {"path": "a\\xff", "path_bytes": "Yf8="}), (b"a\\xff", {"path": "a\\xff"}),
])  # fmt: skip
def test_a_name_of_any_bytes_is_text_and_its_bytes_where_they_differ(name: bytes, fields: dict[str, str]) -> None:
    assert name_fields("path", name) == fields


def test_details_are_for_those_who_ask() -> None:
    output, _, stderr = made()
    output.detail("hidden")
    output.verbosity = 1
    output.detail("shown")
    output.is_quiet = True
    output.detail("quiet")
    assert stderr.getvalue() == "shown\n"


def test_progress_is_for_terminals_that_can_draw_and_people_who_want_it() -> None:
    assert Output(io.BytesIO(), io.StringIO()).wants_progress
    assert not Output(io.BytesIO(), io.StringIO(), is_dumb=True).wants_progress
    output, _, _ = made()
    output.is_quiet = True
    assert not output.wants_progress


def test_what_was_shown_is_counted() -> None:
    output, _, _ = made()
    output.say("chatter")
    output.warn("one")
    output.warn("two")
    output.failure(RefusedError("no"))
    assert (output.warnings, output.errors) == (2, 1)
