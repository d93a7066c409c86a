"""How busy the processors are, by the difference of two readings: nobody sleeps for it."""

from __future__ import annotations

import math
import os
import re
import sys
from pathlib import Path

_STAT = Path("/proc/stat")
_LEAST_SECONDS = 0.1  # two readings nearer than that say more of the clock's steps than of use


class CpuUse:
    """How busy all processors were since an earlier reading; sleeps for nothing.

    The first reading is of when this was made on Linux, where it costs nothing; elsewhere it is
    the first `percent`.
    """

    def __init__(self) -> None:
        self._before = _linux_times() if sys.platform.startswith("linux") else None
        self._last = math.nan

    def percent(self) -> float:
        """Return 0 to 100 since the last reading that was long enough ago; NaN before a second."""
        before, now = self._before, _times()
        if now is None or before is None:
            self._before = now
            return self._last
        busy, total = now[0] - before[0], now[1] - before[1]
        if total >= _LEAST_SECONDS * (os.cpu_count() or 1):
            self._before = now
            self._last = min(100.0, max(0.0, 100.0 * busy / total))
        return self._last


def parse_stat(text: str, ticks_per_second: float) -> tuple[float, float] | None:
    """Return busy and total seconds of all processors in a ``/proc/stat`` text.

    Source: proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal; guest time is
    already in user time.
    """
    match = re.match(r"cpu +(\d+(?: \d+){3,})", text)
    if not match:
        return None
    ticks = [int(number) / ticks_per_second for number in match[1].split()][:8]
    idle = sum(ticks[3:5])
    return sum(ticks) - idle, sum(ticks)


def _times() -> tuple[float, float] | None:
    if sys.platform.startswith("linux"):
        return _linux_times()
    import psutil

    times = psutil.cpu_times()
    total = float(sum(times))
    return total - times.idle, total


def _linux_times() -> tuple[float, float] | None:
    try:
        with _STAT.open(encoding="ascii") as stream:
            return parse_stat(stream.readline(), os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError):
        return None
