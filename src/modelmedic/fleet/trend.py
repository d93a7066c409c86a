"""Errors day by day: how many installs reported, how many were wrong, and with which causes."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from modelmedic.fleet.health import key_of
from modelmedic.fleet.machines import DAY_SECONDS, GREY, MOST_LETTERS, RED, Known

MOST_DAYS = 366


@dataclass(frozen=True, slots=True)
class Day:
    """One day, UTC: installs whose runs judged anything, and those of them last seen wrong."""

    start: float
    reporting: int
    failing: int


@dataclass(frozen=True, slots=True)
class CauseTrend:
    """In how many installs a cause was found, for each day; an install counts once a day.

    ``installs`` is in how many it was found in all these days.
    """

    key: str
    title: str
    by_day: tuple[int, ...]
    installs: int


@dataclass(frozen=True, slots=True)
class Trend:
    """The days, in order, and the causes, the one in most installs first."""

    days: tuple[Day, ...]
    causes: tuple[CauseTrend, ...]


def trend(connection: sqlite3.Connection, known: Known, now: float, days: int) -> Trend:
    """Return the last ``days`` days up to today; the last run of a day judges an install."""
    last = int(now // DAY_SECONDS)
    first = last - min(max(days, 1), MOST_DAYS) + 1
    wrong, reporting = _installs_by_day(known)
    counted = tuple(
        Day(day * DAY_SECONDS, len(reporting[day]), len(wrong[day]))
        for day in range(first, last + 1)
    )
    return Trend(counted, tuple(_causes(connection, known, first, last)))


def _installs_by_day(known: Known) -> tuple[dict[int, set[int]], dict[int, set[int]]]:
    wrong: dict[int, set[int]] = defaultdict(set)
    reporting: dict[int, set[int]] = defaultdict(set)
    for install, runs in known.runs.items():
        for run in runs:  # in the order of time: the last word of a day stays
            if run.colour == GREY:
                continue
            day = int(run.started_at // DAY_SECONDS)
            reporting[day].add(install)
            (wrong[day].add if run.colour == RED else wrong[day].discard)(install)
    return wrong, reporting


def _causes(
    connection: sqlite3.Connection, known: Known, first: int, last: int
) -> Iterator[CauseTrend]:
    place = {
        run.id: (int(run.started_at // DAY_SECONDS) - first, install)
        for install, runs in known.runs.items()
        for run in runs
        if first <= run.started_at // DAY_SECONDS <= last
    }
    names = {
        row[0]: (row[1], row[2])
        for row in connection.execute("SELECT id, name, title FROM check_name")
    }
    seen: dict[str, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    titles: dict[str, str] = {}
    for run, check, failure_id in connection.execute(
        "SELECT run, check_id, failure_id FROM finding INDEXED BY finding_wrong "
        "WHERE outcome IN ('failed', 'unknown')"
    ):
        if run in place:
            day, install = place[run]
            key = key_of(names[check][0], failure_id)
            seen[key][day].add(install)
            titles.setdefault(key, names[check][1])
    for key, by_day in sorted(seen.items(), key=lambda item: (-_installs(item[1]), item[0])):
        counts = tuple(len(by_day.get(day, ())) for day in range(last - first + 1))
        yield CauseTrend(key[:MOST_LETTERS], titles[key][:MOST_LETTERS], counts, _installs(by_day))


def _installs(by_day: dict[int, set[int]]) -> int:
    return len(set().union(*by_day.values()))
