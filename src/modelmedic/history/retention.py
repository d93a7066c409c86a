"""How long the history keeps what: by age, and whatever its age by the size of the file.

Source of the numbers: a quarter of daily runs shows a trend; a fortnight of minutes shows a leak;
a machine with 250 checks an hour fills the file's bound in more than a year.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

DAY_SECONDS = 86_400.0
_HOUR_SECONDS = 3600
_UPKEEP_SECONDS = DAY_SECONDS
# So long without upkeep may be a clock that is wrong for one run: by age nothing goes then.
_JUMP_SECONDS = 30 * DAY_SECONDS
_STEP = 200  # runs or thousands of minutes that go at once, where the file is too large
_PAGES = 20_000  # of 4 KiB, given back to the disk at once


@dataclass(frozen=True, slots=True)
class Limits:
    """What is kept; ages in seconds.

    Args:
        findings: Of single checks. The newest of each stays for as long as its run.
        runs: What a run came to, in numbers.
        minutes: As the monitor wrote them; later they are hours.
        hours: The same, by the hour.
        events: Ended alerts and counts of components.
        heals: Judged repairs.
        most_runs: Of all machines together.
        most_bytes: Of the file.
    """

    findings: float = 90 * DAY_SECONDS
    runs: float = 730 * DAY_SECONDS
    minutes: float = 14 * DAY_SECONDS
    hours: float = 400 * DAY_SECONDS
    events: float = 180 * DAY_SECONDS
    heals: float = 730 * DAY_SECONDS
    most_runs: int = 100_000
    most_bytes: int = 2 << 30


LIMITS = Limits()
_OLD_FINDINGS = """
DELETE FROM finding WHERE run IN (SELECT id FROM run WHERE started_at < ?)
    AND NOT EXISTS (SELECT 1 FROM latest_finding AS newest
        WHERE newest.run = finding.run AND newest.check_id = finding.check_id)
"""
# A run that holds the newest word on a check stays, whatever its age.
_OLD_RUNS = """
DELETE FROM run WHERE started_at < ? AND id NOT IN (SELECT run FROM latest_finding)
"""
_TO_HOURS = """
INSERT INTO minute (machine_id, series, at, least, mean, most, last, samples)
SELECT machine_id, series, at / 3600 * 3600 AS hour, min(least),
    sum(mean * samples) / sum(samples), max(most), last, sum(samples)
FROM (SELECT * FROM minute WHERE at < ?1 AND samples > 0 ORDER BY machine_id, series, at DESC)
GROUP BY machine_id, series, hour HAVING count(*) > 1
ON CONFLICT (machine_id, series, at) DO UPDATE SET
    least = excluded.least, mean = excluded.mean, most = excluded.most, last = excluded.last,
    samples = excluded.samples
"""

_ORPHANS = (
    """DELETE FROM environment WHERE hash NOT IN
        (SELECT environment FROM run WHERE environment IS NOT NULL)""",
    "DELETE FROM install WHERE id NOT IN (SELECT install_id FROM run)",
    """DELETE FROM check_name WHERE id NOT IN (SELECT check_id FROM finding)
        AND id NOT IN (SELECT check_id FROM latest_finding)""",
)


def is_due(connection: sqlite3.Connection, now: float) -> bool:
    """Return whether it was not done for a day."""
    last = _last(connection)
    return last is None or not 0 <= now - last < _UPKEEP_SECONDS


def apply(connection: sqlite3.Connection, now: float, limits: Limits = LIMITS) -> None:
    """Remove what is too old or too much; inside a transaction."""
    last = _last(connection)
    if last is None or now - last < _JUMP_SECONDS:
        _by_age(connection, now, limits)
        _to_hours(connection, now, limits)
    connection.execute(
        "DELETE FROM run WHERE id IN (SELECT id FROM run "
        "ORDER BY started_at DESC LIMIT -1 OFFSET ?) "
        "AND id NOT IN (SELECT run FROM latest_finding)",
        (limits.most_runs,),
    )
    _by_size(connection, limits)
    connection.execute("INSERT OR REPLACE INTO upkeep VALUES ('retention', ?)", (now,))


def give_back(connection: sqlite3.Connection) -> None:
    """Give free pages back to the disk, a part at a time; outside a transaction."""
    # Not `execute`: it takes the first page for the end, as there are no columns.
    connection.executescript(f"PRAGMA incremental_vacuum({_PAGES});")


def drop_orphans(connection: sqlite3.Connection) -> None:
    """Remove names and snapshots that nothing refers to any more."""
    for statement in _ORPHANS:
        connection.execute(statement)


def _last(connection: sqlite3.Connection) -> float | None:
    row = connection.execute("SELECT at FROM upkeep WHERE name = 'retention'").fetchone()
    return None if row is None else float(row["at"])


def _by_age(connection: sqlite3.Connection, now: float, limits: Limits) -> None:
    for statement, age in (
        (_OLD_FINDINGS, limits.findings),
        (_OLD_RUNS, limits.runs),
        ("DELETE FROM minute WHERE at < ?", limits.hours),
        ("DELETE FROM alert WHERE coalesce(ended_at, last_at) < ?", limits.events),
        ("DELETE FROM component_metric WHERE at < ?", limits.events),
        ("DELETE FROM heal WHERE at < ?", limits.heals),
    ):
        connection.execute(statement, (now - age,))


def _to_hours(connection: sqlite3.Connection, now: float, limits: Limits) -> None:
    before = int(now - limits.minutes) // _HOUR_SECONDS * _HOUR_SECONDS
    connection.execute(_TO_HOURS, (before,))
    connection.execute("DELETE FROM minute WHERE at < ? AND at % 3600 <> 0", (before,))


def _by_size(connection: sqlite3.Connection, limits: Limits) -> None:
    """Remove the oldest findings, then minutes, until what is used is within the bound."""
    while _used_bytes(connection) > limits.most_bytes:
        gone = connection.execute(
            "DELETE FROM finding WHERE run IN (SELECT run.id FROM run WHERE id NOT IN "
            "(SELECT run FROM latest_finding) AND EXISTS (SELECT 1 FROM finding AS one "
            "WHERE one.run = run.id) ORDER BY started_at LIMIT ?)",
            (_STEP,),
        ).rowcount
        if not gone:
            gone = _oldest_minutes(connection)
        if not gone:
            return


def _oldest_minutes(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT min(at) AS first, max(at) AS last FROM minute").fetchone()
    if row["first"] is None or row["first"] == row["last"]:
        return 0
    cut = row["first"] + max(60, (row["last"] - row["first"]) // 10)
    return connection.execute("DELETE FROM minute WHERE at < ?", (cut,)).rowcount


def _used_bytes(connection: sqlite3.Connection) -> int:
    asked = ("page_count", "freelist_count", "page_size")
    pages, free, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in asked)
    return int((pages - free) * size)
