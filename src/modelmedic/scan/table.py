"""All files of a scan beside each other: which class a name means, and what a class has."""

from __future__ import annotations

import builtins
import enum
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from modelmedic.scan.forms import Form, Shape
from modelmedic.scan.symbols import Class, Module

_MAX_DEPTH = 50  # classes above each other; more is no code that a person wrote
_MAX_STEPS = 12  # from an imported name to its definition
# Of newer Python versions than the one that scans: the app may run on them.
NEWER_BUILTINS = frozenset(
    {
        "BaseExceptionGroup", "EncodingWarning", "ExceptionGroup", "PythonFinalizationError",
        "WindowsError", "aiter", "anext",
    }
)  # fmt: skip
BUILTINS = frozenset(dir(builtins)) | NEWER_BUILTINS | {"__file__", "__builtins__"}
_NEWER_MEMBERS = {"add_note", "__notes__"}  # BaseException, Python 3.11
_PLAIN_BASES = {
    "abc.ABC": object,
    "typing.Generic": object,
    "typing.NamedTuple": tuple,
    "enum.Enum": enum.Enum,
    "enum.IntEnum": enum.IntEnum,
    "enum.Flag": enum.Flag,
    "enum.IntFlag": enum.IntFlag,
    "enum.StrEnum": enum.Enum,
}
_ENUMS = frozenset(name for name in _PLAIN_BASES if name.startswith("enum."))
_NAMED_TUPLE = {"_asdict", "_replace", "_make", "_fields", "_field_defaults"}
_ENUM_MEMBERS = {"name", "value", "_name_", "_value_", "_missing_", "_generate_next_value_"}


@dataclass(frozen=True, slots=True)
class External:
    """A name of a module that was not scanned: "json.load", or a builtin "builtins.dict"."""

    name: str


@dataclass(slots=True)
class Lineage:
    """The classes that an instance of a class takes its attributes from.

    ``is_known``: no class among them is out of sight or takes names that no statement shows.
    """

    classes: tuple[Class, ...]
    externals: frozenset[str] = frozenset()
    is_known: bool = True

    @property
    def is_enum(self) -> bool:
        """Return whether it is an Enum."""
        return bool(self.externals & _ENUMS)

    @property
    def is_text(self) -> bool:
        """Return whether its instances are texts as well."""
        return bool(self.externals & {"builtins.str", "enum.StrEnum"})


Thing = Class | Module | External | Form | None


