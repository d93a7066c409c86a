"""The story of one machine: its runs, what changed when it turned red or green, its resources."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from modelmedic.fleet.features import names, snapshots, table
from modelmedic.fleet.health import Health
from modelmedic.fleet.machines import GREY, MOST_LETTERS, RED, Run
from modelmedic.inventory import FIELDS, unequal
from modelmedic.text import size

MOST_RUNS = 60
MOST_TURNS = 20
MOST_HEALS = 30
MOST_SERIES = 24
_MOST_CHANGES = 25
_WORDS = {"gpus": "GPUs", "memory_bytes": "memory"}
_RESOURCE_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class Turn:
    """From a run of one colour to the next of the other, and what differs between the two.

    ``checks`` are those that were wrong in the red one. ``changes`` None: one of the runs has no
    snapshot of its environment.
    """

    before: Run
    after: Run
    checks: tuple[str, ...]
    changes: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Heal:
    """One judged repair."""

    at: float
    recovery: str
    check: str
    verdict: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Series:
    """A resource over the last day that the monitor saw: pairs of moment and mean."""

    name: str
    unit: str
    points: list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Alert:
    """What the monitor warned of; ``ended_at`` None: it still holds."""

    severity: str
    first_at: float
    last_at: float
    ended_at: float | None
    text: str
    command: str


@dataclass(frozen=True, slots=True)
class Story:
    """All that a machine's own page shows, each list with the newest first."""

    health: Health
    runs: list[Run]
    turns: list[Turn]
    heals: list[Heal]
    alerts: list[Alert]
    series: list[Series]
    environment: Mapping[str, Any]


def story(connection: sqlite3.Connection, health: Health) -> Story:
    """Return the story of one machine."""
    machine = health.machine.id
    turns = [turn for each in health.installs for turn in _turns(connection, each.runs)]
    turns.sort(key=lambda turn: -turn.after.started_at)
    return Story(
        health=health,
        runs=health.runs[:MOST_RUNS],
        turns=turns[:MOST_TURNS],
        heals=_heals(connection, machine),
        alerts=_alerts(connection, machine),
        series=list(_series(connection, machine)),
        environment=_environment(connection, health.runs),
    )


def _turns(connection: sqlite3.Connection, runs: Any) -> Iterator[Turn]:
    judged = [run for run in runs if run.colour != GREY]
    pairs = pairwise(judged)
    turned = [(before, after) for before, after in pairs if before.colour != after.colour]
    for before, after in turned[-MOST_TURNS:]:
        red = after if after.colour == RED else before
        yield Turn(before, after, _wrong(connection, red), _changes(connection, before, after))


def _wrong(connection: sqlite3.Connection, run: Run) -> tuple[str, ...]:
    rows = connection.execute(
        "SELECT name FROM finding JOIN check_name ON check_name.id = check_id "
        "WHERE run = ? AND outcome IN ('failed', 'unknown') LIMIT ?",
        (run.id, _MOST_CHANGES),
    )
    return tuple(row[0][:MOST_LETTERS] for row in rows)


def _changes(connection: sqlite3.Connection, before: Run, after: Run) -> tuple[str, ...] | None:
    found = snapshots(connection, [run.environment for run in (before, after) if run.environment])
    old, new = found.get(before.environment or ""), found.get(after.environment or "")
    if old is None or new is None:
        return None
    told = [
        f"{_WORDS.get(name, name)}: {_told(name, was)} → {_told(name, now)}"
        for name, was, now in unequal(dict(old), dict(new), FIELDS)
    ]
    told += _differences(table(old["packages"], str), table(new["packages"], str))
    told += _differences(table(old["files"], int), table(new["files"], int))
    left = len(told) - _MOST_CHANGES
    return tuple(told[:_MOST_CHANGES] + ([f"and {left} more"] if left > 0 else []))


def _told(name: str, value: Any) -> str:
    if name == "gpus":
        return ", ".join(names(value)) or "none"
    return size(value) if name == "memory_bytes" and value is not None else value or "none"


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}: {'not there' if was is None else was} → {'not there' if now is None else now}"
        for name, was, now in unequal(old, new)
    ]


def _heals(connection: sqlite3.Connection, machine: int) -> list[Heal]:
    rows = connection.execute(
        "SELECT at, recovery, check_name, verdict, seconds "
        "FROM heal WHERE machine_id = ? ORDER BY at DESC LIMIT ?",
        (machine, MOST_HEALS),
    )
    return [
        Heal(at, recovery[:MOST_LETTERS], check[:MOST_LETTERS], verdict, seconds)
        for at, recovery, check, verdict, seconds in rows
    ]


def _alerts(connection: sqlite3.Connection, machine: int) -> list[Alert]:
    rows = connection.execute(
        "SELECT severity, first_at, last_at, ended_at, text, command FROM alert "
        "WHERE machine_id = ? ORDER BY ended_at IS NOT NULL, last_at DESC LIMIT 20",
        (machine,),
    )
    return [
        Alert(severity, first, last, ended, text[:MOST_LETTERS], command[:MOST_LETTERS])
        for severity, first, last, ended, text, command in rows
    ]


def _series(connection: sqlite3.Connection, machine: int) -> Iterator[Series]:
    known = connection.execute(
        "SELECT series, max(at) FROM minute WHERE machine_id = ? GROUP BY series ORDER BY series",
        (machine,),
    ).fetchall()
    last = max((row[1] for row in known), default=0)
    fresh = [row[0] for row in known if row[1] > last - _RESOURCE_SECONDS]
    for name in fresh[:MOST_SERIES]:
        rows = connection.execute(
            "SELECT at, mean FROM minute WHERE machine_id = ? AND series = ? AND at > ? "
            "ORDER BY at",
            (machine, name, last - _RESOURCE_SECONDS),
        )
        unit, scale = unit_of(name)
        points = [(row[0], row[1] * scale) for row in rows]
        yield Series(name[:MOST_LETTERS], unit, points)


def unit_of(series: str) -> tuple[str, int]:
    """Return the unit that a series carries at the end of its name, and by what to multiply it.

    The unit is empty where the name has none; a ratio is shown in percent.
    """
    base = series.partition("[")[0]
    for end, unit, scale in (
        ("bytes_per_second", "bytes/s", 1), ("bytes", "bytes", 1), ("seconds", "s", 1),
        ("ratio", "%", 100), ("celsius", "°C", 1), ("watts", "W", 1),
    ):  # fmt: skip
        if base.endswith(f"_{end}"):
            return unit, scale
    return "", 1


def _environment(connection: sqlite3.Connection, runs: list[Run]) -> Mapping[str, Any]:
    """Return what the newest run with a snapshot says the machine is made of."""
    digest = next((run.environment for run in runs if run.environment), None)
    row = snapshots(connection, [digest] if digest else []).get(digest or "")
    if row is None:
        return {}
    return {
        "System": row["system"],
        "Target Python": row["python"] or "none",
        "NVIDIA driver": row["driver"] or "none",
        "GPUs": ", ".join(names(row["gpus"])) or "none",
        "Memory": row["memory_bytes"],
        "packages": table(row["packages"], str),
        "files": table(row["files"], int),
    }
