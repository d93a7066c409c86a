"""For tests of the monitor: clocks that are set, sources that say what a test wants, children."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager

from modelmedic.monitor.interfaces import PotentialIssue

NOON = 1_800_000_000.0
STEADY = {"cpu.busy_ratio": 0.1, "memory.available_ratio": 0.5}


def issue(key="memory_short", **changes) -> PotentialIssue:
    values = {
        "key": key,
        "kind": "threshold",
        "severity": "warning",
        "subject": "memory.available_ratio",
        "what": "4 % of the memory are left.",
        "why": "The kernel ends a process next.",
        "command": "modelmedic check --checks=system.memory",
        "since": NOON,
    }
    return PotentialIssue(**(values | changes))


class Said:
    """A source whose readings are set."""

    def __init__(self, readings=None, blind=None):
        self.readings = dict(STEADY if readings is None else readings)
        self.blind = dict(blind or {})

    def read(self, now):
        return dict(self.readings)


class Kept:
    """A keeper that counts."""

    def __init__(self):
        self.alerts, self.minutes, self.blind = [], [], []

    def add_alerts(self, alerts):
        self.alerts += alerts

    def add_minutes(self, minutes):
        self.minutes += minutes


@contextmanager
def child(code: str, *args: str):
    """Run a Python child until the block ends."""
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", code, *args])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def until(holds, seconds=60.0):
    """Wait until something holds, and return what it returned; it fails when it never does."""
    ends = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < ends, "it never came"
        time.sleep(0.02)
    return found


def is_gone(pid: int) -> bool:
    """Return whether there is no such process any more, or only its remains."""
    import psutil

    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
