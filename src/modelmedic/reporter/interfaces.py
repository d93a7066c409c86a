"""The interface of the reporter in the user's design, and the values that it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelmedic.reliability.error_context import EnhancedErrorContext

FORMATS = ("json", "csv", "prometheus", "junit")


@dataclass(frozen=True, slots=True)
class ErrorPattern:
    """What failures have in common.

    Args:
        kind: "same cause", "together" (causes that occur in the same runs), "comes back" (failed
            again after it was healed) or "flaps" (its outcome changes to and fro).
        causes: The failure ids, or where a finding has none the check ids.
        times: In how many runs, or calls of an installer, it was seen.
        first_at: Seconds since the epoch.
        last_at: Seconds since the epoch.
        machines: On how many machines.
        text: As a sentence, with these numbers.
    """

    kind: str
    causes: tuple[str, ...]
    times: int
    first_at: float
    last_at: float
    machines: int
    text: str


@dataclass(frozen=True, slots=True)
class Effect:
    """How well a recovery has worked.

    Args:
        recovery: Its name.
        healed: How often the same check passed afterwards.
        tries: How often it was judged.
        interval: The 95 % interval of its success rate, from 0 to 1.
        median_seconds: Of those that ended; None when none did.
        category: Error category of the failures it was tried on; empty for all together.
    """

    recovery: str
    healed: int
    tries: int
    interval: tuple[float, float]
    median_seconds: float | None
    category: str = ""


@dataclass(frozen=True, slots=True)
class InstallationReport:
    """How one installation is doing now, and how it came to that.

    Args:
        machine: Pseudonym of the machine.
        folder: Of the install, masked; empty when runs had none.
        profile: Its name.
        run_id: The newest run; empty when there is none, and then all below is empty.
        at: When that run began, seconds since the epoch.
        verdict: As a sentence.
        counts: Of the newest run, by outcome.
        causes: What is wrong now: the finding, since when, how many checks wait on it.
        runs: How many are known.
        changed: What changed between the last run without a cause and the first one with, as
            sentences; empty when nothing is wrong or there was no good run.
        effects: Of the recoveries tried here, the most tried first.
        patterns: Those that concern this installation.
        suggestions: What an administrator could do, each with what it follows from.
    """

    machine: str
    folder: str
    profile: str
    run_id: str
    at: float
    verdict: str
    counts: Mapping[str, int]
    causes: tuple[Mapping[str, Any], ...]
    runs: int
    changed: tuple[str, ...]
    effects: tuple[Effect, ...]
    patterns: tuple[ErrorPattern, ...]
    suggestions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trend:
    """How a number moves over runs or days.

    Args:
        name: "runs that failed", "seconds of weights.size", "disk.free_bytes[/models]".
        unit: Of the values; "" for a share from 0 to 1.
        points: (seconds since the epoch, value), the oldest first.
        slope_per_day: In units a day, by Theil and Sen; None with fewer than 5 points.
        interval: Of the slope, 95 %; None likewise, and where the points leave it open.
        direction: "rising", "falling", or "none" where the interval holds zero or is not known.
    """

    name: str
    unit: str
    points: tuple[tuple[float, float], ...]
    slope_per_day: float | None
    interval: tuple[float, float] | None
    direction: str


@dataclass(frozen=True, slots=True)
class TrendAnalysis:
    """How the installations known here have done over a time.

    Args:
        since: Begin of the time, seconds since the epoch.
        until: Its end.
        runs: How many began in it.
        trends: Of failing runs, durations and what the monitor saw.
        patterns: All that were found.
        effects: Of all recoveries, and of each by error category where it has met several.
        suggestions: What an administrator could do, each with what it follows from.
    """

    since: float
    until: float
    runs: int
    trends: tuple[Trend, ...]
    patterns: tuple[ErrorPattern, ...]
    effects: tuple[Effect, ...]
    suggestions: tuple[str, ...]


class IHealthReporter(ABC):
    """Reports on the reliability of installations, from what was recorded."""

    @abstractmethod
    def generate_installation_report(self) -> InstallationReport:
        """Return how the installation does that the reporter was made for."""

    @abstractmethod
    def track_error_patterns(self, errors: list[EnhancedErrorContext]) -> None:
        """Count the errors of an installer's calls beside those of the history."""

    @abstractmethod
    def generate_trend_analysis(self) -> TrendAnalysis:
        """Return how all installations known here have done."""

    @abstractmethod
    def export_metrics(self, format: str) -> str:  # noqa: A002 - the design names it
        """Return the newest figures in one of `FORMATS`.

        Raises:
            ValueError: The format is another one.
        """
