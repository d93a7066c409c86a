"""Which machine and install a report is about, and what the newest runs said of it."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import Any

_MOST_CAUSES = 200
_WRONG = "('failed', 'unknown')"


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose runs and repairs are looked at: all, those of some machines, or of one install."""

    machine_ids: tuple[int, ...] | None = None
    install_id: int | None = None

    def of_runs(self) -> tuple[str, tuple[int, ...]]:
        """Return a condition in SQL (" AND ...") for tables with an install, and its values."""
        if self.install_id is not None:
            return " AND install_id = ? ", (self.install_id,)
        return self.of_machines()

    def of_machines(self, column: str = "machine_id") -> tuple[str, tuple[int, ...]]:
        """Return a condition in SQL for tables that know of machines only, and its values."""
        if self.machine_ids is None:
            return "", ()
        # None of a number that there is: an empty list is a riddle to SQLite's planner.
        values = self.machine_ids or (-1,)
        return f" AND {column} IN ({', '.join('?' * len(values))}) ", values


ALL = Scope()


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine of the history; ``name`` is its stand-in."""

    id: int
    name: str
    label: str
    is_own: bool


@dataclass(frozen=True, slots=True)
class Install:
    """An install of the history."""

    id: int
    machine: Machine
    folder: str
    profile: str


@dataclass(frozen=True, slots=True)
class Run:
    """One run of an install; ``counts`` by outcome, ``causes`` as in its record."""

    id: int
    run_id: str
    started_at: float
    seconds: float
    mode: str
    exit_code: int | None
    environment: str | None
    counts: dict[str, int]
    causes: list[dict[str, Any]]
    is_partial: bool

    @property
    def is_good(self) -> bool:
        """Return whether it ended, judged anything, and found nothing wrong."""
        return self.exit_code == 0 and not self.causes and any(self.counts.values())


def machines(connection: sqlite3.Connection, name: str = "") -> list[Machine]:
    """Return the machines of a name or label; for none this one, or nothing before its first run.

    Of several that are this one (its stand-in changed) the one seen last comes first.
    """
    rows = connection.execute(
        "SELECT id, name, label, is_own FROM machine "
        "WHERE CASE WHEN ?1 = '' THEN is_own ELSE ?1 IN (name, label) END ORDER BY last_seen DESC",
        [name],
    )
    return [Machine(row[0], row[1], row[2], bool(row[3])) for row in rows]


def installs(
    connection: sqlite3.Connection, machine: Machine, folder: str | None = None, profile: str = ""
) -> list[Install]:
    """Return a machine's installs that had a run, the one with the newest run first.

    Args:
        connection: To the history.
        machine: Whose.
        folder: Masked, as a run record has it; None takes all.
        profile: Its name; empty takes all.
    """
    rows = connection.execute(
        "SELECT install.id, folder, profile FROM install "
        "JOIN run ON run.install_id = install.id WHERE install.machine_id = ?1 "
        "AND (?2 IS NULL OR folder = ?2) AND (?3 = '' OR profile = ?3) "
        "GROUP BY install.id ORDER BY max(started_at) DESC",
        [machine.id, folder, profile],
    )
    return [Install(row[0], machine, row[1], row[2]) for row in rows]


def newest_run(connection: sqlite3.Connection, install_id: int, *, more: str = "") -> Run | None:
    """Return the newest run of an install that fits a condition in SQL; None without any."""
    row = connection.execute(
        "SELECT * FROM run WHERE install_id = ? "  # noqa: S608 - our own conditions
        f"{more} ORDER BY started_at DESC, run_id DESC LIMIT 1",
        [install_id],
    ).fetchone()
    return None if row is None else run_of(row)


def last_good_and_first_bad(
    connection: sqlite3.Connection, install_id: int
) -> tuple[Run | None, Run | None]:
    """Return the last run that found nothing wrong, and the first after it that did.

    A run of a part of the checks is neither. Without a good run the first bad one is the oldest.
    """
    good = newest_run(connection, install_id, more=f"AND {_GOOD}")
    row = connection.execute(
        "SELECT * FROM run WHERE install_id = ? AND started_at > ? AND root_causes <> '[]' "
        "AND NOT is_partial ORDER BY started_at, run_id LIMIT 1",
        [install_id, good.started_at if good else -1.0],
    ).fetchone()
    return good, None if row is None else run_of(row)


_GOOD = "NOT is_partial AND exit_code = 0 AND root_causes = '[]'"


def run_of(row: sqlite3.Row) -> Run:
    """Return a row of the table as a value; JSON that is none is empty."""
    counts = _parsed(row["counts"], dict)
    causes = _parsed(row["root_causes"], list)
    return Run(
        id=row["id"],
        run_id=row["run_id"],
        started_at=row["started_at"],
        seconds=row["seconds"],
        mode=row["mode"],
        exit_code=row["exit_code"],
        environment=row["environment"],
        counts={str(name): n for name, n in counts.items() if isinstance(n, int)},
        causes=[cause for cause in causes if isinstance(cause, dict)],
        is_partial=bool(row["is_partial"]),
    )


def causes(connection: sqlite3.Connection, install_id: int, newest: Run) -> list[dict[str, Any]]:
    """Return what is wrong now, what most checks wait on first.

    By the newest run, and where that was of a part of the checks, by those before it back to the
    newest of all checks. So a check that no longer exists is not wrong for ever.
    """
    whole = newest_run(connection, install_id, more="AND NOT is_partial")
    rows = connection.execute(
        "SELECT check_name.name, title, area, finding.outcome, severity, category, failure_id, "  # noqa: S608 - no value is in it
        "what, why, since, flaps, run.run_id, run.id AS run FROM latest_finding AS latest "
        "JOIN run ON run.id = latest.run JOIN check_name ON check_name.id = latest.check_id "
        "JOIN finding ON finding.run = latest.run AND finding.check_id = latest.check_id "
        f"WHERE latest.install_id = ? AND latest.outcome IN {_WRONG} AND run.started_at >= ? "
        "LIMIT ?",
        [install_id, (whole or newest).started_at, _MOST_CAUSES],
    ).fetchall()
    waiting = _waiting(connection, {row["run"] for row in rows})
    next_steps = {cause.get("check"): cause.get("next") for cause in newest.causes}
    found = [
        {
            "check": row["name"],
            **{name: row[name] for name in _KEPT},
            "next": next_steps.get(row["name"]) or "",
            "blocks": waiting.get((row["run"], row["name"]), 0),
        }
        for row in rows
    ]
    return sorted(found, key=lambda cause: (-cause["blocks"], cause["since"], cause["check"]))


_KEPT = (
    "title", "area", "outcome", "severity", "category", "failure_id", "what", "why", "since",
    "flaps", "run_id",
)  # fmt: skip


def _waiting(connection: sqlite3.Connection, runs: set[int]) -> dict[tuple[int, str], int]:
    found = {}
    for run in runs:
        for check, count in connection.execute(
            "SELECT blocked_by, count(*) FROM finding WHERE run = ? AND outcome = 'blocked' "
            "GROUP BY blocked_by",
            [run],
        ):
            found[run, check] = count
    return found


def _parsed(text: str, kind: type) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return kind()
    return value if isinstance(value, kind) else kind()
