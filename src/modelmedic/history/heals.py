"""Judged repairs in the history: this machine's from its log, others' from their records."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from modelmedic.healing.evidence_log import EvidenceLog
from modelmedic.history.rows import Rows

_ADD = """
INSERT INTO heal (machine_id, repair, origin, at, recovery, family, category, system, machine,
    check_name, verdict, seconds, fetched_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (machine_id, repair) DO UPDATE SET verdict = excluded.verdict
    WHERE origin = excluded.origin AND verdict <> excluded.verdict
"""


def add_from_log(connection: sqlite3.Connection, machine: int, state_dir: Path) -> None:
    """Store each repair of the log once; a later verdict on one replaces the earlier.

    The log stays what the engine reads; its older lines, which become counts, stay here.
    """
    connection.executemany(
        _ADD,
        [
            (machine, each.repair, "log", each.at, each.recovery, each.family, each.category,
             each.system, each.machine, each.check, each.verdict, each.seconds,
             int(each.fetched_bytes))
            for each in EvidenceLog(state_dir).read().entries
        ],
    )  # fmt: skip


def add_from_record(connection: sqlite3.Connection, machine: int, found: Rows) -> None:
    """Store the judged repairs of another machine's run; a record names no family."""
    connection.executemany(
        _ADD,
        [
            (machine, f"{found.run_id}/{repair}", "record", found.started_at, recovery, "",
             category, found.system, found.processor, check, verdict, seconds, fetched)
            for repair, recovery, category, check, verdict, seconds, fetched in found.heals
        ],
    )  # fmt: skip
