"""Machines that stopped reporting, judged by their own rhythm and not by one number for all."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from modelmedic.fleet.health import Health
from modelmedic.fleet.machines import DAY_SECONDS, Machine

LEAST_DAYS = 3.0  # a weekend is no silence
UNKNOWN_DAYS = 14.0  # for a machine whose rhythm is not known yet
FACTOR = 3.0  # of its usual pause
# Of so many pauses the longest is asked too. When pauses come as they came, the next one is longer
# than the longest of n with chance 1 / (n + 1): one false word in 21.
_NEWEST = 20
_LEAST_PAUSES = 3


@dataclass(frozen=True, slots=True)
class Silent:
    """A machine that has said nothing for longer than it ever usually does.

    ``usual_days`` is the median pause between days with a report; None: too few to tell.
    """

    machine: Machine
    verdict: str
    last_report: float
    silent_days: float
    usual_days: float | None
    limit_days: float


def silent(healths: Sequence[Health], now: float) -> list[Silent]:
    """Return the machines that stopped reporting, the longest silent first."""
    found = [each for health in healths if (each := _judged(health, now))]
    return sorted(found, key=lambda each: -each.silent_days)


def limit(starts: Sequence[float]) -> tuple[float | None, float]:
    """Return the usual pause in days (None: not known) and the one that is called silence.

    Pauses are counted between days with a report (UTC): ten runs in an afternoon of repairs are
    one sign of life. Silence is longer than `LEAST_DAYS`, than `FACTOR` times the median pause, and
    than the longest of the last pauses; with fewer than three of them, than `UNKNOWN_DAYS`.

    Args:
        starts: When the runs began, seconds since the epoch, in any order.
    """
    days = sorted({int(start // DAY_SECONDS) for start in starts})[-_NEWEST - 1 :]
    pauses = [later - earlier for earlier, later in pairwise(days)]
    if len(pauses) < _LEAST_PAUSES:
        return None, UNKNOWN_DAYS
    usual = float(statistics.median(pauses))
    return usual, max(LEAST_DAYS, FACTOR * usual, float(max(pauses)))


def _judged(health: Health, now: float) -> Silent | None:
    if health.last_report is None:
        return None
    usual, most = limit([run.started_at for run in health.runs])
    days = (now - health.last_report) / DAY_SECONDS
    if days <= most:
        return None
    return Silent(health.machine, health.verdict, health.last_report, days, usual, most)
