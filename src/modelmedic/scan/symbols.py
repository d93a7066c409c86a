"""What is kept of a file when its syntax tree is gone: its names, its classes and their members."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import cast

from modelmedic.scan.forms import UNKNOWN, Form, Shape, dotted, is_string
from modelmedic.scan.frames import (
    Frame,
    Function,
    decorators_of,
    frames_of,
)

# Class decorators that add no method that a person would call by name.
HARMLESS = frozenset(
    {"dataclass", "final", "runtime_checkable", "total_ordering", "unique", "deprecated"}
)
_CLASS_MAKERS = frozenset({"new_class", "type", "types.new_class"})
_JUDGING = frozenset({"cast", "isinstance", "issubclass", "super"})
_FIELD = frozenset({"field", "dataclasses.field"})
_OPENING_NAMES = frozenset({"exec", "locals", "vars", "eval"})
_OPENING_METHODS = frozenset({"__getattr__", "__getattribute__"})
_ASKERS = frozenset({"__setattr__", "delattr", "getattr", "hasattr", "setattr"})


@dataclass(frozen=True, slots=True)
class Field:
    """One annotated name of a class body: what a dataclass or NamedTuple makes a field of."""

    name: str
    annotation: str  # as written
    has_default: bool
    is_argument: bool  # of the constructor: not field(init=False), not ClassVar
    is_keyword_only: bool


@dataclass(slots=True, eq=False)
class Class:
    """One class: ``members`` are the names of its body, ``attributes`` what methods set on self.

    ``is_open``: names may come to it that no statement shows. ``values`` are the literal values
    of an Enum's members, None when one of them is computed.
    """

    name: str
    module: Module
    line: int
    frame_path: str  # dotted name inside the module; "" for the classes of functions
    bases: tuple[str, ...] = ()  # dotted; "?" for one that is no name
    decorators: tuple[str, ...] = ()
    decorator_words: tuple[str, ...] = ()  # keywords given to dataclass(...)
    members: dict[str, list[Form]] = field(default_factory=dict)
    attributes: dict[str, list[Form]] = field(default_factory=dict)
    plain_methods: frozenset[str] = frozenset()  # functions that are no property
    fields: tuple[Field, ...] = ()
    is_plain_body: bool = True  # nothing in it is conditional
    is_open: bool = False
    is_open_otherwise: bool = False  # than by a __getattr__ of its own
    is_abstract: bool = False  # by its own words: an heir is to bring what it lacks
    values: frozenset[object] | None = frozenset()

    def __hash__(self) -> int:
        return id(self)

    def open(self) -> None:
        """Note that names may come to it that no statement shows."""
        self.is_open = self.is_open_otherwise = True


@dataclass(slots=True, eq=False)
class Module:
    """One file: its names, and what it does to objects that are not its own."""

    path: str
    name: str  # dotted
    is_package: bool
    names: dict[str, list[Form]] = field(default_factory=dict)
    classes: dict[str, Class] = field(default_factory=dict)  # by dotted name in the file
    by_line: dict[tuple[int, str], Class] = field(default_factory=dict)  # all, also local ones
    foreign: set[str] = field(default_factory=set)  # attributes set on anything but self
    dynamic: set[str] = field(default_factory=set)  # names given to setattr, hasattr, getattr
    called: set[str] = field(default_factory=set)  # dotted names of what is called or given away
    has_star: bool = False
    makes_classes: bool = False  # of others, by type(name, bases, body)
    is_open: bool = False
    lines: int = 0

    def __hash__(self) -> int:
        return id(self)


def module_of(tree: ast.Module, *, path: str, name: str, is_package: bool) -> Module:
    """Return what is kept of a file."""
    frames = frames_of(tree)
    module = Module(path, name, is_package, names=frames[0].bindings)
    module.has_star = any("*" in frame.bindings for frame in frames)
    module.is_open = module.has_star or "__getattr__" in frames[0].bindings
    for frame in frames:
        if frame.is_class:
            _add_class(module, frame)
    for frame in frames:
        _add_stores(module, frame)
        _add_dynamic(module, frame)
    if module.makes_classes:
        for found in module.by_line.values():
            found.open()
    return module


def owner_of(frame: Frame, module: Module, name: str = "") -> Class | None:
    """Return the class whose instance (or which itself) is called ``name`` in a scope.

    Without a name: the class whose method this scope is in.
    """
    home = frame.home_of(name) if name else next((f for f in frame.chain() if f.is_method), None)
    if home is None or not home.is_method or home.parent is None:
        return None
    if name and [f.shape for f in home.bindings[name]] not in ([Shape.SELF], [Shape.OWN_CLASS]):
        return None
    node = cast("ast.ClassDef", home.parent.node)
    return module.by_line.get((node.lineno, node.name))


def _add_class(module: Module, frame: Frame) -> None:
    node = cast("ast.ClassDef", frame.node)
    is_local = any(each.is_function for each in frame.chain())
    found = Class(
        name=node.name,
        module=module,
        line=node.lineno,
        frame_path="" if is_local else frame.qualname,
        bases=tuple(_base(each) for each in node.bases),
        decorators=tuple(decorators_of(node)),
        decorator_words=tuple(_decorator_words(node)),
        members=frame.bindings,
        plain_methods=frozenset(_plain_methods(node)),
        fields=tuple(_fields(node)),
        is_plain_body=not any(isinstance(each, _CONDITIONAL) for each in node.body),
        is_open=_is_open(frame, node) or bool(_OPENING_METHODS & frame.bindings.keys()),
        is_open_otherwise=_is_open(frame, node),
        is_abstract=_is_abstract(node),
        values=_values(node),
    )
    module.by_line[node.lineno, node.name] = found
    if not is_local:
        if frame.qualname in module.classes:  # one of two: nobody can say which
            found.open()
            module.classes[frame.qualname].open()
        module.classes[frame.qualname] = found
    scope = frame.parent.bindings if frame.parent else {}
    if len(scope.get(node.name, ())) > 1:
        found.open()  # the name is given away again: class = decorate(class)


_CONDITIONAL = (ast.If, ast.Try, ast.For, ast.While, ast.With)


def _base(node: ast.expr) -> str:
    if isinstance(node, ast.Subscript):  # Generic[T], Base[int]
        node = node.value
    return dotted(node) or "?"


def _is_open(frame: Frame, node: ast.ClassDef) -> bool:
    for keyword in node.keywords:
        is_abc = keyword.arg == "metaclass" and dotted(keyword.value) in {"ABCMeta", "abc.ABCMeta"}
        if not is_abc:
            return True
    last = {each.rpartition(".")[2] for each in decorators_of(node)}
    if last - HARMLESS or "*" in frame.bindings:
        return True
    names = {each.id for each in frame.nodes if isinstance(each, ast.Name)}
    return bool(names & _OPENING_NAMES)


def _is_abstract(node: ast.ClassDef) -> bool:
    above = [*node.bases, *(keyword.value for keyword in node.keywords)]
    if {dotted(each).rpartition(".")[2] for each in above} & {"ABC", "ABCMeta"}:
        return True
    methods = (each for each in node.body if isinstance(each, Function))
    return any("abstract" in name for each in methods for name in decorators_of(each))


def _decorator_words(node: ast.ClassDef) -> Iterator[str]:
    for each in node.decorator_list:
        if isinstance(each, ast.Call):
            for keyword in each.keywords:
                is_off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                yield f"{keyword.arg}={'False' if is_off else 'True'}"


def _plain_methods(node: ast.ClassDef) -> Iterator[str]:
    for each in node.body:
        if isinstance(each, Function):
            names = {name.rpartition(".")[2] for name in decorators_of(each)}
            if names <= {"staticmethod", "classmethod", "abstractmethod", "override", "final"}:
                yield each.name


def _fields(node: ast.ClassDef) -> Iterator[Field]:
    is_keyword_only = False
    for each in node.body:
        if not isinstance(each, ast.AnnAssign) or not isinstance(each.target, ast.Name):
            continue
        written = ast.unparse(each.annotation)
        if "KW_ONLY" in written:
            is_keyword_only = True
            continue
        words = _field_words(each.value)
        yield Field(
            name=each.target.id,
            annotation=written,
            has_default=each.value is not None and (words is None or _has_default(words)),
            is_argument="ClassVar" not in written and (words or {}).get("init") is not False,
            is_keyword_only=is_keyword_only or (words or {}).get("kw_only") is True,
        )


def _field_words(node: ast.expr | None) -> dict[str, object] | None:
    """Return the keywords of a call of field(), None when it is none."""
    if not isinstance(node, ast.Call) or dotted(node.func) not in _FIELD:
        return None
    return {
        keyword.arg or "**": keyword.value.value if isinstance(keyword.value, ast.Constant) else ...
        for keyword in node.keywords
    }


def _has_default(words: dict[str, object]) -> bool:
    return bool({"default", "default_factory", "**"} & words.keys())


def _values(node: ast.ClassDef) -> frozenset[object] | None:
    found: set[object] = set()
    for each in node.body:
        if isinstance(each, ast.Assign | ast.AnnAssign) and each.value is not None:
            if not isinstance(each.value, ast.Constant):
                return None
            found.add(each.value.value)
    return frozenset(found)


def _add_stores(module: Module, frame: Frame) -> None:
    for owner, name, form in frame.stores:
        found = owner_of(frame, module, owner) if owner and "." not in owner else None
        if found is None:
            module.foreign.add(name)
        elif name in {"__class__", "__dict__"}:
            found.open()
        else:
            found.attributes.setdefault(name, []).append(_outlived(frame, form))


def _outlived(frame: Frame, form: Form) -> Form:
    """Return a form that says in the scope of the file what it says in a function."""
    for _ in range(3):  # a name of a name of a name
        top = form.name.partition(".")[0]
        home = frame.home_of(top) if top else None
        if home is None or home.parent is None:
            return form
        bound = home.bindings[top]
        if form.shape is not Shape.REFERENCE or form.name != top or len(bound) != 1:
            return UNKNOWN
        form = bound[0]
    return UNKNOWN


def _add_dynamic(module: Module, frame: Frame) -> None:
    names_anything = False
    for node in frame.nodes:
        if isinstance(node, ast.Call):
            _note_call(module, node)
            names_anything = _note_setting(module, frame, node) or names_anything
        elif isinstance(node, ast.Dict | ast.Tuple | ast.List):  # a register of classes
            parts = node.values if isinstance(node, ast.Dict) else node.elts
            module.called |= {name for name in map(dotted, parts) if name}
        elif isinstance(node, ast.Attribute) and node.attr == "__dict__":
            owner = owner_of(frame, module, dotted(node.value)) if dotted(node.value) else None
            if owner is not None:
                owner.open()
    if names_anything:  # any text of this file may be the name of an attribute
        module.dynamic |= set(_texts_of(frame))


def _note_call(module: Module, node: ast.Call) -> None:
    name = dotted(node.func)
    last = getattr(node.func, "attr", name)  # also of super().__setattr__
    module.called.add(name or last)
    if last not in _JUDGING:
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        module.called |= {each for each in map(dotted, given) if each}
    if name in _CLASS_MAKERS and (name != "type" or len(node.args) == 3):  # noqa: PLR2004
        module.makes_classes = True
    if last in _ASKERS or "patch" in name:
        texts = [each.value for each in node.args if is_string(each)]  # type: ignore[attr-defined]
        module.dynamic |= {text.rpartition(".")[2] for text in texts}


def _note_setting(module: Module, frame: Frame, node: ast.Call) -> bool:
    """Note that a call sets attributes by computed names; return whether on anything but self."""
    last = getattr(node.func, "attr", dotted(node.func))
    place = 1 if dotted(node.func) in {"setattr", "object.__setattr__"} else 0
    is_told = len(node.args) > place and is_string(node.args[place])
    if last != "vars" and (last not in {"setattr", "__setattr__"} or is_told):
        return False
    target = dotted(node.args[0]) if node.args else ""
    owner = owner_of(frame, module, target) if target else None
    if owner is not None:
        owner.open()
    return owner is None and last != "vars"


def _texts_of(frame: Frame) -> Iterable[str]:
    for each in frame.chain():
        for node in each.nodes:
            if is_string(node):
                yield node.value  # type: ignore[attr-defined]
