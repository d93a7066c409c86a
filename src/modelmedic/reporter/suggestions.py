"""Suggestions to administrators: each from one rule, with the numbers that it follows from.

A rule says what was seen and what could be done. Where a cause is not proven it says so.
"""

from __future__ import annotations

import itertools
import math
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelmedic.reporter.interfaces import Effect, ErrorPattern, Trend
from modelmedic.reporter.reading import ALL, Run, Scope
from modelmedic.reporter.trends import DAY, FAILED_RUNS
from modelmedic.text import counted, duration, printable, quoted

MOST_OF_A_RULE = 5
REPAIRS, REPAIR_DAYS = 3, 10  # so often in so many days is no accident of one download
HORIZON_DAYS = 30.0  # of a disk that fills; beyond it a slope of days says little
FRESH_DAYS = 2.0  # so old may the newest value of a forecast be
# Below one half with 97.5 % certainty, a recovery fails more often than it helps.
RARELY = 0.5
SILENT_GAPS, LEAST_SILENT_DAYS, _LEAST_RUNS = 3.0, 2.0, 5
UNTRIED_DAYS = 3.0  # a cause that stays so long was not repaired in passing
_DECIMAL_GB = 1e9  # as disks are sold, and as df -H prints them


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the rules look at.

    Args:
        connection: To the history.
        now: Seconds since the epoch.
        scope: What is reported on.
        folder: Its folder, masked.
        causes: What is wrong now, as in `InstallationReport`.
        changed: What changed between ``good`` and ``bad``.
        good: The last run that found nothing wrong.
        bad: The first one after it that did.
        effects: Of recoveries, not by category.
        patterns: All that were found.
        trends: All that were found.
    """

    connection: sqlite3.Connection
    now: float
    scope: Scope = ALL
    folder: str = ""
    causes: Sequence[Mapping[str, Any]] = ()
    changed: Sequence[str] = ()
    good: Run | None = None
    bad: Run | None = None
    effects: Sequence[Effect] = ()
    patterns: Sequence[ErrorPattern] = ()
    trends: Sequence[Trend] = ()


def suggestions(seen: Evidence) -> tuple[str, ...]:
    """Return what the rules suggest, in the order of the rules; at most five of each."""
    return tuple(text for rule in RULES for text in itertools.islice(rule(seen), MOST_OF_A_RULE))


def changed_before_it_failed(seen: Evidence) -> Iterator[str]:
    """A change between the last good run and the first bad one, while something is wrong."""
    if not (seen.causes and seen.changed and seen.good and seen.bad):
        return
    span = (
        f"between the last good run {seen.good.run_id} ({_day(seen.good.started_at)}) and the "
        f"first bad one {seen.bad.run_id} ({_day(seen.bad.started_at)})"
    )
    for text in seen.changed:
        if " changed from " in text:
            yield (
                f"{text.rstrip('.')} {span}. That this is the cause is not proven: put the old "
                "one back and run the checks again to see."
            )


def repaired_again_and_again(seen: Evidence) -> Iterator[str]:
    """The same check was healed `REPAIRS` times in `REPAIR_DAYS` days."""
    where, values = seen.scope.of_runs()
    rows = seen.connection.execute(
        "SELECT name, area, count(*) AS times, min(started_at), max(started_at) "  # noqa: S608 - no value is in it
        "FROM finding INDEXED BY finding_repaired JOIN run ON run.id = finding.run "
        "JOIN check_name ON check_name.id = check_id WHERE outcome IN ('healed', 'degraded') "
        f"AND outcome = 'healed' AND started_at >= ? {where} GROUP BY install_id, check_id "
        "HAVING count(*) >= ? ORDER BY times DESC, name",
        [seen.now - REPAIR_DAYS * DAY, *values, REPAIRS],
    )
    for name, area, times, first, last in rows:
        advice = (
            "Why is not proven. Where bytes went bad: test memory and disk (memtest86+, smartctl "
            "-a). Where the file was gone or another one: look for what removes or writes it."
            if area == "weights"
            else "Why is not proven: the repair does not last, or something puts the fault back. "
            "Look for what writes there between the runs."
        )
        yield (
            f"{printable(name)} was repaired {times} times from {_day(first)} to {_day(last)}. "
            f"{advice}"
        )


def disk_fills(seen: Evidence) -> Iterator[str]:
    """Free space falls, and is used up within `HORIZON_DAYS` days at that rate."""
    for each in seen.trends:
        if fills(each, seen.now) and each.interval and each.slope_per_day:
            days, soonest, latest = days_left(each, seen.now)
            low, high = sorted(abs(end) / _DECIMAL_GB for end in each.interval)
            yield (
                f"{printable(each.name)} falls {abs(each.slope_per_day) / _DECIMAL_GB:.1f} GB a "
                f"day (95 % interval {low:.1f} to {high:.1f}, {len(each.points)} points): full in "
                f"about {_days(days)} ({soonest:.0f} to {latest:.0f}) if it goes on so. Make room, "
                "or find out what grows."
            )


def recovery_rarely_works(seen: Evidence) -> Iterator[str]:
    """A recovery's success rate lies below one half, whole interval."""
    for each in seen.effects:
        low, high = each.interval
        if not each.category and high < RARELY:
            yield (
                f"{printable(each.recovery)} worked {each.healed} of {each.tries} times (95 % "
                f"interval {low:.0%} to {high:.0%}). Do what it does by hand, or leave it out: "
                f"docs/checks.md#{printable(each.recovery).replace('_', '-')} says what it changes."
            )


