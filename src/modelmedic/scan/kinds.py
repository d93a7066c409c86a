"""What an expression evaluates to, where the code itself says so and says only one thing."""

from __future__ import annotations

import ast
import enum
from dataclasses import dataclass, field

from modelmedic.scan.forms import NONE, Form, Shape, dotted, form_of
from modelmedic.scan.frames import Frame
from modelmedic.scan.symbols import Class, Module, owner_of
from modelmedic.scan.table import External, Lineage, Table

_MAX_STEPS = 8  # from name to name, as a = b.c.d; more is no code that a person wrote
_JSON = frozenset({"json.load", "json.loads"})
# Who is asked about in one of these may be of a narrower class than is said elsewhere.
_NARROWING = frozenset({"isinstance", "issubclass", "callable", "cast", "type", "hasattr", "vars"})


class Sort(enum.Enum):
    """What a value is to those who look for faults."""

    INSTANCE = "instance"
    CLASS = "class"
    DICT = "dict"
    JSON = "json"  # what json.load gave: a dict, a list, a text, a number
    MODULE = "module"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value is; ``is_certain`` is False where the code states it and a caller may differ."""

    sort: Sort
    owner: Class | None = None
    module: Module | None = None
    is_certain: bool = True
    keys: str = ""  # of a dict: what all its keys are, as in Form
    scope: Module | None = None  # where the name in ``keys`` is to be read


@dataclass(slots=True)
class View:
    """One file whose tree is at hand, among all files of the scan."""

    table: Table
    module: Module
    frames: list[Frame]
    _narrowed: dict[Frame, set[str]] = field(default_factory=dict)

    def kind_of(self, node: ast.expr, frame: Frame, steps: int = _MAX_STEPS) -> Kind | None:
        """Return what an expression evaluates to in a scope, None when that is not certain."""
        if steps <= 0:
            return None
        if isinstance(node, ast.Attribute):
            return self._attribute(node, frame, steps)
        form = form_of(node)
        if form.shape is Shape.REFERENCE:
            return self._name(form.name, frame, steps)
        return self._formed(form, frame, steps)

    def class_of(self, name: str, frame: Frame) -> Class | Module | External | Form | None:
        """Return what a dotted name means in a scope, as Table.resolve does for a file."""
        top = name.partition(".")[0]
        home = frame.home_of(top)
        if home is None or home.parent is None:
            return self.table.resolve(self.module, name)
        forms = home.bindings[top]
        if len(forms) != 1:
            return None
        if forms[0].shape is Shape.IMPORT and home.is_function:
            return self._imported_here(forms[0], name)
        if home.is_class and forms[0].shape is Shape.CLASS:
            return self.module.classes.get(f"{home.qualname}.{name}")
        return None

    def _imported_here(self, form: Form, name: str) -> Class | Module | External | Form | None:
        top = name.partition(".")[0]
        stand_in = Module(self.module.path, self.module.name, self.module.is_package)
        stand_in.names = {top: [form]}
        return self.table.resolve(stand_in, name)

    def _attribute(self, node: ast.Attribute, frame: Frame, steps: int) -> Kind | None:
        name = dotted(node)
        if name and name in self._asked(frame):
            return None
        if name:
            found = self.class_of(name, frame)
            if isinstance(found, Class):
                return Kind(Sort.CLASS, found)
        owner = self.kind_of(node.value, frame, steps - 1)
        if owner is None:
            return None
        if owner.sort is Sort.MODULE and owner.module is not None:
            return self._of_module(owner.module, node.attr, steps)
        if owner.owner is None:
            return None
        return self._member(owner, owner.owner, node.attr, steps)

    def _of_module(self, module: Module, name: str, steps: int) -> Kind | None:
        found = self.table.resolve(module, name)
        if isinstance(found, Class):
            return Kind(Sort.CLASS, found)
        if isinstance(found, Module):
            return Kind(Sort.MODULE, module=found)
        return self._outlived(found, module, steps) if isinstance(found, Form) else None

    def _member(self, kind: Kind, owner: Class, name: str, steps: int) -> Kind | None:
        family = self.table.family(owner)
        if not self.table.is_sure(owner) or self.table.is_touched(name):
            return None
        if family[0].is_enum and name in family[0].classes[0].members:
            return Kind(Sort.INSTANCE, owner) if kind.sort is Sort.CLASS else None
        found: list[Kind | None] = []
        for each in {held for lineage in family for held in lineage.classes}:
            forms = [*each.members.get(name, ()), *each.attributes.get(name, ())]
            forms = [form for form in forms if form != NONE]
            found += [self._outlived(form, each.module, steps) for form in forms]
        return _one(found)

    def _outlived(self, form: Form, module: Module, steps: int) -> Kind | None:
        """Return what a form of the top level of another file means."""
        view = View(self.table, module, [])
        top = Frame(ast.Module([], []), None, bindings=module.names)
        return view._formed(form, top, steps - 1)

    def _name(self, name: str, frame: Frame, steps: int) -> Kind | None:
        if name in self._asked(frame):
            return None
        home = frame.home_of(name)
        if home is None:
            return None
        forms = [form for form in home.bindings[name] if form != NONE]
        if len(forms) == 1 and forms[0].shape in {Shape.SELF, Shape.OWN_CLASS}:
            owner = owner_of(frame, self.module, name)
            sort = Sort.INSTANCE if forms[0].shape is Shape.SELF else Sort.CLASS
            return Kind(sort, owner) if owner is not None else None
        found = self.class_of(name, frame)
        if isinstance(found, Class):
            return Kind(Sort.CLASS, found)
        if isinstance(found, Module):
            return Kind(Sort.MODULE, module=found)
        return _one([self._formed(form, home, steps - 1) for form in forms])

    def _formed(self, form: Form, frame: Frame, steps: int) -> Kind | None:
        if steps <= 0:
            return None
        if form.shape is Shape.DICT:
            certain = form.name != "annotated"
            return Kind(Sort.DICT, is_certain=certain, keys=form.detail, scope=self.module)
        if form.shape is Shape.REFERENCE:
            node = _as_node(form.name)
            return self.kind_of(node, frame, steps - 1)
        if form.shape is Shape.ANNOTATED:
            found = self.class_of(form.name, frame)
            if isinstance(found, Class):
                return Kind(Sort.INSTANCE, found, is_certain=False)
        if form.shape is Shape.CALL:
            return self._called(form, frame)
        return None

    def _called(self, form: Form, frame: Frame) -> Kind | None:
        found = self.class_of(form.name, frame)
        if isinstance(found, External):
            if found.name == "builtins.dict":
                return Kind(Sort.DICT)
            return Kind(Sort.JSON) if found.name in _JSON and not form.detail else None
        if not isinstance(found, Class) or not makes_its_own(self.table.lineage(found)):
            return None
        return Kind(Sort.INSTANCE, found)

    def _asked(self, frame: Frame) -> set[str]:
        """Return the dotted names that the function around a scope narrows by asking."""
        if not self._narrowed:
            for each in self.frames:
                self._narrowed.setdefault(_function_around(each), set()).update(_asked_in(each))
        return self._narrowed.get(_function_around(frame), set())


def _function_around(frame: Frame) -> Frame:
    """Return the outermost function that a scope lies in; the scope itself where there is none."""
    return next((each for each in reversed([*frame.chain()]) if each.is_function), frame)


def makes_its_own(lineage: Lineage) -> bool:
    """Return whether calling a class gives an instance of it."""
    return lineage.is_known and not any("__new__" in each.members for each in lineage.classes)


def _one(kinds: list[Kind | None]) -> Kind | None:
    """Return the one kind that all are of; of two that differ in certainty the less certain."""
    if not kinds or None in kinds:
        return None
    known = [kind for kind in kinds if kind is not None]
    first = known[0]
    if any((kind.sort, kind.owner) != (first.sort, first.owner) for kind in known):
        return None
    keys = first.keys if all(kind.keys == first.keys for kind in known) else ""
    certain = all(kind.is_certain for kind in known)
    return Kind(first.sort, first.owner, first.module, certain, keys, first.scope)


def _as_node(name: str) -> ast.expr:
    first, *rest = name.split(".")
    node: ast.expr = ast.Name(first, ast.Load(), lineno=0)
    for part in rest:
        node = ast.Attribute(node, part, ast.Load(), lineno=0)
    return node


def _asked_in(frame: Frame) -> list[str]:
    found = []
    for node in frame.nodes:
        if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] in _NARROWING:
            found += [dotted(each) for each in node.args]
        elif isinstance(node, ast.Match):
            found.append(dotted(node.subject))
    return [name for name in found if name]
