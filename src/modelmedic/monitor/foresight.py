"""Trends of the series that run towards an end: a disk, the memory, a table of open files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from modelmedic.monitor import announced as announcing
from modelmedic.monitor.announced import Announced
from modelmedic.monitor.interfaces import PotentialIssue
from modelmedic.monitor.prediction import Predictor
from modelmedic.monitor.thresholds import subject_of

_EVERY_SECONDS = 5.0
_MOST = 24  # predictors: 20 KB each
_FORGET_SECONDS = 3600.0


class Foresight:
    """Feeds the predictors and tells what they foresee.

    Args:
        announced: Returns the work that is expected now.
    """

    def __init__(self, announced: Callable[[], Sequence[Announced]]) -> None:
        self._announced = announced
        self._predictors: dict[str, Predictor] = {}
        self._seen: dict[str, float] = {}
        self._stepped_at = float("-inf")
        self._issues: list[PotentialIssue] = []

    def step(self, now: float, wall: float, readings: Mapping[str, float]) -> list[PotentialIssue]:
        """Return what is foreseen; looked at anew every few seconds."""
        if now - self._stepped_at < _EVERY_SECONDS:
            return self._issues
        self._stepped_at = now
        for series, (kind, limit, value, subject) in _ends(readings).items():
            predictor = self._predictor(series, kind, limit, subject)
            if predictor is not None:
                predictor.limit = limit
                predictor.add(wall, value)
                self._seen[series] = now
        for series in [s for s, at in self._seen.items() if now - at > _FORGET_SECONDS]:
            del self._seen[series], self._predictors[series]
        self._issues = self._foreseen(wall)
        return self._issues

    def _predictor(self, series: str, kind: str, limit: float, subject: str) -> Predictor | None:
        if series not in self._predictors and len(self._predictors) < _MOST:
            self._predictors[series] = Predictor(kind, series, limit, subject=subject)
        return self._predictors.get(series)

    def _foreseen(self, wall: float) -> list[PotentialIssue]:
        mounts = [subject_of(series) for series in self._predictors if series.startswith("disk.")]
        expected = list(self._announced())
        found = []
        for series, predictor in self._predictors.items():
            own: Sequence[Announced] = ()
            if series.startswith("disk.") and expected:
                own = announcing.on_mount(expected, subject_of(series), mounts)
            if issue := predictor.issue(wall, own):
                found.append(issue)
        return found


def _ends(readings: Mapping[str, float]) -> dict[str, tuple[str, float, float, str]]:
    """Return for each series with an end: kind, limit, value, and what people call it."""
    found: dict[str, tuple[str, float, float, str]] = {}
    used = readings.get("memory.used_bytes")
    total = (used or 0.0) + readings.get("memory.available_bytes", 0.0)
    if used is not None:
        found["memory.used_bytes"] = "memory_full", total, used, "this machine"
    for name, value in readings.items():
        subject = subject_of(name)
        if name.startswith("disk.free_bytes["):
            found[name] = "disk_full", 0.0, value, subject
        elif name.startswith("process.rss_bytes[") and total:
            found[name] = "memory_leak", total, value, f"The process tree {subject}"
        elif name.startswith("gpu.memory_used_bytes["):
            share = readings.get(f"gpu.memory_used_ratio[{subject}]", 0.0)
            if share > 0:
                found[name] = "vram_leak", value / share, value, f"GPU {subject}"
        elif name.startswith("process.open_files[") and value > 0:
            share = readings.get(f"process.open_files_ratio[{subject}]", 0.0)
            if share > 0:
                found[name] = "open_files", value / share, value, f"The process tree {subject}"
    return found
