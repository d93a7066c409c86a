"""Run a command and say what it cost: processor time of it and its children, wall time."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
RUNS = 9


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run cost, in seconds; ``cpu`` is user + system of the whole family."""

    cpu_seconds: float
    wall_seconds: float
    code: int
    output: str


def cost_of(argv: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> Cost:
    """Run ``argv`` to its end and return what it cost.

    The kernel adds a child's processor time to its parent's when the parent has waited for it;
    what is measured is the difference of the counter for all our own children (getrusage(2),
    RUSAGE_CHILDREN). Grandchildren that nobody waits for are therefore not in it.

    Raises:
        SystemExit: This system has no such counter.
    """
    if sys.platform == "win32":
        raise SystemExit("These figures need getrusage, which Windows has not.")
    import resource

    def used_seconds() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    cpu, wall = used_seconds(), time.perf_counter()
    done = subprocess.run(
        argv, env=env, cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )
    wall = time.perf_counter() - wall
    return Cost(used_seconds() - cpu, wall, done.returncode, done.stdout + done.stderr)


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
