"""What the state folder knows of a run and its machine: journal, logs, rows of the history."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelmedic.bundle import cleaning, files
from modelmedic.bundle.cleaning import Hider
from modelmedic.bundle.members import LeftOut, Member

_MOST_LOG_BYTES = 2 * 1024 * 1024  # of each log: thousands of its lines
_DAY_SECONDS = 86_400

# Logs of the state folder: place, name in the bundle, what it is. All are JSON lines.
_LOGS = (
    ("errors.jsonl", "logs/errors.jsonl", "contexts of failed calls of installer components"),
    ("reliability.jsonl", "logs/reliability.jsonl", "failed calls, and what was tried"),
    ("effectiveness.jsonl", "logs/effectiveness.jsonl", "how often each repair worked here"),
    ("monitor/alerts.jsonl", "logs/alerts.jsonl", "what the monitor warned of"),
)

# What is told of an install, newest first; the run that the bundle is about says which one it is.
_ROWS = {
    "runs": (
        "SELECT run_id, started_at, seconds, mode, stage, exit_code, modelmedic, environment, "
        "counts FROM run WHERE install_id = ?1 ORDER BY started_at DESC LIMIT 200"
    ),
    "wrong_now": (
        "SELECT check_name.name, outcome, since, flaps FROM latest_finding "
        "JOIN check_name ON check_name.id = check_id "
        "WHERE install_id = ?1 AND outcome IN ('failed', 'unknown') ORDER BY since LIMIT 500"
    ),
    "alerts": (
        "SELECT key, severity, first_at, last_at, ended_at, times, text, command FROM alert "
        "WHERE machine_id = ?2 ORDER BY last_at DESC LIMIT 200"
    ),
    "components": (
        "SELECT at, component, operation, calls, failures, retries, median_seconds, p99_seconds "
        "FROM component_metric WHERE machine_id = ?2 ORDER BY at DESC LIMIT 200"
    ),
    "minutes": (
        "SELECT series, at, least, mean, most FROM minute "
        "WHERE machine_id = ?2 AND at BETWEEN ?3 - ?4 AND ?3 + ?4 ORDER BY series, at LIMIT 20000"
    ),
}


def journals(state_dir: Path, run_id: str, hider: Hider) -> Iterator[Member | LeftOut]:
    """Yield the journal of a run; found by its id, as a record has no real path to look for."""
    paths = sorted((state_dir / "journals").glob(f"*/*/{run_id}.jsonl"))
    for number, path in enumerate(paths, 1):
        name = f"journal/{run_id}{f'-{number}' if number > 1 else ''}.jsonl"
        yield from lines(path, name, "what was changed, step by step, for undo", hider)


def logs(state_dir: Path, hider: Hider) -> Iterator[Member | LeftOut]:
    """Yield the newest part of each log that is there."""
    for place, name, about in _LOGS:
        yield from lines(state_dir / place, name, about, hider)


def lines(path: Path, name: str, about: str, hider: Hider) -> Iterator[Member | LeftOut]:
    """Yield a file of JSON lines, masked; nothing when it is not there or empty."""
    raw = files.tail(path, _MOST_LOG_BYTES)
    if isinstance(raw, LeftOut):
        yield LeftOut(name, raw.why)
    elif raw is not None and raw.data.strip():
        yield Member(name, about, cleaning.as_lines(raw.data, hider), raw.cut)


def history(state_dir: Path, run_id: str, hider: Hider) -> Iterator[Member | LeftOut]:
    """Yield what the history knows of the install of a run; nothing when it does not know it."""
    from modelmedic.history.store import History

    name = "history.json"
    if not (state_dir / "history.db").is_file():
        return
    try:
        with History.open(state_dir, is_read_only=True) as opened:
            rows = _rows(opened.connection, run_id)
            trouble = opened.trouble
    except sqlite3.Error as error:
        yield LeftOut(name, f"the history cannot be read: {error}")
        return
    if rows:
        about = "earlier runs on this install, alerts, and a day of what the monitor saw"
        yield Member(name, about, cleaning.dumped(cleaning.clean(rows, hider)))
    elif trouble:
        yield LeftOut(name, hider.text(trouble))


def _rows(connection: sqlite3.Connection, run_id: str) -> dict[str, Any]:
    known = connection.execute(
        "SELECT run.install_id, run.machine_id, run.started_at FROM run "
        "JOIN machine ON machine.id = run.machine_id WHERE run_id = ? AND machine.is_own",
        [run_id],
    ).fetchone()
    if known is None:
        return {}
    values = (*known, _DAY_SECONDS)
    found = {
        name: [dict(row) for row in connection.execute(text, values[: _count(text)])]
        for name, text in _ROWS.items()
    }
    for row in found["runs"]:
        row["counts"] = json.loads(row["counts"])
    return found


def _count(text: str) -> int:
    """Return how many of the numbered values a query takes."""
    return max(int(text[at + 1]) for at, letter in enumerate(text) if letter == "?")
