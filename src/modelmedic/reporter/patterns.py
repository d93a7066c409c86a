"""What failures have in common: one cause, two causes that meet, what comes back, what flaps."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator

from modelmedic.reporter import chance
from modelmedic.reporter.interfaces import ErrorPattern
from modelmedic.reporter.occurrences import (
    Marks,
    Occurrences,
    Runs,
    bits_of,
    occurrences,
    ones,
    runs_since,
)
from modelmedic.reporter.reading import ALL, Scope
from modelmedic.text import counted, printable

SAME_CAUSE, TOGETHER, COMES_BACK, FLAPS = "same cause", "together", "comes back", "flaps"
MOST_OF_A_KIND = 20  # shown; the most frequent
LEAST_MEETINGS = 4  # begins that two causes share; fewer say nothing, whatever the test says
LEAST_LIFT = 2.0
# Of all reported pairs together, the share that may be chance. Source: Bonferroni's inequality;
# the level is the stricter of the two customary ones, since nobody checks a report of patterns.
LEVEL = 0.01
_MOST_PAIRED = 150  # the most frequent causes; 11,175 pairs
# Source: Nagios Core, "Detection and Handling of State Flapping": the newest 21 states, and a
# flap from 20 % changes on: 4 of 20.
JUDGED_RUNS = 21
LEAST_CHANGES = 4


def patterns(
    connection: sqlite3.Connection, since: float, scope: Scope = ALL
) -> list[ErrorPattern]:
    """Return the patterns of the runs since a moment.

    A kind's most frequent first. Findings that wait on another check are no causes.
    """
    found = occurrences(connection, runs_since(connection, since, scope))
    return [
        *_newest(same_causes(found)),
        *_newest(together(found)),
        *_newest(comes_back(found)),
        *_newest(flapping(connection, scope)),
    ]


def same_causes(found: Occurrences) -> Iterator[ErrorPattern]:
    """Yield the most frequent causes that occurred in two runs or more, repaired or not."""
    counts = Counter({cause: marks.all.bit_count() for cause, marks in found.causes.items()})
    for cause, times in counts.most_common(MOST_OF_A_KIND):
        if times < 2:  # noqa: PLR2004 - once is no pattern
            break
        bits = found.causes[cause].all
        repaired = bits_of(found.causes[cause].repaired).bit_count()
        text = (
            f"{printable(cause)} occurred in {times} of {counted(len(found.runs), 'run')} on "
            f"{counted(len(_machines(found.runs, bits)), 'machine')}, {_span(found.runs, bits)}"
            f"{f'; {repaired} of them ended with it repaired' if repaired else ''}."
        )
        yield _pattern(SAME_CAUSE, (cause,), times, found.runs, bits, text)


def together(found: Occurrences) -> Iterator[ErrorPattern]:
    """Yield the pairs of causes that begin in the same runs more often than chance explains.

    A cause that stays for twenty runs has begun once: runs of one install hang together, and to
    count each would call any two lasting causes a pair.
    """
    runs = found.runs
    begun = {cause: runs.begun(marks.all) for cause, marks in found.causes.items()}
    counts = Counter({cause: bits.bit_count() for cause, bits in begun.items()})
    paired = [cause for cause, n in counts.most_common(_MOST_PAIRED) if n >= LEAST_MEETINGS]
    pairs = list(itertools.combinations(sorted(paired), 2))
    for one, other in pairs:
        bits = begun[one] & begun[other]
        both, table = bits.bit_count(), (counts[one], counts[other], len(runs))
        lift = chance.lift(both, *table)
        if both < LEAST_MEETINGS or lift < LEAST_LIFT:
            continue
        probability = chance.by_chance(both, *table) * len(pairs)
        if probability < LEVEL:
            text = (
                f"{printable(one)} and {printable(other)} began in the same run {both} times, of "
                f"{counts[one]} and {counts[other]} times each began in {len(runs)} runs: "
                f"{lift:.1f} times as often as by chance (p < {max(probability, 1e-9):.1g}, "
                f"{counted(len(pairs), 'pair')} compared)."
            )
            yield _pattern(TOGETHER, (one, other), both, runs, bits, text)


def comes_back(found: Occurrences) -> Iterator[ErrorPattern]:
    """Yield the checks that were wrong again most often after a run had healed them."""
    runs = found.runs
    returns = {check: _returns(runs, marks) for check, marks in found.repaired_checks.items()}
    for check in sorted(returns, key=lambda each: -len(returns[each]))[:MOST_OF_A_KIND]:
        times = len(returns[check])
        if not times:
            break
        bits = sum(1 << place for place in returns[check])
        healed = bits_of(found.repaired_checks[check].healed).bit_count()
        text = (
            f"{printable(check)} was repaired in {counted(healed, 'run')} and was wrong again "
            f"afterwards {counted(times, 'time')}, {_span(runs, bits)}."
        )
        cause = found.failure_of.get(check, check)
        yield _pattern(COMES_BACK, (cause,), times, runs, bits, text)


def flapping(connection: sqlite3.Connection, scope: Scope = ALL) -> Iterator[ErrorPattern]:
    """Yield the checks whose outcome changes to and fro.

    At least `LEAST_CHANGES` changes between passed and wrong in the newest `JUDGED_RUNS` runs of
    an install that judged the check.
    """
    where, values = scope.of_runs()
    rows = connection.execute(
        "SELECT install_id, check_id, name FROM latest_finding "  # noqa: S608 - no value is in it
        "JOIN check_name ON check_name.id = check_id JOIN install ON install.id = install_id "
        f"WHERE flaps >= ? {where} ORDER BY flaps DESC LIMIT 200",
        [LEAST_CHANGES, *values],
    ).fetchall()
    for install, check_id, name in rows:
        judged = _judged(connection, install, check_id)
        moments = [at for (at, is_right), (_, was) in itertools.pairwise(judged) if is_right != was]
        if len(moments) < LEAST_CHANGES:
            continue
        text = (
            f"{printable(name)} changed between passed and wrong {len(moments)} times in the "
            f"newest {len(judged)} runs that judged it, from {_day(moments[-1])} to "
            f"{_day(moments[0])}."
        )
        yield ErrorPattern(FLAPS, (name,), len(moments), moments[-1], moments[0], 1, text)


def _judged(
    connection: sqlite3.Connection, install_id: int, check_id: int
) -> list[tuple[float, bool]]:
    """Return when the newest runs judged a check and whether it passed, the newest first."""
    rows = connection.execute(
        "SELECT started_at, outcome FROM run JOIN finding ON finding.run = run.id "
        "WHERE install_id = ? AND check_id = ? AND outcome IN ('passed', 'failed', 'unknown') "
        "ORDER BY started_at DESC LIMIT ?",
        [install_id, check_id, JUDGED_RUNS],
    )
    return [(at, outcome == "passed") for at, outcome in rows]


def _returns(runs: Runs, marks: Marks) -> list[int]:
    """Return the places where it was wrong although the time before it had been healed."""
    healed = bits_of(marks.healed)
    found, before = [], None
    for place in ones(marks.all):
        is_same = before is not None and runs.installs[before] == runs.installs[place]
        if is_same and healed >> (before or 0) & 1:
            found.append(place)
        before = place
    return found


def _pattern(
    kind: str, causes: tuple[str, ...], times: int, runs: Runs, bits: int, text: str
) -> ErrorPattern:
    moments = [runs.started[place] for place in ones(bits)]
    machines = len(_machines(runs, bits))
    return ErrorPattern(kind, causes, times, min(moments), max(moments), machines, text)


def _machines(runs: Runs, bits: int) -> set[int]:
    return {runs.machines[place] for place in ones(bits)}


def _span(runs: Runs, bits: int) -> str:
    moments = [runs.started[place] for place in ones(bits)]
    first, last = _day(min(moments)), _day(max(moments))
    return f"on {first}" if first == last else f"from {first} to {last}"


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))


def _newest(found: Iterator[ErrorPattern]) -> list[ErrorPattern]:
    return sorted(found, key=lambda each: (-each.times, -each.last_at, each.causes))[
        :MOST_OF_A_KIND
    ]
