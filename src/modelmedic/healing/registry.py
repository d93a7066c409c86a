"""Recoveries by name and family, and the one table that maps what failed to a family."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from modelmedic.findings import EnhancedErrorCategory as Category

FAMILIES = (
    "missing_method",
    "model_validation",
    "network_failure",
    "dependency_failure",
    "configuration",
    "permission",
    "system",
    "resource",
)

# What a failing check of an area is, when its exception does not say more.
CATEGORY_OF_AREA = {
    "system": Category.SYSTEM,
    "disk": Category.RESOURCE_EXHAUSTION,
    "permissions": Category.PERMISSION,
    "hardware": Category.SYSTEM,
    "python": Category.DEPENDENCY,
    "network": Category.NETWORK,
    "install": Category.VALIDATION,
    "weights": Category.CORRUPTION,
    "config": Category.CONFIGURATION,
}

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Recovery:
    """The registry entry of a recovery fixture.

    Args:
        name: The fixture's name and the recovery's id, stable for ever.
        family: One of `FAMILIES`.
        order: Rank inside its family; smaller comes first.
        risk: The least risk class it has; the plan's own cost may raise it.
        limit: Its time limit, an operation name of `TimeoutManager`.
        title: First line of its docstring.
        function: The fixture function, a generator that yields once.
    """

    name: str
    family: str
    order: int
    risk: str
    limit: str
    title: str
    function: Callable[..., Any]


def recovery(
    family: str, *, order: int = 50, risk: str = "safe", limit: str = "quick_repair"
) -> Callable[[F], F]:
    """Make a function of the recovery room a recovery; the plugin turns it into a fixture.

    The function asks for ``repair`` and whatever facts it needs, calls ``repair.step`` for each
    operation, and yields once: the operations are applied there and the check runs again. It
    changes nothing itself.

    Raises:
        ValueError: The family is unknown, or the function has no docstring.
    """
    if family not in FAMILIES:
        raise ValueError(f"unknown family {family!r}; known are {', '.join(FAMILIES)}")

    def register(function: F) -> F:
        title = (function.__doc__ or "").strip().partition("\n")[0]
        if not title:
            raise ValueError(f"recovery {function.__name__} needs a docstring: it is its title")
        function.recovery = Recovery(  # type: ignore[attr-defined]
            function.__name__, family, order, risk, limit, title, function
        )
        return function

    return register


class Registry:
    """All recoveries of a run.

    Raises:
        ValueError: Two recoveries have one name.
    """

    def __init__(self, recoveries: Iterable[Recovery] = ()) -> None:
        self._by_name: dict[str, Recovery] = {}
        for entry in recoveries:
            self.add(entry)

    def add(self, entry: Recovery) -> None:
        """Add one; a name can never be taken over."""
        if entry.name in self._by_name:
            raise ValueError(f"two recoveries are named {entry.name}")
        self._by_name[entry.name] = entry

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(self._by_name)

    def get(self, name: str) -> Recovery:
        """Return one recovery; raises KeyError when there is none of that name."""
        return self._by_name[name]

    def for_family(self, family: str) -> list[Recovery]:
        """Return a family's recoveries in their declared order; empty when it has none."""
        found = [entry for entry in self._by_name.values() if entry.family == family]
        return sorted(found, key=lambda entry: (entry.order, entry.name))

    def chain(self, family: str, using: Iterable[str] = ()) -> list[Recovery]:
        """Return the recoveries to try: the named ones in their order, else the family's."""
        named = [self.get(name) for name in using]
        return named or self.for_family(family)
