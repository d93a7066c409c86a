"""What separates machines with a cause from those without: tested, and honest about chance."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from modelmedic.fleet import features
from modelmedic.fleet.discovery_rate import q_values, selected_level
from modelmedic.fleet.fisher import least_p_value, p_value
from modelmedic.fleet.health import Health
from modelmedic.fleet.machines import MOST_LETTERS, Known, Run
from modelmedic.fleet.proportions import difference

LEVEL = 0.05  # of false discoveries among all that is shown
# Machines with the cause, and without it, that are needed. Source: with three of each even a
# perfect separation has p = 0.1; with three among twelve it has 0.005.
LEAST_MACHINES = 3
LEAST_HAVING = 3  # machines that have a feature, and that have it not
_MOST_ALIKE = 12  # other words for the same machines that are named
_BAD = frozenset({"failed", "unknown"})
_HOLDS = "passed"


class _Table(NamedTuple):
    sick_having: int
    sick: int
    healthy_having: int
    healthy: int


@dataclass(frozen=True, slots=True)
class Separator:
    """A feature that machines with a cause have more often, or less often, than others.

    ``alike`` are features of exactly the same machines: no test can tell them apart. ``effect`` is
    the difference of the two shares, ``interval`` where it lies (widened for having been chosen),
    ``q`` the level of false discoveries at which it is the last one.
    """

    kind: str
    feature: str
    alike: tuple[str, ...]
    sick_having: int
    sick: int
    healthy_having: int
    healthy: int
    p: float
    q: float
    effect: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Contrast:
    """One cause, and what separates the machines that have it. ``tested``: sets of machines."""

    key: str
    title: str
    checks: tuple[str, ...]
    example: str
    sick: tuple[int, ...]  # ids of machines
    healthy: tuple[int, ...]
    tested: int
    separators: tuple[Separator, ...]

    @property
    def has_enough(self) -> bool:
        """Return whether there are enough machines of both kinds to compare."""
        return min(len(self.sick), len(self.healthy)) >= LEAST_MACHINES


def contrasts(
    connection: sqlite3.Connection,
    known: Known,
    healths: Sequence[Health],
    *,
    level: float = LEVEL,
) -> list[Contrast]:
    """Return for every cause there is now what separates its machines, most machines first.

    A machine is sick of a cause when an install of it has it now, and healthy of it when the same
    checks hold in an install of it and no install has it; others (the check does not apply, or
    waits on something else) are left out. A feature is tested when at least `LEAST_HAVING` machines
    have it and have it not, and the numbers could tell anything at all. Features of exactly the
    same machines are one test. All tests of all causes together are held to the false-discovery
    rate ``level``.

    What separates is not what causes: it is where to look first.
    """
    whole = list(_groups(connection, known, healths))
    described = _described(connection, known, whole)
    there = features.of_machines(described)
    tested: list[tuple[Contrast, list[Separator]]] = [
        (group, list(_tests(group, there, level)) if group.has_enough else []) for group in whole
    ]
    qs = iter(q_values([test.p for _group, tests in tested for test in tests]))
    judged = [
        (group, len(tests), [replace(test, q=next(qs)) for test in tests])
        for group, tests in tested
    ]
    told = sum(test.q <= level for _group, _count, tests in judged for test in tests)
    confidence = selected_level(level, told, sum(count for _group, count, _tests in judged))
    return [
        replace(group, tested=count, separators=_ranked(tests, level, confidence))
        for group, count, tests in judged
    ]


def _ranked(tests: list[Separator], level: float, confidence: float) -> tuple[Separator, ...]:
    found = [
        replace(
            test,
            interval=difference(
                test.sick_having, test.sick, test.healthy_having, test.healthy, confidence
            ),
        )
        for test in tests
        if test.q <= level
    ]
    return tuple(sorted(found, key=lambda test: (test.p, -abs(test.effect), test.feature)))


def _groups(
    connection: sqlite3.Connection, known: Known, healths: Sequence[Health]
) -> Iterator[Contrast]:
    sick: dict[str, set[int]] = defaultdict(set)
    checks: dict[str, set[str]] = defaultdict(set)
    words: dict[str, tuple[str, str]] = {}
    for health in healths:
        for cause in health.causes:
            if cause.outcome in _BAD:
                sick[cause.key].add(health.machine.id)
                checks[cause.key].add(cause.check.partition("[")[0])
                words.setdefault(cause.key, (cause.title, cause.what))
    holding = _holding(connection, known, set().union(*checks.values()))
    for key in sorted(sick, key=lambda key: (-len(sick[key]), key)):
        healthy = set().union(*(holding[check] for check in checks[key])) - sick[key]
        names = tuple(sorted(checks[key]))
        title, example = words[key]
        yield Contrast(
            key, title, names, example, tuple(sorted(sick[key])), tuple(sorted(healthy)), 0, ()
        )


def _holding(
    connection: sqlite3.Connection, known: Known, checks: set[str]
) -> Mapping[str, set[int]]:
    """Return for each check the machines where all its parameters that were judged hold."""
    names = {
        row[0]: row[1][:MOST_LETTERS].partition("[")[0]
        for row in connection.execute("SELECT id, name FROM check_name")
    }
    wanted = {number: name for number, name in names.items() if name in checks}
    holds: dict[str, set[int]] = defaultdict(set)
    not_: dict[str, set[int]] = defaultdict(set)
    for install, check, outcome in connection.execute(
        "SELECT install_id, check_id, outcome FROM latest_finding"
    ):
        if check in wanted and install in known.installs:
            group = holds if outcome == _HOLDS else not_ if outcome != "skipped" else None
            if group is not None:
                group[wanted[check]].add(known.installs[install].machine_id)
    return defaultdict(set, {check: machines - not_[check] for check, machines in holds.items()})


def _described(
    connection: sqlite3.Connection, known: Known, groups: Sequence[Contrast]
) -> dict[int, list[tuple[str, str, bool]]]:
    """Return the features of every machine in a group, from its newest run with a snapshot."""
    wanted = {machine for group in groups for machine in (*group.sick, *group.healthy)}
    newest: dict[int, Run] = {}
    for runs in known.runs.values():
        for run in runs:
            if run.environment and run.machine_id in wanted:
                old = newest.get(run.machine_id)
                if old is None or run.started_at >= old.started_at:
                    newest[run.machine_id] = run
    rows = features.snapshots(connection, (run.environment or "" for run in newest.values()))
    return {
        machine: list(
            features.of_environment(
                rows[run.environment or ""],
                known.installs[run.install_id].profile,
                run.modelmedic,
            )
        )
        for machine, run in newest.items()
        if run.environment in rows
    }


def _tests(group: Contrast, there: features.Machines, level: float) -> Iterator[Separator]:
    sick, healthy = _bits(group.sick), _bits(group.healthy)
    same: dict[tuple[int, int, int, int], list[tuple[str, str]]] = defaultdict(list)
    for (kind, feature), having in there.features.items():
        first, second = sick & there.known[kind], healthy & there.known[kind]
        same[having & first, first, having & second, second].append((kind, feature))
    for sets, alike in same.items():
        a, first, c, second = (each.bit_count() for each in sets)
        table = _Table(a, first, c, second)
        if _is_tellable(table, level):
            yield _separator(table, alike)


def _is_tellable(table: _Table, level: float) -> bool:
    a, first, c, second = table
    having = a + c
    if min(first, second) < LEAST_MACHINES or min(having, first + second - having) < LEAST_HAVING:
        return False
    return least_p_value(first, second, having) <= level


def _separator(table: _Table, alike: list[tuple[str, str]]) -> Separator:
    a, first, c, second = table
    effect = a / first - c / second
    (kind, feature), *others = sorted(alike, key=partial(_plainness, effect < 0))
    return Separator(
        kind=kind,
        feature=feature,
        alike=tuple(words for _kind, words in others[:_MOST_ALIKE]),
        sick_having=a,
        sick=first,
        healthy_having=c,
        healthy=second,
        p=p_value(a, first - a, c, second - c),
        q=1.0,
        effect=effect,
        interval=(-1.0, 1.0),
    )


def _plainness(is_lacking: bool, named: tuple[str, str]) -> tuple[bool, int, str]:
    """Put first what says most: a version; of what is lacking, that it is not there at all."""
    is_whole = named[1].endswith((" installed", " there"))
    return is_whole != is_lacking, len(named[1]), named[1]


def _bits(machines: Sequence[int]) -> int:
    found = 0
    for machine in machines:
        found |= 1 << machine
    return found
