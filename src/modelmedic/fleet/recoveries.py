"""How well recoveries work on all machines, by re-checks, with intervals."""

from __future__ import annotations

import sqlite3
import statistics
from collections import defaultdict
from dataclasses import dataclass

from modelmedic.fleet.machines import MOST_LETTERS
from modelmedic.healing.posterior import Posterior

LEVEL = 0.9  # of the interval, as in a plan (healing.effectiveness)


@dataclass(frozen=True, slots=True)
class RecoverySuccess:
    """What the judged repairs of one recovery say; the rate lies in ``interval`` by `LEVEL`."""

    recovery: str
    family: str
    healed: int
    tries: int
    machines: int
    interval: tuple[float, float]
    median_seconds: float | None
    fetched_bytes: int
    last_at: float


def success(connection: sqlite3.Connection, since: float = 0.0) -> list[RecoverySuccess]:
    """Return the recoveries that were tried since then, the most tried first.

    A success is a repair after which the same check, on fresh facts, held.
    """
    rows: dict[tuple[str, str], list[sqlite3.Row]] = defaultdict(list)
    for row in connection.execute(
        "SELECT recovery, family, verdict, machine_id, seconds, fetched_bytes, at "
        "FROM heal WHERE at >= ?",
        (since,),
    ):
        rows[row[0][:MOST_LETTERS], row[1][:MOST_LETTERS]].append(row)
    found = [_success(recovery, family, tries) for (recovery, family), tries in rows.items()]
    return sorted(found, key=lambda each: (-each.tries, each.recovery))


def _success(recovery: str, family: str, tries: list[sqlite3.Row]) -> RecoverySuccess:
    healed = sum(row[2] == "healed" for row in tries)
    took = [row[4] for row in tries if row[4] > 0]
    return RecoverySuccess(
        recovery=recovery,
        family=family,
        healed=healed,
        tries=len(tries),
        machines=len({row[3] for row in tries}),
        interval=Posterior(healed, len(tries) - healed).interval(LEVEL),
        median_seconds=statistics.median(took) if took else None,
        fetched_bytes=sum(row[5] for row in tries),
        last_at=max(row[6] for row in tries),
    )
