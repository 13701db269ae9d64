"""Words: none of those that announce unfinished work, no paths of one machine, and only the glossary's names."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.arch.code import BESIDE, PRODUCT, ROOT, Module, listed, modules, place

# Put together here so that this file does not contain them.
_ANNOUNCED = ("TO" "DO", "FIX" "ME", "XX" "X", "HA" "CK", "NotImplemented" "Error")
UNFINISHED = re.compile(rf"\b(?:{'|'.join(_ANNOUNCED)})\b")
EMPTY_TEST = re.compile(r"\bassert" r" True\b")
ONE_MACHINE = re.compile(r"(?<![\w.])/(?:work|root)/\w")
ABBREVIATIONS = frozenset(
    ["arg", "buf", "cb", "cfg", "cnt", "ctx", "dir", "dirs", "dst", "idx", "impl", "len", "mgr", "misc", "msg", "num",
     "obj", "ptr", "src", "tmp", "ts", "utils", "val"]
)  # fmt: skip
DOCUMENTS = ("*.md", "Makefile", "pyproject.toml", "scripts/*", ".ci/*", "bench/*.md", "tests/arch/*.ini")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def _texts() -> Iterator[tuple[Path, str]]:
    yield from ((module.path, module.text) for module in modules(*PRODUCT, *BESIDE))
    found = sorted({path for pattern in DOCUMENTS for path in ROOT.glob(pattern) if path.is_file()})
    yield from ((path.relative_to(ROOT), path.read_text(encoding="utf-8")) for path in found)


def _lines_with(pattern: re.Pattern[str]) -> Iterator[str]:
    for path, text in _texts():
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(line):
                yield f"{path}:{number}: {line.strip()}"


def _glossary() -> list[list[str]]:
    """The rows of the glossary's tables, cell by cell."""
    rows = [line.strip("|").split("|") for line in (ROOT / "GLOSSARY.md").read_text().splitlines() if line[:1] == "|"]
    return [[cell.strip() for cell in row] for row in rows if not row[0].strip().startswith("---")]


def _refused_words() -> frozenset[str]:
    return frozenset(word for row in _glossary() for word in re.findall(r"`([a-z]+)`", row[2]))


def _given_names(module: Module) -> Iterator[tuple[str, ast.stmt | ast.expr]]:
    """Names that this module makes up: functions, classes, parameters, variables, attributes."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node
            arguments = node.args
            for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
                yield argument.arg, argument  # type: ignore[misc]
        elif isinstance(node, ast.ClassDef):
            yield node.name, node
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node


def _words(name: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(name)} if not name.startswith("__") else set()


@pytest.mark.parametrize("pattern", [UNFINISHED, EMPTY_TEST, ONE_MACHINE], ids=["unfinished", "empty", "machine"])
def test_no_line_says_what_it_must_not(pattern: re.Pattern[str]) -> None:
    assert listed(_lines_with(pattern)) == ""


def test_names_use_the_words_of_the_glossary() -> None:
    refused = _refused_words()
    assert len(refused) >= 10, "the glossary's third column was not read"
    wrong = [
        f"{place(module, node)} {name}"
        for module in modules(*PRODUCT)
        for name, node in _given_names(module)
        if _words(name) & refused
    ]
    assert listed(wrong) == ""


def test_names_are_spelled_whole() -> None:
    short = [
        f"{place(module, node)} {name}"
        for module in modules(*PRODUCT)
        for name, node in _given_names(module)
        if _words(name) & ABBREVIATIONS
    ]
    assert listed(short) == ""


def test_every_word_of_the_glossary_is_explained_once() -> None:
    words = [word.strip(" *") for row in _glossary() for word in row[0].split(",") if row[0] != "word"]
    assert len(words) > 50
    assert listed(sorted(word for word in set(words) if words.count(word) > 1)) == ""
    assert all(row[1] for row in _glossary())
