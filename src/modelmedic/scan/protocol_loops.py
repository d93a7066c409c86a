"""Special methods that do what Python does by calling them: ``__getattr__``, a setter, repr()."""

from __future__ import annotations

import ast
from typing import cast

from modelmedic.scan.forms import dotted
from modelmedic.scan.frames import Frame, Function, decorators_of
from modelmedic.scan.kinds import View
from modelmedic.scan.surely import Wanted, surely
from modelmedic.scan.symbols import Class, owner_of
from modelmedic.scan.table import external_class

# The builtin that calls each special method.
_BUILTINS = {
    "__bool__": "bool", "__bytes__": "bytes", "__float__": "float", "__hash__": "hash",
    "__int__": "int", "__iter__": "iter", "__len__": "len", "__next__": "next",
    "__repr__": "repr", "__str__": "str",
}  # fmt: skip
_CONVERSIONS = {"__repr__": (ord("r"),), "__str__": (-1, ord("s"))}
_SHARED = frozenset({"__class__", "__dict__"})


def protocol_loop(view: View, frame: Frame, own: str) -> tuple[ast.AST, str] | None:
    """Return where a method surely calls itself through Python, and what it does there."""
    node = cast("Function", frame.node)
    if not own or len(frame.bindings.get(own, ())) != 1 or frame.parent is None:
        return None
    is_conditional = node not in cast("ast.ClassDef", frame.parent.node).body
    if is_conditional or any(name == "__class__" for _owner, name, _form in frame.stores):
        return None  # for another Python; or it is of another class by the time it reads
    found = _wanted(view, frame, node, own)
    if found is None:
        return None
    wanted, words = found
    place = surely(node.body, wanted)
    return (place, words) if place is not None else None


def _wanted(view: View, frame: Frame, node: Function, own: str) -> tuple[Wanted, str] | None:
    name = node.name
    if any(each == f"{name}.setter" for each in decorators_of(node)):
        return _sets(own, name), f"sets {own}.{name}, which is itself"
    if name == "__setattr__":
        return _sets(own, ""), f"sets an attribute of {own}"
    if name == "__getattribute__":
        return _reads(own, None), f"reads an attribute of {own}"
    if name == "__getattr__":
        return _asks(view, frame, node, own)
    if name in _BUILTINS:
        builtin = _BUILTINS[name]
        return _converts(own, name, builtin), f"asks for {builtin}({own})"
    return None


def _is_own(node: ast.AST, own: str) -> bool:
    return isinstance(node, ast.Name) and node.id == own


def _sets(own: str, name: str) -> Wanted:
    def wanted(node: ast.AST) -> bool:
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            return _is_own(node.value, own) and (not name or node.attr == name)
        is_call = isinstance(node, ast.Call) and dotted(node.func) == "setattr" and not name
        return is_call and bool(node.args) and _is_own(node.args[0], own)  # type: ignore[attr-defined]

    return wanted


def _reads(own: str, names: set[str] | None) -> Wanted:
    """Return what finds the reading of an attribute: of one of the names, or of any."""

    def wanted(node: ast.AST) -> bool:
        if not isinstance(node, ast.Attribute) or not isinstance(node.ctx, ast.Load):
            return False
        return _is_own(node.value, own) and (names is None or node.attr in names)

    return wanted


def _asks(view: View, frame: Frame, node: Function, own: str) -> tuple[Wanted, str] | None:
    owner = owner_of(frame, view.module)
    arguments = [*node.args.posonlyargs, *node.args.args]
    if owner is None or len(arguments) < 2:  # noqa: PLR2004 - the instance and the name
        return None
    absent = _absent(view, owner, frame, own)
    reads = _reads(own, absent)
    asked = arguments[1].arg

    first = next((each for each in node.body if not _is_docstring(each)), node)
    direct = {id(each) for each in ast.walk(first)}  # what runs before it may set the name

    def wanted(each: ast.AST) -> bool:
        return reads(each) or (id(each) in direct and _is_getattr(each, own, asked))

    which = f"{own}.{' or '.join(sorted(absent))}, which nothing sets" if absent else "that name"
    return wanted, f"asks for {which}"


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_getattr(node: ast.AST, own: str, asked: str) -> bool:
    if not isinstance(node, ast.Call) or dotted(node.func) != "getattr":
        return False
    words = [dotted(each) for each in node.args]
    return words[:2] == [own, asked]


def _absent(view: View, owner: Class, frame: Frame, own: str) -> set[str]:
    """Return the attributes that ``__getattr__`` reads and nothing gives to the class."""
    table = view.table
    lineages = table.family(owner)
    if any(each.is_open_otherwise for line in lineages for each in line.classes):
        return set()
    if any(external_class(name) is None for line in lineages for name in line.externals):
        return set()
    known = sum(len(each.bases) for each in lineages[0].classes)
    if known != len(lineages[0].classes) - 1 + len(lineages[0].externals):
        return set()  # a base is out of sight
    read = {
        node.attr
        for node in frame.nodes
        if isinstance(node, ast.Attribute) and _is_own(node.value, own)
    }
    return {name for name in read - _SHARED if not table.has(owner, name)}


def _converts(own: str, name: str, builtin: str) -> Wanted:
    def wanted(node: ast.AST) -> bool:
        if isinstance(node, ast.FormattedValue):
            is_plain = node.format_spec is None and node.conversion in _CONVERSIONS.get(name, ())
            return is_plain and _is_own(node.value, own)
        if not isinstance(node, ast.Call) or dotted(node.func) != builtin:
            return False
        return len(node.args) == 1 and not node.keywords and _is_own(node.args[0], own)

    return wanted
