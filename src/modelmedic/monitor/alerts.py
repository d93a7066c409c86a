"""Issues told once when they begin, again when they last, and once when they end."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from modelmedic.monitor.interfaces import PotentialIssue
from modelmedic.monitor.thresholds import SEVERITIES
from modelmedic.text import duration, printable

REPEAT_SECONDS = 1800.0  # then 3,600, 7,200, ...: who has not acted yet has seen it
MOST_AT_ONCE = 100
_CALM_SECONDS = 300.0  # so long a thing is only a warning before it is told to be worse anew
_SHOWN = 600  # characters of one sentence; a log line may have ten million


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing told.

    Args:
        event: "begin", "worse", "repeat" or "end"; "last" when the watching ends and it lasts.
        at: When, seconds since the epoch.
        times: How often it was told, this time included.
        issue: What is wrong, or was.
        lasted_seconds: How long it was, by a clock that nobody sets; of "end" only.
    """

    event: str
    at: float
    times: int
    issue: PotentialIssue
    lasted_seconds: float = 0.0

    @property
    def line(self) -> str:
        """Return it for a terminal: one line, whatever names and log lines hold."""
        moment = time.strftime("%H:%M:%S", time.localtime(self.at))
        what = at_home(self.issue.what)
        if self.event == "end":
            return f"{moment} over after {duration(self.lasted_seconds)}: {what}"
        parts = [f"{moment} {self.issue.severity}: {what}", at_home(self.issue.why)]
        if self.event == "repeat":
            parts[0] = f"{moment} still {self.issue.severity}: {what}"
        if self.issue.command:
            parts.append(f"Next: {clipped(self.issue.command)}")
        return " ".join(filter(None, parts))

    def as_json(self) -> dict[str, Any]:
        """Return the line of the log."""
        issue = self.issue
        return {
            "at": round(self.at, 3),
            "event": self.event,
            "times": self.times,
            "key": clipped(issue.key),
            "kind": issue.kind,
            "severity": issue.severity,
            "subject": clipped(issue.subject),
            "what": clipped(issue.what),
            "why": clipped(issue.why),
            "command": clipped(issue.command),
            "since": round(issue.since, 3),
            "expected_at": issue.expected_at,
            "failure_id": issue.failure_id,
        }


@dataclass(slots=True)
class _Held:
    issue: PotentialIssue
    times: int
    told_at: float
    wait_seconds: float
    rank: int  # the worst severity that was told
    ranked_at: float  # when it was that bad the last time
    began: float


class Alerts:
    """Compares what is wrong now with what was told before."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}

    @property
    def issues(self) -> tuple[PotentialIssue, ...]:
        """Return what is wrong, the worst first, of equals the oldest."""
        found = [held.issue for held in self._held.values()]
        return tuple(sorted(found, key=lambda i: (-_rank(i), i.since)))

    def step(self, now: float, wall: float, issues: Iterable[PotentialIssue]) -> list[Alert]:
        """Return what is to be told.

        Args:
            now: On a clock that never goes back.
            wall: Seconds since the epoch.
            issues: All that is wrong now; of two with one key, as a disk that is nearly full and
                the forecast that it will be, the worse one counts, else the first.
        """
        current: dict[str, PotentialIssue] = {}
        for issue in issues:
            known = current.setdefault(issue.key, issue)
            if _rank(issue) > _rank(known):
                current[issue.key] = issue
        told = [
            Alert("end", wall, self._held.pop(key).times, held.issue, now - held.began)
            for key, held in list(self._held.items())
            if key not in current
        ]
        for key, issue in current.items():
            if key in self._held:
                told += self._again(self._held[key], issue, now, wall)
            elif len(self._held) < MOST_AT_ONCE:
                began = now - max(0.0, wall - issue.since)
                self._held[key] = _Held(issue, 1, now, REPEAT_SECONDS, _rank(issue), now, began)
                told.append(Alert("begin", wall, 1, issue))
        return told

    def last(self, wall: float) -> list[Alert]:
        """Return what lasts when the watching ends: not told, but the history learns until when."""
        return [Alert("last", wall, held.times, held.issue) for held in self._held.values()]

    def _again(self, held: _Held, issue: PotentialIssue, now: float, wall: float) -> list[Alert]:
        rank = _rank(issue)
        is_worse = rank > held.rank
        # A forecast to and fro about its limit would be told to be worse each time.
        if rank >= held.rank or now - held.ranked_at >= _CALM_SECONDS:
            held.rank, held.ranked_at = rank, now
        held.issue = replace(issue, since=min(issue.since, held.issue.since))
        is_due = now - held.told_at >= held.wait_seconds
        if not is_worse and not is_due:
            return []
        held.times, held.told_at = held.times + 1, now
        held.wait_seconds = REPEAT_SECONDS if is_worse else 2 * held.wait_seconds
        return [Alert("worse" if is_worse else "repeat", wall, held.times, held.issue)]


def _rank(issue: PotentialIssue) -> int:
    return SEVERITIES.index(issue.severity)


def clipped(text: str) -> str:
    """Return a sentence safe to print: on one line, nothing invisible, and not without end."""
    cut = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
    # `printable` cuts too, at the length of a name: so it is given pieces.
    return "".join(printable(cut[place : place + 64]) for place in range(0, len(cut), 64))


def at_home(text: str) -> str:
    """Return a sentence `clipped`, with the home folder in it as people write it: "~"."""
    return _home().sub("~", clipped(text))


@cache
def _home() -> re.Pattern[str]:
    home = os.path.expanduser("~").rstrip("/\\")  # noqa: PTH111 - a user without a home is none
    if len(home) < 2:  # noqa: PLR2004 - "/" is the home of nobody
        return re.compile("(?!)")
    return re.compile(rf"(?<![\w/\\.-]){re.escape(home)}(?=[/\\\s\"':,;)\]]|\.?$|\.\s)")
