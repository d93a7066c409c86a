"""Recoveries by name and family, and the tables that map what failed to a family."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from modelmedic.errors import RecoveryRefused
from modelmedic.findings import Attempt
from modelmedic.findings import EnhancedErrorCategory as Category
from modelmedic.healing.slots import IRecoveryStrategy, RecoveryStrategyRegistry
from modelmedic.limits import TimeoutManager
from modelmedic.operations.base import RISKS

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

FAMILY_OF_CATEGORY = {
    Category.SYSTEM: "system",
    Category.NETWORK: "network_failure",
    Category.TIMEOUT: "network_failure",
    Category.AUTHENTICATION: "network_failure",
    Category.PERMISSION: "permission",
    Category.CONFIGURATION: "configuration",
    Category.DEPENDENCY: "dependency_failure",
    Category.VERSION_MISMATCH: "dependency_failure",
    Category.VALIDATION: "model_validation",
    Category.CORRUPTION: "model_validation",
    Category.MISSING_METHOD: "missing_method",
    Category.RESOURCE_EXHAUSTION: "resource",
}
# Where what is damaged or not as it should be is no model file.
_FAMILY_IN_AREA = {
    (Category.CORRUPTION, "python"): "dependency_failure",
    (Category.VALIDATION, "python"): "dependency_failure",
    (Category.CORRUPTION, "config"): "configuration",
    (Category.VALIDATION, "config"): "configuration",
}


def family_of(category: Category, area: str = "") -> str:
    """Return the family that repairs a category; in some areas another one than elsewhere."""
    return _FAMILY_IN_AREA.get((category, area), FAMILY_OF_CATEGORY[category])


F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Recovery:
    """The registry entry of a recovery fixture.

    Args:
        name: The fixture's name and the recovery's id, stable for ever.
        family: One of `FAMILIES`.
        order: Rank inside its family; smaller comes first.
        risk: The least risk class it has; the plan's own cost may raise it.
        limit: How long it may take to plan, an operation name of `TimeoutManager`; what it then
            does has the limits of its operations.
        title: First line of its docstring.
        function: The fixture function, a generator that yields once.
        distribution: Who brings it: "modelmedic", or a distribution's name and version.
    """

    name: str
    family: str
    order: int
    risk: str
    limit: str
    title: str
    function: Callable[..., Any]
    distribution: str = "modelmedic"


def recovery(
    family: str, *, order: int = 50, risk: str = "safe", limit: str = "quick_repair"
) -> Callable[[F], F]:
    """Make a function of the recovery room a recovery; the plugin turns it into a fixture.

    The function asks for ``repair`` and whatever facts it needs, calls ``repair.step`` for each
    operation, and yields once: the operations are applied there and the check runs again. It
    changes nothing itself.

    Raises:
        ValueError: The family, risk class or limit is unknown, or the function has no docstring.
    """
    limits = TimeoutManager.DEFAULT_TIMEOUTS
    for what, given, known in (
        ("family", family, FAMILIES), ("risk", risk, RISKS), ("limit", limit, limits),
    ):  # fmt: skip
        if given not in known:
            raise ValueError(f"unknown {what} {given!r}; known are {', '.join(known)}")

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
        self._only: frozenset[str] = frozenset()
        for entry in recoveries:
            self.add(entry)

    def add(self, entry: Recovery) -> None:
        """Add one; a name can never be taken over. The same one twice is one."""
        known = self._by_name.get(entry.name)
        if known is None:
            self._by_name[entry.name] = entry
        elif known.function is not entry.function:
            raise ValueError(
                f"two recoveries are named {entry.name}: one of {known.distribution}, one of "
                f"{entry.distribution}"
            )

    def keep_to(self, names: Iterable[str]) -> None:
        """Let no chain hold another recovery than these; none named: any.

        Raises:
            ValueError: There is no recovery of that name.
        """
        only = frozenset(names)
        if unknown := sorted(only - set(self._by_name)):
            known = ", ".join(self.names())
            raise ValueError(f"--using: there is no recovery {unknown[0]}; known are {known}")
        self._only = only

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(self._by_name)

    def get(self, name: str) -> Recovery:
        """Return one recovery; raises KeyError when there is none of that name."""
        return self._by_name[name]

    def for_family(self, family: str) -> list[Recovery]:
        """Return the recoveries of a family, and those that carry out one of its strategies.

        In their declared order; empty when there are none.
        """
        names = {name for entry in self.strategies(family) for name in _carried_out_by(entry)}
        found = [
            entry
            for entry in self._by_name.values()
            if entry.family == family or entry.name in names
        ]
        return sorted(found, key=lambda entry: (entry.order, entry.name))

    def chain(self, families: Iterable[str], using: Iterable[str] = ()) -> list[Recovery]:
        """Return the recoveries to try: the named ones in their order, else the families'."""
        named = [self.get(name) for name in using]
        found = named or list(
            dict.fromkeys(entry for family in families for entry in self.for_family(family))
        )
        return [entry for entry in found if not self._only or entry.name in self._only]

    def strategies(self, family: str) -> tuple[IRecoveryStrategy, ...]:
        """Return the strategies of the user's design for a family; empty for the other four."""
        return RecoveryStrategyRegistry.strategies.get(family, ())

    def carry_out(self, strategy: IRecoveryStrategy) -> list[Recovery]:
        """Return the recoveries that carry out a strategy.

        Raises:
            RecoveryRefused: There is none; says why and what to do instead.
        """
        return [self.get(name) for name in strategy.recoveries()]

    def refusals(self, families: Iterable[str]) -> list[Attempt]:
        """Return why each strategy of these families that nothing carries out was not tried.

        Nothing is told where a run was kept to some recoveries: then that is the reason.
        """
        told: list[Attempt] = []
        if self._only:
            return told
        for family in dict.fromkeys(families):
            for strategy in self.strategies(family):
                try:
                    strategy.recoveries()
                except RecoveryRefused as error:
                    told.append(Attempt(strategy.name, "refused", error=str(error)))
        return told

    def problem_of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """Return what is wrong with a ``recover`` marker, as a sentence; empty when nothing is.

        Args:
            args: The marker's own: the family.
            kwargs: The marker's own: ``using``, ids of recoveries.
        """
        if len(args) != 1 or set(kwargs) - {"using"}:
            return "recover() takes a family and using=[ids of recoveries], nothing else."
        if args[0] not in FAMILIES:
            return f"recover() names the family {args[0]!r}; known are {', '.join(FAMILIES)}."
        using = kwargs.get("using", ())
        if isinstance(using, str):
            return f"recover() has using={using!r}; it is a list: using=[{using!r}]."
        unknown = [name for name in using if name not in self._by_name]
        if unknown:
            return (
                f"recover() names the recovery {unknown[0]!r}, which no plugin brings; known are "
                f"{', '.join(self.names())}."
            )
        return ""


def _carried_out_by(strategy: IRecoveryStrategy) -> tuple[str, ...]:
    try:
        return strategy.recoveries()
    except RecoveryRefused:
        return ()
