"""How long an installer's components take, as it tells: a lasting change is an issue."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from modelmedic.monitor.degradation import Watch
from modelmedic.monitor.interfaces import HealthStatus, PotentialIssue

_MOST = 200
_LEAST_SECONDS = 1e-3  # below it a change is the machine's noise and nobody waits for it
Row = tuple[float, str, str, int, int, int, "float | None", "float | None"]


class Counting(Protocol):
    """The part of a `ReliabilityManager` that is read."""

    def metrics(self, component: str | None = None) -> Any:
        """Return the counts so far."""

    def health(self, component: str) -> Any:
        """Return the `ComponentHealth` of one component."""


class Publisher:
    """Reads a manager's counts and returns what came since the last reading.

    Args:
        manager: The installer's manager.
    """

    def __init__(self, manager: Counting) -> None:
        self._manager = manager
        self._before: Any = None

    def news(self) -> list[dict[str, Any]]:
        """Return one entry for each operation that was called since; plain values."""
        found = self._manager.metrics()
        since = found if self._before is None else found.minus(self._before)
        self._before = found
        return [
            {
                "component": component,
                "operation": operation,
                "calls": entry.calls,
                "failures": entry.failures + entry.optional,
                "retries": entry.retried,
                "median_seconds": _known(entry.p50_seconds),
                "p99_seconds": _known(entry.p99_seconds),
            }
            for (component, operation), entry in list(since.operations.items())[:_MOST]
            if entry.calls
        ]


def statuses(manager: Counting) -> dict[str, HealthStatus]:
    """Return how each component of a manager does, by the formula of `ComponentHealth`."""
    names = dict.fromkeys(component for component, _ in manager.metrics().operations)
    return {name: HealthStatus(manager.health(name).state) for name in names}


def _known(seconds: float) -> float | None:
    return None if math.isnan(seconds) else seconds


class Components:
    """Watches the response times that an installer tells; a judge of `Watch`."""

    def __init__(self) -> None:
        self._watches: dict[str, Watch] = {}
        self._rows: list[Row] = []

    def hear(self, wall: float, told: Sequence[Mapping[str, Any]]) -> None:
        """Take what `Publisher.news` returned."""
        for entry in list(told)[:_MOST]:
            name = f"{entry['component']}.{entry['operation']}"
            median = entry["median_seconds"]
            self._rows.append((wall, *list(entry.values())[:7]))
            if median is not None and (name in self._watches or len(self._watches) < _MOST):
                self._watches.setdefault(name, Watch(name)).add(wall, median)
        del self._rows[:-_MOST]

    def take_rows(self) -> list[Row]:
        """Return the rows for the history that came since the last call."""
        rows, self._rows = self._rows, []
        return rows

    def step(
        self,
        now: float,  # noqa: ARG002 - as the other judges
        wall: float,  # noqa: ARG002
        readings: Mapping[str, float],  # noqa: ARG002
    ) -> list[PotentialIssue]:
        """Return which operations take lastingly longer than before."""
        return [
            watch.change.issue()
            for watch in list(self._watches.values())
            if watch.change is not None and watch.change.after_seconds >= _LEAST_SECONDS
        ]
