"""From what a check raised to a finding: the one place that decides outcomes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelmedic.errors import CannotTell, ModelmedicError, Unhealthy
from modelmedic.findings import Attempt, Finding, Outcome
from modelmedic.healing.classify import classify

if TYPE_CHECKING:
    from modelmedic.healing.engine import Plan


@dataclass(frozen=True, slots=True)
class Judged:
    """Who was judged: the identity of a check in one run."""

    check: str  # id, with its parameter in brackets
    nodeid: str
    title: str
    area: str
    severity: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of one attempt of a check and what it says."""

    outcome: Outcome
    what: str = ""
    why: str = ""
    next_step: str = ""
    failure_id: str | None = None
    error: BaseException | None = None
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def subject(self) -> str | None:
        """Return what the check named as its subject; None when it named nothing."""
        return getattr(self.error, "subject", None)

    @property
    def is_bad(self) -> bool:
        """Return whether a repair may be tried: failed, or could not look."""
        return self.outcome in {Outcome.FAILED, Outcome.UNKNOWN}

    def recheck(self, before: BaseException) -> dict[str, str]:
        """Return what a repair records of the check: what it said at first, and what now."""
        first = getattr(before, "what", "") or str(before)
        return {
            "before": first,
            "outcome": self.outcome.value,
            "what": self.what,
            "why": self.why,
        }

    def finding(
        self,
        judged: Judged,
        *,
        outcome: Outcome | None = None,
        attempts: Iterable[Attempt] = (),
        blocked_by: str | None = None,
    ) -> Finding:
        """Return the finding of a check with this verdict (or another final ``outcome``)."""
        category = None
        if self.error is not None or self.failure_id:
            category = classify(self.error, judged.area, failure_id=self.failure_id)
        return Finding(
            check=judged.check,
            nodeid=judged.nodeid,
            title=judged.title,
            area=judged.area,
            severity=judged.severity,
            outcome=(outcome or self.outcome).value,
            category=category.value if category else None,
            failure_id=self.failure_id,
            what=self.what,
            why=self.why,
            next=self.next_step,
            blocked_by=blocked_by,
            facts=self.evidence,
            attempts=tuple(attempts),
        )


def of_error(error: BaseException) -> Verdict:
    """Return the verdict of a check that raised ``error``.

    `Unhealthy` and other assertions are *failed*. Everything else means that the check could not
    look, or crashed itself: *unknown*, with that error, never "failed".
    """
    if isinstance(error, Unhealthy):
        return Verdict(
            Outcome.FAILED,
            error.what,
            error.why,
            error.next_step,
            error.failure_id,
            error,
            dict(error.evidence),
        )
    if isinstance(error, CannotTell):
        return Verdict(Outcome.UNKNOWN, error.what, error.why, error.next_step, error=error)
    if isinstance(error, AssertionError):
        return Verdict(Outcome.FAILED, str(error) or "The check does not hold.", error=error)
    if isinstance(error, ModelmedicError):
        return Verdict(Outcome.UNKNOWN, error.what, error.why, error.next_step, error=error)
    return Verdict(
        Outcome.UNKNOWN,
        f"The check itself failed: {type(error).__name__}: {error}.",
        "This says nothing about the install; it is a fault of the check.",
        "Report it with this run's report.json.",
        error=error,
    )


def of_worked_around(first: Verdict, now: Verdict, plan: Plan) -> Verdict:
    """Return the verdict of a check that holds in an environment that ends with this run.

    Args:
        first: What the check said before.
        now: What it says in that environment.
        plan: What made the environment.
    """
    ours = [operation for operation in plan.operations if operation.is_for_this_run]
    done = "; ".join(operation.describe() for operation in ours)
    lasting = " ".join(told for operation in ours if (told := operation.lasting()))
    # A check that states its loss in that environment begins with what it said without it.
    also = now.what.removeprefix(first.what).strip() if now.outcome is Outcome.DEGRADED else ""
    return Verdict(
        Outcome.DEGRADED,
        " ".join(part for part in (first.what, f"Worked around {done}.", also) if part),
        first.why,
        lasting,
        first.failure_id,
        first.error,
        first.evidence,
    )


def of_degraded(losses: list[dict[str, Any]]) -> Verdict:
    """Return the verdict of a check that passed with stated losses."""
    first = losses[0]
    return Verdict(
        Outcome.DEGRADED,
        " ".join(str(loss["what"]) for loss in losses),
        " ".join(str(loss["why"]) for loss in losses if loss["why"]),
        " ".join(str(loss["next"]) for loss in losses if loss["next"]),
        first["failure_id"],
    )
