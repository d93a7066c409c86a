"""One run into the tables of the history, inside a transaction."""

from __future__ import annotations

import dataclasses
import sqlite3

from modelmedic.errors import ModelmedicError
from modelmedic.history import heals, latest, rows
from modelmedic.history.rows import Rows


class OtherContent(ModelmedicError):  # noqa: N818 - named for what it means, as CannotTell
    """A run of that machine and id is stored already, and says something else."""


class RunWriter:
    """Stores runs inside one transaction; it remembers the numbers of what it has named.

    Args:
        connection: In a transaction for as long as this lives.
        own_name: Of this machine, whose repairs are known from their log.
    """

    def __init__(self, connection: sqlite3.Connection, own_name: str) -> None:
        self.connection = connection
        self.own_name = own_name
        self._checks: dict[str, int] = {}
        self._snapshots: set[str] = set()

    def store(self, found: Rows, sha256: str) -> bool:
        """Store the rows of a record, and return whether it is new.

        Args:
            found: What is kept of it.
            sha256: Of the record; an equal one is known without a look at its rows.

        Raises:
            OtherContent: The run is known, with other content. Nothing was changed.
        """
        machine = self._machine(found)
        known = self.connection.execute(
            "SELECT * FROM run WHERE machine_id = ? AND run_id = ?", (machine, found.run_id)
        ).fetchone()
        if known is not None and not self._is_replaced(known, found, sha256):
            return False
        install = self._install(machine, found)
        run = self._add_run(machine, install, found, sha256)
        outcomes = self._add_findings(run, found)
        latest.add(self.connection, install, run, (found.started_at, found.run_id), outcomes)
        if found.machine != self.own_name:  # of our own, the log of repairs knows more
            heals.add_from_record(self.connection, machine, found)
        return True

    def _machine(self, found: Rows) -> int:
        self.connection.execute(
            "INSERT INTO machine (name, is_own, first_seen, last_seen) VALUES (?1, ?2, ?3, ?3) "
            "ON CONFLICT (name) DO UPDATE SET first_seen = min(first_seen, excluded.first_seen), "
            "last_seen = max(last_seen, excluded.last_seen)",
            (found.machine, found.machine == self.own_name, found.started_at),
        )
        row = self.connection.execute("SELECT id FROM machine WHERE name = ?", (found.machine,))
        return int(row.fetchone()["id"])

    def _is_replaced(self, known: sqlite3.Row, found: Rows, sha256: str) -> bool:
        """Return whether a known run makes room for what is now said of it.

        Only one that had not ended does, when its end comes.

        Raises:
            OtherContent: It says something else.
        """
        if known["record_sha256"] == sha256:
            return False
        if (
            known["exit_code"] is None
            and found.exit_code is not None
            and known["started_at"] == found.started_at
        ):
            self._drop(known)
            return True
        if self._is_same(known, found):
            return False
        raise OtherContent(
            f"Run {found.run_id} of {found.machine} is known with other content.",
            "A run is stored once; what is stored is not overwritten.",
            f"To take the other one instead: modelmedic history forget {found.run_id}, then import "
            "again.",
        )

    def _is_same(self, known: sqlite3.Row, found: Rows) -> bool:
        """Return whether all that is kept of a record is stored already."""
        kept = ("started_at", "seconds", "mode", "stage", "exit_code", "counts", "root_causes")
        stored = self.connection.execute(
            "SELECT check_name.name, finding.outcome, finding.what, finding.why FROM finding "
            "JOIN check_name ON check_name.id = check_id WHERE run = ?",
            (known["id"],),
        )
        told = {(each[0], each[3], each[8], each[9]) for each in found.findings}
        return {tuple(row) for row in stored} == told and all(
            known[name] == getattr(found, name) for name in kept
        )

    def _drop(self, known: sqlite3.Row) -> None:
        self.connection.execute("DELETE FROM run WHERE id = ?", (known["id"],))
        latest.recompute(self.connection, known["install_id"])

    def _install(self, machine: int, found: Rows) -> int:
        key = (machine, found.folder, found.profile)
        self.connection.execute(
            "INSERT OR IGNORE INTO install (machine_id, folder, profile) VALUES (?, ?, ?)", key
        )
        row = self.connection.execute(
            "SELECT id FROM install WHERE machine_id = ? AND folder = ? AND profile = ?", key
        )
        return int(row.fetchone()["id"])

    def _add_run(self, machine: int, install: int, found: Rows, sha256: str) -> int:
        snapshot = found.snapshot
        if snapshot is not None and snapshot.hash not in self._snapshots:
            self.connection.execute(
                "INSERT OR IGNORE INTO environment VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                dataclasses.astuple(snapshot),
            )
            self._snapshots.add(snapshot.hash)
        values = {
            "machine_id": machine,
            "install_id": install,
            "run_id": found.run_id,
            "started_at": found.started_at,
            "seconds": found.seconds,
            "mode": found.mode,
            "stage": found.stage,
            "exit_code": found.exit_code,
            "modelmedic": found.modelmedic,
            "environment": snapshot.hash if snapshot else None,
            "counts": found.counts,
            "root_causes": found.root_causes,
            "record_sha256": sha256,
            "is_partial": found.is_partial,
        }
        marks = ", ".join("?" * len(values))
        added = self.connection.execute(
            f"INSERT INTO run ({', '.join(values)}) VALUES ({marks})",  # noqa: S608 - our own names
            tuple(values.values()),
        )
        return int(added.lastrowid or 0)

    def _add_findings(self, run: int, found: Rows) -> list[tuple[int, str]]:
        numbered = [(self._check(each), each) for each in found.findings]
        self.connection.executemany(
            "INSERT INTO finding VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            sorted((run, number, *each[3:]) for number, each in numbered),
        )
        return [(number, each[3]) for number, each in numbered]

    def _check(self, finding: rows.Finding) -> int:
        name, title, area = finding[:3]
        number = self._checks.get(name)
        if number is None:
            self.connection.execute(
                "INSERT OR IGNORE INTO check_name (name, title, area) VALUES (?, ?, ?)",
                (name, title, area),
            )
            row = self.connection.execute("SELECT id FROM check_name WHERE name = ?", (name,))
            number = self._checks[name] = int(row.fetchone()["id"])
        return number
