"""What the machine did during a run: processor, memory, disk and network, a point now and then."""

from __future__ import annotations

import _thread
import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

INTERVAL_SECONDS = 1.0
MOST_POINTS = 120  # of a series; more than a chart of 240 pixels needs
_LEAST_POINTS = 2  # one point is no course of anything
_PATIENCE_SECONDS = 0.5  # a dead disk may hold the reading for ever; the run does not wait for it


@dataclass(slots=True)
class Series:
    """One quantity over time. ``is_rate``: two points become their mean, else the later one."""

    name: str
    unit: str
    is_rate: bool = False
    points: list[tuple[float, float | None]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the series as the run record holds it."""
        return {"name": self.name, "unit": self.unit, "points": [list(p) for p in self.points]}

    def halve(self) -> None:
        """Keep one point for every two."""
        pairs = zip(self.points[::2], self.points[1::2], strict=False)
        self.points = [self._joined(first[1], last) for first, last in pairs]

    def _joined(self, first: float | None, last: tuple[float, float | None]) -> Any:
        at, value = last
        is_mean = self.is_rate and first is not None and value is not None
        return at, round((first + value) / 2, 1) if is_mean else value  # type: ignore[operator]


class ResourceLog:
    """Reads the machine every second in a thread of its own; twice as seldom when it is full.

    Nothing is read in the first second, so a short run costs nothing at all.

    Args:
        started_at: When the run began, in seconds of the time of day.
        disk: A path on the file system of the install; None: none is read.
        interval_seconds: Between two readings; it doubles when the series are full.
        read: Takes readings; for tests. None: from the machine.
    """

    def __init__(
        self,
        started_at: float,
        disk: Path | None,
        *,
        interval_seconds: float = INTERVAL_SECONDS,
        read: Callable[[], Mapping[str, float | None]] | None = None,
    ) -> None:
        self._offset = time.time() - started_at - time.monotonic()
        self._disk = disk
        self.interval_seconds = interval_seconds
        self._read = read
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._series = {
            "cpu": Series("Processor", "%", is_rate=True),
            "memory": Series("Memory in use", "bytes"),
            "disk_free": Series("Disk free at the install", "bytes"),
            "network": Series("Network received", "bytes/s", is_rate=True),
        }
        self._done = threading.Event()
        self._done.set()

    def start(self) -> None:
        """Begin to read; where no thread can be had there are no charts."""
        # Not `threading`: its start waits for ever where the new thread finds no memory.
        self._done.clear()
        try:
            _thread.start_new_thread(self._work, ())
        except (RuntimeError, MemoryError):
            self._done.set()

    def stop(self) -> dict[str, dict[str, Any]]:
        """End, and return the series that have at least two points, for the run record."""
        self._ending.set()
        self._done.wait(_PATIENCE_SECONDS)
        with self._lock:
            return {
                key: series.to_json()
                for key, series in self._series.items()
                if sum(value is not None for _at, value in series.points) >= _LEAST_POINTS
            }

    def add(self, at: float, values: Mapping[str, float | None]) -> None:
        """Take one reading, ``at`` seconds after the run began."""
        with self._lock:
            for key, series in self._series.items():
                series.points.append((round(max(at, 0.0), 1), values.get(key)))
            if len(self._series["cpu"].points) >= MOST_POINTS:
                self.interval_seconds *= 2
                for series in self._series.values():
                    series.halve()

    def _work(self) -> None:
        try:
            while not self._ending.wait(self.interval_seconds):
                read = self._read = self._read or Machine(self._disk).read
                with contextlib.suppress(Exception):  # a chart is not worth a run
                    self.add(time.monotonic() + self._offset, read())
        finally:
            self._done.set()


class Machine:
    """Reads this machine; a rate is over the time since the reading before it."""

    def __init__(self, disk: Path | None) -> None:
        self._disk = disk
        self._before: tuple[float, float] | None = None  # moment, bytes received until then
        self._is_first = True

    def read(self) -> dict[str, float | None]:
        """Return the values by series; None where one cannot be read, or not yet."""
        import psutil

        values: dict[str, float | None] = dict.fromkeys(("cpu", "memory", "disk_free", "network"))
        with contextlib.suppress(OSError, psutil.Error):
            cpu = psutil.cpu_percent(None)  # the first answer is over no time at all
            values["cpu"] = None if self._is_first else cpu
        self._is_first = False
        with contextlib.suppress(OSError, psutil.Error):
            memory = psutil.virtual_memory()
            values["memory"] = memory.total - memory.available
        with contextlib.suppress(OSError, psutil.Error):
            values["network"] = self._received(psutil.net_io_counters())
        with contextlib.suppress(OSError, psutil.Error):  # last: a dead disk does not answer
            values["disk_free"] = psutil.disk_usage(str(self._disk)).free if self._disk else None
        return values

    def _received(self, counters: Any) -> float | None:
        """Return bytes received in a second, on all interfaces together."""
        if counters is None:
            return None
        now, before = (time.monotonic(), float(counters.bytes_recv)), self._before
        self._before = now
        if before is None or now[0] <= before[0]:
            return None
        return round(max(now[1] - before[1], 0.0) / (now[0] - before[0]), 1)
