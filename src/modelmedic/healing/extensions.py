"""What installed distributions add by entry points: classifiers and recoveries, by their name.

They are found by their metadata, so also where pytest's own search for plugins is switched off.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

from modelmedic.errors import ModelmedicError
from modelmedic.findings import EnhancedErrorCategory as Category
from modelmedic.healing.registry import FAMILIES, Recovery
from modelmedic.text import printable

CLASSIFIERS = "modelmedic.classify"
RECOVERIES = "modelmedic.recoveries"
_CATEGORIES = ", ".join(category.value for category in Category)


class ExtensionWarning(UserWarning):
    """A plugin was passed over: it crashed, or answered what nobody asked. Names it."""


class BadExtension(ModelmedicError):  # noqa: N818 - as BadProfile
    """An installed distribution's recoveries cannot be used; names it and the rule. Exit code 4."""


@dataclass(frozen=True, slots=True)
class Extension:
    """One entry point of an installed distribution."""

    entry: EntryPoint

    @property
    def distribution(self) -> str:
        """Return the distribution's name and version."""
        found = self.entry.dist
        return f"{found.name} {found.version}" if found is not None else "an unknown distribution"

    def __str__(self) -> str:
        return printable(f"{self.entry.group} '{self.entry.name}' of {self.distribution}")

    def load(self) -> Any:
        """Import what it names.

        Raises:
            BadExtension: The import failed, in whatever way.
        """
        try:
            return self.entry.load()
        except (Exception, SystemExit) as error:
            raise BadExtension(
                f"{self} cannot be loaded: {reason(error)}.",
                f"It names {printable(self.entry.value)}.",
                f"Correct or uninstall {printable(self.distribution)}.",
            ) from error


def classify(error: BaseException) -> Category | None:
    """Ask the installed classifiers for the category of an error; the first answer counts.

    A classifier is called with one exception of a chain after the other. It returns a category,
    its value as a string, or None when it does not know the error. One that crashes or answers
    anything else is passed over with an `ExtensionWarning`.
    """
    for extension, call in _classifiers():
        try:
            answer = call(error)
        except (Exception, SystemExit) as problem:  # noqa: BLE001 - foreign code
            passed_over(str(extension), f"it failed: {reason(problem)}")
            continue
        if answer is None:
            continue
        with contextlib.suppress(ValueError, TypeError):
            return Category(answer)
        passed_over(
            str(extension), f"it answered {printable(repr(answer))}; categories are {_CATEGORIES}"
        )
    return None


def recoveries() -> Iterator[Recovery]:
    """Yield the recoveries that installed distributions bring, each with its distribution.

    Raises:
        BadExtension: One cannot be loaded, or holds no recovery.
    """
    for extension in _installed(RECOVERIES):
        found = _recoveries_in(extension.load())
        if not found:
            raise BadExtension(
                f"{extension} holds no recovery.",
                f"{printable(extension.entry.value)} must be a module with functions, or one "
                "function, under @modelmedic.healing.registry.recovery(...).",
                f"Correct or uninstall {printable(extension.distribution)}.",
            )
        for entry in found:
            yield dataclasses.replace(entry, distribution=extension.distribution)


def passed_over(who: str, why: str) -> None:
    """Warn that a plugin was passed over. Never raises: the diagnosis goes on without it."""
    message = f"{who} was passed over: {why}."
    try:
        warnings.warn(message, ExtensionWarning, stacklevel=2)
    except ExtensionWarning:  # -W error
        sys.stderr.write(f"{message}\n")


def reason(error: BaseException) -> str:
    """Return type and words of a foreign error, on one line."""
    with contextlib.suppress(Exception):
        return printable(f"{type(error).__name__}: {error}").rstrip(".")
    return type(error).__name__


def _installed(group: str) -> list[Extension]:
    found = [Extension(entry) for entry in entry_points(group=group)]
    return sorted(found, key=lambda item: (item.distribution, item.entry.name))


@cache
def _classifiers() -> tuple[tuple[Extension, Callable[[BaseException], object]], ...]:
    """Load the classifiers when the first error needs one; who cannot be loaded is told once."""
    found: list[tuple[Extension, Callable[[BaseException], object]]] = []
    for extension in _installed(CLASSIFIERS):
        try:
            call = extension.load()
        except BadExtension as error:
            passed_over(str(extension), reason(error.__cause__ or error))
            continue
        if callable(call):
            found.append((extension, call))
        else:
            passed_over(str(extension), f"{printable(extension.entry.value)} is not callable")
    return tuple(found)


def _recoveries_in(loaded: object) -> list[Recovery]:
    values = list(vars(loaded).values()) if isinstance(loaded, ModuleType) else [loaded]
    found = [getattr(value, "recovery", None) for value in values if callable(value)]
    return [entry for entry in found if isinstance(entry, Recovery)]


def told_family(implementations: Sequence[Any], **values: Any) -> str | None:
    """Return the family that a `pytest_heal_classify` hook names, or None.

    Plugin after plugin is asked, the last registered first, so that one that crashes or errs keeps
    nobody from answering; it is passed over with a warning.

    Args:
        implementations: The hook's implementations, in pluggy's order.
        values: What the hook may ask for, by name.
    """
    for implementation in reversed(implementations):
        who = f"pytest_heal_classify of the plugin {implementation.plugin_name}"
        try:
            told = implementation.function(*(values[name] for name in implementation.argnames))
        except (Exception, SystemExit) as problem:  # noqa: BLE001 - foreign code
            passed_over(who, f"it failed: {reason(problem)}")
            continue
        if told in FAMILIES:
            return str(told)
        if told is not None:
            known = ", ".join(FAMILIES)
            passed_over(who, f"it answered {told!r}; families are {known}")
    return None
