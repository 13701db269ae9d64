"""Files and functions stay small, and every module says what it is for."""

import ast
from collections.abc import Iterator

from tests.arch.code import BESIDE, PRODUCT, Function, Module, listed, modules, place

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60


def _documented_functions(module: Module) -> Iterator[Function]:
    """Functions that others call: public ones of a module and public methods of public classes."""
    for node in module.tree.body:
        inside = node.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_") else [node]
        yield from (item for item in inside if isinstance(item, Function) and not item.name.startswith("_"))


def test_no_file_is_longer_than_its_limit() -> None:
    long = [f"{module}: {module.lines}" for module in modules(*PRODUCT, *BESIDE) if module.lines > FILE_LINES_MAX]
    assert listed(long) == ""


def test_no_function_is_longer_than_its_limit() -> None:
    long = [
        f"{place(module, function)} {function.name}: {length}"
        for module in modules(*PRODUCT, *BESIDE)
        for function in module.functions()
        if (length := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert listed(long) == ""


def test_every_module_has_a_docstring() -> None:
    silent = [str(module) for module in modules(*PRODUCT, *BESIDE) if not ast.get_docstring(module.tree)]
    assert listed(silent) == ""


def test_every_folder_of_the_product_is_a_package() -> None:
    packages = {str(module.path.parent) for module in modules(*PRODUCT) if module.is_package}
    assert listed(sorted({str(module.path.parent) for module in modules(*PRODUCT)} - packages)) == ""


def test_a_package_holds_its_docstring_only() -> None:
    full = [str(module) for module in modules(*PRODUCT, *BESIDE) if module.is_package and len(module.tree.body) != 1]
    assert listed(full) == ""


def test_every_public_function_is_documented_and_typed() -> None:
    bare = [
        f"{place(module, function)} {function.name}"
        for module in modules(*PRODUCT)
        for function in _documented_functions(module)
        if not ast.get_docstring(function) or function.returns is None
    ]
    assert listed(bare) == ""
