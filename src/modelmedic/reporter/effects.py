"""How well recoveries have worked, with the interval that so few tries leave open."""

from __future__ import annotations

import sqlite3
import statistics
from collections import defaultdict
from functools import lru_cache

from modelmedic.healing.posterior import Posterior
from modelmedic.reporter.interfaces import Effect
from modelmedic.reporter.reading import ALL, Scope

LEVEL = 0.95
_MOST_TIMES = 500  # newest durations that a median is of


def effects(
    connection: sqlite3.Connection,
    *,
    scope: Scope = ALL,
    since: float = 0.0,
    is_by_category: bool = False,
) -> list[Effect]:
    """Return how often the same check passed after each recovery, the most tried first.

    Args:
        connection: To the history.
        scope: On whose machines.
        since: Only what was judged since then.
        is_by_category: One entry for each recovery and error category, not for each recovery.
    """
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    where, values = scope.of_machines()
    for recovery, category, verdict, number in connection.execute(
        "SELECT recovery, category, verdict, count(*) FROM heal "  # noqa: S608 - no value is in it
        f"WHERE at >= ? {where} GROUP BY recovery, category, verdict",
        [since, *values],
    ):
        counted = counts[recovery, category if is_by_category else ""]
        counted[0] += number * (verdict == "healed")
        counted[1] += number
    found = [
        Effect(
            recovery,
            healed,
            tries,
            _interval(healed, tries),
            _median_seconds(connection, recovery, scope, since),
            category,
        )
        for (recovery, category), (healed, tries) in counts.items()
    ]
    return sorted(found, key=lambda each: (-each.tries, each.recovery, each.category))


@lru_cache(maxsize=1024)
def _interval(healed: int, tries: int) -> tuple[float, float]:
    """Return the interval of a rate; it takes 10 ms for a thousand tries, and many are alike."""
    return Posterior(healed, tries - healed).interval(LEVEL)


def _median_seconds(
    connection: sqlite3.Connection, recovery: str, scope: Scope, since: float
) -> float | None:
    """Return the median of those whose operations all ended; the log says 0 for the others."""
    where, values = scope.of_machines()
    rows = connection.execute(
        "SELECT seconds FROM heal WHERE recovery = ? AND seconds > 0 AND at >= ? "  # noqa: S608 - no value is in it
        f"{where} ORDER BY at DESC LIMIT ?",
        [recovery, since, *values, _MOST_TIMES],
    ).fetchall()
    return statistics.median(row[0] for row in rows) if rows else None
