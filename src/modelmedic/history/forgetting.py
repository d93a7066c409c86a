"""Forget: rows go, their bytes are overwritten, and what still holds some is named."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelmedic.history import database, latest
from modelmedic.history.queries import Machine, Run
from modelmedic.text import printable

if TYPE_CHECKING:
    from modelmedic.history.store import History

_TABLES = (  # what refers to others before what it refers to
    *("latest_finding", "finding", "run", "install", "environment", "check_name"),
    *("heal", "minute", "component_metric", "alert", "machine", "upkeep"),
)
_OF_MACHINE = (
    "DELETE FROM latest_finding WHERE install_id IN (SELECT id FROM install WHERE machine_id = ?)",
    "DELETE FROM run WHERE machine_id = ?",
    "DELETE FROM machine WHERE id = ?",
)
_BEFORE = (
    "DELETE FROM minute WHERE at < ?",
    "DELETE FROM component_metric WHERE at < ?",
    "DELETE FROM alert WHERE last_at < ?",
    "DELETE FROM heal WHERE at < ?",
)
_LOCKED = "locked"  # as SQLite says it
# A machine of which nothing is left is forgotten, too; when it was seen is said by what is left.
_MACHINES = (
    """
DELETE FROM machine WHERE id NOT IN (SELECT machine_id FROM run)
    AND id NOT IN (SELECT machine_id FROM heal) AND id NOT IN (SELECT machine_id FROM minute)
    AND id NOT IN (SELECT machine_id FROM component_metric)
    AND id NOT IN (SELECT machine_id FROM alert)
""",
    """
UPDATE machine SET
    first_seen = coalesce((SELECT min(started_at) FROM run WHERE machine_id = machine.id), 0),
    last_seen = coalesce((SELECT max(started_at) FROM run WHERE machine_id = machine.id), 0)
""",
)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many runs are gone, and sentences on what may still hold some of it."""

    runs: int
    left: tuple[str, ...] = ()


def forget_runs(history: History, runs: Iterable[Run]) -> Forgotten:
    """Forget runs, their findings, and the repairs that only their records told of."""
    count = 0
    with history.writing():
        for run in runs:
            _forget_run(history.connection, run)
            count += 1
        for statement in _MACHINES:
            history.connection.execute(statement)
    return _cleaned(history, count)


def forget_machine(history: History, machine: Machine) -> Forgotten:
    """Forget all of a machine: its runs, repairs, minutes, alerts and its label."""
    with history.writing():
        for statement in _OF_MACHINE:
            history.connection.execute(statement, (machine.id,))
    return _cleaned(history, machine.runs)


def forget_before(history: History, at: float) -> Forgotten:
    """Forget what is older than a moment, of all machines."""
    with history.writing():
        rows = history.connection.execute(
            "SELECT id, install_id FROM run WHERE started_at < ?", (at,)
        ).fetchall()
        history.connection.execute(
            "DELETE FROM latest_finding WHERE run IN (SELECT id FROM run WHERE started_at < ?)",
            (at,),
        )
        history.connection.execute("DELETE FROM run WHERE started_at < ?", (at,))
        for install in {row["install_id"] for row in rows}:
            latest.recompute(history.connection, install)
        for statement in _BEFORE:
            history.connection.execute(statement, (at,))
        for statement in _MACHINES:
            history.connection.execute(statement)
    return _cleaned(history, len(rows))


def forget_all(history: History) -> Forgotten:
    """Forget everything, copies that were set aside included."""
    count = history.connection.execute("SELECT count(*) FROM run").fetchone()[0]
    with history.writing():
        for table in _TABLES:
            history.connection.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
    for path in asides(history.state_dir):
        with contextlib.suppress(OSError):
            path.unlink()
    return _cleaned(history, count)


def asides(state_dir: Path) -> list[Path]:
    """Return damaged files that were set aside: they hold what was stored until then."""
    try:
        return sorted(state_dir.glob(f"{database.NAME}.aside-*"))
    except OSError:
        return []


def _forget_run(connection: sqlite3.Connection, run: Run) -> None:
    begins = f"{run.run_id}/"
    connection.execute(
        "DELETE FROM heal WHERE machine_id = ? AND origin = 'record' "
        "AND substr(repair, 1, length(?)) = ?",
        (run.machine_id, begins, begins),
    )
    connection.execute("DELETE FROM run WHERE id = ?", (run.id,))
    latest.recompute(connection, run.install_id)


def _cleaned(history: History, runs: int) -> Forgotten:
    """Drop names that nothing needs any more, then write the file anew without what was in it."""
    left = [
        f"{printable(path)} was set aside earlier and may still hold it; remove it yourself."
        for path in asides(history.state_dir)
    ]
    try:
        history.drop_orphans()
        history.connection.execute("VACUUM")
        row = history.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        trouble = _LOCKED if row[0] else ""
    except sqlite3.OperationalError as error:  # or no room for a copy: it is overwritten anyway
        trouble = str(error)
    if trouble:
        left.append(_left_words(history, trouble))
    return Forgotten(runs, tuple(left))


def _left_words(history: History, trouble: str) -> str:
    log = f"{printable(history.state_dir / database.NAME)}-wal may still hold it"
    if _LOCKED in trouble:
        return (
            "Another process has the history open (modelmedic monitor, for one). Until it ends, "
            f"{log}."
        )
    return (
        f"The history could not be written anew ({printable(trouble)}): {log}. To try that again: "
        "modelmedic history forget --before 1970-01-01"
    )
