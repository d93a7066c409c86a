"""The newest outcome of each check, kept right whatever order runs are stored in.

A blocked check was not judged: what was known of it before still stands.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

_NOT_JUDGED = "blocked"
_NEWER = """
INSERT INTO latest_finding (install_id, check_id, run, outcome, since) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (install_id, check_id) DO UPDATE SET
    run = excluded.run,
    since = CASE WHEN outcome = excluded.outcome THEN since ELSE excluded.since END,
    flaps = flaps + (outcome <> excluded.outcome),
    outcome = excluded.outcome
"""
_NEWER_RUN = (
    _NEWER.partition("VALUES")[0]  # noqa: S608 - our own words
    + "SELECT ?, check_id, run, outcome, ? FROM finding WHERE run = ? AND outcome <> 'blocked' "
    + _NEWER[_NEWER.index("ON CONFLICT") :]
)
_ROW = "SELECT run, outcome, since, flaps FROM latest_finding WHERE install_id = ? AND check_id = ?"
_MOVED = """
UPDATE latest_finding SET since = ?, flaps = max(0, flaps + ?)
WHERE install_id = ? AND check_id = ?
"""
_BEFORE = """
SELECT finding.outcome, run.started_at FROM run JOIN finding ON finding.run = run.id
WHERE run.install_id = ?1 AND (run.started_at, run.run_id) < (?2, ?3)
    AND finding.check_id = ?4 AND finding.outcome <> 'blocked'
ORDER BY run.started_at DESC, run.run_id DESC LIMIT 1
"""
_AFTER = """
SELECT finding.outcome, run.started_at FROM run JOIN finding ON finding.run = run.id
WHERE run.install_id = ?1 AND (run.started_at, run.run_id) > (?2, ?3)
    AND finding.check_id = ?4 AND finding.outcome <> 'blocked'
ORDER BY run.started_at, run.run_id LIMIT 1
"""
_ALL = """
SELECT finding.check_id, run.id, finding.outcome, run.started_at
FROM run JOIN finding ON finding.run = run.id
WHERE run.install_id = ? AND finding.outcome <> 'blocked'
ORDER BY run.started_at, run.run_id
"""

Moment = tuple[float, str]  # start and id of a run: what orders the runs of an install


def add(
    connection: sqlite3.Connection,
    install: int,
    run: int,
    moment: Moment,
    outcomes: Iterable[tuple[int, str]],
) -> None:
    """Take in the judged checks of a run whose findings are stored; newest or not.

    Args:
        connection: In a transaction.
        install: The run's install.
        run: The run.
        moment: Its start and id.
        outcomes: Number and outcome of each check.
    """
    last = connection.execute(
        "SELECT started_at, run_id FROM run WHERE install_id = ? "
        "ORDER BY started_at DESC, run_id DESC LIMIT 1",
        (install,),
    ).fetchone()
    if tuple(last) <= moment:
        connection.execute(_NEWER_RUN, (install, moment[0], run))
        return
    for check, outcome in outcomes:
        if outcome != _NOT_JUDGED:
            _insert(connection, (install, check, run), moment, outcome)


def recompute(connection: sqlite3.Connection, install: int) -> None:
    """Derive the newest outcomes of an install from all findings that are left."""
    connection.execute("DELETE FROM latest_finding WHERE install_id = ?", (install,))
    rows = [
        (install, check, run, outcome, at)
        for check, run, outcome, at in connection.execute(_ALL, (install,))
    ]
    connection.executemany(_NEWER, rows)


def _insert(
    connection: sqlite3.Connection, key: tuple[int, int, int], moment: Moment, outcome: str
) -> None:
    """Take in a run that is older than another of its install."""
    install, check, run = key
    place = (install, *moment, check)
    known = connection.execute(_ROW, (install, check)).fetchone()
    # Where nothing is known, all runs would be looked through for nothing.
    after = connection.execute(_AFTER, place).fetchone() if known else None
    if after is None or known is None:  # the newest that judged this check
        connection.execute(_NEWER, (install, check, run, outcome, moment[0]))
        return
    before = connection.execute(_BEFORE, place).fetchone()
    turns = outcome != after["outcome"]
    if before is not None:
        turns += (before["outcome"] != outcome) - (before["outcome"] != after["outcome"])
    since = known["since"]
    if outcome != known["outcome"] and moment[0] >= since:  # it breaks the row that lasts till now
        since = after["started_at"]
    elif outcome == known["outcome"] and moment[0] < since == after["started_at"]:
        since = moment[0]  # it is where that row begins
    connection.execute(_MOVED, (since, turns, install, check))
