"""The interfaces of the user's design, and the values that pass through them.

Names, parameters and fields are the design's own; docs/installer-library.md lists where it
contradicts itself and what was chosen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from modelmedic.healing.slots import IRecoveryStrategy

__all__ = [
    "IAutoRecoveryEngine",
    "IPreInstallationValidator",
    "IRecoveryStrategy",
    "IReliabilityManager",
    "RecoveryAction",
    "ValidationResult",
]


class RecoveryAction(Enum):
    """What a wrapped call does after a failure.

    ``RETRY``: call again. ``CONTINUE``: return None; only for operations declared optional.
    ``ABORT``: the original exception leaves.
    """

    RETRY = "retry"
    CONTINUE = "continue"
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """What one validation of a machine or an install came to.

    Args:
        name: What was validated: "system_requirements", "network_connectivity", "permissions" or
            "existing_installation".
        outcome: The worst outcome of its checks: "passed", "degraded", "unknown" or "failed";
            "unknown" too when nothing was checked.
        findings: The findings of the run record, one mapping for each check, worst first.
        exit_code: Of the child pytest (docs/exit-codes).
        report: Path of its ``report.json``; empty when it wrote none.
        seconds: How long it took.
        problem: Why there is no verdict, as a sentence; empty when there is one.
    """

    name: str
    outcome: str
    findings: tuple[dict[str, Any], ...] = ()
    exit_code: int = 0
    report: str = ""
    seconds: float = 0.0
    problem: str = ""

    @property
    def is_valid(self) -> bool:
        """Return whether the installation may begin: nothing failed, and all could be seen."""
        return self.outcome in {"passed", "degraded"}


class IPreInstallationValidator(ABC):
    """Validates before an installation begins, to prevent failures that can be foreseen."""

    @abstractmethod
    def validate_system_requirements(self) -> ValidationResult:
        """Judge disk, memory, processor, hardware and Python."""

    @abstractmethod
    def validate_network_connectivity(self) -> ValidationResult:
        """Judge the way to every server that the profile names."""

    @abstractmethod
    def validate_permissions(self) -> ValidationResult:
        """Judge whether the install folder can be written."""

    @abstractmethod
    def validate_existing_installation(self) -> ValidationResult:
        """Judge what lies in the install folder already."""

    @abstractmethod
    def generate_validation_report(self) -> dict[str, Any]:
        """Return all four results as plain JSON values; validates what was not validated yet."""


class IReliabilityManager(ABC):
    """Orchestrates reliability: wraps components, coordinates failures, collects metrics."""

    @abstractmethod
    def wrap_component(self, component: Any, component_type: str) -> Any:
        """Return a stand-in for a component whose calls are protected and counted."""

    @abstractmethod
    def handle_component_failure(
        self, component: str, error: Exception, context: dict[str, Any]
    ) -> RecoveryAction:
        """Return what to do about a failed call, after trying what may be tried."""

    @abstractmethod
    def get_recovery_strategy(self, error_type: str, component: str) -> IRecoveryStrategy:
        """Return the first strategy for a kind of error."""

    @abstractmethod
    def track_reliability_metrics(
        self, component: str, operation: str, success: bool, duration: float
    ) -> None:
        """Count one call; ``duration`` in seconds."""


class IAutoRecoveryEngine(ABC):
    """Recovers from the four families of failure of the design.

    Every method returns True only if what failed was seen to work, or its checks to pass.
    """

    @abstractmethod
    def recover_missing_methods(self, component: Any, method_name: str) -> bool:
        """Give a component a declared cure for a method it lacks."""

    @abstractmethod
    def recover_model_validation_failures(self, model_issues: list[str]) -> bool:
        """Repair model files; each issue names a file, a check or a model."""

    @abstractmethod
    def recover_network_failures(self, operation: str, context: dict[str, Any]) -> bool:
        """Find another way to a server for an operation."""

    @abstractmethod
    def recover_dependency_failures(self, dependency: str, error: Exception) -> bool:
        """Repair an installed package, named as in an import or a requirement."""


@dataclass(frozen=True, slots=True)
class StrategyAttempt:
    """One strategy tried on one failure: a line of the journal of the library.

    Args:
        strategy: Its name in the design.
        verdict: "healed" (what failed was seen to work), "degraded" (worked around, with the loss
            in ``note``), "not healed", "refused" (its precondition does not hold) or "failed"
            (its own error).
        note: What was done, or why not; one or two sentences.
        seconds: How long it took.
        recoveries: The ids of the recoveries that carried it out.
    """

    strategy: str
    verdict: str
    note: str = ""
    seconds: float = 0.0
    recoveries: tuple[str, ...] = field(default=())

    @property
    def is_recovered(self) -> bool:
        """Return whether the failure is gone, in full or with a stated loss."""
        return self.verdict in {"healed", "degraded"}
