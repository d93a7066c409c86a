"""The watching itself, one step a sample: read, judge, tell, keep. Its clocks are given to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from modelmedic.monitor.alerts import Alert, Alerts, clipped
from modelmedic.monitor.interfaces import HealthStatus, PotentialIssue
from modelmedic.monitor.series import Minute, Minutes

MOST_EVENTS = 200  # kept for a front that asks seldom


class Source(Protocol):
    """Where readings come from."""

    def read(self, now: float) -> dict[str, float]:
        """Return values by series; waits for nothing."""


class Judge(Protocol):
    """What looks further than at one value: trends, logs, response times."""

    def step(self, now: float, wall: float, readings: Mapping[str, float]) -> list[PotentialIssue]:
        """Return what is wrong or will be; waits for nothing."""


class Keeper(Protocol):
    """Where alerts and minutes go."""

    def add_alerts(self, alerts: Sequence[Alert]) -> None:
        """Keep alerts."""

    def add_minutes(self, minutes: Sequence[Minute]) -> None:
        """Keep the rows of a minute."""

    @property
    def blind(self) -> Sequence[str]:
        """Return what cannot be kept, as sentences."""


class Watch:
    """Watches through sources and judges, and remembers what it told.

    Args:
        sources: Each is read at each step.
        judges: Each hears the readings of each step.
        keeper: Keeps alerts and minutes.
        since: When it began, seconds since the epoch.
        blind: What is known from the beginning not to be seen.
        in_form: Puts the command of an issue into the form the person uses.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        judges: Sequence[Judge],
        keeper: Keeper,
        *,
        since: float,
        blind: Sequence[str] = (),
        in_form: Callable[[PotentialIssue], PotentialIssue] = lambda issue: issue,
    ) -> None:
        self._in_form = in_form
        self._sources, self._judges, self._keeper = sources, judges, keeper
        self._since = self._at = since
        self._first_blind = tuple(blind)
        self._alerts = Alerts()
        self._minutes = Minutes()
        self._readings: dict[str, float] = {}
        self._events: list[tuple[int, Alert]] = []
        self._number = 0

    def step(self, now: float, wall: float) -> list[Alert]:
        """Take one sample and return what is to be told.

        Args:
            now: On a clock that never goes back.
            wall: Seconds since the epoch.
        """
        readings: dict[str, float] = {}
        for source in self._sources:
            readings |= source.read(now)
        self._at, self._readings = wall, readings
        issues = [
            self._in_form(issue)
            for judge in self._judges
            for issue in judge.step(now, wall, readings)
        ]
        told = self._alerts.step(now, wall, issues)
        self._keeper.add_alerts(told)
        self._keeper.add_minutes(self._minutes.add(wall, readings))
        for alert in told:
            self._number += 1
            self._events.append((self._number, alert))
        del self._events[:-MOST_EVENTS]
        return told

    def close(self) -> None:
        """Keep the minute that was begun, and until when it is known that an issue lasted."""
        self._keeper.add_alerts(self._alerts.last(self._at))
        self._keeper.add_minutes(self._minutes.close())

    def report(self, after: int = 0) -> dict[str, Any]:
        """Return what is known, as the front reads it.

        Args:
            after: The newest event the front has seen.
        """
        issues = self._alerts.issues
        return {
            "at": self._at,
            "since": self._since,
            "readings": {clipped(name): value for name, value in self._readings.items()},
            "components": {n: s.value for n, s in of_series(self._readings, issues).items()},
            "issues": [_issue_json(issue) for issue in issues],
            "blind": self.blind(),
            "is_complete": all(getattr(source, "is_complete", True) for source in self._sources),
            "events": [
                {"number": number, "line": alert.line, **alert.as_json()}
                for number, alert in list(self._events)
                if number > after
            ],
        }

    def blind(self) -> list[str]:
        """Return what cannot be looked at or kept, as sentences."""
        found = [*self._first_blind]
        for each in (*self._sources, *self._judges):  # not each of them can be blind
            found += dict(getattr(each, "blind", {})).values()
        return [clipped(sentence) for sentence in [*found, *self._keeper.blind]]


def of_series(
    readings: Mapping[str, float], issues: Sequence[PotentialIssue]
) -> dict[str, HealthStatus]:
    """Return how each watched thing does: "memory", "disk[/models]", "log[/app/a.log]".

    Healthy is what was read and has no issue; a warning degrades it, a critical issue fails it.
    """
    found = dict.fromkeys(map(thing_of, readings), HealthStatus.HEALTHY)
    for issue in issues:
        thing = f"log[{issue.subject}]" if issue.kind == "log" else thing_of(issue.subject)
        status = HealthStatus.FAILING if issue.severity == "critical" else HealthStatus.DEGRADED
        if found.get(thing, HealthStatus.HEALTHY).rank < status.rank:
            found[thing] = status
    return {clipped(name): status for name, status in found.items()}


def thing_of(series: str) -> str:
    """Return "disk[/models]" for "disk.free_bytes[/models]", and "memory" for "memory.killed"."""
    head, bracket, subject = series.partition("[")
    return head.partition(".")[0] + bracket + subject


def _issue_json(issue: PotentialIssue) -> dict[str, Any]:
    return {
        "key": clipped(issue.key),
        "kind": issue.kind,
        "severity": issue.severity,
        "subject": clipped(issue.subject),
        "what": clipped(issue.what),
        "why": clipped(issue.why),
        "command": clipped(issue.command),
        "since": issue.since,
        "expected_at": issue.expected_at,
        "failure_id": issue.failure_id,
    }
