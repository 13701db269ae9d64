"""Steps that survive a crash: the order of the calls, and what is left when one of them fails."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from shared.errors import DamagedError, ExhaustedError, HostileError
from siteagent.disk.disk import Buffer
from siteagent.disk.durable import read_whole, remove_quietly, write_durably


class Script:
    """A disk in memory that writes down its calls and fails at one of them."""

    def __init__(self, fails_at: str = "") -> None:
        self.files: dict[str, bytes] = {}
        self.calls: list[str] = []
        self._fails_at = fails_at

    def note(self, call: str) -> None:
        self.calls.append(call)
        if call.split()[0] == self._fails_at:
            raise ExhaustedError("no space left", subject=call)

    def create(self, path: str) -> ScriptFile:
        self.note(f"create {path}")
        if path in self.files:
            raise FileExistsError(path)
        self.files[path] = b""
        return ScriptFile(self, path)

    def open(self, path: str) -> ScriptFile:
        if path not in self.files:
            raise FileNotFoundError(path)
        return ScriptFile(self, path)

    def rename(self, source: str, target: str) -> None:
        self.note(f"rename {source} {target}")
        self.files[target] = self.files.pop(source)

    def remove(self, path: str) -> None:
        if path not in self.files:
            raise FileNotFoundError(path)
        self.note(f"remove {path}")
        del self.files[path]

    def make_folder(self, path: str) -> None:
        self.note(f"make_folder {path}")

    def sync_folder(self, path: str) -> None:
        self.note(f"sync_folder {path}")

    def list(self, path: str) -> list[str]:
        return sorted(self.files)

    def size(self, path: str) -> int | None:
        return len(self.files[path]) if path in self.files else None

    def allocated(self, path: str) -> int:
        return self.size(path) or 0

    def punch(self, path: str, offset: int, length: int) -> bool:
        self.note(f"punch {path}")
        return True

    def allocate(self, path: str, size_bytes: int) -> None:
        self.note(f"allocate {path}")

    def free_bytes(self) -> int:
        return 0


class ScriptFile:
    """A file of it."""

    def __init__(self, disk: Script, path: str) -> None:
        self._disk, self._path = disk, path
        self.size_bytes = len(disk.files[path])

    def append(self, buffers: Sequence[Buffer]) -> int:
        self._disk.note(f"append {self._path}")
        self._disk.files[self._path] += b"".join(buffers)
        return 0

    def read_at(self, offset: int, length: int) -> bytes:
        return self._disk.files[self._path][offset : offset + length]

    def sync(self) -> None:
        self._disk.note(f"sync {self._path}")

    def close(self) -> None:
        return


def test_a_file_is_written_aside_synced_renamed_and_its_folder_synced() -> None:
    disk = Script()
    write_durably(disk, "folder/file", b"content")
    assert disk.calls == [
        "create folder/file.part", "append folder/file.part", "sync folder/file.part",
        "rename folder/file.part folder/file", "sync_folder folder",
    ]  # fmt: skip
    assert disk.files == {"folder/file": b"content"}


def test_what_an_earlier_crash_left_is_replaced() -> None:
    disk = Script()
    disk.files = {"file.part": b"half", "file": b"old"}
    write_durably(disk, "file", b"new")
    assert disk.files == {"file": b"new"}
    assert disk.calls[0] == "remove file.part"
    assert disk.calls[-1] == "sync_folder "


@pytest.mark.parametrize("step", ["append", "sync", "rename"])
def test_a_failed_step_leaves_the_old_file_and_no_part_of_the_new_one(step: str) -> None:
    disk = Script(fails_at=step)
    disk.files = {"file": b"old"}
    with pytest.raises(ExhaustedError):
        write_durably(disk, "file", b"new")
    assert disk.files == {"file": b"old"}
    assert disk.calls.count("sync file.part") <= 1


def test_a_failed_sync_of_the_folder_is_not_hidden() -> None:
    disk = Script(fails_at="sync_folder")
    with pytest.raises(ExhaustedError):
        write_durably(disk, "file", b"new")


def test_reading_whole_files_is_bounded() -> None:
    disk = Script()
    disk.files = {"file": b"12345"}
    assert read_whole(disk, "file", limit_bytes=5) == b"12345"
    with pytest.raises(HostileError, match="longer than the limit"):
        read_whole(disk, "file", limit_bytes=4)
    with pytest.raises(FileNotFoundError):
        read_whole(disk, "other", limit_bytes=4)


def test_a_file_that_shrinks_while_it_is_read_is_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Script()
    disk.files = {"file": b"12345"}
    monkeypatch.setattr(ScriptFile, "read_at", lambda *_: b"123")
    with pytest.raises(DamagedError, match="ended early"):
        read_whole(disk, "file", limit_bytes=5)


def test_removing_what_is_not_there_is_no_error() -> None:
    disk = Script()
    remove_quietly(disk, "nothing")
    assert disk.calls == []
