"""Who may read a whole file now: as many at once as there are cores, the largest first."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from modelmedic.errors import CannotTell
from modelmedic.facts import cgroup
from modelmedic.facts.book import FactBook, Probe
from modelmedic.facts.deep_read import Unfinished
from modelmedic.text import printable

_MEMO = ("hashing desk",)
_STILL_SECONDS = 60.0  # no read got on for so long: its limit counts from now on
_QUIET_SECONDS = 1.0  # what ends sooner needs no progress
T = TypeVar("T")
Tell = Callable[[str, int, int], None]  # what, bytes done, bytes in all


def usable_cores() -> int:
    """Return how many processors this process may run on, at least 1.

    Under a quota of processor time, as containers have, the next whole number of processors.
    """
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0)) or 1
    else:
        allowed = os.cpu_count() or 1
    quota = cgroup.own_cpu_quota()
    return allowed if quota is None else min(allowed, math.ceil(quota))


@contextlib.contextmanager
def _unseen() -> Iterator[Tell]:
    yield lambda _what, _done, _total: None


@dataclass(slots=True)
class _Job:
    subject: str
    size_bytes: int
    done_bytes: int = 0


@dataclass(slots=True)
class Desk:
    """The reads of whole files of one run.

    ``unfinished`` are those that `stop` ended, by file: its identity and how far it was read.
    ``shown`` gives what progress is told to while somebody waits; by default nobody.
    """

    cores: int = field(default_factory=usable_cores)
    shown: Callable[[], contextlib.AbstractContextManager[Tell]] = _unseen
    unfinished: dict[str, tuple[tuple[int | None, ...], Unfinished]] = field(default_factory=dict)
    is_stopped: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _waiting: list[tuple[int, int, Hashable]] = field(default_factory=list)  # minus size, ..., key
    _busy: set[Hashable] = field(default_factory=set)
    _running: list[_Job] = field(default_factory=list)
    _ended_bytes: int = 0
    moved_at: float = field(default_factory=time.monotonic)

    @contextlib.contextmanager
    def turn(self, subject: str, size_bytes: int, key: Hashable) -> Iterator[Callable[[int], None]]:
        """Wait for a turn, hold it, and give what is to be told the bytes done.

        Two reads with one ``key`` never run at once.

        Raises:
            CannotTell: The run was stopped.
        """
        job = _Job(subject, size_bytes)
        ticket = (-size_bytes, next(self._numbers), key)  # the numbers differ: no key is compared
        with self._changed:
            self._waiting.append(ticket)
            while not self.is_stopped and (
                len(self._running) >= self.cores or self._next() != ticket
            ):
                self._changed.wait()
            self._waiting.remove(ticket)
            if self.is_stopped:
                self._changed.notify_all()
                raise CannotTell(f"{printable(subject)} was not read: the run was stopped.")
            self._busy.add(key)
            self._running.append(job)
            self._changed.notify_all()

        def tell(done_bytes: int) -> None:
            job.done_bytes = done_bytes
            self.moved_at = time.monotonic()

        try:
            yield tell
        finally:
            with self._changed:
                self._running.remove(job)
                self._busy.discard(key)
                self._ended_bytes += size_bytes
                self._changed.notify_all()

    def _next(self) -> tuple[int, int, Hashable] | None:
        return min((each for each in self._waiting if each[2] not in self._busy), default=None)

    def has_idle_core(self) -> bool:
        """Return whether fewer files are read than there are cores, and none waits."""
        return not self._waiting and len(self._running) < self.cores

    def is_reading(self, subject: str) -> bool:
        """Return whether a file is read right now."""
        return any(job.subject == subject for job in list(self._running))

    def progress(self) -> tuple[str, int, int]:
        """Return what is read, the bytes read by all so far, and those known to be to read."""
        with self._changed:
            running = list(self._running)
            left = sum(-size for size, _number, _key in self._waiting)
            total = self._ended_bytes + left + sum(job.size_bytes for job in running)
            done = self._ended_bytes + sum(job.done_bytes for job in running)
        return "Reading every byte of the weights", done, total

    def stop(self, patience_seconds: float) -> None:
        """End all reads, waiting for them at most so long; what they did is in ``unfinished``."""
        self.is_stopped = True
        ends_at = time.monotonic() + patience_seconds
        with self._changed:
            self._changed.notify_all()
            while self._running and (left := ends_at - time.monotonic()) > 0:
                self._changed.wait(left)


def desk_of(facts: FactBook) -> Desk:
    """Return the desk of a run."""
    desk: Desk = facts.memo.setdefault(_MEMO, Desk())
    return desk


def awaited(facts: FactBook, probe: Probe[T], subject: str, *args: object) -> T:
    """Return what a probe reads of a whole file, as `FactBook.get`, and show how far it is.

    Its limit counts from its turn on: a file waits until larger ones were read.
    """
    facts.start(probe, subject, *args)
    desk, began, pause = desk_of(facts), time.monotonic(), 0.0005
    tell: Tell | None = None
    with contextlib.ExitStack() as stack:
        while not facts.is_read(probe, subject, *args):
            now = time.monotonic()
            if now - max(began, desk.moved_at) > _STILL_SECONDS:
                break
            if tell is None and now - began > _QUIET_SECONDS:
                tell = stack.enter_context(desk.shown())
            if tell is not None:
                tell(*desk.progress())
            time.sleep(pause)
            pause = min(2 * pause, 0.1)
    return facts.get(probe, subject, *args)
