"""Which expressions stand where the code itself reckons with an error of a kind."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from modelmedic.scan.frames import Frame

_GUARDS = frozenset({ast.Try, getattr(ast, "TryStar", ast.Try), ast.With, ast.AsyncWith})


def guarded(frames: Iterable[Frame], error: str) -> set[int]:
    """Return the ids of the nodes in whose ``try`` or ``with`` an error is named."""
    found: set[int] = set()
    for frame in frames:
        for node in frame.nodes:
            if type(node) in _GUARDS and _names(node, error):
                body = node.body  # type: ignore[attr-defined]
                found |= {id(inner) for statement in body for inner in ast.walk(statement)}
    return found


def _names(node: ast.AST, error: str) -> bool:
    """Return whether a statement catches an error by its name: except, suppress(), raises()."""
    if isinstance(node, ast.With | ast.AsyncWith):
        return any(_mentions(item.context_expr, error) for item in node.items)
    handlers: list[ast.ExceptHandler] = node.handlers  # type: ignore[attr-defined]
    return any(each.type is not None and _mentions(each.type, error) for each in handlers)


def _mentions(node: ast.expr, error: str) -> bool:
    for each in ast.walk(node):
        name = each.id if isinstance(each, ast.Name) else getattr(each, "attr", "")
        if name == error:
            return True
    return False
