"""The project's own source, read and parsed once for the tests of its shape."""

import ast
import gc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("siteagent", "shared", "migrations")
BESIDE = ("bench", "scripts", "tests")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One source file: its path below the project, dotted name and text."""

    path: Path
    name: str
    text: str

    def __str__(self) -> str:
        return str(self.path)

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree. The collector would look through all that was parsed so far again and again."""
        gc.disable()
        try:
            return ast.parse(self.text, str(self.path))
        finally:
            gc.enable()

    @property
    def lines(self) -> int:
        """How many lines the file has."""
        return self.text.count("\n")

    @property
    def is_package(self) -> bool:
        """True for an `__init__.py`."""
        return self.path.name == "__init__.py"

    def functions(self) -> Iterator[Function]:
        """All functions and methods, nested ones too."""
        yield from (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def calls(self) -> Iterator[ast.Call]:
        """All calls."""
        yield from (node for node in ast.walk(self.tree) if isinstance(node, ast.Call))


@cache
def modules(*folders: str) -> tuple[Module, ...]:
    """The modules below these top-level folders, in order of their paths."""
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return tuple(_read(path.relative_to(ROOT)) for path in paths)


def forget() -> None:
    """Give the memory back: a million nodes would be in the way of every test that comes after."""
    modules.cache_clear()
    _read.cache_clear()


@cache
def _read(path: Path) -> Module:
    text = (ROOT / path).read_text(encoding="utf-8")
    parts = path.with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(path, name, text)


def place(module: Module, node: ast.stmt | ast.expr) -> str:
    """`path:line`, as editors understand it."""
    return f"{module.path}:{node.lineno}"


def listed(found: Iterable[str]) -> str:
    """What was found, a line each; tests compare it with "", so that a failure shows all of it."""
    return "\n".join(found)
