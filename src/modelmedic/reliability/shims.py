"""Declared cures for methods that a component lacks: shims, other implementations, other classes.

Nothing is guessed: a cure is used only for the class, the method and the versions it was declared
for. Installed packages declare shims by entry points named after the method they add:

    [project.entry-points."modelmedic.shims"]
    "acme.video:Loader.load_all" = "acme_shims:load_all"

So it is known which method a shim adds before any of its code is imported.
"""

from __future__ import annotations

import importlib
import inspect
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from modelmedic.errors import RecoveryRefused
from modelmedic.text import printable

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "modelmedic.shims"


@dataclass(frozen=True, slots=True)
class Shim:
    """A method for a class that lacks it.

    Args:
        function: Is called as the method would be, with the component first.
        requirement: The distribution and versions it is for, as a requirement ("acme>=2,<3").
        is_class_wide: Whether the class gets it, and so every object of it, or the one component.
        like: The method as its callers know it, as a function with or without ``self``; the shim
            must take the same arguments. None: each call is compared when it is made.
        origin: Who declared it.
        target: The class it was declared for, "module:Class"; set where it is declared.
    """

    function: Callable[..., Any]
    requirement: str
    is_class_wide: bool = False
    like: Callable[..., Any] | None = None
    origin: str = "this program"
    target: str = ""

    def refuse_version(self) -> None:
        """Raise `RecoveryRefused` unless the distribution is installed in a version it is for."""
        from importlib.metadata import PackageNotFoundError, version

        from packaging.requirements import Requirement

        wanted = Requirement(self.requirement)
        try:
            there = version(wanted.name)
        except PackageNotFoundError as error:
            raise RecoveryRefused(
                f"The shim of {self.origin} is for {self.requirement}, which is not installed."
            ) from error
        if not wanted.specifier.contains(there, prereleases=True):
            raise RecoveryRefused(
                f"The shim of {self.origin} is for {self.requirement}; {wanted.name} is {there}."
            )


def shim(
    requirement: str, *, is_class_wide: bool = False, like: Callable[..., Any] | None = None
) -> Callable[[Callable[..., Any]], Shim]:
    """Make a function a shim, for an entry point to name.

    Args:
        requirement: The distribution and versions it is for: "acme-video>=2,<3".
        is_class_wide: Whether the class gets it, or only the component that lacks it.
        like: The method as its callers know it.

    Raises:
        ValueError: The requirement is none, or names no versions.
    """
    _checked(requirement)
    return lambda function: Shim(function, requirement, is_class_wide, like)


@dataclass(frozen=True, slots=True)
class OtherClass:
    """A class whose objects may answer for those of another.

    Args:
        path: "module:Class".
        factory: Makes its object from the component; None: nobody said how.
    """

    path: str
    factory: Callable[[Any], Any] | None = None


