"""All that the dashboard shows of all machines, read from the history in one go."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass

from modelmedic.fleet import cohort, health, machines, recoveries, slowest, stale, trend


@dataclass(frozen=True, slots=True)
class Survey:
    """How all machines are at one moment; what happened is told of the last ``days`` days."""

    now: float
    days: int
    known: machines.Known
    machines: list[health.Health]
    silent: list[stale.Silent]
    trend: trend.Trend
    recoveries: list[recoveries.RecoverySuccess]
    slowest: list[slowest.Timing]
    contrasts: list[cohort.Contrast]

    @property
    def verdicts(self) -> dict[str, int]:
        """Return how many machines have each verdict, the gravest first."""
        counts = Counter(each.verdict for each in self.machines)
        return {verdict: counts[verdict] for verdict in health.VERDICTS}


def survey(connection: sqlite3.Connection, *, now: float, days: int = 30) -> Survey:
    """Return how all machines are.

    Args:
        connection: Of a history (`modelmedic.history.schema`); it is only read.
        now: Seconds since the epoch.
        days: For trends and recoveries, 1 to `trend.MOST_DAYS`; healths and silence look at all.
    """
    known = machines.read(connection)
    healths = health.of_all(connection, known)
    return Survey(
        now=now,
        days=days,
        known=known,
        machines=healths,
        silent=stale.silent(healths, now),
        trend=trend.trend(connection, known, now, days),
        recoveries=recoveries.success(connection, now - days * machines.DAY_SECONDS),
        slowest=slowest.slowest(connection, known),
        contrasts=cohort.contrasts(connection, known, healths),
    )
