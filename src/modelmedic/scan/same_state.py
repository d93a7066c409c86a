"""Calls of a function to itself with the arguments it was given, and nothing changed before."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

from modelmedic.scan.forms import dotted
from modelmedic.scan.frames import Frame, Function, children

# Builtins that change nothing; and logging, which changes nothing that a condition looks at.
_HARMLESS = frozenset(
    {
        "abs", "all", "any", "bool", "bytes", "callable", "dict", "float", "format", "frozenset",
        "getattr", "hasattr", "int", "isinstance", "issubclass", "len", "list", "max", "min",
        "print", "range", "repr", "round", "set", "sorted", "str", "sum", "tuple", "type", "zip",
    }
)  # fmt: skip
_LOGGING = frozenset(
    {"critical", "debug", "error", "exception", "getLogger", "info", "log", "warn", "warning"}
)
_LOGGERS = ("log", "logger", "logging", "_log", "_logger", "LOG", "LOGGER", "warnings")
_WAITING = frozenset({"sleep"})
_INNER = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_CHANGING = (ast.AugAssign, ast.Await, ast.Delete, ast.Yield, ast.YieldFrom, ast.Import,
             ast.ImportFrom, ast.With, ast.AsyncWith, ast.Global, ast.Nonlocal)  # fmt: skip


# Who catches these cannot know that the fault was mended; a narrower error may well have been.
_BROAD = frozenset({"", "BaseException", "Exception"})


@dataclass(slots=True)
class _Search:
    frame: Frame
    is_own: Callable[[ast.AST], bool]
    is_broad: bool = False  # below an except clause that takes any error


def same_state_calls(
    frame: Frame, is_own: Callable[[ast.AST], bool]
) -> Iterator[tuple[ast.AST, bool]]:
    """Yield the calls of a function to itself that find everything as it was.

    With each whether it is a retry: it stands in an except clause, where the world may have
    changed, and nothing counts how often.
    """
    if any(is_own(node) for node in frame.nodes):
        search = _Search(frame, is_own)
        yield from _in_body(search, cast("Function", frame.node).body, is_retry=False)


def _in_body(
    search: _Search, body: Sequence[ast.stmt], *, is_retry: bool
) -> Iterator[tuple[ast.AST, bool]]:
    for statement in body:
        yield from _in_statement(search, statement, is_retry=is_retry)
        if not _is_clean(search, statement, is_retry=is_retry):
            return


def _in_statement(
    search: _Search, statement: ast.stmt, *, is_retry: bool
) -> Iterator[tuple[ast.AST, bool]]:
    if isinstance(statement, ast.If):
        # "if mended(error): once more" asks, and may be told yes for ever.
        if search.is_broad or _is_clean(search, statement.test, is_retry=is_retry):
            yield from _in_body(search, statement.body, is_retry=is_retry)
            yield from _in_body(search, statement.orelse, is_retry=is_retry)
    elif isinstance(statement, ast.Try):
        yield from _in_body(search, statement.body, is_retry=is_retry)
        for handler in statement.handlers:
            inner = replace(search, is_broad=dotted(handler.type) in _BROAD)
            yield from _in_body(inner, handler.body, is_retry=True)
    elif isinstance(statement, ast.Return | ast.Expr | ast.Assign):
        call = statement.value
        if call is not None and search.is_own(call) and _is_same(search.frame, call):
            yield call, is_retry


def _is_clean(search: _Search, node: ast.AST, *, is_retry: bool) -> bool:
    """Return whether nothing that a later call could see has changed after a node ran."""
    pending = [node]
    while pending:
        each = pending.pop()
        if isinstance(each, _CHANGING):
            return False
        if isinstance(each, ast.Attribute | ast.Subscript) and not isinstance(each.ctx, ast.Load):
            return False
        if isinstance(each, ast.Call) and not _is_harmless(each, is_retry=is_retry):
            return search.is_own(each)
        if not isinstance(each, _INNER):
            pending += children(each)
    return True


def _is_harmless(node: ast.Call, *, is_retry: bool) -> bool:
    name = dotted(node.func)
    owner, _, last = name.rpartition(".")
    if not owner:
        return name in _HARMLESS or (is_retry and last in _WAITING)
    is_logger = owner.rpartition(".")[2] in _LOGGERS
    return (is_logger and last in _LOGGING) or (is_retry and last in _WAITING)


def _is_same(frame: Frame, node: ast.AST) -> bool:
    """Return whether a call gives on each argument of the function as it came."""
    call = node.value if isinstance(node, ast.Await) else node
    if not isinstance(call, ast.Call):
        return isinstance(call, ast.Attribute)  # a property has no arguments
    arguments = cast("Function", frame.node).args
    plain = [each.arg for each in [*arguments.posonlyargs, *arguments.args]]
    if frame.is_method and isinstance(call.func, ast.Attribute):
        plain = plain[1:]
    names = [*plain, *(each.arg for each in arguments.kwonlyargs)]
    rest = [each.arg for each in (arguments.vararg, arguments.kwarg) if each]
    if any(len(frame.bindings.get(name, ())) != 1 for name in [*names, *rest]):
        return False  # it is given another value on the way
    return _given(call, plain) == {name: name for name in names} | {
        f"*{name}": name for name in rest
    }


def _given(call: ast.Call, plain: list[str]) -> dict[str, str]:
    """Return which argument of the call gets which name; "?" for what is no name."""
    given: dict[str, str] = {}
    for place, each in enumerate(call.args):
        if isinstance(each, ast.Starred):
            given[f"*{dotted(each.value)}"] = dotted(each.value) or "?"
        else:
            key = plain[place] if place < len(plain) else "?"
            given[key] = dotted(each) or "?"
    for keyword in call.keywords:
        name = dotted(keyword.value) or "?"
        given[keyword.arg or f"*{name}"] = name
    return given
