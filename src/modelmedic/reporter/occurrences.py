"""In which runs each cause and each repair occurred, as bits: small, and quick to compare.

The runs of a time stand in one row, an install's beside each other in the order of their starts.
A cause is one number with a bit for each run: 20,000 runs take 2.5 KB.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field

from modelmedic.reporter.reading import ALL, Scope

MOST_RUNS = 20_000  # the newest; half a year of 100 machines
MOST_CAUSES = 2_000  # further ones are counted as left out; together at most 10 MB
_BY_RUN = 400  # so many runs are read one by one; for more the indexes of wrong findings are read
_WRONG = "('failed', 'unknown')"
_REPAIRED = "('healed', 'degraded')"


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs that are looked at, each at its place.

    Args:
        places: Place by id of the run.
        started: When the run of each place began, seconds since the epoch.
        machines: The machine of each place.
        installs: The install of each place.
        firsts: Bits of the first run of each install.
    """

    places: dict[int, int]
    started: list[float]
    machines: list[int]
    installs: list[int]
    firsts: int

    def __len__(self) -> int:
        return len(self.started)

    def at(self, bits: int) -> list[int]:
        """Return the places of the bits, the first first."""
        return list(ones(bits))

    def begun(self, bits: int) -> int:
        """Return the bits whose run is the first of an unbroken row on its install."""
        return bits & (~(bits << 1) | self.firsts)


@dataclass(slots=True)
class Marks:
    """Where something occurred: bits of runs.

    Args:
        wrong: Failed, or could not be judged.
        repaired: Healed or worked around: it was wrong when the run began.
        healed: Healed: it was right when the run ended.
    """

    wrong: bytearray
    repaired: bytearray
    healed: bytearray

    @classmethod
    def of(cls, runs: Runs) -> Marks:
        """Return marks that hold no run yet."""
        length = len(runs) // 8 + 1
        return cls(bytearray(length), bytearray(length), bytearray(length))

    @property
    def all(self) -> int:
        """Return the runs in which it was wrong, at their begin or still at their end."""
        return bits_of(self.wrong) | bits_of(self.repaired)


@dataclass(slots=True)
class Occurrences:
    """What occurred in the runs.

    Args:
        runs: The runs.
        causes: By failure id, or by check id where a finding has none.
        repaired_checks: By check id; only those that were repaired at least once.
        failure_of: Failure id by check id, where one was seen.
        left_out: Findings of causes beyond `MOST_CAUSES`.
    """

    runs: Runs
    causes: dict[str, Marks] = field(default_factory=dict)
    repaired_checks: dict[str, Marks] = field(default_factory=dict)
    failure_of: dict[str, str] = field(default_factory=dict)
    left_out: int = 0


def runs_since(connection: sqlite3.Connection, since: float, scope: Scope = ALL) -> Runs:
    """Return the newest runs that began at or after a moment."""
    where, values = scope.of_runs()
    rows = connection.execute(
        "SELECT id, install_id, machine_id, started_at FROM run WHERE started_at >= ? "  # noqa: S608 - no value is in it
        f"{where} ORDER BY started_at DESC LIMIT ?",
        [since, *values, MOST_RUNS],
    )
    found = sorted(rows, key=lambda row: (row[1], row[3], row[0]))
    installs = [row[1] for row in found]
    firsts = sum(
        1 << place
        for place, install in enumerate(installs)
        if not place or installs[place - 1] != install
    )
    return Runs(
        {row[0]: place for place, row in enumerate(found)},
        [row[3] for row in found],
        [row[2] for row in found],
        installs,
        firsts,
    )


def occurrences(connection: sqlite3.Connection, runs: Runs) -> Occurrences:
    """Return what was wrong or repaired in the runs."""
    found = Occurrences(runs)
    names = dict(connection.execute("SELECT id, name FROM check_name"))
    for outcomes, index in ((_REPAIRED, "finding_repaired"), (_WRONG, "finding_wrong")):
        for check_id, run, failure_id, outcome in _findings(connection, runs, outcomes, index):
            place = runs.places.get(run)
            if place is not None:
                _mark(found, names[check_id], failure_id, outcome, place)
    return found


def ones(bits: int) -> Iterator[int]:
    """Yield the numbers of the bits that are set, the lowest first."""
    for offset, byte in enumerate(bits.to_bytes(bits.bit_length() // 8 + 1, "little")):
        if byte:
            for bit in range(8):
                if byte >> bit & 1:
                    yield offset * 8 + bit


def bits_of(marks: bytearray) -> int:
    """Return marks as one number."""
    return int.from_bytes(marks, "little")


def _findings(
    connection: sqlite3.Connection, runs: Runs, outcomes: str, index: str
) -> Iterator[tuple[int, int, str | None, str]]:
    fields = "SELECT check_id, run, failure_id, outcome FROM finding"
    if len(runs) > _BY_RUN:
        yield from connection.execute(f"{fields} INDEXED BY {index} WHERE outcome IN {outcomes}")
        return
    for run in runs.places:
        yield from connection.execute(f"{fields} WHERE run = ? AND outcome IN {outcomes}", [run])


def _mark(found: Occurrences, check: str, failure_id: str | None, outcome: str, place: int) -> None:
    if failure_id:
        found.failure_of.setdefault(check, failure_id)
    is_repaired = outcome in {"healed", "degraded"}
    # An outcome that was repaired may have no failure id of its own; the check's speaks for it.
    cause = failure_id or found.failure_of.get(check, check)
    for table, key, is_new in (
        (found.causes, cause, True),
        (found.repaired_checks, check, is_repaired),
    ):
        marks = table.get(key)
        if marks is None and (not is_new or len(table) >= MOST_CAUSES):
            found.left_out += table is found.causes
            continue
        if marks is None:
            marks = table[key] = Marks.of(found.runs)
        _set(marks.repaired if is_repaired else marks.wrong, place)
        if outcome == "healed":
            _set(marks.healed, place)


def _set(marks: bytearray, place: int) -> None:
    marks[place >> 3] |= 1 << (place & 7)
