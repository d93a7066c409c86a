"""How well recoveries have worked, with the interval that so few tries leave open."""

from __future__ import annotations

import sqlite3
import statistics
from collections import defaultdict

from modelmedic.healing.posterior import Posterior
from modelmedic.reporter.interfaces import Effect

LEVEL = 0.95
_MOST_TIMES = 500  # newest durations that a median is of


def effects(
    connection: sqlite3.Connection,
    *,
    machine_ids: list[int] | None = None,
    since: float = 0.0,
    is_by_category: bool = False,
) -> list[Effect]:
    """Return how often the same check passed after each recovery, the most tried first.

    Args:
        connection: To the history.
        machine_ids: Only on these; None takes all.
        since: Only what was judged since then.
        is_by_category: One entry for each recovery and error category, not for each recovery.
    """
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for recovery, category, verdict, number in connection.execute(
        "SELECT recovery, category, verdict, count(*) FROM heal "  # noqa: S608 - no value is in it
        f"WHERE at >= ? {_on(machine_ids)} GROUP BY recovery, category, verdict",
        [since, *(machine_ids or [])],
    ):
        counted = counts[recovery, category if is_by_category else ""]
        counted[0] += number * (verdict == "healed")
        counted[1] += number
    found = [
        Effect(
            recovery,
            healed,
            tries,
            Posterior(healed, tries - healed).interval(LEVEL),
            _median_seconds(connection, recovery, machine_ids, since),
            category,
        )
        for (recovery, category), (healed, tries) in counts.items()
    ]
    return sorted(found, key=lambda each: (-each.tries, each.recovery, each.category))


def _median_seconds(
    connection: sqlite3.Connection, recovery: str, machine_ids: list[int] | None, since: float
) -> float | None:
    """Return the median of those whose operations all ended; the log says 0 for the others."""
    rows = connection.execute(
        "SELECT seconds FROM heal WHERE recovery = ? AND seconds > 0 AND at >= ? "  # noqa: S608 - no value is in it
        f"{_on(machine_ids)} ORDER BY at DESC LIMIT ?",
        [recovery, since, *(machine_ids or []), _MOST_TIMES],
    ).fetchall()
    return statistics.median(row[0] for row in rows) if rows else None


def _on(machine_ids: list[int] | None) -> str:
    if machine_ids is None:
        return ""
    return f"AND machine_id IN ({', '.join('?' * len(machine_ids))})"
