"""How runs, durations, repairs and what the monitor saw move over days."""

from __future__ import annotations

import json
import math
import sqlite3
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from modelmedic.monitor.slopes import theil_sen
from modelmedic.reporter.interfaces import Trend
from modelmedic.reporter.reading import ALL, Scope

DAY = 86_400.0
HOUR = 3_600.0
FAILED_RUNS = "runs that failed"
RUN_SECONDS = "seconds of a run"
REPAIRED = "repairs that healed"
SHARES = frozenset({FAILED_RUNS, REPAIRED})
MOST_RUNS = 20_000
_MOST_TIMED_RUNS = 200  # the newest, whose checks' durations are looked at: 50,000 findings
_MOST_CHECKS = 10  # those that take the most time
_MOST_SERIES = 60  # of a monitor: some disks, cards and process trees
# Below this time a point stands for an hour of the monitor's minutes, above it for a day: hours of
# one day are too alike to be counted as points of their own.
_DAILY_FROM = 6 * DAY


def trends(
    connection: sqlite3.Connection,
    since: float,
    until: float,
    *,
    scope: Scope = ALL,
    monitored: int | None = None,
) -> list[Trend]:
    """Return the trends of a time.

    Args:
        connection: To the history.
        since: Begin of the time, seconds since the epoch.
        until: Its end.
        scope: Whose runs and repairs.
        monitored: Machine whose monitor's series are looked at; None leaves them out.
    """
    return [
        *of_runs(connection, since, until, scope),
        *of_checks(connection, since, until, scope),
        *of_repairs(connection, since, until, scope),
        *(of_monitor(connection, since, until, monitored) if monitored is not None else ()),
    ]


def of_runs(
    connection: sqlite3.Connection, since: float, until: float, scope: Scope
) -> Iterator[Trend]:
    """Yield the share of failing runs and the median duration of a run, for each day."""
    where, values = scope.of_runs()
    failed: dict[float, list[float]] = defaultdict(list)
    seconds: dict[float, list[float]] = defaultdict(list)
    for at, took, counts in connection.execute(
        "SELECT started_at, seconds, counts FROM run WHERE started_at BETWEEN ? AND ? "  # noqa: S608 - no value is in it
        f"{where} ORDER BY started_at DESC LIMIT ?",
        [since, until, *values, MOST_RUNS],
    ):
        failed[_day(at)].append(float(is_wrong(counts)))
        seconds[_day(at)].append(took)
    if failed:
        yield trend(FAILED_RUNS, "", _each(failed, statistics.fmean))
        yield trend(RUN_SECONDS, "seconds", _each(seconds, statistics.median))


