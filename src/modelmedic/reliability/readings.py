"""What may take long, or for ever, read beside the caller: a failure waits for it only so long."""

from __future__ import annotations

import _thread
import os
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Reading(Generic[T]):
    """One thing that is read in a thread of its own; the last value stays, with its age.

    At most one thread reads it at a time: on a dead mount one is lost, not one for each failure.

    Args:
        name: What it is, for the note that it did not come in time.
        read: Returns it. What it raises is kept as `fault`.
        fresh_seconds: A value that is younger is not read again.
    """

    def __init__(self, name: str, read: Callable[[], T], *, fresh_seconds: float = 0.0) -> None:
        self.name = name
        self.value: T | None = None
        self.fault = ""
        self._read = read
        self._fresh_seconds = fresh_seconds
        self._read_at = float("-inf")
        self._forget_threads()

    @property
    def age_seconds(self) -> float:
        """Return how long ago it was read; infinite before."""
        return time.monotonic() - self._read_at

    def note(self, value: T) -> None:
        """Take a value that somebody else has read."""
        self.value, self.fault, self._read_at = value, "", time.monotonic()

    def start(self) -> None:
        """Begin to read it, unless it is fresh or being read."""
        if self._process != os.getpid():  # a fork took the flag along, but not the thread
            self._forget_threads()
        if self.age_seconds < self._fresh_seconds or not self._busy.acquire(blocking=False):
            return
        self._done.clear()
        try:
            # Not threading: where memory is short, it waits without end for a thread that died
            # before it could say that it began.
            _thread.start_new_thread(self._run, (self._busy, self._done))
        except (RuntimeError, MemoryError) as error:
            self.fault = f"no thread could be started: {error}"
            self._done.set()
            self._busy.release()

    def wait(self, ends_at: float) -> bool:
        """Wait until it is read, or `time.monotonic` reaches ``ends_at``; return whether it is."""
        return self._done.wait(max(0.0, ends_at - time.monotonic()))

    def _forget_threads(self) -> None:
        self._process = os.getpid()
        self._busy = threading.Lock()
        self._done = threading.Event()
        self._done.set()

    def _run(self, busy: threading.Lock, done: threading.Event) -> None:
        try:
            self.note(self._read())
        except BaseException as error:  # noqa: BLE001 - a fault of a reading is a note, no more
            self.fault = type(error).__name__
        finally:
            busy.release()
            done.set()
