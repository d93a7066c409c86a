"""Definitions that a later one of the same scope replaces before anybody could use them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from modelmedic.scan.finding import SHADOWED_DEFINITION, ScanFinding
from modelmedic.scan.frames import Frame, children, decorators_of
from modelmedic.scan.kinds import View
from modelmedic.scan.symbols import Class

# Decorators that keep no reference to what they decorate; others may have registered it.
_PURE = frozenset(
    {
        "abstractmethod", "asynccontextmanager", "cache", "cached_property", "classmethod",
        "contextmanager", "dataclass", "final", "inference_mode", "lru_cache", "no_grad",
        "override", "property", "staticmethod", "total_ordering", "unique", "wraps",
    }
)  # fmt: skip
_BLOCKS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True, slots=True)
class _Pending:
    """A definition that nothing has used yet."""

    node: ast.stmt
    words: str  # "function", "class", "import"
    origin: str = ""  # where an imported one is defined


def shadowed_definitions(view: View) -> Iterator[ScanFinding]:
    """Yield the definitions in a file that a later one in the same block replaces unused."""
    for frame in view.frames:
        if isinstance(frame.node, _BLOCKS):
            yield from _in_block(view, frame, frame.node.body)


def _in_block(view: View, frame: Frame, body: Sequence[ast.stmt]) -> Iterator[ScanFinding]:
    unused: dict[str, _Pending] = {}
    for statement in body:
        for name in _used(statement):
            unused.pop(name, None)
        bound = dict(_bound(view, statement))
        for name, pending in bound.items():
            earlier = unused.pop(name, None)
            if earlier is not None and _is_fault(frame, name, earlier, pending):
                yield _finding(view, frame, name, earlier, pending)
            unused[name] = pending
        for name in _rebound(statement) - bound.keys():
            unused.pop(name, None)


def _bound(view: View, statement: ast.stmt) -> Iterator[tuple[str, _Pending]]:
    if isinstance(statement, _DEFINITIONS):
        if _may_be_forgotten(statement):
            words = "class" if isinstance(statement, ast.ClassDef) else "function"
            yield statement.name, _Pending(statement, words)
    elif isinstance(statement, ast.ImportFrom):
        for alias in statement.names:
            module = "." * statement.level + (statement.module or "")
            found = view.table.imported(view.module, module, alias.name)
            if isinstance(found, Class):
                origin = f"{found.module.path} line {found.line}"
                yield alias.asname or alias.name, _Pending(statement, "import", origin)


def _may_be_forgotten(node: _Definition) -> bool:
    names = {name.rpartition(".")[2] for name in decorators_of(node)}
    return names <= _PURE


def _is_fault(frame: Frame, name: str, earlier: _Pending, later: _Pending) -> bool:
    if set(name) == {"_"}:
        return False  # a name that says that nobody asks for it
    if name.startswith("test") or name in frame.outer:
        return False  # a test that is there twice is its test suite's matter
    if earlier.words == "import":
        return later.words == "class" or (
            later.words == "import" and earlier.origin != later.origin
        )
    if later.words == "import":
        return False
    return not _is_placeholder(earlier.node)


def _is_placeholder(node: ast.stmt) -> bool:
    """Return whether a body holds nothing: a later definition then only fills it."""
    body = getattr(node, "body", None)
    return body is not None and all(map(_is_empty, body))


def _is_empty(node: ast.stmt) -> bool:
    return isinstance(node, ast.Pass | ast.Raise) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


def _used(statement: ast.stmt) -> set[str]:
    """Return the names that running a statement reads: not those in bodies of functions."""
    found: set[str] = set()
    pending: list[ast.AST] = [statement]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Name):
            if not isinstance(node.ctx, ast.Store):
                found.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            pending += node.decorator_list
            pending += [each for each in [*node.args.defaults, *node.args.kw_defaults] if each]
        else:
            pending += children(node)
    return found


def _rebound(statement: ast.stmt) -> set[str]:
    if isinstance(statement, _DEFINITIONS):
        return {statement.name}
    found = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, _DEFINITIONS):
            found.add(node.name)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name.partition(".")[0])
    return found


def _finding(
    view: View, frame: Frame, name: str, earlier: _Pending, later: _Pending
) -> ScanFinding:
    where = f" of class {frame.qualname}" if frame.is_class else ""
    noun = "method" if frame.is_class and later.words == "function" else later.words
    first = f"that of line {earlier.node.lineno}"
    if earlier.origin:
        first = f"the class that line {earlier.node.lineno} imports from {earlier.origin}"
    same = _text(earlier.node) == _text(later.node)
    why = f"Nothing between the two uses {first}; from here on only the later one can be reached."
    why += " Both say the same today; a change of the first would change nothing." if same else ""
    return ScanFinding(
        path=view.module.path,
        line=later.node.lineno,
        column=later.node.col_offset + 1,
        rule=SHADOWED_DEFINITION,
        what=f"The {noun} {name}{where} is defined twice: this one replaces {first}.",
        why=why,
        next="remove one of them, or give it another name.",
    )


def _text(node: ast.AST) -> str:
    return ast.unparse(node)
