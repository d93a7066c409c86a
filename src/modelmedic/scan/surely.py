"""What a body is sure to evaluate before it can end: on every path, whatever its conditions say."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence

from modelmedic.scan.forms import dotted
from modelmedic.scan.frames import children

Wanted = Callable[[ast.AST], bool]
Sort = Callable[[ast.AST], str]  # "" for a node that nobody looks for
_LEAVING = (ast.Return, ast.Raise, ast.Break, ast.Continue, ast.Yield, ast.YieldFrom, ast.Assert)
_INNER = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_LOOPS = (ast.While, ast.For, ast.AsyncFor, ast.Match)
_ENDING_CALLS = frozenset({"_exit", "abort", "exit", "fail", "quit", "skip"})
# What a handler would have to name to stop a recursion that goes too deep.
_CATCHING = frozenset({"", "BaseException", "Exception", "RecursionError", "RuntimeError"})


def surely(body: Sequence[ast.stmt], wanted: Wanted) -> ast.AST | None:
    """Return the first node of a kind that is evaluated whenever the body runs, or None."""
    return surely_all(body, lambda node: "wanted" if wanted(node) else "").get("wanted")


def surely_all(body: Sequence[ast.stmt], sort: Sort) -> dict[str, ast.AST]:
    """Return the first node of each sort that is evaluated whenever the body runs."""
    found: dict[str, ast.AST] = {}
    for statement in body:
        found = _in_statement(statement, sort) | found
        if may_leave(statement):
            break
    return found


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


def _in_statement(statement: ast.stmt, sort: Sort) -> dict[str, ast.AST]:
    if isinstance(statement, ast.If):
        return _in_both(statement, sort) | _first([statement.test], sort)
    if isinstance(statement, ast.With | ast.AsyncWith):
        items = [item.context_expr for item in statement.items]
        return surely_all(statement.body, sort) | _first(items, sort)
    if isinstance(statement, ast.Try):
        inner = {} if _catches_all(statement) else surely_all(statement.body, sort)
        return surely_all(statement.finalbody, sort) | inner
    return {} if isinstance(statement, _INNER) else _first(_head(statement), sort)


def _head(statement: ast.stmt) -> list[ast.AST]:
    """Return the expressions of a statement that run before its body, or that are all of it."""
    for name in ("test", "iter", "subject"):
        if isinstance(statement, _LOOPS) and hasattr(statement, name):
            return [getattr(statement, name)]
    return [each for each in children(statement) if isinstance(each, ast.expr)]


def _in_both(statement: ast.If, sort: Sort) -> dict[str, ast.AST]:
    if not statement.orelse:
        return {}
    other = surely_all(statement.orelse, sort)
    return {name: node for name, node in surely_all(statement.body, sort).items() if name in other}


def _catches_all(statement: ast.Try) -> bool:
    for handler in statement.handlers:
        parts = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        if any(each is None or dotted(each) in _CATCHING for each in parts):
            return True
    return False


def _first(nodes: Sequence[ast.AST], sort: Sort) -> dict[str, ast.AST]:
    found: dict[str, ast.AST] = {}
    for node in nodes:
        for each in evaluated(node):
            name = sort(each)
            if name:
                found.setdefault(name, each)
    return found


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
