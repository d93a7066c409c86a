"""What is done about a failed call: try again, go on without, or let the exception leave.

Nothing here runs while calls succeed. Whatever goes wrong in here never hides the failure itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Protocol

from modelmedic.errors import OperationTimedOut
from modelmedic.findings import EnhancedErrorCategory as Category
from modelmedic.reliability.error_context import EnhancedErrorContext
from modelmedic.reliability.failed_call import (
    FailedCall,
    Mark,
    add_note,
    leave_mark,
    mark_of,
    new_correlation_id,
    said,
)
from modelmedic.reliability.interfaces import IAutoRecoveryEngine, RecoveryAction, StrategyAttempt
from modelmedic.reliability.journal import CallJournal, masker
from modelmedic.reliability.repairs import Repairs, is_about
from modelmedic.text import counted

if TYPE_CHECKING:
    from modelmedic.reliability.retry import RetryPolicy

CAPTURES_PER_MINUTE = 60  # 20 ms each: more would make a failing component slow as well
# Never tried again as they are, whatever else says so: the next try would end the same way, or do
# harm. Source: the project's own rule, and stamina's advice to retry listed errors only.
_NEVER_PASSING = frozenset(Category) - {Category.NETWORK, Category.TIMEOUT, Category.SYSTEM}
# Nor by operations that may be repeated, unless a repair worked in between.
_NEEDS_REPAIR = frozenset(
    {
        Category.PERMISSION,
        Category.RESOURCE_EXHAUSTION,
        Category.CORRUPTION,
        Category.AUTHENTICATION,
        Category.MISSING_METHOD,
    }
)
_FAULTS_OF_CODE = (
    TypeError,
    NameError,
    AttributeError,
    AssertionError,
    SyntaxError,
    RecursionError,
)
_BACKOFF = "RetryWithBackoffStrategy"


class Capture(Protocol):
    """Captures the context of a failure; `modelmedic.reliability.capture.ErrorCapture` does."""

    @property
    def capture(self) -> Callable[..., EnhancedErrorContext]:
        """Return what is given the error, ``component``, ``method`` and all else by name."""


class Decisions:
    """Decides on failed calls of one manager.

    Args:
        policy: Returns the retry policy; asked at the first failure.
        engine: What may repair; None: nothing is repaired.
        capture: Returns what captures contexts; asked at the first failure.
        journal: Where failures and attempts are written.
        phase: Of the installation, for the contexts.
        task: Inside the phase.
    """

    def __init__(
        self,
        policy: Callable[[], RetryPolicy],
        engine: IAutoRecoveryEngine | None,
        capture: Callable[[], Capture],
        journal: CallJournal,
        phase: str,
        task: str,
    ) -> None:
        self._policy = policy
        self._repairs = Repairs(engine, self._write_attempt)
        self._capture = capture
        self._journal = journal
        self._place = {"phase": phase, "task": task}
        self._room = _PerMinute(CAPTURES_PER_MINUTE)

    def decide(self, call: FailedCall, error: Exception, is_open: bool = False) -> RecoveryAction:
        """Return what to do about a failed call, after trying what may be tried.

        Args:
            call: Takes all that was found out.
            error: What it raised.
            is_open: Whether the component's circuit breaker lets nothing through now.
        """
        inner = mark_of(error, call.begun_ns)
        try:
            call.action = self._decided(call, error, inner, is_open)
        except Exception as own:  # noqa: BLE001 - ours, or a guest's: the failure itself must leave
            call.action = RecoveryAction.ABORT
            add_note(error, f"modelmedic: what to do was not decided: {said(own)}.")
        if call.action is not RecoveryAction.RETRY:
            leave_mark(error, call)
        return call.action

    def cure(self, call: FailedCall, error: AttributeError) -> bool:
        """Return whether a method that a component lacks is there now; a failed call knows why."""
        self._look(call, error, None)
        if self._repairs.cured(call):
            call.action, call.is_degraded = RecoveryAction.RETRY, True
        self._write_failure(call, call.action)
        if not call.is_degraded:
            add_note(error, self._note(call, call.action, "No declared cure gave it."))
            leave_mark(error, call)
        return call.is_degraded

    def note_end(self, call: FailedCall) -> None:
        """Write down that a call that had failed returned after all."""
        if not call.is_degraded:
            note = f"{call.label} returned after {counted(call.tries, 'try', 'tries')}."
            self._write_attempt(call, StrategyAttempt(_BACKOFF, "healed", note))

    def _decided(
        self, call: FailedCall, error: Exception, inner: Mark | None, is_open: bool
    ) -> RecoveryAction:
        category = self._look(call, error, inner)
        why_not = self._why_no_retry(call, error, category, inner, is_open)
        action = RecoveryAction.RETRY
        if why_not:
            action, why_not = self._without_retry(call, error, category, inner, why_not)
        if inner is None:
            self._write_failure(call, action)
        if action is RecoveryAction.RETRY:
            self._tell_of_wait(call, error)
            call.previous_errors.append(call.error)
            call.tries += 1
        elif inner is None or call.tries > 1:
            add_note(error, self._note(call, action, why_not))
        return action

    def _look(self, call: FailedCall, error: Exception, inner: Mark | None) -> Category | None:
        """Find out what failed; of what an inner call has seen to, nothing is captured again."""
        from modelmedic.healing.classify import classify

        call.error = said(error)
        category = classify(error)
        call.category = category.value if category is not None else ""
        if inner is not None:
            call.correlation_id = inner.correlation_id
            call.context = None
            return category
        call.correlation_id = call.correlation_id or new_correlation_id()
        call.context = self._captured(call, error)
        return category

    def _captured(self, call: FailedCall, error: Exception) -> EnhancedErrorContext | None:
        if not self._room.take():
            return None
        try:
            return self._capture().capture(
                error,
                component=call.component,
                method=call.method,
                args=call.args,
                kwargs=call.kwargs,
                retry_count=call.tries - 1,
                previous_errors=tuple(call.previous_errors),
                recovery_attempts=tuple(call.recovery_attempts),
                correlation_id=call.correlation_id,
                **self._place,
            )
        except Exception as own:  # noqa: BLE001 - a guest's, or ours: a call fails for its own reason
            call.recovery_attempts.append(f"The context was not captured: {said(own)}.")
            return None

    # -- again ------------------------------------------------------------------------------------

    def _why_no_retry(
        self,
        call: FailedCall,
        error: Exception,
        category: Category | None,
        inner: Mark | None,
        is_open: bool,
    ) -> str:
        """Return why a call is not tried again, as a sentence; "" when it is."""
        if call.has_yielded:
            return "It had given results already, and would give them twice."
        final = _why_final(call, error, is_open=is_open)
        call.is_final = bool(final)
        if final:
            return final
        if inner is not None and inner.tries > 1:
            return f"A call inside it was tried {inner.tries} times already."
        if not self._may_repeat(call, error, category):
            kind = f"of the kind {category.value}" if category else "of no known kind"
            return (
                f"A failure {kind} does not pass by itself, and {call.label} is not declared "
                "idempotent."
                if not call.declaration.is_idempotent
                else f"A failure {kind} is not cured by repeating the call."
            )
        return self._taken(call, error)

    def _may_repeat(self, call: FailedCall, error: Exception, category: Category | None) -> bool:
        if call.declaration.is_idempotent:
            return category not in _NEEDS_REPAIR and not isinstance(
                error, (*_FAULTS_OF_CODE, MemoryError)
            )
        return category not in _NEVER_PASSING and self._policy().is_transient(error)

    def _taken(self, call: FailedCall, error: Exception) -> str:
        """Take one more try from the policy; return why there is none."""
        policy = self._policy()
        most = call.most_tries or call.declaration.tries or policy.tries
        if call.tries >= most:
            return f"It was tried {call.tries} of {most} times."
        step = policy.next_try(call.tries, error, most)
        if step.seconds is None:
            call.is_final = True
            return step.why
        if call.tries == 1 and (refusal := self._refused_by_person(call, error)):
            call.is_final = True
            return refusal
        if not policy.take(time.monotonic(), step.seconds):
            call.is_final = True
            return "The retries of this run or minute are used up."
        call.wait_seconds = step.seconds
        return ""

    def _refused_by_person(self, call: FailedCall, error: Exception) -> str:
        """Ask the person, where there is a terminal and the policy has a chooser."""
        from modelmedic.reliability.choice import Choice

        choice = self._policy().choose(call.label, error)
        if choice is Choice.FEWER:
            call.most_tries = 2
        if choice is Choice.SKIP:
            return "You chose to leave it out."
        return "You chose to stop." if choice is Choice.ABORT else ""

    # -- otherwise --------------------------------------------------------------------------------

    def _without_retry(
        self,
        call: FailedCall,
        error: Exception,
        category: Category | None,
        inner: Mark | None,
        why_not: str,
    ) -> tuple[RecoveryAction, str]:
        if call.tries > 1 and not call.is_degraded:
            self._write_attempt(call, StrategyAttempt(_BACKOFF, "not healed", why_not))
        if inner is None and not call.is_final and self._repairs.recovered(call, error, category):
            if self._may_repeat_repaired(call, error, category):
                call.is_degraded, call.wait_seconds = True, 0.0
                return RecoveryAction.RETRY, ""
            why_not = (
                f"A repair worked. Next: call it again; {call.label} is not declared idempotent, "
                "so that was not done for you."
            )
        # A generator that breaks off after some results must not look like one that ended.
        is_optional = call.declaration.is_optional and not call.has_yielded
        return (RecoveryAction.CONTINUE if is_optional else RecoveryAction.ABORT), why_not

    def _may_repeat_repaired(
        self, call: FailedCall, error: Exception, category: Category | None
    ) -> bool:
        if call.has_yielded:
            return False
        if call.declaration.is_idempotent or is_about(error, call):
            return True
        # No repair takes back what the call may have done: "once" means once after it as well.
        most = call.declaration.tries
        return (most is None or call.tries < most) and self._may_repeat(call, error, category)

    # -- telling ----------------------------------------------------------------------------------

    def _tell_of_wait(self, call: FailedCall, error: Exception) -> None:
        """Tell who listens to the policy, before the wait."""
        if not call.is_degraded:
            from modelmedic.reliability.retry import RetryNotice

            told = self._policy().told
            told(RetryNotice(call.label, call.tries, call.wait_seconds, error))

    def _note(self, call: FailedCall, action: RecoveryAction, why_not: str) -> str:
        kind = f" ({call.category})" if call.category else ""
        parts = [f"modelmedic: {call.label} failed{kind}, called {_times(call.tries)}."]
        if call.previous_errors:
            parts.append(f"Before: {'; '.join(call.previous_errors)}.")
        parts += call.recovery_attempts
        parts.append(why_not)
        if action is RecoveryAction.CONTINUE:
            parts.append("It is declared optional, so None stands for its result.")
        return str(masker().mask(" ".join(part for part in parts if part)))

    def _write_failure(self, call: FailedCall, action: RecoveryAction) -> None:
        self._journal.write(
            "failure",
            {
                **_names(call),
                "category": call.category,
                "error": call.error,
                "error_id": call.context.error_id if call.context is not None else "",
                "tries": call.tries,
                "action": action.value,
                "previous_errors": call.previous_errors,
            },
        )

    def _write_attempt(self, call: FailedCall, attempt: StrategyAttempt) -> None:
        self._journal.write(
            "attempt",
            {
                **_names(call),
                "strategy": attempt.strategy,
                "verdict": attempt.verdict,
                "note": attempt.note,
                "seconds": round(attempt.seconds, 3),
                "recoveries": list(attempt.recoveries),
            },
        )


class _PerMinute:
    """Lets a number of things through in each minute."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._left = 0
        self._ends = 0.0
        self._lock = threading.Lock()

    def take(self) -> bool:
        with self._lock:
            now = time.monotonic()
            if now >= self._ends:
                self._ends, self._left = now + 60, self._most
            self._left -= 1
            return self._left >= 0


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _names(call: FailedCall) -> dict[str, str]:
    return {
        "component": call.component,
        "method": call.method,
        "correlation_id": call.correlation_id,
    }


def _why_final(call: FailedCall, error: Exception, *, is_open: bool) -> str:
    """Return why no repair makes another try right; "" when one may."""
    given = (*call.args, *call.kwargs.values())
    if not is_about(error, call) and any(isinstance(v, Iterator | AsyncIterator) for v in given):
        return "It was given an iterator or an open file, which this try may have used up."
    if isinstance(error, OperationTimedOut) and not error.interrupted:
        return "It went on to its end: a next try would do it twice."
    return f"The circuit breaker of {call.component} is open." if is_open else ""
