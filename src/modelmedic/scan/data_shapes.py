"""Dicts used as objects, data classes used as dicts, and fields that a data class does not have."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modelmedic.scan.constructors import judge_constructor
from modelmedic.scan.finding import (
    CERTAIN,
    DICT_AS_OBJECT,
    LIKELY,
    OBJECT_AS_DICT,
    UNKNOWN_FIELD,
    ScanFinding,
)
from modelmedic.scan.forms import dotted, is_string
from modelmedic.scan.frames import Frame
from modelmedic.scan.guarded import guarded
from modelmedic.scan.kinds import Kind, Sort, View
from modelmedic.scan.missing_methods import is_unfinished, nearest
from modelmedic.scan.records import is_record
from modelmedic.scan.symbols import Class

_OF_DICTS = frozenset(dir(dict))
_OF_JSON = frozenset(name for each in (dict, list, str, int, float) for name in dir(each))


def data_shapes(view: View) -> Iterator[ScanFinding]:
    """Yield where a file takes a dict for an object or an object for a dict."""
    attributes = guarded(view.frames, "AttributeError")
    subscripts = guarded(view.frames, "TypeError")
    for frame in view.frames:
        calls = {id(node.func) for node in frame.nodes if isinstance(node, ast.Call)}
        for node in frame.nodes:
            if isinstance(node, ast.Attribute) and id(node) not in attributes:
                yield from _attribute(view, frame, node, is_called=id(node) in calls)
            elif isinstance(node, ast.Subscript) and id(node) not in subscripts:
                yield from _subscript(view, frame, node)
            elif isinstance(node, ast.Call) and id(node) not in subscripts:
                yield from judge_constructor(view, frame, node)


def _attribute(
    view: View, frame: Frame, node: ast.Attribute, *, is_called: bool
) -> Iterator[ScanFinding]:
    name = node.attr
    if name.startswith("__"):
        return
    kind = view.kind_of(node.value, frame)
    if kind is None:
        return
    if kind.sort is Sort.DICT and name not in _OF_DICTS:
        yield _dict_as_object(view, node, kind, "a dict")
    elif kind.sort is Sort.JSON and name not in _OF_JSON:
        yield _dict_as_object(view, node, kind, "what JSON gives: a dict or a list")
    elif kind.sort is Sort.INSTANCE and kind.owner is not None and not is_called:
        yield from _field(view, node, kind, kind.owner)


def _dict_as_object(view: View, node: ast.Attribute, kind: Kind, words: str) -> ScanFinding:
    written = ast.unparse(node.value)[:60]
    verb = "is read from" if isinstance(node.ctx, ast.Load) else "is set on"
    source = "the code states that it is one" if not kind.is_certain else "it is made as one"
    return ScanFinding(
        path=view.module.path,
        line=node.lineno,
        column=node.col_offset + 1,
        rule=DICT_AS_OBJECT,
        what=f"The attribute {node.attr} {verb} {written}, which is {words}.",
        why=f"A dict has keys, not attributes ({source}): AttributeError when this runs.",
        next=f'write {written}["{node.attr}"], or make it an object.',
        certainty=CERTAIN if kind.is_certain else LIKELY,
    )


def _field(view: View, node: ast.Attribute, kind: Kind, owner: Class) -> Iterator[ScanFinding]:
    table = view.table
    if not isinstance(node.ctx, ast.Load) or not is_record(table, owner):
        return
    if not table.is_sure(owner) or table.has(owner, node.attr) or is_unfinished(table, owner):
        return
    near = nearest(node.attr, table.names_of(owner))
    alike = f"read {' or '.join(near)}, or " if near else ""
    yield ScanFinding(
        path=view.module.path,
        line=node.lineno,
        column=node.col_offset + 1,
        rule=UNKNOWN_FIELD,
        what=f"The field {node.attr} is read, and {owner.name} has none of that name.",
        why=f"{owner.name} ({owner.module.path} line {owner.line}) and all above it were read.",
        next=f"{alike}add {node.attr} to {owner.name}.",
        certainty=CERTAIN if kind.is_certain else LIKELY,
        nearest=near,
    )


def _subscript(view: View, frame: Frame, node: ast.Subscript) -> Iterator[ScanFinding]:
    if not is_string(node.slice):
        return
    kind = view.kind_of(node.value, frame)
    if kind is None or kind.sort is not Sort.INSTANCE or kind.owner is None:
        return
    owner, table = kind.owner, view.table
    if not is_record(table, owner) or not table.is_sure(owner) or is_unfinished(table, owner):
        return
    own = {name for each in table.family(owner) for c in each.classes for name in c.members}
    if {"__getitem__", "__class_getitem__"} & own:
        return
    key: str = node.slice.value  # type: ignore[attr-defined]
    written = dotted(node.value) or ast.unparse(node.value)[:60]
    yield ScanFinding(
        path=view.module.path,
        line=node.lineno,
        column=node.col_offset + 1,
        rule=OBJECT_AS_DICT,
        what=f"{written} is read by the key {key!r}, and it is a {owner.name}, not a dict.",
        why=f"{owner.name} ({owner.module.path} line {owner.line}) takes no text in square "
        "brackets: TypeError when this runs.",
        next=f"write {written}.{key if key.isidentifier() else '<field>'}.",
        certainty=CERTAIN if kind.is_certain else LIKELY,
    )
