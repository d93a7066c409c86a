"""One sample of the machine: numbers by the name of their series, and what could not be read.

Only what answers at once is read here. What may hang (file systems, graphics cards) comes from
`probes`, and a process tree from `trees`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

# What is read every few seconds only: rates are of that span then, the kernel's own averages are of
# 10 s, and a count of killed processes lies in a text of 4 KB.
_SLOW_SECONDS = 5.0
_REMEMBERED_SECONDS = 600.0
_PRESSURE_LINE = "avg10="
_SHARE = 100.0
_HEAD_BYTES = 256
_FIRST_READINGS = 2

Readings = dict[str, float]
Read = Callable[[float], Readings]


class Sampler:
    """Reads the machine's numbers through psutil and /proc.

    Args:
        memory_limit: As in `Settings`.
    """

    def __init__(self, memory_limit: tuple[str, int, int] | None = None) -> None:
        import psutil

        self._psutil = psutil
        self._limit = memory_limit
        self._counters: dict[str, tuple[float, tuple[float, ...]]] = {}
        self._kills = _Kills(memory_limit)
        self._slow: Readings = {}
        self._rated: list[float] = []
        self._slow_at = float("-inf")
        self.blind: dict[str, str] = {}
        self._linux = _Linux() if sys.platform.startswith("linux") else None
        self._cpu(0.0)  # the first one has nothing to compare with

    def read(self, now: float) -> Readings:
        """Return one sample.

        Args:
            now: On a clock that never goes back.
        """
        found = self._group(now, (("cpu", self._cpu), ("memory", self._memory)))
        # A rate needs two readings: the second one comes at the second sample.
        if now - self._slow_at >= _SLOW_SECONDS or len(self._rated) < _FIRST_READINGS:
            slow = (
                ("swap", self._swap),
                ("pressure", self._pressure),
                ("load", self._load),
                ("io", self._io),
                ("network", self._network),
                ("files", self._files),
                ("oom", self._killed),
            )
            self._rated.append(now)
            self._slow, self._slow_at = self._group(now, slow), now
            del self._rated[:-_FIRST_READINGS]
        return found | self._slow

    def _group(self, now: float, sources: tuple[tuple[str, Read], ...]) -> Readings:
        found: Readings = {}
        for name, read in sources:
            try:
                found |= read(now)
                self.blind.pop(name, None)
            except Exception as error:  # noqa: BLE001 - one source must not take the others along
                self.blind[name] = f"{name} cannot be read here: {type(error).__name__}: {error}."
        return found

    def _cpu(self, _now: float) -> Readings:
        if self._linux is not None:
            return {"cpu.busy_ratio": self._linux.busy()}
        return {"cpu.busy_ratio": self._psutil.cpu_percent(None) / _SHARE}

    def _load(self, _now: float) -> Readings:
        return {"load.one": os.getloadavg()[0]} if hasattr(os, "getloadavg") else {}

    def _memory(self, _now: float) -> Readings:
        total, available = (self._linux and self._linux.memory()) or _memory_of(
            self._psutil.virtual_memory()
        )
        if self._limit is not None:
            folder, limit, version = self._limit
            total = min(total, limit)
            available = min(available, limit - _group_bytes(folder, version))
        available = max(available, 0.0)
        return {
            "memory.available_bytes": available,
            "memory.used_bytes": total - available,
            "memory.available_ratio": available / total if total else 0.0,
        }

    def _swap(self, _now: float) -> Readings:
        swap = self._psutil.swap_memory()
        if not swap.total:
            return {}
        found = {"swap.used_bytes": float(swap.used)}
        if self._limit is None:  # else it is the machine's, of which a group may use none
            found["swap.used_ratio"] = swap.used / swap.total
        return found

    def _pressure(self, _now: float) -> Readings:
        """Return how long work has waited of the last 10 s, 0 to 1.

        Source: Documentation/accounting/psi.rst. Not there: a kernel without it; not readable:
        started with psi=0.
        """
        found: Readings = {}
        for name in ("cpu", "memory", "io"):
            try:
                with open(f"/proc/pressure/{name}", encoding="ascii") as file:  # noqa: PTH123
                    lines = file.read().split("\n")
            except OSError:
                continue
            for line in lines:
                kind, _, rest = line.partition(" ")
                if kind in {"some", "full"} and rest.startswith(_PRESSURE_LINE):
                    share = float(rest[len(_PRESSURE_LINE) :].partition(" ")[0])
                    found[f"pressure.{name}_{kind}_ratio"] = share / _SHARE
        return found

    def _io(self, now: float) -> Readings:
        counters: Any = self._psutil.disk_io_counters()
        if counters is None:
            return {}
        read, written = self._rates("io", now, (counters.read_bytes, counters.write_bytes))
        return {"io.read_bytes_per_second": read, "io.written_bytes_per_second": written}

    def _network(self, now: float) -> Readings:
        counters: Any = self._psutil.net_io_counters()
        if counters is None:
            return {}
        received, sent = self._rates("network", now, (counters.bytes_recv, counters.bytes_sent))
        return {
            "network.received_bytes_per_second": received,
            "network.sent_bytes_per_second": sent,
        }

    def _rates(self, name: str, now: float, counters: tuple[float, ...]) -> list[float]:
        """Return the change for each second; 0 at first, and where a counter began anew."""
        before_at, before = self._counters.get(name, (now, counters))
        self._counters[name] = now, counters
        seconds = now - before_at
        if seconds <= 0:
            return [0.0] * len(counters)
        return [max(0.0, a - b) / seconds for a, b in zip(counters, before, strict=True)]

    def _files(self, _now: float) -> Readings:
        """Return how many of the open files that the whole system allows are used.

        Source: proc_sys_fs(5), file-nr: used, free, most.
        """
        if not sys.platform.startswith("linux"):
            return {}
        with open("/proc/sys/fs/file-nr", encoding="ascii") as file:  # noqa: PTH123
            used, _free, most = file.read().split()
        return {"files.open_ratio": int(used) / int(most)} if int(most) else {}

    def _killed(self, now: float) -> Readings:
        if not sys.platform.startswith("linux"):
            return {}
        return {"memory.killed": self._kills.lately(now)}


class _Kills:
    """How many processes the kernel has ended for want of memory, in the last ten minutes."""

    def __init__(self, limit: tuple[str, int, int] | None) -> None:
        self._limit = limit
        self._changed_at = float("-inf")
        self._count: float | None = None  # None: not read yet; what was before us is not ours
        self._before = 0.0

    def lately(self, now: float) -> float:
        """Return the number."""
        count = _killed_so_far(self._limit)
        if self._count is not None and count != self._count:
            self._changed_at = now
        elif now - self._changed_at > _REMEMBERED_SECONDS:
            self._before = count
        self._count = count
        return max(0.0, count - self._before)


class _Head:
    """The first bytes of a file of /proc, which stays open: to open it costs more than to read it.

    Args:
        path: The file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._handle: int | None = None

    def lines(self) -> list[bytes]:
        """Return its first lines; the last one is cut.

        Raises:
            OSError: It cannot be read.
        """
        if self._handle is None:
            self._handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        return os.pread(self._handle, _HEAD_BYTES, 0).split(b"\n", 3)


