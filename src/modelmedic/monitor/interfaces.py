"""The interface of the monitor in the user's design, and the values that it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import Enum


class HealthStatus(Enum):
    """How a component, a resource or the whole is doing; the worst one of its parts.

    ``UNKNOWN``: nothing was seen of it, or too little to judge.
    """

    HEALTHY = "healthy"
    UNKNOWN = "unknown"
    DEGRADED = "degraded"
    FAILING = "failing"

    @property
    def rank(self) -> int:
        """Return 0 for healthy, up to 3 for failing."""
        return list(HealthStatus).index(self)


@dataclass(frozen=True, slots=True)
class PotentialIssue:
    """What is wrong or will be, if nothing changes.

    Args:
        key: What makes two of them one: "disk_full[/models]".
        kind: "threshold", "prediction", "degradation", "log" or "component".
        severity: "warning" or "critical".
        subject: The series, component or log it was seen in.
        what: What is seen or foreseen, with numbers, as a sentence.
        why: What it follows from.
        command: What a person can run next; empty when there is nothing to run.
        since: When it began, seconds since the epoch.
        expected_at: When it will happen, seconds since the epoch: (earliest, likely, latest); None
            for what is seen already.
        failure_id: Of the catalogue (docs/failures); empty when it is in none.
    """

    key: str
    kind: str
    severity: str
    subject: str
    what: str
    why: str
    command: str
    since: float
    expected_at: tuple[float, float, float] | None = None
    failure_id: str = ""


@dataclass(frozen=True, slots=True)
class HealthReport:
    """What the monitor knows at one moment.

    Args:
        at: When, seconds since the epoch.
        status: The worst of components, issues (a warning degrades, a critical one fails) and
            blind spots (which are unknown).
        since: When the monitor began.
        readings: The last value of each series, by its name.
        components: The status of each component, by its name.
        issues: The worst first.
        blind: What could not be looked at, each with why, as sentences.
    """

    at: float
    status: HealthStatus
    since: float
    readings: dict[str, float] = field(default_factory=dict)
    components: dict[str, HealthStatus] = field(default_factory=dict)
    issues: tuple[PotentialIssue, ...] = ()
    blind: tuple[str, ...] = ()


class IDiagnosticMonitor(ABC):
    """Watches an installation all the time and finds trouble before it stops the work."""

    @abstractmethod
    def start_monitoring(self) -> None:
        """Start the process that watches; nothing happens when it runs already."""

    @abstractmethod
    def stop_monitoring(self) -> None:
        """End that process; nothing happens when there is none."""

    @abstractmethod
    def check_component_health(self, component: str) -> HealthStatus:
        """Return how a component does; UNKNOWN when nothing is known of it."""

    @abstractmethod
    def detect_potential_issues(self) -> list[PotentialIssue]:
        """Return what is wrong or will be, the worst first; empty when nothing is."""

    @abstractmethod
    def generate_health_report(self) -> HealthReport:
        """Return what is known at this moment."""