@dataclass(slots=True)
class Table:
    """Every file of the scan."""

    modules: dict[str, Module | None] = field(default_factory=dict)  # None: two files, one name
    files: list[Module] = field(default_factory=list)
    foreign: set[str] = field(default_factory=set)
    dynamic: set[str] = field(default_factory=set)
    has_enums: bool = False
    _made: set[Class] = field(default_factory=set)
    _made_names: set[str] = field(default_factory=set)  # of what is called and not known
    _unseen: set[str] = field(default_factory=set)  # last names of bases that are not known
    _depth: int = 0
    _lineages: dict[Class, Lineage] = field(default_factory=dict)
    _heirs: dict[Class, list[Class]] = field(default_factory=dict)

    def add(self, module: Module, names: Iterable[str]) -> None:
        """Take in a file under every dotted name that an import may call it."""
        self.files.append(module)
        for name in names:
            self.modules[name] = None if name in self.modules else module
        self.foreign |= module.foreign
        self.dynamic |= module.dynamic

    def close(self) -> None:
        """Work out who inherits from whom, once every file is in."""
        for module in self.files:
            self._note_made(module)
            for found in module.by_line.values():
                self.has_enums = self.has_enums or self.lineage(found).is_enum
                for base in self.lineage(found).classes[1:]:
                    self._heirs.setdefault(base, []).append(found)

    def _note_made(self, module: Module) -> None:
        for name in module.called:
            found = self.resolve(module, name)
            owner = self.resolve(module, name.rpartition(".")[0]) if "." in name else None
            self._made |= {each for each in (found, owner) if isinstance(each, Class)}
            if not isinstance(found, Class | External):
                self._made_names.add(name.rpartition(".")[2])

    def is_made(self, found: Class) -> bool:
        """Return whether the scanned code may call a class, or one that inherits from it."""
        family = [found, *self.heirs(found)]
        if self.lineage(found).is_enum:
            return True  # by its own class body
        return any(each in self._made or each.name in self._made_names for each in family)

    def heirs(self, found: Class) -> list[Class]:
        """Return every class of the scan that inherits from a class."""
        return self._heirs.get(found, [])

    def family(self, found: Class) -> list[Lineage]:
        """Return the lineage of a class and of each class that inherits from it."""
        return [self.lineage(found), *(self.lineage(heir) for heir in self.heirs(found))]

    def lineage(self, found: Class) -> Lineage:
        """Return where a class takes its attributes from, itself first."""
        known = self._lineages.get(found)
        if known is None:
            self._lineages[found] = Lineage((found,), is_known=False)  # a circle ends here
            if self._depth >= _MAX_DEPTH:
                return self._lineages.pop(found)
            self._depth += 1
            known = self._lineages[found] = self._lineage(found)
            self._depth -= 1
        return known

    def _lineage(self, found: Class) -> Lineage:
        classes = [found]
        externals: set[str] = set()
        is_known = not found.is_open
        for name in found.bases:
            base = self._base(found, name)
            if isinstance(base, Class):
                other = self.lineage(base)
                classes += [each for each in other.classes if each not in classes]
                externals |= other.externals
                is_known = is_known and other.is_known
            elif isinstance(base, External):
                externals.add(base.name)
            if not isinstance(base, Class) and not _is_seen(base):
                is_known = False
                meant = base.name if isinstance(base, External) else name
                self._unseen.add(meant.rpartition(".")[2])
        return Lineage(tuple(classes), frozenset(externals), is_known)

    def _base(self, found: Class, name: str) -> Thing:
        if not found.frame_path and name.partition(".")[0] not in found.module.names:
            return None if name not in BUILTINS else External(f"builtins.{name}")
        outer = found.frame_path.rpartition(".")[0]
        return self.resolve(found.module, f"{outer}.{name}" if outer else name) or self.resolve(
            found.module, name
        )

    def has(self, found: Class, name: str) -> bool:
        """Return whether instances of a class, or of one that inherits from it, may have a name."""
        if self.is_touched(name):
            return True
        return any(_holds(lineage, name) for lineage in self.family(found))

    def is_touched(self, name: str) -> bool:
        """Return whether some code sets an attribute of that name on an object it does not own."""
        return name in self.foreign or name in self.dynamic

    def has_external(self, found: Class, name: str) -> bool:
        """Return whether a class, or an heir of it, has a name from Python's own classes."""
        return any(name in _external_names(each.externals) for each in self.family(found))

    def is_sure(self, found: Class) -> bool:
        """Return whether everything that a class and its heirs can have is in sight."""
        if found.name in self._unseen:  # it may have an heir that nobody can name
            return False
        return all(lineage.is_known for lineage in self.family(found))

    def names_of(self, found: Class) -> list[str]:
        """Return the names that the scanned code gives to a class, sorted."""
        names: set[str] = set()
        for each in self.lineage(found).classes:
            names |= each.members.keys() | each.attributes.keys()
        return sorted(names)

    def resolve(self, module: Module, name: str, steps: int = _MAX_STEPS) -> Thing:
        """Return what a dotted name means at the top level of a file; None when that is open."""
        if steps <= 0:
            return None
        if name in module.classes and len(module.names.get(name.partition(".")[0], ())) == 1:
            return module.classes[name]
        top, _, rest = name.partition(".")
        forms = module.names.get(top)
        if forms is None:
            is_plain = not rest and top in BUILTINS and not module.has_star
            return External(f"builtins.{top}") if is_plain else None
        if len(forms) != 1:
            return None
        thing = self._meant(module, top, forms[0], steps)
        return self._below(thing, rest, steps) if rest else thing

    def imported(self, module: Module, source: str, name: str) -> Thing:
        """Return what ``from source import name`` binds in a file; dots of the source included."""
        return self._imported(module, Form(Shape.IMPORT, source, name), _MAX_STEPS)

    def _meant(self, module: Module, name: str, form: Form, steps: int) -> Thing:
        if form.shape is Shape.IMPORT:
            return self._imported(module, form, steps)
        if form.shape is Shape.CLASS:
            return module.classes.get(name)
        if form.shape is Shape.REFERENCE and form.name.partition(".")[0] != name:
            return self.resolve(module, form.name, steps - 1)
        return form

    def _imported(self, module: Module, form: Form, steps: int) -> Thing:
        target = absolute(module, form.name)
        if target is None:
            return None
        if not form.detail:
            return self._module(target)
        whole = self._module(target)
        if isinstance(whole, External):
            inner = self._module(f"{target}.{form.detail}")
            return inner if isinstance(inner, Module) else External(f"{target}.{form.detail}")
        if whole is None:
            return None
        return self._below(whole, form.detail, steps)

    def _module(self, name: str) -> Module | External | None:
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names:  # a file of that name elsewhere in the app is not meant
            return External(name)
        if name in self.modules:
            return self.modules[name]
        return None if top in self.modules else External(name)

    def _below(self, thing: Thing, rest: str, steps: int) -> Thing:
        if isinstance(thing, External):
            return External(f"{thing.name}.{rest}")
        if isinstance(thing, Class):
            return thing.module.classes.get(f"{thing.frame_path}.{rest}")
        if not isinstance(thing, Module):
            return None
        top, _, deeper = rest.partition(".")
        if top not in thing.names:
            inner = self.modules.get(f"{thing.name}.{top}")
            return self._below(inner, deeper, steps - 1) if inner and deeper else inner
        return self.resolve(thing, rest, steps - 1)


