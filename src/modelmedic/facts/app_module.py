"""One file of code as Python's own parser reads it: what it imports, defines and calls."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# What can give a module names that no statement shows.
_MAKING = frozenset({"exec", "globals", "setattr", "vars"})


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file of the install."""

    path: str
    line: int
    words: str = ""

    def __str__(self) -> str:
        return f"{self.path} line {self.line}"


@dataclass(frozen=True, slots=True)
class Local:
    """One import statement that runs when the module is loaded.

    ``is_required`` is False where the code goes on without it: inside ``try`` with a handler, or
    below an ``if``.
    """

    module: str  # absolute dotted name
    names: tuple[str, ...]  # of "from module import names"
    line: int
    is_required: bool


@dataclass(frozen=True, slots=True)
class Definition:
    """A class that is defined a second time in one file."""

    name: str
    line: int
    earlier_line: int


@dataclass(frozen=True, slots=True)
class Module:
    """What one file of code says."""

    name: str
    path: str
    is_package: bool
    is_program: bool  # it asks whether it was started: __name__ == "__main__"
    locals: tuple[Local, ...]
    names: frozenset[str]  # that it defines or imports at its top level
    is_open: bool  # it takes names by "*", or makes some while it runs
    twins: tuple[Definition, ...]
    functions: frozenset[str]  # defined at its top level
    calls: tuple[tuple[str, int], ...]  # plain calls of a name, with their line

    def calls_of(self, name: str) -> tuple[int, ...]:
        """Return the lines that call a function by its plain name."""
        return tuple(line for called, line in self.calls if called == name)


def read_module(source: bytes, *, name: str, path: str, is_package: bool) -> Module:
    """Return what a file of code says.

    Raises:
        SyntaxError: Python cannot read it.
        ValueError: It holds zero bytes, or is in no encoding that it names.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the parser's opinion of the app's style is not asked
        tree = ast.parse(source, filename=path)
    statements = list(_loaded(tree.body, is_required=True))
    package = name if is_package else name.rpartition(".")[0]
    imports = [item for node, required in statements for item in _imported(node, package, required)]
    names = {each for node, _ in statements for each in _bound(node)}
    names |= {
        name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names
    }
    is_open = any("*" in item.names for item in imports) or "__getattr__" in names
    calls = tuple(_calls(tree))
    return Module(
        name=name,
        path=path,
        is_package=is_package,
        is_program=any(_asks_for_main(node) for node, _ in statements),
        locals=tuple(imports),
        names=frozenset(names),
        is_open=is_open or bool(_MAKING & {called for called, _ in calls}),
        twins=tuple(_twins(tree.body)),
        functions=frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef)),
        calls=calls,
    )


def _loaded(body: Sequence[ast.stmt], *, is_required: bool) -> Iterator[tuple[ast.stmt, bool]]:
    """Yield the statements that run when a module is loaded, and whether each must succeed."""
    for node in body:
        yield node, is_required
        if isinstance(node, ast.If):
            # What an "if" decides is not known here: neither side is required.
            yield from _loaded([*node.body, *node.orelse], is_required=False)
        elif isinstance(node, ast.Try):
            is_caught = bool(node.handlers)
            yield from _loaded(node.body, is_required=is_required and not is_caught)
            handlers = [each for handler in node.handlers for each in handler.body]
            yield from _loaded([*handlers, *node.orelse], is_required=False)
            yield from _loaded(node.finalbody, is_required=is_required)
        elif isinstance(node, ast.With):
            yield from _loaded(node.body, is_required=is_required)
        elif isinstance(node, ast.For | ast.While):
            yield from _loaded([*node.body, *node.orelse], is_required=False)
        elif isinstance(node, ast.ClassDef):
            inner = [each for each in node.body if isinstance(each, ast.Import | ast.ImportFrom)]
            yield from _loaded(inner, is_required=is_required)


def _imported(node: ast.stmt, package: str, is_required: bool) -> Iterator[Local]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Local(alias.name, (), node.lineno, is_required)
    elif isinstance(node, ast.ImportFrom):
        names = tuple(alias.name for alias in node.names)
        if not node.level:
            yield Local(node.module or "", names, node.lineno, is_required)
            return
        parts = package.split(".") if package else []
        if node.level - 1 <= len(parts):
            kept = parts[: len(parts) - (node.level - 1)]
            module = ".".join([*kept, *([node.module] if node.module else [])])
            yield Local(module, names, node.lineno, is_required)


def _bound(node: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement gives to its module."""
    if isinstance(node, ast.Import):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in node.names)
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    else:
        for each in ast.walk(node):
            if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
                yield each.id


def _asks_for_main(node: ast.stmt) -> bool:
    if not isinstance(node, ast.If):
        return False
    words = {each.value for each in ast.walk(node.test) if isinstance(each, ast.Constant)}
    names = {each.id for each in ast.walk(node.test) if isinstance(each, ast.Name)}
    return "__main__" in words and "__name__" in names


def _twins(body: list[ast.stmt]) -> Iterator[Definition]:
    """Yield classes that the top level of a file defines twice, with nothing to choose by."""
    seen: dict[str, int] = {}
    for node in body:
        if isinstance(node, ast.ClassDef):
            if node.name in seen:
                yield Definition(node.name, node.lineno, seen[node.name])
            seen[node.name] = node.lineno


def _calls(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id, node.lineno
