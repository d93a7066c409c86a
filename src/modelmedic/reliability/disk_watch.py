"""Watches the free space of a disk while something long is written, and stops it in time."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from modelmedic.errors import DiskFilling
from modelmedic.limits import TimeoutManager
from modelmedic.text import printable, size

if TYPE_CHECKING:
    from typing_extensions import Self

    from modelmedic.timelimit import Limit

RESERVE_BYTES = 64 << 20  # room for journals, logs and what puts back; a wheel's worth
_RESUME_RATIO = 1.25  # enough again only above this much of the reserve: it may swing round it
_IDLE_SECONDS = 10.0  # what began with a check ends when nobody checks any more
INTERVAL_SECONDS = 0.5  # at 500 MB/s a second of writing is four times the reserve: half of it less


class Space(Enum):
    """What the last reading says. ``UNKNOWN``: none came in time, as of a dead network drive."""

    ENOUGH = "enough"
    LOW = "low"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class DiskState:
    """What was read last.

    Args:
        space: What it means.
        free_bytes: What this user may still write; None when not known.
        age_seconds: How long ago it was read.
    """

    space: Space
    free_bytes: int | None
    age_seconds: float


class DiskWatch:
    """Reads the free space every half second in a thread of its own; a ``with`` block.

    Whoever writes asks `check` between two pieces, which never waits for the disk. A block that
    cannot ask is broken off through ``interrupts``. A reading that never comes (a dead mount) makes
    the state unknown and stops nothing.

    Args:
        path: Anything on the disk; it may not exist yet.
        reserve_bytes: Below this much free space it is low, and enough again a quarter above it.
        interval_seconds: Between two readings.
        on_change: Hears every change of the state, in the watch's thread; never raise there.
        interrupts: A limit whose block is broken off when the space is low.
        read: Returns the free bytes of a path; replaced in tests.
    """

    def __init__(
        self,
        path: Path,
        reserve_bytes: int = RESERVE_BYTES,
        *,
        interval_seconds: float = INTERVAL_SECONDS,
        on_change: Callable[[DiskState], None] = lambda _state: None,
        interrupts: Limit | None = None,
        read: Callable[[Path], int] | None = None,
    ) -> None:
        self.path = path
        self.reserve_bytes = reserve_bytes
        self._interval_seconds = interval_seconds
        self._on_change = on_change
        self._interrupts = interrupts
        self._read = read or _free_bytes
        self._stale_seconds = TimeoutManager().get_timeout("local_read") + interval_seconds
        self._stopped = threading.Event()
        self._first = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._free_bytes: int | None = None
        self._read_at = time.monotonic()
        self._is_low = False
        self._asked_at: float | None = None  # None: begun by `start`, so it goes on until `stop`

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to watch until `stop`; begun twice is fine."""
        self._asked_at = None
        self._begin()

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None:
                self._stopped = threading.Event()
                self._thread = threading.Thread(
                    target=self._run, args=(self._stopped,), name="disk-watch", daemon=True
                )
                self._thread.start()

    def stop(self) -> None:
        """End the watch. A reading that hangs is left behind; it ends with the process."""
        with self._lock:
            self._stopped.set()
            self._thread = None

    @property
    def state(self) -> DiskState:
        """Return what was read last; waits for nothing."""
        free, age = self._free_bytes, time.monotonic() - self._read_at
        if free is None or age > self._stale_seconds:
            return DiskState(Space.UNKNOWN, free, age)
        return DiskState(Space.LOW if self._is_low else Space.ENOUGH, free, age)

    def wait_first(self, seconds: float = 1.0) -> bool:
        """Wait for the first reading; return whether it came."""
        return self._first.wait(seconds)

    def check(self, needed_bytes: int | None = None, doing: str = "") -> None:
        """Raise when the space is low; begins to watch, for as long as it is called.

        Args:
            needed_bytes: What is still to be written, where that is known: if it fits into what is
                free, low is no reason to stop.
            doing: What is stopped, as the beginning of a sentence.

        Raises:
            DiskFilling: It is low.
        """
        if self._thread is None or self._asked_at is not None:
            self._asked_at = time.monotonic()
            self._begin()
        state = self.state
        free = state.free_bytes or 0
        if state.space is Space.LOW and (needed_bytes is None or needed_bytes > free):
            raise self._filling(free, needed_bytes, doing)

    def _filling(self, free: int, needed_bytes: int | None, doing: str) -> DiskFilling:
        what = f"{doing or 'A long operation'} was stopped: the disk of {printable(self.path)} is "
        what += f"nearly full, {size(free)} are free"
        what += "." if needed_bytes is None else f" and {size(needed_bytes)} are still to come."
        more = max(self.reserve_bytes, needed_bytes or 0) - free
        return DiskFilling(
            what,
            "Something else fills it meanwhile, or it was too small from the beginning.",
            f"Free {size(max(1, more))} or more there, then start again; what came is kept.",
        )

    def _run(self, stopped: threading.Event) -> None:
        while not stopped.is_set():
            try:
                free: int | None = self._read(self.path)
            except OSError:
                free = None  # unknown, as one that hangs
            if not stopped.is_set():
                self._note(free)
            stopped.wait(self._interval_seconds)
            if self._asked_at is not None and self._asked_at < time.monotonic() - _IDLE_SECONDS:
                self.stop()

    def _note(self, free: int | None) -> None:
        before = self.state.space
        self._free_bytes, self._read_at = free, time.monotonic()
        if free is not None:
            edge = self.reserve_bytes * (_RESUME_RATIO if self._is_low else 1)
            self._is_low = free < edge
        is_first = not self._first.is_set()
        self._first.set()
        now = self.state
        if now.space is Space.LOW and self._interrupts is not None:
            self._interrupts.interrupt(self._filling(free or 0, None, ""))
        if is_first or now.space is not before:
            self._on_change(now)


def _free_bytes(path: Path) -> int:
    from modelmedic.facts.disk import existing

    return shutil.disk_usage(existing(path)).free
