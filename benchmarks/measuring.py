"""Run a command and say what it cost: processor time of it and its children, wall time, memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
RUNS = 9
DEADLINE_SECONDS = 300
# What `pytest` is started with: -I as start.py does; hypothesis is a test tool of ours and takes
# 0.3 s to import.
PYTEST = (sys.executable, "-I", "-m", "pytest", "-p", "no:hypothesispytest")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run cost, in seconds; ``cpu`` is user + system of the whole family.

    ``peak_bytes`` is the most resident memory that one process of the family had.
    """

    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int
    code: int
    output: str


def cost_of(argv: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> Cost:
    """Run ``argv`` to its end and return what it cost; after DEADLINE_SECONDS it is killed.

    The kernel adds a child's use to its parent's when the parent has waited for it, and tells the
    sum when we wait for that (wait4(2)). Grandchildren that nobody waits for are not in it. On
    Linux a peak is never below that of the process that starts the family, which is small here.

    Raises:
        SystemExit: This system does not tell.
    """
    if sys.platform == "win32":
        raise SystemExit("These figures need wait4, which Windows has not.")
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        killer = threading.Timer(DEADLINE_SECONDS, process.kill)
        killer.start()
        try:
            _pid, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            killer.cancel()
            if process.returncode is None:  # a person stopped us
                process.kill()
                process.wait()
        wall = time.perf_counter() - start
        output.seek(0)
        text = output.read()
    peak = usage.ru_maxrss if sys.platform == "darwin" else usage.ru_maxrss * 1024
    return Cost(usage.ru_utime + usage.ru_stime, wall, peak, process.returncode, text)


def plain_ini(place: Path) -> Path:
    """Write the ini file of a run of pytest without us: imports as ours, no plugin of a library."""
    ini = place / "plain.ini"
    ini.write_text(
        f"[pytest]\naddopts = --import-mode=importlib -p no:anyio\ncache_dir = {place / 'cache'}\n",
        encoding="utf-8",
    )
    return ini


def own_environment(home: Path) -> dict[str, str]:
    """Return an environment in which nothing of this machine's settings steers the run."""
    home.mkdir(parents=True, exist_ok=True)
    kept = {"PATH", "LANG", "LC_ALL", "TZ", "SYSTEMROOT"}
    env = {name: value for name, value in os.environ.items() if name in kept}
    return env | {
        "HOME": str(home),
        "TMPDIR": str(home),
        "MODELMEDIC_STATE_DIR": str(home / "state"),
    }


def line(name: str, seconds: Sequence[float], bar_seconds: float | None = None) -> str:
    """Return one line: least and median of the runs, and whether the least is within the bar.

    The least decides: whatever else runs on the machine only ever adds to a figure.
    """
    least, middle = min(seconds), statistics.median(seconds)
    text = f"{name:<58} min {least:6.3f} s  median {middle:6.3f} s"
    if bar_seconds is None:
        return text
    return f"{text}  bar {bar_seconds:.2f} s: {'met' if least <= bar_seconds else 'MISSED'}"
