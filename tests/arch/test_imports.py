"""Arrows between modules: no circles, none hidden inside functions, and no module outside the drawn layers.

The layers themselves are the contract in `importlinter.ini`, checked by `make lint`.
"""

import ast
import configparser
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.arch.code import PRODUCT, ROOT, Module, listed, modules, place

MAY_IMPORT_LATE = ("siteagent.main", "siteagent.cli")


def _imported(module: Module, known: frozenset[str]) -> Iterator[tuple[str, ast.stmt]]:
    """Our own modules that this one imports, lazily or for types too."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{place(module, node)}: imports are absolute"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if name in known or node.module in known:
                    yield (name if name in known else str(node.module)), node


def _find_circle(arrows: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_modules_import_each_other_without_circles() -> None:
    known = frozenset(module.name for module in modules(*PRODUCT))
    arrows = {module.name: {name for name, _ in _imported(module, known)} for module in modules(*PRODUCT)}
    assert sum(map(len, arrows.values())) > len(arrows), "hardly any arrow was found"
    assert _find_circle(arrows) == []


def test_a_circle_would_be_found() -> None:
    assert set(_find_circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})) == {"a", "b", "c"}


def test_only_the_command_line_imports_inside_functions() -> None:
    late = [
        place(module, node)
        for module in modules(*PRODUCT)
        if not module.name.startswith(MAY_IMPORT_LATE)
        for function in module.functions()
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert listed(late) == ""


@pytest.mark.parametrize("package", PRODUCT)
def test_every_part_has_a_place_in_the_layers(package: str) -> None:
    contract = configparser.ConfigParser()
    contract.read_string((ROOT / "tests/arch/importlinter.ini").read_text())
    drawn = set(contract["importlinter:contract:layers"]["layers"].replace("|", " ").split())
    parts = {".".join(module.name.split(".")[:2]) for module in modules(package)} - {package}
    assert listed(sorted(part for part in parts if part not in drawn and package not in drawn)) == ""
