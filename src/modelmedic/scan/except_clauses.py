"""What stands behind ``except``: names that are bound nowhere, and things that nobody can raise."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator

from modelmedic.scan.finding import NOT_AN_EXCEPTION, UNDEFINED_EXCEPTION, ScanFinding
from modelmedic.scan.forms import Form, Shape, dotted
from modelmedic.scan.frames import Frame
from modelmedic.scan.guarded import guarded
from modelmedic.scan.kinds import View
from modelmedic.scan.missing_methods import nearest
from modelmedic.scan.symbols import Class, Module
from modelmedic.scan.table import BUILTINS, is_exception

_ERRORS = sorted(
    name
    for name in dir(builtins)
    if isinstance(getattr(builtins, name), type)
    and issubclass(getattr(builtins, name), BaseException)
)
# A clause below such a test is meant for another Python; here it is never reached.
_VERSIONS = frozenset({"version_info", "PY2", "PY3", "IS_PY2", "IS_PY3", "hexversion"})


def except_clauses(view: View) -> Iterator[ScanFinding]:
    """Yield the faults of the except clauses of a file."""
    if view.module.has_star:
        return
    reckoned = guarded(view.frames, "NameError") | _for_other_versions(view)
    for frame in view.frames:
        for node in frame.nodes:
            if isinstance(node, ast.ExceptHandler) and node.type and id(node) not in reckoned:
                for each in _parts(node.type):
                    yield from _judge(view, frame, each)


def _parts(node: ast.expr) -> Iterator[ast.expr]:
    pending = [node]
    while pending:
        each = pending.pop(0)
        if isinstance(each, ast.Tuple):
            pending += each.elts
        elif isinstance(each, ast.Starred):
            pending.append(each.value)
        else:
            yield each


def _judge(view: View, frame: Frame, node: ast.expr) -> Iterator[ScanFinding]:
    name = dotted(node)
    if not name:
        yield from _judge_value(view, node)
        return
    top = name.partition(".")[0]
    if frame.home_of(top) is None:
        if top not in BUILTINS:
            yield _undefined(view, frame, node, top)
        elif not _is_builtin_error(name):
            yield _not_an_exception(view, node, f"{name} is a builtin that is no exception.")
        return
    words = _why_no_exception(view, frame, name)
    if words:
        yield _not_an_exception(view, node, words)
    else:
        yield from _judge_member(view, frame, node, name)


def _is_builtin_error(name: str) -> bool:
    found = getattr(builtins, name, None)
    is_error = isinstance(found, type) and issubclass(found, BaseException)
    return is_error or found is None or "." in name


def _judge_value(view: View, node: ast.expr) -> Iterator[ScanFinding]:
    words = ""
    if isinstance(node, ast.Constant | ast.JoinedStr):
        words = f"{ast.unparse(node)} is a literal value."
    elif isinstance(node, ast.List | ast.Set | ast.Dict):
        words = "Several exceptions are given as a tuple, in round brackets."
    elif isinstance(node, ast.BoolOp):
        sides = " and ".join(ast.unparse(each) for each in node.values[1:])
        word = "or" if isinstance(node.op, ast.Or) else "and"
        if word == "or" and all(map(dotted, node.values)):
            words = f"`or` gives its first side: {sides} is never caught."
    if words:
        yield _not_an_exception(view, node, words)


def _why_no_exception(view: View, frame: Frame, name: str) -> str:
    """Return why what a name is bound to cannot be caught; "" when it may well be."""
    found = view.class_of(name, frame) if "." in name else _bound(view, frame, name)
    if isinstance(found, Class):
        lineage = view.table.lineage(found)
        if lineage.is_known and not is_exception(lineage) and found.is_plain_body:
            place = f"{found.module.path} line {found.line}"
            return f"The class {found.name} ({place}) does not inherit from Exception."
    if isinstance(found, Module):
        return f"{name} is the module {found.path}, not a class of it."
    if isinstance(found, Form):
        return _why_no_value(name, found)
    return ""


def _bound(view: View, frame: Frame, name: str) -> object:
    home = frame.home_of(name)
    forms = home.bindings[name] if home else []
    if len(forms) == 1 and forms[0].shape in {Shape.TEXT, Shape.TEXTS, Shape.FUNCTION}:
        return forms[0]
    return view.class_of(name, frame)


def _why_no_value(name: str, form: Form) -> str:
    line = f" (line {form.line})" if form.line else ""
    if form.shape is Shape.TEXT:
        return f"{name} is a text{line}."
    if form.shape is Shape.TEXTS:
        return f"{name} holds texts, not exceptions."
    if form.shape is Shape.FUNCTION:
        return f"{name} is a function{line}."
    return ""


def _judge_member(view: View, frame: Frame, node: ast.expr, name: str) -> Iterator[ScanFinding]:
    """Judge ``module.Name`` of a module of the scan."""
    owner, _, last = name.rpartition(".")
    module = view.class_of(owner, frame) if owner else None
    if not isinstance(module, Module) or module.is_open or last in module.names:
        return
    if view.table.is_touched(last) or f"{module.name}.{last}" in view.table.modules:
        return
    near = nearest(last, sorted(module.names))
    yield _finding(
        view, node, UNDEFINED_EXCEPTION,
        f"The except clause names {name}, and {module.path} has no {last}.",
        "When an error comes here, Python raises AttributeError in its place: the error is lost.",
        f"{_instead(near)}define {last} there.",
        near,
    )  # fmt: skip


def _undefined(view: View, frame: Frame, node: ast.expr, name: str) -> ScanFinding:
    known = {each for scope in frame.chain() for each in scope.bindings} | set(_ERRORS)
    near = nearest(name, sorted(known))
    return _finding(
        view, node, UNDEFINED_EXCEPTION,
        f"The except clause names {name}, which is bound nowhere.",
        "It is no builtin, not imported and not defined. When an error comes here, Python raises "
        "NameError in its place and the error is lost.",
        f"{_instead(near)}import or define {name}.",
        near,
    )  # fmt: skip


def _not_an_exception(view: View, node: ast.expr, words: str) -> ScanFinding:
    return _finding(
        view, node, NOT_AN_EXCEPTION,
        f"The except clause names {ast.unparse(node)[:80]}, which is no exception class.",
        f"{words} It catches nothing as it stands.",
        "name a class that inherits from Exception, or several in round brackets.",
    )  # fmt: skip


def _instead(near: tuple[str, ...]) -> str:
    return f"write {' or '.join(near)} if that is meant, else " if near else ""


def _finding(
    view: View, node: ast.expr, rule: str, what: str, why: str, step: str,
    near: tuple[str, ...] = (),
) -> ScanFinding:  # fmt: skip
    return ScanFinding(
        path=view.module.path, line=node.lineno, column=node.col_offset + 1, rule=rule,
        what=what, why=why, next=step, nearest=near,
    )  # fmt: skip


def _for_other_versions(view: View) -> set[int]:
    found: set[int] = set()
    for frame in view.frames:
        for node in frame.nodes:
            if isinstance(node, ast.If) and _asks_for_version(node.test):
                found |= {id(each) for each in ast.walk(node)}
    return found


def _asks_for_version(node: ast.expr) -> bool:
    names = {getattr(each, "attr", getattr(each, "id", "")) for each in ast.walk(node)}
    return bool(names & _VERSIONS)