def of_checks(
    connection: sqlite3.Connection, since: float, until: float, scope: Scope
) -> Iterator[Trend]:
    """Yield the median duration, for each day, of the checks that take the most time."""
    where, values = scope.of_runs()
    runs = connection.execute(
        "SELECT id, started_at FROM run WHERE started_at BETWEEN ? AND ? "  # noqa: S608 - no value is in it
        f"{where} ORDER BY started_at DESC LIMIT ?",
        [since, until, *values, _MOST_TIMED_RUNS],
    ).fetchall()
    times: dict[int, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run, at in runs:
        for check_id, took in connection.execute(
            "SELECT check_id, seconds FROM finding WHERE run = ? AND seconds > 0 "
            "AND outcome <> 'blocked'",
            [run],
        ):
            times[check_id][_day(at)].append(took)
    most = sorted(times, key=lambda key: -sum(map(sum, times[key].values())))[:_MOST_CHECKS]
    for check_id in most:
        (name,) = connection.execute("SELECT name FROM check_name WHERE id = ?", [check_id])
        yield trend(f"seconds of {name[0]}", "seconds", _each(times[check_id], statistics.median))


def of_repairs(
    connection: sqlite3.Connection, since: float, until: float, scope: Scope
) -> Iterator[Trend]:
    """Yield the share of judged repairs that healed, for each day that had one."""
    where, values = scope.of_machines()
    days: dict[float, list[float]] = defaultdict(list)
    for at, verdict in connection.execute(
        "SELECT at, verdict FROM heal WHERE at BETWEEN ? AND ? "  # noqa: S608 - no value is in it
        f"{where} ORDER BY at DESC LIMIT ?",
        [since, until, *values, MOST_RUNS],
    ):
        days[_day(at)].append(float(verdict == "healed"))
    if days:
        yield trend(REPAIRED, "", _each(days, statistics.fmean))


def of_monitor(
    connection: sqlite3.Connection, since: float, until: float, machine_id: int
) -> Iterator[Trend]:
    """Yield each series of a machine's monitor: the mean of each day, or of each hour."""
    for name, oldest, newest in _series(connection, since, until, machine_id):
        step = DAY if newest - oldest >= _DAILY_FROM else HOUR
        rows = connection.execute(
            "SELECT avg(at), sum(mean * samples) / sum(samples) FROM minute "
            "WHERE machine_id = ?2 AND series = ?3 AND at BETWEEN ?4 AND ?5 AND samples > 0 "
            "GROUP BY CAST(at / ?1 AS INTEGER) ORDER BY 1",
            [step, machine_id, name, since, until],
        )
        yield trend(name, unit_of(name), [(at, value) for at, value in rows])


def _series(
    connection: sqlite3.Connection, since: float, until: float, machine_id: int
) -> list[tuple[str, float, float]]:
    """Return name, oldest and newest minute of each series, found by jumps through the index."""
    found: list[tuple[str, float, float]] = []
    name = ""
    while len(found) < _MOST_SERIES:
        row = connection.execute(
            "SELECT min(series) FROM minute WHERE machine_id = ? AND series > ?",
            [machine_id, name],
        ).fetchone()
        if row[0] is None:
            break
        name = row[0]
        oldest, newest = connection.execute(
            "SELECT (SELECT min(at) FROM minute WHERE machine_id = ?1 AND series = ?2 "
            "AND at BETWEEN ?3 AND ?4), (SELECT max(at) FROM minute WHERE machine_id = ?1 "
            "AND series = ?2 AND at BETWEEN ?3 AND ?4)",
            [machine_id, name, since, until],
        ).fetchone()
        if oldest is not None:
            found.append((name, oldest, newest))
    return found


def is_watched(connection: sqlite3.Connection, machine_id: int, since: float) -> bool:
    """Return whether a machine's monitor stored a minute since then."""
    return bool(_series(connection, since - HOUR / 60, math.inf, machine_id))


def trend(name: str, unit: str, points: Iterable[tuple[float, float]]) -> Trend:
    """Return points with their slope, where there is enough to have one."""
    kept = tuple((float(at), float(value)) for at, value in points if math.isfinite(value))
    slope = theil_sen(kept)
    if slope is None:
        return Trend(name, unit, kept, None, None, "none")
    interval = (slope.low * DAY, slope.high * DAY)
    is_known = all(map(math.isfinite, interval))
    direction = "rising" if slope.low > 0 else "falling" if slope.high < 0 else "none"
    return Trend(
        name, unit, kept, slope.per_second * DAY, interval if is_known else None,
        direction if is_known else "none",
    )  # fmt: skip


def unit_of(series: str) -> str:
    """Return the unit in a series' name: "bytes" of "disk.free_bytes[/models]"."""
    ending = series.partition("[")[0].rpartition("_")[2]
    return ending if ending in {"bytes", "seconds", "celsius", "watts", "percent"} else ""


def is_wrong(counts: str) -> bool:
    """Return whether a run's counts hold a failed check, or one that could not be judged."""
    try:
        found = json.loads(counts)
        return bool(found.get("failed", 0) or found.get("unknown", 0))
    except (ValueError, AttributeError, RecursionError):
        return False


def _day(at: float) -> float:
    return at // DAY * DAY


def _each(
    days: dict[float, list[float]], of: Callable[[list[float]], float]
) -> list[tuple[float, float]]:
    return [(day, of(values)) for day, values in sorted(days.items())]
