"""The health of a component: a judgement of its counts, by a formula that is written down."""

from __future__ import annotations

import math
from dataclasses import dataclass

from modelmedic.reliability.metrics import OperationMetrics
from modelmedic.text import counted

FAILING_RATIO = 0.5
DEGRADED_RATIO = 0.05
FAILING_STREAK = 3  # as many as a call has tries by default


@dataclass(frozen=True, slots=True)
class ComponentHealth:
    """How a component is doing. The first line that holds decides:

    - "unknown": no call has ended by success or failure (cancelled and rejected ones say nothing);
    - "failing": its circuit breaker is not closed; or the last 3 calls of one operation failed; or
      half of its calls failed: ``failure_ratio >= 0.5``;
    - "degraded": 5 of 100 calls failed: ``failure_ratio >= 0.05``; or any call ended degraded or
      optional; or the last call of an operation failed;
    - "healthy": none of that.

    ``failure_ratio`` = (failures + optional) / (successes + degraded + optional + failures).

    Args:
        component: Its name.
        state: "healthy", "degraded", "failing" or "unknown".
        why: What decided, as a sentence.
        breaker: "closed", "open", "half_open" or "off".
        streak: Failures in a row of the operation that has most.
        calls: How many there were.
        failure_ratio: As above; NaN without a judged call.
        metrics: All its operations added up.
    """  # noqa: D415 - the list is the formula

    component: str
    state: str
    why: str
    breaker: str
    streak: int
    calls: int
    failure_ratio: float
    metrics: OperationMetrics


def judged(counts: OperationMetrics, breaker: str, streak: int) -> ComponentHealth:
    """Return the health by the formula of `ComponentHealth`."""
    state, why = _state(counts, breaker, streak)
    return ComponentHealth(
        counts.component, state, why, breaker, streak, counts.calls, counts.failure_ratio, counts
    )


def _state(counts: OperationMetrics, breaker: str, streak: int) -> tuple[str, str]:  # noqa: PLR0911 - one line of the formula each
    ratio = counts.failure_ratio
    if math.isnan(ratio):
        return "unknown", "No call of it has ended by success or failure."
    failed = f"{counts.failures + counts.optional} of {counted(counts.judged, 'call')} failed."
    if breaker in {"open", "half_open"}:
        return "failing", f"Its circuit breaker is {breaker.replace('_', ' ')}."
    if streak >= FAILING_STREAK:
        return "failing", f"The last {streak} calls of one operation failed."
    if ratio >= FAILING_RATIO:
        return "failing", failed
    if ratio >= DEGRADED_RATIO or streak:
        return "degraded", failed
    if counts.degraded or counts.optional:
        told = f"{counts.degraded} calls ended degraded, {counts.optional} without a result."
        return "degraded", told
    return "healthy", failed
