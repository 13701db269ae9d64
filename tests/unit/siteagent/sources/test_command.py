"""The output of a command as a source."""

import os
import signal
import threading
from pathlib import Path

import pytest

from shared.errors import RefusedError
from shared.tree import FILE, FOLDER
from siteagent.sources.base import Batch
from siteagent.sources.command import CommandReader, CommandView


def last(view: CommandView) -> Batch:
    return list(view.batches())[-1]


def read(reader: CommandReader) -> bytes:
    buffer, found = memoryview(bytearray(1000)), []
    while count := reader.read_into(buffer, 0):
        found.append(bytes(buffer[:count]))
    return b"".join(found)


def test_the_file_lies_below_its_folders() -> None:
    view = CommandView("true", b"/a/b/c", 77)
    batches = list(view.batches())
    assert [(batch.folder, batch.names, set(batch.ancestors)) for batch in batches] == [
        (b"", [b"a"], {b"a"}), (b"a", [b"b"], {b"b"}), (b"a\0b", [b"c"], set())]  # fmt: skip
    assert [view.describe(batch, 0).type for batch in batches] == [FOLDER, FOLDER, FILE]
    assert view.describe(batches[2], 0).mtime_ns == 77


def test_the_output_is_read_to_its_end_and_then_the_size_is_known() -> None:
    view = CommandView("printf hello; printf ' world'", b"/x", 77)
    batch = last(view)
    reader = view.open(batch, 0)
    assert reader.is_stream
    assert read(reader) == b"hello world"
    view.refresh(batch, 0, reader)
    reader.close()
    assert view.describe(batch, 0).size == batch.identities[0][1] == 11
    view.finish()
    view.close()


@pytest.mark.parametrize(("command", "words"), [
    ("echo out; echo why >&2; exit 3", ["exit status 3", "why"]), ("kill -9 $$", ["SIGKILL"]),
    ("no-such-command-here", ["exit status 127"]),
])  # fmt: skip
def test_a_command_that_fails_is_refused_with_its_last_words(command: str, words: list[str]) -> None:
    view = CommandView(command, b"/x", 0)
    reader = view.open(last(view), 0)
    read(reader)
    reader.close()
    with pytest.raises(RefusedError) as caught:
        view.finish()
    view.close()
    assert all(word in caught.value.message for word in words)
    assert caught.value.subject == command


def test_only_the_last_lines_are_kept_and_much_of_them_blocks_nobody() -> None:
    view = CommandView("seq 1 200000 >&2; exit 1", b"/x", 0)
    reader = view.open(last(view), 0)
    assert read(reader) == b""
    reader.close()
    with pytest.raises(RefusedError, match=r"199991 .* 200000") as caught:
        view.finish()
    assert "199990" not in caught.value.message
    view.close()


def test_output_that_was_not_read_to_its_end_is_refused() -> None:
    view = CommandView("echo x", b"/x", 0)
    with pytest.raises(RefusedError, match="could not be read"):
        view.finish()
    reader = view.open(last(view), 0)
    reader.close()
    with pytest.raises(RefusedError, match="could not be read"):
        view.finish()
    view.close()


def test_a_stream_is_opened_once_only() -> None:
    view = CommandView("true", b"/x", 0)
    batch = last(view)
    view.open(batch, 0).close()
    with pytest.raises(OSError, match="once only"):
        view.open(batch, 0)
    view.close()


def test_closing_ends_the_command_and_what_it_started(tmp_path: Path) -> None:
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    view = CommandView(f"(sleep 1000 > {fifo}) & cat > /dev/null < /dev/zero", b"/x", 0)
    reader = view.open(last(view), 0)
    handle = os.open(fifo, os.O_RDONLY)
    reader.close()
    view.close()
    ended = threading.Event()

    def wait_for_end() -> None:
        while os.read(handle, 1):
            pass
        ended.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    assert ended.wait(30), "the child of the command still holds the pipe"
    os.close(handle)


def test_the_input_of_a_command_is_empty() -> None:
    view = CommandView("cat; echo done", b"/x", 0)
    reader = view.open(last(view), 0)
    assert read(reader) == b"done\n"
    reader.close()
    view.finish()
    view.close()


def test_a_command_has_ordinary_signals() -> None:
    view = CommandView("kill -PIPE $$", b"/x", 0)
    reader = view.open(last(view), 0)
    read(reader)
    reader.close()
    with pytest.raises(RefusedError, match=signal.Signals.SIGPIPE.name):
        view.finish()
    view.close()
