"""The app's own Python code, read as text and never imported: what it needs when it starts.

Followed from the modules that are started (the profile's components, else the programs in the
install folder) through every local import, as Python would at their start.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from modelmedic.errors import CannotTell
from modelmedic.facts.app_module import Local, Module, Place, read_module
from modelmedic.facts.book import FactBook, probe
from modelmedic.text import printable

MAX_MODULES = 2000  # that are followed; Wan 2.2 has 70
MAX_FILE_BYTES = 2 << 20  # of one file of code; Wan's largest has 40 kB
_MAX_PROGRAMS = 100
_FUNCTION = "flash_attention"


@dataclass(frozen=True, slots=True)
class Import:
    """One installed module that the code needs at its start."""

    module: str  # top level: "decord"
    first: Place


@dataclass(frozen=True, slots=True)
class Gap:
    """A local module or name that is imported and is not there."""

    wanted: str  # "wan.configs" or "wan.configs.SIZE_CONFIGS"
    place: Place


@dataclass(frozen=True, slots=True)
class Twin:
    """A class that one file defines twice: the first is never used."""

    name: str
    place: Place
    earlier_line: int


@dataclass(frozen=True, slots=True)
class AppCode:
    """What the app's code says. Paths are relative to the install, with ``/``.

    ``starts`` are the modules from which it was followed; without one there was no code to read.
    """

    starts: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()  # that are loaded at the start, local: "wan.modules.t5"
    imports: tuple[Import, ...] = ()
    gaps: tuple[Gap, ...] = ()
    twins: tuple[Twin, ...] = ()
    direct_calls: tuple[Place, ...] = ()  # of flash_attention() from other modules
    broken: tuple[Place, ...] = ()  # files that Python cannot read, with why
    is_whole: bool = True  # nothing was left out for its size


@dataclass(slots=True)
class _Walk:
    place: Path
    pending: list[str]
    modules: dict[str, Module] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    broken: list[Place] = field(default_factory=list)
    is_whole: bool = True


@probe("folder_scan")
def read_app_code(facts: FactBook) -> AppCode:
    """Return what the app's own code in the install needs.

    Raises:
        CannotTell: A file of it may not be read.
    """
    starts = [each.module for each in facts.profile.components if each.module]
    return look_at_code(facts.context.place, starts)


def look_at_code(place: Path, starts: Iterable[str]) -> AppCode:
    """Return what the code below a folder needs, followed from some modules of it.

    Args:
        place: The folder that the app is started in.
        starts: Dotted names; those that are not there are left out. With none of them there, the
            programs that lie in the folder.
    """
    there = [name for name in starts if find_module(place, name) is not None]
    there = there or list(_programs(place))
    walk = _Walk(place, [*there])
    while walk.pending:
        _visit(walk, walk.pending.pop())
    modules = walk.modules.values()
    return AppCode(
        starts=tuple(there),
        modules=tuple(sorted(walk.modules)),
        imports=tuple(_imports(walk)),
        gaps=tuple(gap for module in modules for gap in _gaps(walk, module)),
        twins=tuple(
            Twin(each.name, Place(module.path, each.line), each.earlier_line)
            for module in modules
            for each in module.twins
        ),
        direct_calls=tuple(
            Place(module.path, line)
            for module in modules
            if _FUNCTION not in module.functions
            for line in module.calls_of(_FUNCTION)
        ),
        broken=tuple(walk.broken),
        is_whole=walk.is_whole,
    )


def find_module(place: Path, name: str) -> Path | None:
    """Return the file of a local module, None when there is none; a folder without code is none."""
    base = place.joinpath(*name.split("."))
    for path in (base / "__init__.py", base.with_name(base.name + ".py")):
        if path.is_file():
            return path
    return None


def _programs(place: Path) -> Iterator[str]:
    """Yield the programs that lie in a folder: files that tell that they may be started."""
    try:
        names = sorted(entry.name for entry in os.scandir(place) if entry.name.endswith(".py"))
    except OSError:
        return
    for name in names[:_MAX_PROGRAMS]:
        if name not in {"setup.py", "conftest.py"} and name[:-3].isidentifier():
            module = _read(_Walk(place, []), name[:-3])
            if module is not None and module.is_program:
                yield name[:-3]


def _visit(walk: _Walk, name: str) -> None:
    if name in walk.modules or name in walk.absent:
        return
    parent = name.rpartition(".")[0]
    if parent:
        walk.pending.append(parent)  # Python runs the package before the module
    if len(walk.modules) >= MAX_MODULES:
        walk.is_whole = False
        return
    module = _read(walk, name)
    if module is None:
        walk.absent.add(name)
        return
    walk.modules[name] = module
    for wanted in module.locals:
        walk.pending += [found for found in _candidates(walk, wanted) if found not in walk.modules]


def _read(walk: _Walk, name: str) -> Module | None:
    path = find_module(walk.place, name)
    if path is None:
        return None
    subject = path.relative_to(walk.place).as_posix()
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            walk.is_whole = False
            return None
        source = path.read_bytes()
    except OSError as error:
        raise CannotTell(f"{printable(path)} cannot be read: {error.strerror}.") from error
    is_package = path.name == "__init__.py"
    try:
        return read_module(source, name=name, path=subject, is_package=is_package)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        words = getattr(error, "msg", "") or str(error) or type(error).__name__
        walk.broken.append(Place(subject, line, printable(words)))
        return None


def _candidates(walk: _Walk, wanted: Local) -> Iterator[str]:
    """Yield the local modules that an import loads: the module, and names that are modules."""
    if not wanted.module or _is_local(walk.place, wanted.module):
        if wanted.module:
            yield wanted.module
        for name in wanted.names:
            full = f"{wanted.module}.{name}" if wanted.module else name
            if find_module(walk.place, full) is not None:
                yield full


def _is_local(place: Path, name: str) -> bool:
    top = name.partition(".")[0]
    if find_module(place, top) is not None:
        return True
    # A folder without __init__.py gives way to an installed package, so the whole name decides.
    return "." in name and find_module(place, name) is not None


def _imports(walk: _Walk) -> Iterator[Import]:
    found: dict[str, Place] = {}
    for module in walk.modules.values():
        for wanted in module.locals:
            top = wanted.module.partition(".")[0]
            if top and wanted.is_required and not _is_local(walk.place, wanted.module):
                found.setdefault(top, Place(module.path, wanted.line))
    yield from (Import(name, place) for name, place in sorted(found.items()))


def _gaps(walk: _Walk, module: Module) -> Iterator[Gap]:
    for wanted in module.locals:
        if not wanted.is_required or not _is_local(walk.place, wanted.module):
            continue
        place = Place(module.path, wanted.line)
        if find_module(walk.place, wanted.module) is None:
            if not walk.place.joinpath(*wanted.module.split(".")).is_dir():
                yield Gap(wanted.module, place)
            continue
        source = walk.modules.get(wanted.module)
        for name in wanted.names:
            if source is not None and not _has(walk, source, name):
                yield Gap(f"{wanted.module}.{name}", place)


def _has(walk: _Walk, source: Module, name: str) -> bool:
    """Return whether a module has a name; what it takes by ``*`` cannot be told apart."""
    if name in source.names or source.is_open:
        return True
    folder = walk.place.joinpath(*f"{source.name}.{name}".split("."))
    return source.is_package and (folder.is_dir() or folder.with_name(f"{name}.py").is_file())
