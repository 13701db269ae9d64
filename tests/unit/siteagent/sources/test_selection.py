"""Patterns: gitignore semantics against git itself, roots, odd names."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from shared.errors import RefusedError
from siteagent.sources.selection import PatternSelection, Wanted, read_patterns

ROOT = b"/srv/data"


def excluded(patterns: list[str], path: bytes, *, is_folder: bool = False, roots: tuple[bytes, ...] = (ROOT,)) -> bool:
    selection = PatternSelection(Wanted(excludes=tuple(patterns)), roots)
    return selection.excludes(roots[0], roots[0].rstrip(b"/") + b"/" + path, is_folder=is_folder, size_bytes=0)


@pytest.mark.parametrize(("patterns", "path", "is_folder", "is_out"), [
    (["*.o"], b"a/b.o", False, True), (["*.o"], b"b.oo", False, False), (["/build"], b"build", True, True),
    (["/build"], b"x/build", True, False), (["build/"], b"x/build", True, True), (["build/"], b"x/build", False, False),
    (["a/b"], b"a/b", False, True), (["a/b"], b"x/a/b", False, False), (["**/a/b"], b"x/a/b", False, True),
    (["*.o", "!keep.o"], b"d/keep.o", False, False), (["!keep.o", "*.o"], b"d/keep.o", False, True),
    (["w[0-9]"], b"w7", False, True), (["w[!0-9]"], b"w7", False, False), (["a b"], b"a b", False, True),
    (["#t"], b"#t", False, True), (["x\\*"], b"x*", False, True), (["x\\*"], b"xy", False, False),
    (["*"], b"anything", False, True), (["*", "!*/"], b"folder", True, False), (["a/**"], b"a/b/c", False, True),
])  # fmt: skip
def test_patterns_read_as_in_a_gitignore(patterns: list[str], path: bytes, is_folder: bool, is_out: bool) -> None:
    assert excluded(patterns, path, is_folder=is_folder) is is_out


@pytest.mark.parametrize(("pattern", "path", "is_out"), [
    ("/srv/data/logs", b"logs", True), ("/srv/data/logs", b"x/logs", False), ("/srv/data/*.tmp", b"a.tmp", True),
    ("/srv/data/*.tmp", b"x/a.tmp", False), ("/srv/data", b"all", True), ("/srv/database", b"srv/database", True),
])  # fmt: skip
def test_a_pattern_that_begins_with_a_root_is_absolute(pattern: str, path: bytes, is_out: bool) -> None:
    assert excluded([pattern], path) is is_out


def test_each_root_has_its_own_patterns() -> None:
    selection = PatternSelection(Wanted(excludes=("/cache", "/b/only", "!/a/cache")), (b"/a", b"/b"))

    def out(root: bytes, path: bytes) -> bool:
        return selection.excludes(root, path, is_folder=True, size_bytes=0)

    assert not out(b"/a", b"/a/cache")
    assert out(b"/b", b"/b/cache")
    assert out(b"/b", b"/b/only")
    assert not out(b"/a", b"/a/only")
    assert not out(b"/a", b"/a/b/only")


def test_the_root_of_all_folders_is_a_root_like_others() -> None:
    assert excluded(["/proc"], b"proc", roots=(b"/",))
    assert not excluded(["/proc"], b"srv/proc", roots=(b"/",))
    assert excluded(["*.o"], b"srv/a.o", roots=(b"/",))


def test_a_root_with_special_characters_means_itself() -> None:
    roots = (b"/we[i]rd *#! dir",)
    assert excluded(["/x"], b"x", roots=roots)
    assert not excluded(["/x"], b"y", roots=roots)
    selection = PatternSelection(Wanted(excludes=("/x",)), roots)
    assert not selection.excludes(b"/weird", b"/weird/z", is_folder=False, size_bytes=0)


@pytest.mark.parametrize(("pattern", "path", "is_out"), [
    ("*.o", b"a\n.o", True), ("*.o", b"new\nline/b.o", True), ("foo", b"foo\n", False), ("a?c", b"a\nc", True),
    ("\udcff*", b"\xff\xfe", True), ("a\nb", b"a\nb", True), ("caf\u00e9", "caf\u00e9".encode(), True),
])  # fmt: skip
def test_names_of_any_bytes_are_matched(pattern: str, path: bytes, is_out: bool) -> None:
    assert excluded([pattern], path) is is_out


def test_large_files_are_left_out_and_folders_never_for_their_size() -> None:
    selection = PatternSelection(Wanted(size_max_bytes=100), (ROOT,))
    assert selection.excludes(ROOT, ROOT + b"/big", is_folder=False, size_bytes=101)
    assert not selection.excludes(ROOT, ROOT + b"/fits", is_folder=False, size_bytes=100)


@pytest.mark.parametrize(("includes", "kept"), [
    (("*.txt",), {b"a.txt", b"d", b"d/b.txt", b"e", b"e/f"}), (("/d",), {b"d", b"d/b.txt", b"d/c"}),
    (("/srv/data/e/f",), {b"e", b"e/f"}), (("d/*",), {b"d", b"d/b.txt", b"d/c"}),
    (("*.txt", "!b.txt"), {b"a.txt", b"d", b"e", b"e/f"}),
])  # fmt: skip
def test_includes_keep_what_matches_and_folders_that_may_hold_it(includes: tuple[str, ...], kept: set[bytes]) -> None:
    tree = {b"a.txt": False, b"d": True, b"d/b.txt": False, b"d/c": False, b"e": True, b"e/f": True, b"g.bin": False}
    selection = PatternSelection(Wanted(includes=includes), (ROOT,))
    found = {
        name for name, is_folder in tree.items()
        if not selection.excludes(ROOT, ROOT + b"/" + name, is_folder=is_folder, size_bytes=0)
    }  # fmt: skip
    assert found == kept


def test_excludes_win_over_includes() -> None:
    selection = PatternSelection(Wanted(excludes=("secret",), includes=("*",)), (ROOT,))
    assert selection.excludes(ROOT, ROOT + b"/secret", is_folder=False, size_bytes=0)
    assert selection.excludes(ROOT, ROOT + b"/secret/below", is_folder=False, size_bytes=0)


@pytest.mark.parametrize("pattern", ["", "!", "/", "!/", " ", "\\"])
def test_an_empty_or_senseless_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(RefusedError):
        PatternSelection(Wanted(excludes=(pattern,)), (ROOT,))


def test_a_file_of_patterns_has_comments_and_empty_lines() -> None:
    data = b"\xef\xbb\xbf*.o\r\n\n# note\n  \n\\#x\n!a\n\xff\n"
    assert read_patterns(data) == ["*.o", "\\#x", "!a", "\udcff"]


GIT_PATTERNS = ["*.o", "!keep.o", "/top", "sub/", "a/*", "!a/b", "**/deep/x", "dir/**", "f?o", "[ab]z",
                "!sub/inn*"]  # fmt: skip
GIT_FILES = ["x.o", "keep.o", "top", "q/top", "sub/inner", "q/sub/f", "sub.txt", "a/b/c", "a/z", "u/v/deep/x",
             "dir/k/l", "foo", "q/fxo", "az", "cz", "a/b/x.o", "deep/x", "a/b/keep.o"]  # fmt: skip


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_walk_leaves_out_what_git_leaves_out(tmp_path: Path) -> None:
    for name in GIT_FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".gitignore").write_text("\n".join([*GIT_PATTERNS, ".gitignore"]) + "\n")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, check=True, env=environment)
    listing = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=tmp_path, check=True,
                             env=environment, capture_output=True).stdout
    root = os.fsencode(tmp_path)
    selection = PatternSelection(Wanted(excludes=(*GIT_PATTERNS, ".gitignore", ".git")), (root,))
    assert _walked(selection, root, root) == {root + b"/" + name for name in listing.split(b"\0") if name}


def _walked(selection: PatternSelection, root: bytes, folder: bytes) -> set[bytes]:
    """The files below a folder as a backup walks: what is left out is not entered."""
    found = set()
    for name in os.listdir(folder):
        path = folder + b"/" + name
        is_folder = os.path.isdir(path)
        if not selection.excludes(root, path, is_folder=is_folder, size_bytes=0):
            found |= _walked(selection, root, path) if is_folder else {path}
    return found
