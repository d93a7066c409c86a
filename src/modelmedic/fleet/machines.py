"""Machines, installs and runs as the history holds them; texts are cut to what a page can show."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

from modelmedic.findings import Outcome

DAY_SECONDS = 86_400.0
RED, GREEN, GREY = "red", "green", "grey"
MOST_LETTERS = 8_000  # of one text; a page shows less, and what masks it wants to see more
_BAD = (Outcome.FAILED.value, Outcome.UNKNOWN.value)
_GOOD = (Outcome.PASSED.value, Outcome.HEALED.value, Outcome.DEGRADED.value)


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine. ``label`` is what its administrator calls it, and nobody else's business."""

    id: int
    name: str
    label: str
    is_own: bool


@dataclass(frozen=True, slots=True)
class Install:
    """One install under test on one machine."""

    id: int
    machine_id: int
    folder: str
    profile: str


@dataclass(frozen=True, slots=True)
class Run:
    """One run, without its findings.

    ``colour`` is "red" when something failed or could not be looked at, "green" when something was
    judged and nothing was wrong in a run that ended by itself, else "grey".
    """

    id: int
    install_id: int
    machine_id: int
    run_id: str
    started_at: float
    seconds: float
    mode: str
    stage: str
    exit_code: int | None
    is_partial: bool
    modelmedic: str
    environment: str | None
    counts: dict[str, int]
    colour: str


@dataclass(frozen=True, slots=True)
class Known:
    """All machines, their installs, and their runs in the order of time."""

    machines: dict[int, Machine]
    installs: dict[int, Install]
    runs: dict[int, list[Run]]  # of an install

    def of_machine(self, machine_id: int) -> list[Install]:
        """Return a machine's installs."""
        return [each for each in self.installs.values() if each.machine_id == machine_id]


def read(connection: sqlite3.Connection) -> Known:
    """Return all machines with their installs and runs; a machine without a run too."""
    machines = {
        row[0]: Machine(row[0], _cut(row[1]), _cut(row[2]), bool(row[3]))
        for row in connection.execute("SELECT id, name, label, is_own FROM machine")
    }
    installs = {
        row[0]: Install(row[0], row[1], _cut(row[2]), _cut(row[3]))
        for row in connection.execute("SELECT id, machine_id, folder, profile FROM install")
    }
    runs: dict[int, list[Run]] = {}
    for row in connection.execute(
        "SELECT id, install_id, machine_id, run_id, started_at, seconds, mode, stage, exit_code, "
        "is_partial, modelmedic, environment, counts FROM run ORDER BY install_id, started_at"
    ):
        runs.setdefault(row[1], []).append(_run(row))
    return Known(machines, installs, runs)


def _run(row: sqlite3.Row) -> Run:
    counts = _counts(row["counts"])
    return Run(
        id=row["id"],
        install_id=row["install_id"],
        machine_id=row["machine_id"],
        run_id=_cut(row["run_id"]),
        started_at=row["started_at"],
        seconds=row["seconds"],
        mode=_cut(row["mode"]),
        stage=row["stage"],
        exit_code=row["exit_code"],
        is_partial=bool(row["is_partial"]),
        modelmedic=_cut(row["modelmedic"]),
        environment=row["environment"],
        counts=counts,
        colour=_colour(counts, row["exit_code"]),
    )


def _counts(text: str) -> dict[str, int]:
    """Return the counts of a run; what a stranger wrote there and is none is left out."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    pairs = found.items() if isinstance(found, dict) else ()
    return {name: count for name, count in pairs if type(count) is int}


def _colour(counts: dict[str, int], exit_code: int | None) -> str:
    if any(counts.get(name, 0) for name in _BAD):
        return RED
    has_good = any(counts.get(name, 0) for name in _GOOD)
    return GREEN if has_good and exit_code == 0 else GREY


def _cut(text: str) -> str:
    return text[:MOST_LETTERS]
