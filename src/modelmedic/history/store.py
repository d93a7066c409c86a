"""The history of this state folder: what runs, repairs and the monitor left, to be asked later."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from modelmedic.history import database, heals, retention, rows
from modelmedic.history.rows import Rows
from modelmedic.history.storing import RunWriter
from modelmedic.inventory import machine_name

if TYPE_CHECKING:
    from typing_extensions import Self

    from modelmedic.history.importing import BundleReader, Imported

_LABEL_LETTERS = 100
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
        self._writer: RunWriter | None = None
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

    def begin_anew(self, why: str) -> None:
        """Set the file aside, because it is damaged, and go on with a new one."""
        path = self.state_dir / database.NAME
        self.connection.close()
        try:
            aside = database.set_aside(path, self.clock).name
        except OSError as error:
            aside = f"nothing ({error.strerror})"
        found = database.opened(self.state_dir, is_read_only=False, clock=self.clock)
        self.connection, self.is_kept = found.connection, found.is_kept
        self.trouble = found.trouble or database.set_aside_words(path, why, aside)

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
        if self._writer is None:
            self._writer = RunWriter(self.connection, self.own_name())
        return self._writer.store(found, sha256)

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
        self.drop_orphans()
        retention.give_back(self.connection)

    def drop_orphans(self) -> None:
        """Remove names and snapshots that nothing refers to any more."""
        # Else SQLite looks for what refers to each of them, without an index, in all findings.
        self.connection.execute("PRAGMA foreign_keys = OFF")
        try:
            with self.writing():
                retention.drop_orphans(self.connection)
        finally:
            self.connection.execute("PRAGMA foreign_keys = ON")

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
            self._own_name = machine_name(self.state_dir) or OWN_MACHINE
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

    def label(self, machine: int, text: str) -> None:
        """Call a machine by a name of the administrator's, which never leaves this file."""
        with self.writing():
            self.connection.execute(
                "UPDATE machine SET label = ? WHERE id = ?", (text[:_LABEL_LETTERS], machine)
            )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the write lock of the file; all of the block is stored, or nothing."""
        self._writer = None  # another process may have removed what it has named
        with database.transaction(self.connection):
            yield
