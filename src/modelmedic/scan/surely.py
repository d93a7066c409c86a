"""What a body is sure to evaluate before it can end: on every path, whatever its conditions say."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence

from modelmedic.scan.forms import dotted
from modelmedic.scan.frames import children

Wanted = Callable[[ast.AST], bool]
_LEAVING = (ast.Return, ast.Raise, ast.Break, ast.Continue, ast.Yield, ast.YieldFrom, ast.Assert)
_INNER = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_LOOPS = (ast.While, ast.For, ast.AsyncFor, ast.Match)
_ENDING_CALLS = frozenset({"_exit", "abort", "exit", "fail", "quit", "skip"})
# What a handler would have to name to stop a recursion that goes too deep.
_CATCHING = frozenset({"", "BaseException", "Exception", "RecursionError", "RuntimeError"})


def surely(body: Sequence[ast.stmt], wanted: Wanted) -> ast.AST | None:
    """Return the first node of a kind that is evaluated whenever the body runs, or None."""
    for statement in body:
        found = _in_statement(statement, wanted)
        if found is not None:
            return found
        if may_leave(statement):
            return None
    return None


def may_leave(statement: ast.stmt) -> bool:
    """Return whether the rest of the body may be passed over after a statement."""
    pending: list[ast.AST] = [statement]
    while pending:
        node = pending.pop()
        if isinstance(node, _LEAVING):
            return True
        if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] in _ENDING_CALLS:
            return True
        if not isinstance(node, _INNER):
            pending += children(node)
    return False


def _in_statement(statement: ast.stmt, wanted: Wanted) -> ast.AST | None:
    if isinstance(statement, ast.If):
        return _first([statement.test], wanted) or _in_both(statement, wanted)
    if isinstance(statement, ast.With | ast.AsyncWith):
        items = [item.context_expr for item in statement.items]
        return _first(items, wanted) or surely(statement.body, wanted)
    if isinstance(statement, ast.Try):
        inner = None if _catches_all(statement) else surely(statement.body, wanted)
        return inner or surely(statement.finalbody, wanted)
    return None if isinstance(statement, _INNER) else _first(_head(statement), wanted)


def _head(statement: ast.stmt) -> list[ast.AST]:
    """Return the expressions of a statement that run before its body, or that are all of it."""
    for name in ("test", "iter", "subject"):
        if isinstance(statement, _LOOPS) and hasattr(statement, name):
            return [getattr(statement, name)]
    return [each for each in children(statement) if isinstance(each, ast.expr)]


def _in_both(statement: ast.If, wanted: Wanted) -> ast.AST | None:
    found = surely(statement.body, wanted)
    return found if found is not None and surely(statement.orelse, wanted) is not None else None


def _catches_all(statement: ast.Try) -> bool:
    for handler in statement.handlers:
        parts = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        if any(each is None or dotted(each) in _CATCHING for each in parts):
            return True
    return False


def _first(nodes: Sequence[ast.AST], wanted: Wanted) -> ast.AST | None:
    return next((each for node in nodes for each in evaluated(node) if wanted(each)), None)


def evaluated(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of an expression that are evaluated whenever it is."""
    pending: list[ast.AST] = [node]
    while pending:
        each = pending.pop()
        if isinstance(each, _INNER):
            continue
        yield each
        pending += reversed(_sure_parts(each))


def _sure_parts(node: ast.AST) -> list[ast.AST]:
    if isinstance(node, ast.BoolOp):
        return [node.values[0]]
    if isinstance(node, ast.IfExp):
        return [node.test]
    if isinstance(node, ast.Compare):
        return [node.left, node.comparators[0]]
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return [node.generators[0].iter]
    return children(node)