class Cures:
    """What was declared in this process, and by installed packages."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shims: dict[tuple[str, str], tuple[Shim, ...]] = {}
        self._others: dict[tuple[str, str], tuple[str | OtherClass, ...]] = {}

    def register_shim(
        self, target: type | str, method: str, function: Callable[..., Any], **declared: Any
    ) -> Callable[[], None]:
        """Declare a shim in this process; return what takes it back.

        Args:
            target: The class, or "module:Class"; components of its subclasses count too.
            method: The name that is missing.
            function: See `Shim`.
            declared: ``requirement`` and the other fields of `Shim`.

        Raises:
            ValueError: The requirement is none, or names no versions.
        """
        made = Shim(function, **declared, target=path_of(target))
        _checked(made.requirement)
        return self._add(self._shims, (path_of(target), method), made)

    def register_alternative(
        self, target: type | str, method: str, alternative: str | OtherClass
    ) -> Callable[[], None]:
        """Declare what may stand in for a missing method; return what takes it back.

        Those that were declared first are tried first.

        Args:
            target: The class, or "module:Class".
            method: The name that is missing.
            alternative: Another method's name, "module:Class.method", or an `OtherClass`.
        """
        return self._add(self._others, (path_of(target), method), alternative)

    def has(self, component: object, method: str) -> bool:
        """Return whether anything was declared; imports nothing, asks the component nothing."""
        return any(
            key in self._shims or key in self._others or key in _installed()
            for key in _keys(component, method)
        )

    def shims(self, component: object, method: str) -> Iterator[Callable[[], Shim]]:
        """Yield what returns each shim for a component's class, the nearest of its bases first.

        One of an installed package is imported then; it raises `RecoveryRefused` when it cannot be.
        """
        for key in _keys(component, method):
            for made in self._shims.get(key, ()):
                yield partial(_same, made)
            for entry in _installed().get(key, ()):
                yield partial(_loaded, entry)

    def alternatives(self, component: object, method: str) -> Iterator[str | OtherClass]:
        """Yield what may stand in for a method, the nearest first."""
        for key in _keys(component, method):
            yield from self._others.get(key, ())

    def _add(self, table: dict[Any, Any], key: tuple[str, str], entry: Any) -> Callable[[], None]:
        with self._lock:  # readers see the old tuple or the new one
            table[key] = (*table.get(key, ()), entry)

        def take_back() -> None:
            with self._lock:
                left = tuple(each for each in table.get(key, ()) if each is not entry)
                table.pop(key, None)
                if left:
                    table[key] = left

        return take_back


CURES = Cures()


def register_shim(
    target: type | str, method: str, function: Callable[..., Any], **declared: Any
) -> Callable[[], None]:
    """Declare a shim for the whole process; see `Cures.register_shim`."""
    return CURES.register_shim(target, method, function, **declared)


def resolve(path: str) -> Any:
    """Return what "module:Class" or "module:Class.method" names.

    Raises:
        RecoveryRefused: There is none, or its module cannot be imported.
    """
    module, _colon, attributes = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for name in attributes.split("."):
            found = inspect.getattr_static(found, name)
    except (Exception, SystemExit) as error:
        raise RecoveryRefused(
            f"{printable(path)} cannot be loaded: {type(error).__name__}: {error}."
        ) from error
    return found


def _checked(requirement: str) -> None:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        parsed = Requirement(requirement)
    except InvalidRequirement as error:
        raise ValueError(f"{requirement!r} is no requirement: {error}") from error
    if not parsed.specifier:
        raise ValueError(
            f"{requirement!r} names no versions: a shim is for those that lack the method, as in "
            f'"{parsed.name}>=2,<3"'
        )


def path_of(target: type | str) -> str:
    """Return "module:Class" of a class."""
    return target if isinstance(target, str) else f"{target.__module__}:{target.__qualname__}"


def _keys(component: object, method: str) -> Iterator[tuple[str, str]]:
    for kind in type(component).__mro__:
        yield path_of(kind), method


@cache
def _installed() -> dict[tuple[str, str], tuple[EntryPoint, ...]]:
    """Return the entry points by class and method; the metadata is read once."""
    from importlib.metadata import entry_points

    found: dict[tuple[str, str], tuple[EntryPoint, ...]] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda each: (each.name, each.value)):
        target, _dot, method = entry.name.rpartition(".")
        found[target, method] = (*found.get((target, method), ()), entry)
    return found


def _same(made: Shim) -> Shim:
    return made


def _loaded(entry: EntryPoint) -> Shim:
    from modelmedic.healing.extensions import BadExtension, Extension

    extension = Extension(entry)
    try:
        loaded = extension.load()
    except BadExtension as error:
        raise RecoveryRefused(error.what, error.why, error.next_step) from error
    if not isinstance(loaded, Shim):
        raise RecoveryRefused(
            f"{extension} names no shim.",
            "It must name a function under @modelmedic.reliability.shims.shim(REQUIREMENT).",
        )
    target = entry.name.rpartition(".")[0]
    return replace(loaded, origin=printable(extension.distribution), target=target)
