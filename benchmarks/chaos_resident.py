"""The long-lived process: a manager that is called all the while, counts exact, no growth."""

from __future__ import annotations

import contextlib
import gc
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_CALLS = 200
_MAX_GROWTH_BYTES = 24 << 20
_MAX_MORE_FILES = 4
_WARM = 3  # samples until caches of all kinds are filled


class Worker:
    """A component: counts what it really does, and fails when it is told to."""

    def __init__(self) -> None:
        self.done = 0

    def work(self, error: BaseException | None = None) -> int:
        self.done += 1
        if error is not None:
            raise error
        return self.done


@dataclass(slots=True)
class Resident:
    """A manager and one wrapped component, for as long as the run takes."""

    worker: Worker
    wrapped: Worker
    calls: int = 0
    failed: int = 0
    wrong: list[str] = field(default_factory=list)
    rss_bytes: list[int] = field(default_factory=list)
    open_files: list[int] = field(default_factory=list)

    @classmethod
    @contextlib.contextmanager
    def at(cls, folder: Path) -> Iterator[Resident]:
        """Make a manager whose state lies in a folder; close it at the end."""
        from modelmedic import ReliabilityManager

        manager = ReliabilityManager(state_dir=folder, install_dir=folder.parent)
        try:
            worker = Worker()
            yield cls(worker, manager.wrap_component(worker, "worker"))
        finally:
            manager.close()

    def work(self, draw: random.Random) -> None:
        """Call the component often, a twentieth of it failing in ways that must come through."""
        before = self.worker.done
        for _call in range(_CALLS):
            error = draw.choice((ValueError, KeyError, RuntimeError))("chaos")
            fails = draw.random() < 0.05
            self.calls += 1
            try:
                self.wrapped.work(error if fails else None)
                if fails:
                    self.wrong.append("an error did not come through")
            except (ValueError, KeyError, RuntimeError) as found:
                self.failed += 1
                if found is not error:
                    self.wrong.append(f"another error came through: {found!r}")
        if self.worker.done - before != _CALLS:
            self.wrong.append(f"{self.worker.done - before} calls arrived of {_CALLS}")
        gc.collect()
        process = psutil.Process()
        self.rss_bytes.append(process.memory_info().rss)
        self.open_files.append(process.num_fds())

    def broken(self) -> list[str]:
        """Return what went wrong in this process, as sentences."""
        found = list(dict.fromkeys(self.wrong))
        if len(self.rss_bytes) > 2 * _WARM:
            grown = self.rss_bytes[-1] - self.rss_bytes[_WARM]
            more = min(self.open_files[-_WARM:]) - self.open_files[_WARM]
            if grown > _MAX_GROWTH_BYTES:
                found.append(f"the long-lived process grew by {grown >> 20} MiB")
            if more > _MAX_MORE_FILES:
                found.append(f"the long-lived process has {more} more open files")
        return found

    def told(self) -> str:
        """Return its figures as one line."""
        if not self.rss_bytes:
            return "no calls"
        warm = min(_WARM, len(self.rss_bytes) - 1)
        return (
            f"{self.calls} calls, {self.failed} failed; resident memory "
            f"{self.rss_bytes[warm] >> 20} to {self.rss_bytes[-1] >> 20} MiB, open files "
            f"{self.open_files[warm]} to {self.open_files[-1]}"
        )
