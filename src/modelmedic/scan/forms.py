"""What an expression is known to be, in a few words that outlive its syntax tree.

The trees of a large app do not fit into memory beside each other; these words do.
"""

from __future__ import annotations

import ast
import enum
from collections.abc import Callable
from typing import Any, NamedTuple


class Shape(enum.Enum):
    """How a value came to be."""

    UNKNOWN = "unknown"
    NONE = "none"
    CALL = "call"  # name(...), said by its dotted name
    REFERENCE = "reference"  # the value of another name
    ANNOTATED = "annotated"  # the class that an annotation names
    DICT = "dict"
    TEXT = "text"
    TEXTS = "texts"  # a tuple, list or set of nothing but texts
    VALUE = "value"  # another literal: a number, a list
    CLASS = "class"
    FUNCTION = "function"
    IMPORT = "import"
    SELF = "self"
    OWN_CLASS = "own class"


class Form(NamedTuple):
    """One way in which a name gets its value.

    ``name`` is a dotted name, as far as the shape has one. ``detail``: the keywords of a call, the
    name that is imported, what all keys of a dict are ("str", or the dotted name before their last
    part).
    """

    shape: Shape
    name: str = ""
    detail: str = ""
    line: int = 0


UNKNOWN = Form(Shape.UNKNOWN)
NONE = Form(Shape.NONE)
_DICTS = frozenset({"dict", "Dict", "typing.Dict"})
_OPTIONALS = frozenset({"Optional", "typing.Optional"})
_UNIONS = frozenset({"Union", "typing.Union"})
_MAX_PARTS = 50  # names joined by dots; code has five
_MAX_DEPTH = 20  # of an annotation; hostile code nests without end


def dotted(node: ast.AST | None) -> str:
    """Return "a.b.c" for names joined by dots, "" for everything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        if len(parts) > _MAX_PARTS:  # asked of each of its nodes, a long chain would take minutes
            return ""
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    parts.append(node.id)
    return ".".join(reversed(parts))


def form_of(node: ast.expr | None) -> Form:
    """Return what a value is known to be by its own words."""
    reader = _READERS.get(type(node))
    return reader(node) if reader is not None else UNKNOWN


def form_of_annotation(node: ast.expr | None, depth: int = 0) -> Form:
    """Return the class that an annotation names, None left out: a plain one, or a dict."""
    if depth > _MAX_DEPTH:
        return UNKNOWN
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _quoted(node.value, depth)
    if isinstance(node, ast.Name | ast.Attribute):
        name = dotted(node)
        return Form(Shape.DICT, "annotated") if name in _DICTS else Form(Shape.ANNOTATED, name)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _either([node.left, node.right], depth)
    return _bracketed(node, depth) if isinstance(node, ast.Subscript) else UNKNOWN


def _bracketed(node: ast.Subscript, depth: int) -> Form:
    name = dotted(node.value)
    if name in _DICTS:
        return Form(Shape.DICT, "annotated")
    if name in _OPTIONALS:
        return form_of_annotation(node.slice, depth + 1)
    is_union = name in _UNIONS and isinstance(node.slice, ast.Tuple)
    return _either(node.slice.elts, depth) if is_union else UNKNOWN  # type: ignore[attr-defined]


def is_string(node: ast.AST | None) -> bool:
    """Return whether a node is a text literal."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _name(node: ast.expr) -> Form:
    name = dotted(node)
    return Form(Shape.REFERENCE, name, line=node.lineno) if name else UNKNOWN


def _several(node: ast.Tuple | ast.List | ast.Set) -> Form:
    is_text = bool(node.elts) and all(map(is_string, node.elts))
    return Form(Shape.TEXTS if is_text else Shape.VALUE, line=node.lineno)


def _chosen(node: ast.IfExp) -> Form:
    """Return the form of both sides where they are alike; one level deep, others are UNKNOWN."""
    if isinstance(node.body, ast.IfExp) or isinstance(node.orelse, ast.IfExp):
        return UNKNOWN
    first, second = form_of(node.body), form_of(node.orelse)
    return first if first[:3] == second[:3] else UNKNOWN


def _constant(node: ast.Constant) -> Form:
    if node.value is None:
        return NONE
    return Form(Shape.TEXT if isinstance(node.value, str) else Shape.VALUE, line=node.lineno)


def _call(node: ast.Call) -> Form:
    name = dotted(node.func)
    keywords = " ".join(sorted(keyword.arg or "**" for keyword in node.keywords))
    return Form(Shape.CALL, name, keywords, node.lineno) if name else UNKNOWN


def _keys(node: ast.Dict) -> str:
    if not node.keys:
        return ""
    if all(map(is_string, node.keys)):
        return "str"
    owners = {dotted(key).rpartition(".")[0] if key else "" for key in node.keys}
    return owners.pop() if len(owners) == 1 else ""


def _quoted(text: str, depth: int) -> Form:
    try:
        inner = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return UNKNOWN
    return form_of_annotation(inner, depth + 1)


def _either(sides: list[ast.expr], depth: int) -> Form:
    forms = [
        form_of_annotation(side, depth + 1)
        for side in sides
        if not (isinstance(side, ast.Constant) and side.value is None)
    ]
    return forms[0] if len(forms) == 1 else UNKNOWN


_READERS: dict[type, Callable[[Any], Form]] = {
    ast.Attribute: _name,
    ast.Call: _call,
    ast.Constant: _constant,
    ast.Dict: lambda node: Form(Shape.DICT, detail=_keys(node), line=node.lineno),
    ast.DictComp: lambda node: Form(Shape.DICT, line=node.lineno),
    ast.IfExp: _chosen,
    ast.List: _several,
    ast.Name: _name,
    ast.Set: _several,
    ast.Tuple: _several,
}
