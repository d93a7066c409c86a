"""The history of this state folder: what runs, repairs and the monitor left, to be asked later."""

from __future__ import annotations

import dataclasses
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from modelmedic import pseudonyms
from modelmedic.errors import CannotTell, ModelmedicError
from modelmedic.history import database, heals, latest, retention, rows
from modelmedic.history.rows import Rows

if TYPE_CHECKING:
    from typing_extensions import Self

    from modelmedic.history.importing import BundleReader, Imported

OWN_MACHINE = "machine:here"  # where no key for stand-ins can be had

Minute = tuple[str, int, float, float, float, float, int]
ComponentMetric = tuple[float, str, str, int, int, int, float | None, float | None]

_ADD_MINUTE = """
INSERT INTO minute (machine_id, series, at, least, mean, most, last, samples)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (machine_id, series, at) DO UPDATE SET
    least = min(least, excluded.least),
    mean = (mean * samples + excluded.mean * excluded.samples) / (samples + excluded.samples),
    most = max(most, excluded.most),
    last = excluded.last,
    samples = samples + excluded.samples
"""


class OtherContent(ModelmedicError):  # noqa: N818 - named for what it means, as CannotTell
    """A run of that machine and id is stored already, and says something else."""


class History:
    """The history's database. Nothing here ever stops a check run: see `trouble`.

    Use it as a context manager, in one thread. Moments are seconds since the epoch.

    Attributes:
        connection: For queries; rows can be read by name. Writers use the methods below.
        trouble: What is wrong with the file, as a sentence; empty when nothing is.
        is_kept: Whether anything stored lasts; else it is in memory only, and `trouble` says why.
    """

    def __init__(
        self, state_dir: Path, found: database.Opened, clock: Callable[[], float] = time.time
    ) -> None:
        self.state_dir = state_dir
        self.connection = found.connection
        self.trouble = found.trouble
        self.is_kept = found.is_kept
        self.clock = clock
        self._checks: dict[str, int] = {}
        self._snapshots: set[str] = set()
        self._own_name = ""

    @classmethod
    def open(
        cls,
        state_dir: Path,
        *,
        is_read_only: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> History:
        """Return the history of a state folder; the folder and the file are made when missing.

        Never raises for what lies there: a damaged file is set aside, one that cannot be used is
        replaced by an empty one in memory.

        Args:
            state_dir: The state folder, absolute.
            is_read_only: Change nothing, not even a damaged file.
            clock: Seconds since the epoch.
        """
        return cls(
            state_dir, database.opened(state_dir, is_read_only=is_read_only, clock=clock), clock
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; twice is once."""
        self.connection.close()

    # -- runs ----------------------------------------------------------------------------------

    def store(self, record: Mapping[str, Any], *, is_own: bool = False) -> bool:
        """Store a run record, and return whether it is new.

        Args:
            record: It fits the schema of run records and is masked.
            is_own: A run of this machine, whatever machine the record names.

        Raises:
            OtherContent: The run is known, with other content. Nothing was changed.
            sqlite3.Error: It cannot be stored. Nothing was.
        """
        found = rows.of(record)
        if is_own:
            found = dataclasses.replace(found, machine=self.own_name())
        with self.writing():
            return self.store_rows(found, rows.content_hash(record))

    def store_rows(self, found: Rows, sha256: str) -> bool:
        """Do the same for the rows of a record, inside `writing`."""
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
        if found.machine != self.own_name():  # of our own, the log of repairs knows more
            heals.add_from_record(self.connection, machine, found)
        return True

    def take_in_repairs(self) -> None:
        """Store what the log of judged repairs of this state folder says; see docs/healing."""
        own = self.own_machine()
        with self.writing():
            heals.add_from_log(self.connection, own, self.state_dir)

    def keep_house(self, limits: retention.Limits = retention.LIMITS) -> None:
        """Remove what is older or more than the limits, once a day at most."""
        now = self.clock()
        if not retention.is_due(self.connection, now):
            return
        with self.writing():
            retention.apply(self.connection, now, limits)
        self._checks.clear()
        self._snapshots.clear()
        retention.give_back(self.connection)

    def import_paths(
        self, paths: Iterable[Path], *, read_bundle: BundleReader | None = None
    ) -> Imported:
        """Store the run records that the paths name: files, report folders, folders of them.

        Args:
            paths: What to import; every file is a stranger's.
            read_bundle: Yields the run records of a support bundle.
        """
        from modelmedic.history import importing

        return importing.import_paths(self, paths, read_bundle=read_bundle)

    # -- what the monitor saw ------------------------------------------------------------------

    def add_minutes(self, minutes: Iterable[Minute], *, machine: int | None = None) -> None:
        """Store minutes: series, start of the minute, least, mean, most, last, samples.

        What is known of the same minute already is added up.
        """
        own = self.own_machine() if machine is None else machine
        with self.writing():
            self.connection.executemany(_ADD_MINUTE, [(own, *each) for each in minutes])

    def add_alert(
        self,
        *,
        key: str,
        severity: str,
        text: str,
        command: str = "",
        first_at: float,
        last_at: float,
        times: int = 1,
        ended_at: float | None = None,
    ) -> None:
        """Store an alert; one of the same key and beginning is brought up to date."""
        own = self.own_machine()
        with self.writing():
            changed = self.connection.execute(
                "UPDATE alert SET severity = ?, last_at = ?, ended_at = ?, times = ?, text = ?, "
                "command = ? WHERE machine_id = ? AND key = ? AND first_at = ?",
                (severity, last_at, ended_at, times, text, command, own, key, first_at),
            )
            if not changed.rowcount:
                self.connection.execute(
                    "INSERT INTO alert (machine_id, key, severity, first_at, last_at, ended_at, "
                    "times, text, command) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (own, key, severity, first_at, last_at, ended_at, times, text, command),
                )

    def add_component_metrics(self, metrics: Iterable[ComponentMetric]) -> None:
        """Store counts of components.

        Each: moment, component, operation, calls, failures, retries, median and 99th percentile
        in seconds (None: not measured). The last word of one moment stays.
        """
        own = self.own_machine()
        with self.writing():
            self.connection.executemany(
                "INSERT OR REPLACE INTO component_metric VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(own, *each) for each in metrics],
            )

    # -- machines ------------------------------------------------------------------------------

    def own_name(self) -> str:
        """Return the stand-in for this machine's name; equal on every run with this folder."""
        if not self._own_name:
            self._own_name = own_machine_name(self.state_dir) or OWN_MACHINE
        return self._own_name

    def own_machine(self) -> int:
        """Return the number of this machine, which is made when it has none yet."""
        name, now = self.own_name(), self.clock()
        found = self.connection.execute(
            "SELECT id FROM machine WHERE name = ? AND is_own", (name,)
        ).fetchone()
        if found is not None:
            return int(found["id"])
        with self.writing():
            self.connection.execute(
                "INSERT INTO machine (name, is_own, first_seen, last_seen) VALUES (?, 1, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET is_own = 1",
                (name, now, now),
            )
        return self.own_machine()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the write lock of the file; all of the block is stored, or nothing."""
        try:
            with database.transaction(self.connection):
                yield
        except BaseException:
            self._checks.clear()  # what was made in the block is not there
            self._snapshots.clear()
            raise

    # -- one run -------------------------------------------------------------------------------

    def _machine(self, found: Rows) -> int:
        self.connection.execute(
            "INSERT INTO machine (name, is_own, first_seen, last_seen) VALUES (?1, ?2, ?3, ?3) "
            "ON CONFLICT (name) DO UPDATE SET first_seen = min(first_seen, excluded.first_seen), "
            "last_seen = max(last_seen, excluded.last_seen)",
            (found.machine, found.machine == self.own_name(), found.started_at),
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


def own_machine_name(state_dir: Path) -> str:
    """Return the stand-in for this machine; "" where no key for it can be had."""
    import platform

    from modelmedic.machine_id import machine_id

    try:
        key = pseudonyms.local_key(state_dir)
    except CannotTell:
        return ""
    return pseudonyms.token(key, "machine", machine_id() or platform.node())
