"""Calls of methods that exist nowhere: neither in the class, nor above, nor in its heirs."""

from __future__ import annotations

import ast
import difflib
import enum
from abc import ABCMeta
from collections.abc import Iterator
from dataclasses import replace

from modelmedic.scan.finding import CERTAIN, LIKELY, MISSING_METHOD, ScanFinding
from modelmedic.scan.frames import Frame
from modelmedic.scan.guarded import guarded
from modelmedic.scan.kinds import Kind, Sort, View
from modelmedic.scan.symbols import Class, owner_of
from modelmedic.scan.table import Table

_OF_CLASSES = frozenset(dir(type)) | frozenset(dir(ABCMeta))
_OF_ENUMS = frozenset(dir(enum.EnumMeta)) | {"__members__"}
_MOST_NEAREST = 3
# A class that says of itself that another one brings its methods.
_MIXING = ("mixin", "mixins")
_PROTOCOLS = frozenset({"typing.Protocol", "typing_extensions.Protocol"})


def missing_methods(view: View) -> Iterator[ScanFinding]:
    """Yield the calls in a file of methods that exist nowhere."""
    expected = guarded(view.frames, "AttributeError")
    found: dict[Class, list[tuple[str, ScanFinding]]] = {}
    for frame in view.frames:
        for node in frame.nodes:
            is_method = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if is_method and id(node) not in expected:
                call: ast.Attribute = node.func  # type: ignore[attr-defined]
                for owner, finding in _judge(view, frame, call):
                    found.setdefault(owner, []).append((call.attr, finding))
    for owner, pairs in found.items():
        yield from _weighed(view.table, owner, pairs)


def _weighed(
    table: Table, owner: Class, pairs: list[tuple[str, ScanFinding]]
) -> Iterator[ScanFinding]:
    """Yield the findings about a class; fewer or less certain ones where nothing makes it.

    A class that nothing in the scan makes, and that lacks several methods, is one to be mixed into
    others: those bring them.
    """
    if table.is_made(owner):
        yield from (finding for _name, finding in pairs)
    elif len({name for name, _finding in pairs}) == 1:
        yield from (replace(finding, certainty=LIKELY) for _name, finding in pairs)


def nearest(name: str, names: list[str]) -> tuple[str, ...]:
    """Return the names most like a missing one, the most alike first."""
    return tuple(difflib.get_close_matches(name, names, _MOST_NEAREST))


def is_unfinished(table: Table, found: Class) -> bool:
    """Return whether a class waits for another one to bring what it lacks."""
    if found.is_abstract or found.name.lower().endswith(_MIXING):
        return True
    return bool(table.lineage(found).externals & _PROTOCOLS)


def _judge(view: View, frame: Frame, call: ast.Attribute) -> Iterator[tuple[Class, ScanFinding]]:
    name = call.attr
    if name.startswith("__") and name.endswith("__"):
        return
    if _is_super(call.value):
        yield from _judge_super(view, frame, call)
        return
    kind = view.kind_of(call.value, frame)
    if kind is None or kind.owner is None or not _lacks(view.table, kind, kind.owner, name):
        return
    yield kind.owner, _finding(view, call, kind.owner, kind.is_certain)


def _lacks(table: Table, kind: Kind, owner: Class, name: str) -> bool:
    if not table.is_sure(owner) or table.has(owner, name) or is_unfinished(table, owner):
        return False
    if kind.sort is Sort.CLASS:
        is_enum = table.lineage(owner).is_enum
        return name not in (_OF_CLASSES | _OF_ENUMS if is_enum else _OF_CLASSES)
    return True


def _is_super(node: ast.expr) -> bool:
    is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    return is_call and node.func.id == "super" and not node.args  # type: ignore[attr-defined]


def _judge_super(
    view: View, frame: Frame, call: ast.Attribute
) -> Iterator[tuple[Class, ScanFinding]]:
    owner = owner_of(frame, view.module)
    table = view.table
    if owner is None or not table.is_sure(owner) or is_unfinished(table, owner):
        return
    if len(table.lineage(owner).classes) == 1:
        return  # made to stand beside a class that has it
    own = {owner, *table.heirs(owner)}
    others = [each for lineage in table.family(owner) for each in lineage.classes]
    above = [each for each in others if each not in own]
    if any(call.attr in each.members or call.attr in each.attributes for each in above):
        return
    if table.is_touched(call.attr):
        return
    if not table.has_external(owner, call.attr):
        yield owner, _finding(view, call, owner, is_certain=True, where="above ")


def _finding(
    view: View, call: ast.Attribute, owner: Class, is_certain: bool, where: str = ""
) -> ScanFinding:
    names = [name for name in view.table.names_of(owner) if name != call.attr or not where]
    near = nearest(call.attr, names)
    others = _elsewhere(view.table, owner, call.attr)
    count = len(view.table.lineage(owner).classes)
    above = "" if count == 1 else f", {count - 1} above it, and none of its heirs has it"
    why = f"{owner.name} ({owner.module.path} line {owner.line}) was read whole{above}."
    why += f" {others} has a method of that name." if others else ""
    alike = f"call {' or '.join(near)}, which it has, or " if near else ""
    return ScanFinding(
        path=view.module.path,
        line=call.end_lineno or call.lineno,
        column=(call.end_col_offset or len(call.attr)) - len(call.attr) + 1,
        rule=MISSING_METHOD,
        what=f"The method {call.attr}() is called, and it exists nowhere {where}in {owner.name}.",
        why=why,
        next=f"{alike}define {call.attr} in {owner.name}.",
        certainty=CERTAIN if is_certain else LIKELY,
        nearest=near,
    )


def _elsewhere(table: Table, owner: Class, name: str) -> str:
    """Return a class of the scan that has a method of that name, "" when there is none."""
    for module in table.files:
        for each in module.classes.values():
            if name in each.plain_methods and each is not owner:
                return f"{each.name} ({module.path} line {each.line})"
    return ""
