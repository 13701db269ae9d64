"""The error families: all are used, and nothing else is raised on purpose."""

import ast
import builtins
from collections.abc import Iterator

from shared.errors import FarkeepError
from tests.arch.code import PRODUCT, Module, listed, modules, place

# What the language itself expects to be raised at a seam; each is caught within the product.
LANGUAGE = {"SystemExit", "KeyboardInterrupt", "StopIteration", "KeyError", "FileNotFoundError", "OSError",
            "BrokenPipeError", "ValueError"}  # fmt: skip


def _families() -> set[str]:
    return {family.__name__ for family in FarkeepError.__subclasses__()}


def _constructed(module: Module) -> Iterator[str]:
    for call in module.calls():
        if isinstance(call.func, ast.Name):
            yield call.func.id


def _exit_codes(module: Module) -> Iterator[str]:
    """The families whose exit code is asked for: work done in part ends a command without an exception."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and node.attr == "exit_code" and isinstance(node.value, ast.Name):
            yield node.value.id


def test_every_family_is_used() -> None:
    others = [module for module in modules(*PRODUCT) if module.name != "shared.errors"]
    used = {name for module in others for name in (*_constructed(module), *_exit_codes(module))}
    assert listed(sorted(_families() - used)) == ""


def test_the_base_of_the_families_is_never_raised_itself() -> None:
    bare = [str(module) for module in modules(*PRODUCT) if "FarkeepError" in _constructed(module)]
    assert listed(bare) == ""


def test_every_family_has_an_exit_code_of_its_own() -> None:
    codes = [family.exit_code for family in FarkeepError.__subclasses__()]
    assert len(set(codes)) == len(codes)
    assert 0 not in codes


def test_no_other_exception_is_raised_by_name() -> None:
    language = {name for name, value in vars(builtins).items() if isinstance(value, type)} - LANGUAGE
    foreign = [
        f"{place(module, node)} {node.exc.func.id}"
        for module in modules(*PRODUCT)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)
        if node.exc.func.id in language
    ]
    assert listed(foreign) == ""


def test_no_error_is_swallowed_whole() -> None:
    """`except:`, `except Exception: pass` and the like hide what nobody thought of."""
    swallowed = [
        place(module, node)  # type: ignore[arg-type]
        for module in modules(*PRODUCT)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")))
        and all(isinstance(statement, ast.Pass | ast.Continue) for statement in node.body)
    ]
    assert listed(swallowed) == ""
