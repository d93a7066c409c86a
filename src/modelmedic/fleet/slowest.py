"""The slowest checks, and those that take longer than they used to on the same installs."""

from __future__ import annotations

import sqlite3
import statistics
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil, comb

from modelmedic.fleet.discovery_rate import q_values
from modelmedic.fleet.machines import MOST_LETTERS, Known, Run

MOST_FINDINGS = 300_000  # read for this; a third of a second, and all that the newest runs hold
LEVEL = 0.05  # of false discoveries among the checks called slower
LEAST_RATIO = 1.25  # below it nobody would notice
LEAST_SECONDS = 0.1  # as the terminal: less is "under 0.1 s"
_MOST_RUNS = 12  # of one install
_MOST_INSTALLS = 1_000
_RECENT_SHARE = 4  # a quarter of the runs read is "now"


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one check takes in the newest runs of all installs, in seconds.

    ``ratio`` is the median over installs of now against before, where it is told to be slower: at
    least `LEAST_RATIO`, by a sign test over the installs, false discoveries held at `LEVEL`; else
    None.
    """

    check: str
    title: str
    runs: int
    median_seconds: float
    p95_seconds: float
    before_seconds: float | None
    ratio: float | None


def slowest(connection: sqlite3.Connection, known: Known, most: int = 20) -> list[Timing]:
    """Return the slowest checks by their 95th percentile; what became slower comes first.

    A parametrised check is one: its slowest parameter in a run is its time in that run.
    """
    names = _names(connection)
    now: dict[str, array[float]] = defaultdict(lambda: array("f"))
    before: dict[str, array[float]] = defaultdict(lambda: array("f"))
    ratios: dict[str, list[float]] = defaultdict(list)
    for recent, earlier in _samples(connection, known, {n: name for n, (name, _) in names.items()}):
        for check, seconds in recent.items():
            now[check].extend(seconds)
            if check in earlier:
                before[check].extend(earlier[check])
                ratios[check].append(
                    statistics.median(seconds) / (statistics.median(earlier[check]) or 1e-9)
                )
    titles = dict(names.values())
    slower = _slower(ratios)
    found = [
        Timing(
            check, titles[check], len(seconds), statistics.median(seconds), _p95(seconds),
            statistics.median(before[check]) if before.get(check) else None, slower.get(check),
        )
        for check, seconds in now.items()
    ]  # fmt: skip
    told = [each for each in found if each.p95_seconds >= LEAST_SECONDS]
    return sorted(told, key=lambda each: (each.ratio is None, -each.p95_seconds))[:most]


def _names(connection: sqlite3.Connection) -> dict[int, tuple[str, str]]:
    rows = connection.execute("SELECT id, name, title FROM check_name")
    return {
        row[0]: (row[1].partition("[")[0][:MOST_LETTERS], row[2][:MOST_LETTERS]) for row in rows
    }


def _samples(
    connection: sqlite3.Connection, known: Known, names: Mapping[int, str]
) -> Iterator[tuple[dict[str, list[float]], dict[str, list[float]]]]:
    """Give for each install the seconds of its newest runs and of those before, by check.

    Installs that reported last come first, until `MOST_FINDINGS` are read.
    """
    ordered = sorted(known.runs.values(), key=lambda runs: -runs[-1].started_at)[:_MOST_INSTALLS]
    each = _runs_each(ordered)
    left = MOST_FINDINGS
    for runs in ordered:
        chosen = runs[-each:]
        left -= sum(sum(run.counts.values()) for run in chosen)
        if left < 0:
            return
        recent = max(1, len(chosen) // _RECENT_SHARE)
        yield (
            _seconds(connection, chosen[-recent:], names),
            _seconds(connection, chosen[:-recent], names),
        )


def _runs_each(ordered: list[list[Run]]) -> int:
    """Return how many runs of each install can be read, at least two: now and before."""
    newest = sum(sum(runs[-1].counts.values()) for runs in ordered) or 1
    return min(max(MOST_FINDINGS // newest, 2), _MOST_RUNS)


def _seconds(
    connection: sqlite3.Connection, runs: list[Run], names: Mapping[int, str]
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        most: dict[str, float] = {}
        for check, seconds in connection.execute(
            "SELECT check_id, seconds FROM finding WHERE run = ? AND seconds IS NOT NULL "
            "AND outcome NOT IN ('skipped', 'blocked')",
            (run.id,),
        ):
            name = names[check]
            most[name] = max(seconds, most.get(name, 0.0))
        for name, seconds in most.items():
            found[name].append(seconds)
    return found


def _slower(ratios: Mapping[str, list[float]]) -> dict[str, float]:
    """Return the checks that became slower, with the median ratio over the installs."""
    checks = list(ratios)
    chances = [
        sign_test(sum(r > 1 for r in ratios[c]), sum(r != 1 for r in ratios[c])) for c in checks
    ]
    told = zip(checks, q_values(chances), strict=True)
    found = {check: statistics.median(ratios[check]) for check, q in told if q <= LEVEL}
    return {check: ratio for check, ratio in found.items() if ratio >= LEAST_RATIO}


def sign_test(more: int, count: int) -> float:
    """Return how likely at least so many of ``count`` grew when growing is a coin's throw.

    1 where not even half of them grew: nothing is asked about that.
    """
    if 2 * more <= count:
        return 1.0
    whole = term = comb(count, more)
    for n in range(more, count):
        term = term * (count - n) // (n + 1)
        whole += term
    return float(whole / 2**count)


def _p95(seconds: array[float]) -> float:
    """Return the least time that 95 % of the runs do not exceed."""
    return sorted(seconds)[ceil(0.95 * len(seconds)) - 1]
