"""Enums taken for texts: compared with one, looked up by one, and members that do not exist."""

from __future__ import annotations

import ast
import enum
from collections.abc import Iterator

from modelmedic.scan.finding import CERTAIN, ENUM_AS_STRING, LIKELY, UNKNOWN_MEMBER, ScanFinding
from modelmedic.scan.forms import dotted, is_string
from modelmedic.scan.frames import Frame
from modelmedic.scan.guarded import guarded
from modelmedic.scan.kinds import Kind, Sort, View
from modelmedic.scan.missing_methods import nearest
from modelmedic.scan.symbols import Class
from modelmedic.scan.table import Table

_EQUALITY = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot)
_OF_ENUMS = frozenset(dir(enum.Enum)) | frozenset(dir(enum.EnumMeta)) | {"name", "value"}
_CHANGING = frozenset({"update", "setdefault", "pop", "clear", "popitem"})


def enums(view: View) -> Iterator[ScanFinding]:
    """Yield where a file takes a member of an Enum for a text, or names one that is none."""
    if not view.table.has_enums:
        return
    expected = guarded(view.frames, "AttributeError") | guarded(view.frames, "KeyError")
    for frame in view.frames:
        for node in frame.nodes:
            if id(node) in expected:
                continue
            if isinstance(node, ast.Compare):
                yield from _compare(view, frame, node)
            elif isinstance(node, ast.Attribute):
                yield from _member(view, frame, node)
            elif isinstance(node, ast.Subscript):
                yield from _subscript(view, frame, node)


def _compare(view: View, frame: Frame, node: ast.Compare) -> Iterator[ScanFinding]:
    left = node.left
    for operator, right in zip(node.ops, node.comparators, strict=True):
        if isinstance(operator, _EQUALITY):
            for one, other in ((left, right), (right, left)):
                if is_string(other):
                    yield from _against(view, frame, node, one, ast.unparse(other))
        elif isinstance(operator, ast.In | ast.NotIn) and _all_texts(right):
            yield from _against(view, frame, node, left, ast.unparse(right)[:60])
        left = right


def _all_texts(node: ast.expr) -> bool:
    is_display = isinstance(node, ast.Tuple | ast.List | ast.Set)
    return is_display and bool(node.elts) and all(map(is_string, node.elts))  # type: ignore[attr-defined]


def _against(
    view: View, frame: Frame, node: ast.Compare, side: ast.expr, text: str
) -> Iterator[ScanFinding]:
    kind = view.kind_of(side, frame)
    owner = _plain_enum(view.table, kind)
    if kind is None or owner is None:
        return
    written = ast.unparse(side)[:60]
    yield _finding(
        view, node, ENUM_AS_STRING,
        f"{written} is compared with the text {text}, and it is a member of the Enum {owner.name}.",
        f"{owner.name} ({owner.module.path} line {owner.line}) is no text: never equal.",
        f"compare {written}.value, or with a member of {owner.name}, or let it inherit from str.",
        kind,
    )  # fmt: skip


def _plain_enum(table: Table, kind: Kind | None) -> Class | None:
    """Return the Enum that a value is a member of, None unless its equality is Enum's own."""
    if kind is None or kind.owner is None or kind.sort is not Sort.INSTANCE:
        return None
    lineage = table.lineage(kind.owner)
    is_own = any("__eq__" in each.members for each in lineage.classes)
    if not lineage.is_enum or lineage.is_text or is_own or not table.is_sure(kind.owner):
        return None
    return kind.owner


def _member(view: View, frame: Frame, node: ast.Attribute) -> Iterator[ScanFinding]:
    if node.attr.startswith("_") or not isinstance(node.ctx, ast.Load):
        return
    name = dotted(node.value)
    found = view.class_of(name, frame) if name else None
    if not isinstance(found, Class) or node.attr in _OF_ENUMS:
        return
    table = view.table
    lineage = table.lineage(found)
    if not lineage.is_enum or not table.is_sure(found) or table.has(found, node.attr):
        return
    yield _unknown(view, node, found, node.attr)


def _unknown(view: View, node: ast.expr, found: Class, name: str) -> ScanFinding:
    near = nearest(name, [each for each in sorted(found.members) if not each.startswith("_")])
    alike = f"write {' or '.join(near)}, or " if near else ""
    return _finding(
        view, node, UNKNOWN_MEMBER,
        f"{ast.unparse(node)[:80]} is no member of the Enum {found.name}.",
        f"{found.name} ({found.module.path} line {found.line}) was read whole.",
        f"{alike}add {name} to {found.name}.",
        None,
        near,
    )  # fmt: skip


def _subscript(view: View, frame: Frame, node: ast.Subscript) -> Iterator[ScanFinding]:
    if not is_string(node.slice) or not isinstance(node.ctx, ast.Load):
        return
    key: str = node.slice.value  # type: ignore[attr-defined]
    kind = view.kind_of(node.value, frame)
    if kind is None:
        return
    if kind.sort is Sort.CLASS and kind.owner is not None:
        lineage = view.table.lineage(kind.owner)
        is_there = key in kind.owner.members or "_missing_" in kind.owner.members
        if lineage.is_enum and view.table.is_sure(kind.owner) and not is_there:
            yield _unknown(view, node, kind.owner, key)
    elif kind.sort is Sort.DICT and kind.keys not in {"", "str"}:
        yield from _lookup(view, frame, node, kind)


def _lookup(view: View, frame: Frame, node: ast.Subscript, kind: Kind) -> Iterator[ScanFinding]:
    """Judge a lookup by a text in a dict whose keys are all members of one Enum."""
    found = view.table.resolve(kind.scope, kind.keys) if kind.scope else None
    found = found or view.class_of(kind.keys, frame)
    if not isinstance(found, Class) or _is_changed(view, node.value):
        return
    owner = _plain_enum(view.table, Kind(Sort.INSTANCE, found))
    if owner is None:
        return
    written = ast.unparse(node.value)[:60]
    yield _finding(
        view, node, ENUM_AS_STRING,
        f"{written} is read by the text {ast.unparse(node.slice)}, and its keys are members of the "
        f"Enum {owner.name}.",
        f"{owner.name} ({owner.module.path} line {owner.line}) is no text: KeyError.",
        f"look it up by a member: {written}[{owner.name}(...)].",
        kind,
    )  # fmt: skip


def _is_changed(view: View, holder: ast.expr) -> bool:
    """Return whether a dict is given keys after it is made, anywhere in the file."""
    last = ast.unparse(holder).rpartition(".")[2]
    for frame in view.frames:
        for node in frame.nodes:
            if _changes(node) and dotted(node.value).rpartition(".")[2] == last:  # type: ignore[attr-defined]
                return True
    return False


def _changes(node: ast.AST) -> bool:
    if isinstance(node, ast.Subscript):
        return not isinstance(node.ctx, ast.Load)
    return isinstance(node, ast.Attribute) and node.attr in _CHANGING


def _finding(
    view: View, node: ast.expr, rule: str, what: str, why: str, step: str, kind: Kind | None,
    near: tuple[str, ...] = (),
) -> ScanFinding:  # fmt: skip
    certain = kind is None or kind.is_certain
    return ScanFinding(
        path=view.module.path, line=node.lineno, column=node.col_offset + 1, rule=rule,
        what=what, why=why, next=step, certainty=CERTAIN if certain else LIKELY, nearest=near,
    )  # fmt: skip
