"""Series for the back-test of forecasts: synthetic ones by seed, and those that were recorded."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

FOLDER = Path(__file__).parent / "series"
_HOUR = 3600.0
_FULL = 100e9  # of the disks and memories below


@dataclass(frozen=True, slots=True)
class Series:
    """A series, and whether and when its limit is reached.

    Args:
        name: Of its sort.
        kind: Which forecast it is for.
        limit: Its limit.
        points: (seconds, value) up to the event, or to the end.
        event_at: When the limit is reached; None: never, and whatever is told is a false alarm.
        announced_bytes: What was announced from the beginning; 0: nothing.
    """

    name: str
    kind: str
    limit: float
    points: tuple[tuple[float, float], ...]
    event_at: float | None
    announced_bytes: int = 0


# The numbers of the forecasts were chosen on seeds below 120; these are none of them.
_FIRST_SEED = 1000


def synthetic(seeds: int) -> Iterator[Series]:
    """Yield so many of each sort, those with an event first."""
    for make in _SORTS:
        for seed in range(_FIRST_SEED, _FIRST_SEED + seeds):
            yield make(random.Random(f"{make.__name__} {seed}"))


def recorded() -> Iterator[Series]:
    """Yield what benchmarks/record_series.py recorded."""
    for path in sorted(FOLDER.glob("*.json")):
        value = json.loads(path.read_text("ascii"))
        points = tuple((float(at), float(amount)) for at, amount in value["points"])
        found = _judged(f"recorded: {path.stem}", value["kind"], value["limit"], points)
        # It got no more, and ended of it, just before a look would have shown it.
        yield found if found.event_at else replace(found, event_at=value["ended_at"])


def _judged(
    name: str, kind: str, limit: float, points: tuple[tuple[float, float], ...], planned: int = 0
) -> Series:
    """Return a series cut at its event: there the disk is full and nothing can be forecast."""
    for number, (at, value) in enumerate(points):
        if value <= limit if kind == "disk_full" else value >= limit:
            return Series(name, kind, limit, points[: number + 1], at, planned)
    return Series(name, kind, limit, points, None, planned)


def _built(
    name: str,
    kind: str,
    hours: float,
    every: float,
    value_at: Callable[[float], float],
    planned: int = 0,
) -> Series:
    """Sample how full something is (0 to 1) and return it as its kind counts it."""
    points = []
    for number in range(int(hours * _HOUR / every)):
        used = min(1.0, max(0.0, value_at(number * every)))
        if kind == "open_files":
            points.append((number * every, float(round(used * 1024))))
        else:
            points.append((number * every, _FULL * ((1 - used) if kind == "disk_full" else used)))
    limit = {"disk_full": 0.0, "open_files": 1024.0}.get(kind, _FULL)
    return _judged(name, kind, limit, tuple(points), planned)


# --- with an event


def steady_fill(draw: random.Random) -> Series:
    begin, noise = draw.uniform(0.2, 0.6), draw.uniform(0, 0.01)
    takes = draw.uniform(0.5, 2.5) * _HOUR
    quiet = draw.uniform(0, 1800)
    rate = (1 - begin) / takes
    return _built("steady fill", "disk_full", 4, 5,
                  lambda at: begin + rate * max(0.0, at - quiet)
                  + draw.gauss(0, noise))  # fmt: skip


def bursty_fill(draw: random.Random) -> Series:
    """Writes for a while, rests for a while, at changing speed."""
    state = {"used": draw.uniform(0.2, 0.5), "until": 0.0, "rate": 0.0}
    mean = (1 - state["used"]) / (draw.uniform(0.7, 3) * _HOUR)

    def value(at: float) -> float:
        if at >= state["until"]:
            state["until"] = at + draw.uniform(5, 120)
            state["rate"] = draw.choice([0, 0.3, 1, 1, 2, 3]) * mean
        state["used"] += state["rate"] * 5
        return state["used"]

    return _built("bursty fill", "disk_full", 5, 5, value)


def leak_with_sawtooth(draw: random.Random) -> Series:
    """A leak below what a garbage collector takes and gives back."""
    begin, takes = draw.uniform(0.2, 0.4), draw.uniform(3, 9) * _HOUR
    height, period = draw.uniform(0.02, 0.08), draw.uniform(60, 900)
    rate = (1 - begin) / takes
    return _built("leak under a sawtooth", "memory_leak", 10, 15,
                  lambda at: begin + rate * at + height * ((at % period) / period)
                  + draw.gauss(0, 0.003))  # fmt: skip


def leak_in_bursts(draw: random.Random) -> Series:
    """Keeps something with each job; jobs come as they come."""
    state = {"used": draw.uniform(0.2, 0.4)}
    mean = (1 - state["used"]) / (draw.uniform(3, 9) * _HOUR)

    def value(_at: float) -> float:
        state["used"] += draw.expovariate(1 / (mean * 15 / 0.3)) if draw.random() < 0.3 else 0
        return state["used"] + draw.gauss(0, 0.004)

    return _built("leak in bursts", "vram_leak", 12, 15, value)


def files_leak(draw: random.Random) -> Series:
    begin, takes = draw.uniform(0.02, 0.2), draw.uniform(2, 8) * _HOUR
    rate = (1 - begin) / takes
    return _built("open files leak", "open_files", 9, 15,
                  lambda at: begin + rate * at + abs(draw.gauss(0, 0.01)))  # fmt: skip


def fill_in_steps(draw: random.Random) -> Series:
    """A checkpoint is saved each few minutes."""
    begin, every, step = draw.uniform(0.1, 0.4), draw.uniform(300, 1200), draw.uniform(0.02, 0.05)
    return _built("fill in steps", "disk_full", 16, 10,
                  lambda at: begin + step * int(at / every))  # fmt: skip


# --- without


def noise_only(draw: random.Random) -> Series:
    level, noise = draw.uniform(0.3, 0.9), draw.uniform(0.001, 0.03)
    kind = draw.choice(["disk_full", "memory_full", "open_files"])
    return _built("noise only", kind, 4, 5, lambda _at: min(0.99, level + draw.gauss(0, noise)))


def wandering(draw: random.Random) -> Series:
    """Wanders about a level, as the memory of a machine that is used."""
    state = {"off": 0.0}
    level, noise = draw.uniform(0.4, 0.8), draw.uniform(0.001, 0.006)
    keep = draw.uniform(0.99, 0.999)

    def value(_at: float) -> float:
        state["off"] = keep * state["off"] + draw.gauss(0, noise)
        return min(0.98, level + state["off"])

    return _built("wandering", draw.choice(["disk_full", "memory_full"]), 6, 5, value)


def load_then_plateau(draw: random.Random) -> Series:
    """A model is loaded and stays."""
    begin, level, takes = draw.uniform(0.1, 0.3), draw.uniform(0.5, 0.95), draw.uniform(60, 900)
    start = draw.uniform(300, 3600)
    return _built(
        "load, then a plateau", draw.choice(["memory_leak", "vram_leak"]), 5, 5,
        lambda at: begin + (level - begin) * min(1, max(0, (at - start) / takes))
        + draw.gauss(0, 0.002))  # fmt: skip


def log_rotation(draw: random.Random) -> Series:
    """Logs grow until they are rotated away."""
    low, high = draw.uniform(0.3, 0.5), draw.uniform(0.6, 0.9)
    period = draw.uniform(0.5, 4) * _HOUR
    return _built("log rotation", "disk_full", 14, 10,
                  lambda at: low + (high - low) * (at % period) / period
                  + draw.gauss(0, 0.001))  # fmt: skip


def download_that_ends(draw: random.Random) -> Series:
    """A download that nobody announced, and that fits."""
    begin, amount = draw.uniform(0.1, 0.3), draw.uniform(0.2, 0.6)
    takes = draw.uniform(0.1, 2) * _HOUR
    start = draw.uniform(300, 3600)
    return _built("download that ends", "disk_full", 5, 5,
                  lambda at: begin + amount * min(1, max(0, (at - start) / takes)))  # fmt: skip


def announced_download(draw: random.Random) -> Series:
    """The same, announced."""
    begin, amount = draw.uniform(0.1, 0.3), draw.uniform(0.2, 0.6)
    takes = draw.uniform(0.1, 2) * _HOUR
    return _built("the same, announced", "disk_full", 3, 5,
                  lambda at: begin + amount * min(1, at / takes), int(amount * _FULL))  # fmt: skip


def jobs(draw: random.Random) -> Series:
    """Jobs take memory and give it back."""
    state = {"used": 0.3, "until": 0.0}

    def value(at: float) -> float:
        if at >= state["until"]:
            state["until"] = at + draw.expovariate(1 / 900)
            state["used"] = draw.uniform(0.2, 0.9)
        return state["used"] + draw.gauss(0, 0.004)

    return _built("steps of jobs", "memory_full", 8, 10, value)


def by_day_and_night(draw: random.Random) -> Series:
    level, height = draw.uniform(0.4, 0.6), draw.uniform(0.1, 0.3)
    return _built("day and night", draw.choice(["disk_full", "memory_full"]), 72, 60,
                  lambda at: level + height * math.sin(at / 86400 * math.tau)
                  + draw.gauss(0, 0.01))  # fmt: skip


_SORTS = (
    *(steady_fill, bursty_fill, fill_in_steps, leak_with_sawtooth, leak_in_bursts, files_leak),
    *(noise_only, wandering, load_then_plateau, log_rotation, download_that_ends),
    *(announced_download, jobs, by_day_and_night),
)
