"""What is forecast, how far ahead, and how it is told: numbers, moments, the command to run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from modelmedic.monitor.announced import Announced
from modelmedic.monitor.interfaces import PotentialIssue
from modelmedic.monitor.slopes import Slope
from modelmedic.text import duration, printable, size

_DAY = 86400.0
_CRITICAL_SECONDS = 900.0  # what is full in a quarter of an hour leaves no time for coffee
_FAST = (5.0, 30.0, 180.0, 900.0)  # windows of 5 min, 30 min, 3 h, 15 h
# A leak is slow, and loading a model is none: 60 GB from a disk of 200 MB/s take five minutes, less
# than the twelve points that are the least.
_SLOW = (30.0, 120.0, 600.0)  # windows of 30 min, 2 h, 10 h


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of forecast.

    Args:
        name: Begins the key of what is told.
        direction: 1 when the value grows towards its limit, -1 when it falls.
        horizon_seconds: What lies further ahead is not told.
        bucket_seconds: Of its windows, see `modelmedic.monitor.prediction.Window`.
        happens: What will be, of a subject: "{subject} will be full".
        unit: "bytes" or the noun of what is counted.
        failure_id: Of the catalogue.
        command: What to run.
        is_trouble: Whether anybody needs to hear of it unasked.
        knows_announced: Whether announced work explains it.
        reach_windows: What lies further ahead than so many lengths of its window is not told: a
            trend of five minutes says nothing of tomorrow.
    """

    name: str
    direction: int
    horizon_seconds: float
    bucket_seconds: tuple[float, ...]
    happens: str
    unit: str = "bytes"
    failure_id: str = ""
    command: str = ""
    is_trouble: bool = True
    knows_announced: bool = False
    reach_windows: float = 2.0


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "disk_full", -1, 3 * _DAY, _FAST, "The disk of {subject} will be full",
            failure_id="no-space-on-model-disk",
            command="modelmedic check --checks=disk.space",
            knows_announced=True,
        ),
        Kind(
            "memory_leak", 1, 2 * _DAY, _SLOW, "{subject} will have used up the memory",
            failure_id="host-ram-oom-killed",
            command="modelmedic check --checks=system.memory",
        ),
        Kind(
            "memory_full", 1, 2 * _DAY, _SLOW, "The memory of {subject} will be used up",
            failure_id="host-ram-oom-killed",
            command="modelmedic check --checks=system.memory",
        ),
        Kind(
            "vram_leak", 1, 2 * _DAY, _SLOW, "The GPU memory of {subject} will be used up",
            failure_id="vram-held-or-fragmented",
            command="modelmedic check --checks=hardware.vram-free",
        ),
        Kind(
            "open_files", 1, 2 * _DAY, _SLOW, "{subject} will reach its limit of open files",
            unit="open files",
            failure_id="nofile-limit",
            command="modelmedic check --checks=system.open-files",
        ),
        Kind(
            "download_finish", 1, 7 * _DAY, (2.0, 20.0, 200.0), "{subject} will be complete",
            is_trouble=False,
            reach_windows=30.0,
        ),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Forecast:
    """When a limit will be reached, and what that follows from.

    Args:
        value: The newest value.
        limit: What will be reached.
        slope: The trend with its interval, count and window.
        earliest_at: By the steeper end of the interval, seconds since the epoch.
        likely_at: By the slope.
        latest_at: By the flatter end.
        now: When it was made.
        record: How well such forecasts did, in words.
    """

    value: float
    limit: float
    slope: Slope
    earliest_at: float
    likely_at: float
    latest_at: float
    now: float
    record: str

    @property
    def expected_at(self) -> tuple[float, float, float]:
        """Return earliest, likely and latest."""
        return self.earliest_at, self.likely_at, self.latest_at

    def when(self) -> str:
        """Return the arrival in words: "in 12 min (between 11 min and 14 min), about 14:02 UTC"."""
        early, likely, late = (duration(max(0.0, at - self.now)) for at in self.expected_at)
        form = "%H:%M UTC" if self.likely_at - self.now < _DAY / 2 else "%Y-%m-%d %H:%M UTC"
        clock = time.strftime(form, time.gmtime(min(self.likely_at, self.now + 3660 * _DAY)))
        between = "" if early == likely == late else f" (between {early} and {late})"
        return f"in {likely}{between}, about {clock}"


def issue(
    kind: Kind, series: str, subject: str, forecast: Forecast, *, since: float
) -> PotentialIssue:
    """Return a forecast as what the monitor tells."""
    left = forecast.likely_at - forecast.now
    return PotentialIssue(
        key=f"{kind.name}[{subject}]",
        kind="prediction",
        severity="critical" if left < _CRITICAL_SECONDS else "warning",
        subject=series,
        what=sentence(kind, subject, forecast),
        why=reason(kind, forecast),
        command=kind.command,
        since=since,
        expected_at=forecast.expected_at,
        failure_id=kind.failure_id,
    )


def sentence(kind: Kind, subject: str, forecast: Forecast) -> str:
    """Return what will be and when, with the numbers of today."""
    happens = kind.happens.format(subject=printable(subject))
    state = f"{amount(kind, forecast.value)} now"
    if forecast.limit:
        state += f", the limit is {amount(kind, forecast.limit)}"
    return f"{happens[:1].upper()}{happens[1:]} {forecast.when()}: {state}."


def reason(kind: Kind, forecast: Forecast) -> str:
    """Return what a forecast follows from: slope, interval, count, window, record."""
    slope = forecast.slope
    ends = sorted((abs(slope.low), abs(slope.high)))
    return (
        f"It {'grows' if kind.direction > 0 else 'shrinks'} by {rate(kind, abs(slope.per_second))} "
        f"(95 % interval {rate(kind, ends[0])} to {rate(kind, ends[1])}), by {slope.n} points in "
        f"{duration(slope.seconds)}; {forecast.record}."
    )


def does_not_fit(
    series: str,
    subject: str,
    announced: list[Announced],
    left_bytes: float,
    free_bytes: float,
    now: float,
) -> PotentialIssue:
    """Return that announced work needs more than the disk has."""
    names = ", ".join(printable(each.what) for each in announced[:3])
    kind = KINDS["disk_full"]
    return PotentialIssue(
        key=f"disk_full[{subject}]",
        kind="prediction",
        severity="critical",
        subject=series,
        what=f"{names} still writes up to {size(left_bytes)} to {printable(subject)}, where "
        f"{size(free_bytes)} are free: {size(left_bytes - free_bytes)} are missing.",
        why="Announced by what writes it, less what has been written since.",
        command=kind.command,
        since=now,
        failure_id=kind.failure_id,
    )


def amount(kind: Kind, value: float) -> str:
    """Return a value with its unit: "3.2 GiB", "812 open files"."""
    return size(value) if kind.unit == "bytes" else f"{value:,.0f} {kind.unit}"


def rate(kind: Kind, per_second: float) -> str:
    """Return a rate as people read it: "3.2 MiB/s", "14 open files/min"."""
    if kind.unit == "bytes":
        return f"{size(per_second)}/s" if per_second >= 1024 else f"{size(per_second * 3600)}/h"  # noqa: PLR2004
    if per_second >= 1:
        return f"{per_second:,.1f} {kind.unit}/s"
    return f"{per_second * 60:,.1f} {kind.unit}/min"