def machine_is_silent(seen: Evidence) -> Iterator[str]:
    """A machine has not reported for three times as long as it used to take."""
    where, values = seen.scope.of_machines("id")
    for machine_id, name, last in seen.connection.execute(
        "SELECT id, name, last_seen FROM machine "  # noqa: S608 - no value is in it
        f"WHERE last_seen < ? {where} ORDER BY last_seen",
        [seen.now - LEAST_SILENT_DAYS * DAY, *values],
    ).fetchall():
        starts = sorted(
            row[0]
            for row in seen.connection.execute(
                "SELECT started_at FROM run WHERE machine_id = ? ORDER BY run_id DESC LIMIT 30",
                [machine_id],
            )
        )
        gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
        if len(starts) < _LEAST_RUNS or seen.now - last < SILENT_GAPS * statistics.median(gaps):
            continue
        usual = f"{duration(statistics.median(gaps))} (median of {len(gaps)} gaps)"
        yield (
            f"{printable(name)} has not reported for {_days((seen.now - last) / DAY)}; before, it "
            f"did every {usual}. See whether it runs and whether its timer does."
        )


def could_not_look(seen: Evidence) -> Iterator[str]:
    """A check could not judge in a row of runs that is days long."""
    for cause in seen.causes:
        days = (seen.now - float(cause["since"])) / DAY
        if cause["outcome"] == "unknown" and days >= UNTRIED_DAYS:
            yield (
                f"{printable(cause['check'])} could not be judged since {_day(cause['since'])} "
                f"({_days(days)}): what it watches over may be broken unseen. "
                f"{printable(cause['next'] or cause['what'] or '')}"
            ).rstrip()


def nobody_tried(seen: Evidence) -> Iterator[str]:
    """A check has failed for days, and no run since then was allowed to repair."""
    failed = [cause for cause in seen.causes if cause["outcome"] == "failed"]
    if seen.scope.install_id is None or not failed:
        return
    since = min(float(cause["since"]) for cause in failed)
    runs, healing = seen.connection.execute(
        "SELECT count(*), count(CASE WHEN mode IN ('ask', 'apply') THEN 1 END) FROM run "
        "WHERE install_id = ? AND started_at >= ?",
        [seen.scope.install_id, since],
    ).fetchone()
    if not healing and (seen.now - since) / DAY >= UNTRIED_DAYS:
        yield (
            f"{counted(len(failed), 'check')} failed, the oldest since {_day(since)}, and none of "
            f"the {counted(runs, 'run')} since then was allowed to repair. What would be done: "
            f"{_command('plan', seen.folder)}"
        )


def flaps(seen: Evidence) -> Iterator[str]:
    """An outcome changes to and fro: what it hangs on is not in the install alone."""
    for pattern in seen.patterns:
        if pattern.kind == "flaps":
            yield (
                f"{pattern.text} Look for what changes with it: load, mounts, network, or another "
                "program that uses the same files."
            )


def fails_more_often(seen: Evidence) -> Iterator[str]:
    """The share of failing runs rises."""
    for each in seen.trends:
        if each.name == FAILED_RUNS and each.direction == "rising" and each.slope_per_day:
            first, last = each.points[0], each.points[-1]
            yield (
                f"The share of runs that failed rises by {each.slope_per_day:.1%} a day over "
                f"{len(each.points)} days: {first[1]:.0%} on {_day(first[0])}, {last[1]:.0%} on "
                f"{_day(last[0])}. See the causes that began in this time."
            )


RULES: tuple[Callable[[Evidence], Iterator[str]], ...] = (
    changed_before_it_failed,
    repaired_again_and_again,
    disk_fills,
    recovery_rarely_works,
    nobody_tried,
    could_not_look,
    machine_is_silent,
    flaps,
    fails_more_often,
)


def fills(each: Trend, now: float) -> bool:
    """Return whether a trend is that of a disk that is full within `HORIZON_DAYS` days.

    Not one whose monitor has stopped: what happened since then is not known.
    """
    is_falling = each.name.startswith("disk.free_bytes") and each.direction == "falling"
    is_new = bool(each.points) and now - each.points[-1][0] <= FRESH_DAYS * DAY
    return is_falling and is_new and days_left(each, now)[0] <= HORIZON_DAYS


def days_left(each: Trend, now: float) -> tuple[float, float, float]:
    """Return the expected, the least and the most days until a falling trend reaches nothing.

    Its interval excludes zero: see `Trend.direction`.
    """
    at, last = each.points[-1]
    low, high = each.interval or (-math.inf, -math.inf)
    gone = (now - at) / DAY
    expected, soonest, latest = (
        max(0.0, max(0.0, last) / -slope - gone)
        for slope in (each.slope_per_day or -math.inf, low, high)
    )
    return expected, soonest, latest


def _command(command: str, folder: str) -> str:
    """Return a command line for a folder as a record has it, where "~" stands for the home."""
    if not folder:
        return f"modelmedic {command}"
    if folder.startswith("~/"):
        return f"modelmedic {command} --install-dir ~/{quoted(folder[2:])}"
    return f"modelmedic {command} --install-dir {quoted(folder)}"


def _days(days: float) -> str:
    return counted(round(days), "day") if days >= 1 else "less than a day"


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))
