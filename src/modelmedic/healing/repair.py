"""What a recovery fixture sees: the failing check's error and subject, and where steps go."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from modelmedic.errors import RecoveryRefused
from modelmedic.findings import Attempt
from modelmedic.healing.engine import Applied, Plan
from modelmedic.healing.registry import Recovery
from modelmedic.operations.base import Operation


class NotAllowed(RecoveryRefused):
    """The plan's risk class was not allowed; nothing was touched."""


@dataclass(slots=True)
class Repair:
    """One recovery at work on one failing check; the value of the ``repair`` fixture.

    ``subject`` is what the failed check named: a path relative to the install, an endpoint, a
    distribution; None when it named nothing. ``error`` is the exception of the check.
    """

    recovery: Recovery
    plan: Plan
    subject: str | None
    error: BaseException
    applied: Applied | None = None
    problem: BaseException | None = None  # the recovery's own, never the check's verdict
    recheck: dict[str, str] | None = None  # what the check said after it; see `Attempt`
    started: float = field(default_factory=time.monotonic)

    def step(self, operation: Operation) -> None:
        """Add one operation to the plan. It is applied, journaled, when the fixture yields."""
        self.plan.operations.append(operation)

    def need_subject(self) -> str:
        """Return the subject.

        Raises:
            RecoveryRefused: The failed check named none.
        """
        if self.subject is None:
            raise RecoveryRefused(
                f"{self.recovery.name} was not tried: the check did not say what it is about."
            )
        return self.subject

    def refuse_empty(self) -> None:
        """Raise `RecoveryRefused` when there is nothing to do: a repair must change something."""
        if not self.plan.operations:
            raise RecoveryRefused(f"{self.recovery.name} found nothing it could change.")

    def attempt(self, verdict: str, error: str = "") -> Attempt:
        """Return the record of this attempt."""
        operations: list[dict[str, Any]] = [
            {"kind": operation.kind, "text": operation.describe()}
            for operation in self.plan.operations
        ]
        return Attempt(
            recovery=self.recovery.name,
            verdict=verdict,
            operations=tuple(operations),
            seconds=round(time.monotonic() - self.started, 3),
            bytes_fetched=self.applied.fetched_bytes if self.applied else 0,
            error=error,
            history=self.plan.worked,
            recheck=self.recheck if self.applied and not self.problem else None,
        )
