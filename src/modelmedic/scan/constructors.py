"""Calls of a record's constructor with fields that it does not have, or without those it needs."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modelmedic.scan.finding import UNKNOWN_FIELD, ScanFinding
from modelmedic.scan.forms import dotted
from modelmedic.scan.frames import Frame
from modelmedic.scan.kinds import View
from modelmedic.scan.missing_methods import nearest
from modelmedic.scan.records import constructor_fields, is_record
from modelmedic.scan.symbols import Class, Field
from modelmedic.text import counted


def judge_constructor(view: View, frame: Frame, node: ast.Call) -> Iterator[ScanFinding]:
    """Yield what is wrong with a call that makes a record of the scan."""
    name = dotted(node.func)
    found = view.class_of(name, frame) if name else None
    if not isinstance(found, Class) or not is_record(view.table, found):
        return
    fields = constructor_fields(view.table, found)
    if fields is None:
        return
    names = {each.name for each in fields}
    for keyword in node.keywords:
        if keyword.arg is not None and keyword.arg not in names:
            yield _unknown(view, node, found, keyword.arg, sorted(names))
    yield from _counted(view, node, found, fields)


def _counted(
    view: View, node: ast.Call, found: Class, fields: list[Field]
) -> Iterator[ScanFinding]:
    is_spread = any(isinstance(each, ast.Starred) for each in node.args)
    if is_spread or any(keyword.arg is None for keyword in node.keywords):
        return
    places = [each for each in fields if not each.is_keyword_only]
    given = {each.name for each in places[: len(node.args)]}
    given |= {keyword.arg for keyword in node.keywords if keyword.arg}
    absent = [each.name for each in fields if each.name not in given and not each.has_default]
    if len(node.args) > len(places):
        most = counted(len(places), "positional value")
        what = f"{found.name} is made from {len(node.args)} values and takes {most}."
        yield _finding(view, node, found, what, "leave out what is too much.")
    elif absent:
        what = f"{found.name} is made without {', '.join(absent)}, which it needs."
        yield _finding(view, node, found, what, f"give {', '.join(absent)}.")


def _unknown(view: View, node: ast.Call, found: Class, name: str, names: list[str]) -> ScanFinding:
    near = nearest(name, names)
    what = f"{found.name} is made with {name}=, and has no field of that name."
    alike = f"write {' or '.join(near)}, or " if near else ""
    return _finding(view, node, found, what, f"{alike}add {name} to {found.name}.", near)


def _finding(
    view: View, node: ast.Call, found: Class, what: str, step: str, near: tuple[str, ...] = ()
) -> ScanFinding:
    return ScanFinding(
        path=view.module.path,
        line=node.lineno,
        column=node.col_offset + 1,
        rule=UNKNOWN_FIELD,
        what=what,
        why=f"Its fields stand in {found.module.path} line {found.line}: TypeError when this runs.",
        next=step,
        nearest=near,
    )
