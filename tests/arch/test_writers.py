"""siteagent/disk is the agent's only writer of files; each exception is named here with its reason.

A heuristic over the syntax tree: it knows the calls that change files and the flags and modes that open them for
writing. It is there to make a new writer a decision, not an accident.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.arch.code import Module, listed, modules, place

WRITERS = {
    "siteagent.ledger.database": "SQLite writes the log and makes it durable itself",
    "siteagent.store.index": "RocksDB writes the index, which may be lost at any time",
    "siteagent.restore.filewriter": "restored entries, below a folder handle of siteagent.disk.confined",
    "siteagent.restore.metadata": "metadata of restored entries, through handles that the caller opened",
    "siteagent.restore.restorer": "removes what a restored entry replaces, below a folder handle",
    "siteagent.restore.targetsync": "syncs the file systems of a restored tree",
}
CHANGING_CALLS = """
os.chmod os.chown os.copy_file_range os.fchmod os.fchown os.fdopen os.fsync os.ftruncate os.lchown os.link os.makedirs
os.mkdir os.mkfifo os.mknod os.posix_fallocate os.pwrite os.pwritev os.remove os.removedirs os.removexattr os.rename
os.renames os.replace os.rmdir os.sendfile os.setxattr os.symlink os.truncate os.unlink os.utime os.write os.writev
sqlite3.connect Rdict
"""
CHANGES = frozenset(CHANGING_CALLS.split())
CHANGING_METHODS = {"write_text", "write_bytes", "touch", "symlink_to", "hardlink_to"}
CHANGING_MODULES = {"shutil", "tempfile"}
WRITING_FLAGS = ("O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND")
# Single calls that change nobody's files, or only make a folder that the user named.
SINGLE_CALLS = {
    "siteagent.jobs.recovery": {"os.makedirs": "the folder that receives the recovery shares"},
    "siteagent.jobs.restore": {"os.makedirs": "the folder to restore into"},
    "siteagent.ledger.rescue": {"sqlite3.connect": "opened with mode=ro"},
    "siteagent.restore.crew": {"os.write": "a pipe to a process of our own"},
    "siteagent.store.sealhelper": {"os.ftruncate": "memory shared with a process of our own"},
}



def _writes(module: Module) -> Iterator[tuple[str, ast.Call]]:
    for call in module.calls():
        name = ast.unparse(call.func)
        is_change = name in CHANGES or name.partition(".")[0] in CHANGING_MODULES
        if is_change or name.rpartition(".")[2] in CHANGING_METHODS or _opens_for_writing(name, call):
            yield name, call


def _opens_for_writing(name: str, call: ast.Call) -> bool:
    if name == "os.open":
        return any(flag in ast.unparse(call) for flag in WRITING_FLAGS)
    if name != "open":
        return False
    modes = [*call.args[1:2], *(word.value for word in call.keywords if word.arg == "mode")]
    return any(not isinstance(mode, ast.Constant) or set("wax+") & set(str(mode.value)) for mode in modes)


def _unexpected(module: Module) -> list[str]:
    allowed = SINGLE_CALLS.get(module.name, {})
    return [f"{place(module, call)} {name}" for name, call in _writes(module) if name not in allowed]


def test_only_the_disk_and_named_exceptions_write_files() -> None:
    others = [module for module in modules("siteagent") if not module.name.startswith("siteagent.disk")]
    assert listed(line for module in others if module.name not in WRITERS for line in _unexpected(module)) == ""


def test_shared_touches_no_files_at_all() -> None:
    assert listed(line for module in modules("shared") for line in _unexpected(module)) == ""


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_every_exception_is_still_needed(name: str) -> None:
    assert _found(name)


@pytest.mark.parametrize(("name", "call"), [(name, call) for name in SINGLE_CALLS for call in SINGLE_CALLS[name]])
def test_every_single_call_is_still_needed(name: str, call: str) -> None:
    assert call in _found(name)


def _found(name: str) -> set[str]:
    return {found for module in modules("siteagent") if module.name == name for found, _ in _writes(module)}


@pytest.mark.parametrize(
    "line",
    ["open(path, 'wb')", "open(path, mode='a')", "open(path, mode)", "os.open(path, os.O_RDWR)", "os.unlink(path)",
     "os.replace(a, b)", "Path(a).write_bytes(b)", "shutil.rmtree(a)", "sqlite3.connect(a)", "tempfile.mkdtemp()"],
)  # fmt: skip
def test_a_writing_call_is_recognised(line: str) -> None:
    assert list(_writes(Module(Path("a.py"), "a", line))) != []


@pytest.mark.parametrize("line", ["open(path, 'rb')", "open(path)", "os.open(path, os.O_RDONLY)", "stream.write(a)"])
def test_a_reading_call_is_left_alone(line: str) -> None:
    assert list(_writes(Module(Path("a.py"), "a", line))) == []