class _Linux:
    """Processor and memory from /proc; psutil reads the same files to their ends."""

    def __init__(self) -> None:
        self._stat, self._meminfo = _Head("/proc/stat"), _Head("/proc/meminfo")
        self._before: tuple[int, int] | None = None

    def busy(self) -> float:
        """Return which part of all processors' time was work since the last call, 0 to 1.

        Source: proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal; guest time is
        in user already.
        """
        times = [int(word) for word in self._stat.lines()[0].split()[1:9]]
        now = sum(times), times[3] + times[4]
        before, self._before = self._before or (0, 0), now
        passed = now[0] - before[0]
        return min(1.0, max(0.0, 1 - (now[1] - before[1]) / passed)) if passed > 0 else 0.0

    def memory(self) -> tuple[float, float] | None:
        """Return bytes of memory in all and available; None where the kernel does not say.

        Source: proc_meminfo(5): MemTotal, MemFree, MemAvailable (from Linux 3.14 on), in this
        order.
        """
        lines = self._meminfo.lines()
        total, available = lines[0].split(), lines[2].split()
        if total[0] != b"MemTotal:" or available[0] != b"MemAvailable:":
            return None
        return int(total[1]) * 1024.0, int(available[1]) * 1024.0


def _memory_of(memory: Any) -> tuple[float, float]:
    return float(memory.total), float(memory.available)


def _group_bytes(folder: str, version: int) -> float:
    """Return what a control group holds, without what the kernel can drop at once.

    Source: cgroup-v2.rst, memory.current and inactive_file of memory.stat; kubelet's eviction
    signal memory.available subtracts the same.
    """
    name, key = (
        ("memory.current", "inactive_file")
        if version > 1
        else ("memory.usage_in_bytes", "total_inactive_file")
    )
    with open(f"{folder}/{name}", encoding="ascii") as file:  # noqa: PTH123
        held = int(file.read())
    return float(max(0, held - _counted(f"{folder}/memory.stat", key)))


def _killed_so_far(limit: tuple[str, int, int] | None) -> float:
    if limit is not None and limit[2] > 1:
        return float(_counted(f"{limit[0]}/memory.events", "oom_kill"))
    return float(_counted("/proc/vmstat", "oom_kill"))


def _counted(path: str, key: str) -> int:
    with open(path, encoding="ascii") as file:  # noqa: PTH123
        for line in file:
            name, _, number = line.partition(" ")
            if name == key:
                return int(number)
    return 0