def absolute(module: Module, name: str) -> str | None:
    """Return the full name of an imported module, None when it lies above the scan."""
    level = len(name) - len(name.lstrip("."))
    if not level:
        return name
    parts = module.name.split(".")
    kept = len(parts) - level + (1 if module.is_package else 0)
    if kept < 1:
        return None
    tail = name[level:]
    return ".".join([*parts[:kept], *([tail] if tail else [])])


def external_class(name: str) -> type | None:
    """Return a class of Python itself whose attributes are known, None for all others."""
    if name.startswith("builtins."):
        found = getattr(builtins, name.partition(".")[2], None)
        return found if isinstance(found, type) and found is not type else None
    return _PLAIN_BASES.get(name)


def _is_seen(base: Thing) -> bool:
    return isinstance(base, External) and external_class(base.name) is not None


def is_exception(lineage: Lineage) -> bool:
    """Return whether a class of the scan can be caught."""
    known = [external_class(name) for name in lineage.externals]
    return any(each is not None and issubclass(each, BaseException) for each in known)


def _holds(lineage: Lineage, name: str) -> bool:
    if any(name in each.members or name in each.attributes for each in lineage.classes):
        return True
    return name in _external_names(lineage.externals)


@cache
def _external_names(externals: frozenset[str]) -> frozenset[str]:
    names = set(dir(object))
    for each in externals:
        found = external_class(each)
        if found is not None:
            names |= set(dir(found))
            names |= _NEWER_MEMBERS if issubclass(found, BaseException) else set()
    if "typing.NamedTuple" in externals:
        names |= _NAMED_TUPLE
    if externals & _ENUMS:
        names |= _ENUM_MEMBERS | set(dir(str) if "enum.StrEnum" in externals else ())
    return frozenset(names)
