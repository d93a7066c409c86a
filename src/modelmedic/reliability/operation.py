"""One method of one component: what is counted, told and decided about its calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from threading import get_ident
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from modelmedic.reliability import metrics
from modelmedic.reliability.events import CallEvent, Ring, kinds_of, named_kinds
from modelmedic.reliability.failed_call import FailedCall
from modelmedic.reliability.interfaces import RecoveryAction

if TYPE_CHECKING:
    from modelmedic.reliability.breaker import Breaker
    from modelmedic.reliability.events import Observers
    from modelmedic.reliability.manager import ReliabilityManager

_OUTCOME = {RecoveryAction.ABORT: metrics.FAILURE, RecoveryAction.CONTINUE: metrics.OPTIONAL}


class Operation:
    """One method of one component, as its manager knows it.

    Args:
        manager: Decides on failures.
        component: Name of the component.
        component_type: As it was wrapped; empty when it was instrumented.
        method: The method.
        recorder: Counts its calls.
        breaker: Of the component; None: off.
        observers: Are told of every call.
        ring: Keeps the newest calls; None below level "full".
        is_cured: Whether a stand-in for a missing method is called: its successes are degraded.
    """

    def __init__(
        self,
        manager: ReliabilityManager,
        component: str,
        component_type: str,
        method: str,
        *,
        recorder: metrics.Recorder,
        breaker: Breaker | None,
        observers: Observers,
        ring: Ring | None,
        is_cured: bool = False,
    ) -> None:
        self.manager = manager
        self.component = component
        self.component_type = component_type
        self.method = method
        self.recorder = recorder
        self.breaker = breaker
        self.limit = ""  # a name of `TimeoutManager`; set by the manager's declarations
        self.is_cured = is_cured
        self._observers = observers
        self._ring = ring
        self.succeeded = self._counted_end if is_cured else self._success_path()

    # -- successes --------------------------------------------------------------------------------

    def _success_path(self) -> Callable[[int, tuple[Any, ...], dict[str, Any]], None]:
        """Return what counts a success: a function over local names, which cost least."""
        local = self.recorder.local
        listening, share = self._observers.listening, self._share

        def counted(begun_ns: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            local.shard[metrics.SUCCESS] += 1
            if listening:
                share(begun_ns, args, kwargs)

        return self._timed_path() if self.recorder.is_timed else counted

    def _timed_path(self) -> Callable[[int, tuple[Any, ...], dict[str, Any]], None]:
        local, has_room = self.recorder.local, self.recorder.has_room
        listening, share = self._observers.listening, self._share
        kept = self._ring.append if self._ring is not None else None
        names = self.component, self.method
        success, nanoseconds, left = metrics.SUCCESS, metrics.NANOSECONDS, metrics.LEFT
        first, last = metrics.FIRST_BUCKET, metrics.FIRST_BUCKET + metrics.BUCKETS - 1

        def counted(begun_ns: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            took_ns = perf_counter_ns() - begun_ns
            shard = local.shard
            shard[success] += 1
            shard[nanoseconds] += took_ns
            room = shard[left]
            if room > 0:
                shard[left] = room - 1
            elif not has_room(shard, begun_ns + took_ns):
                return  # shed: more calls than samples are taken
            shift = took_ns.bit_length() - 4  # `metrics.bucket_of`, without the call
            bucket = first + ((shift << 3) + (took_ns >> shift) if shift > 0 else took_ns)
            shard[min(last, bucket)] += 1
            if kept is not None:
                kept((names, begun_ns, took_ns, get_ident(), kinds_of(args, kwargs)))
            if listening:
                share(begun_ns, args, kwargs, took_ns)

        return counted

    def _share(
        self,
        _begun_ns: int,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        took_ns: int | None = None,
    ) -> None:
        """Tell the observers of a success."""
        self._tell(metrics.SUCCESS, took_ns, args, kwargs)

    def _counted_end(self, begun_ns: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Count the success of a stand-in for a missing method: degraded."""
        self._end(metrics.DEGRADED, perf_counter_ns() - begun_ns, args, kwargs)

    def _end(
        self,
        outcome: int,
        took_ns: int | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        call: FailedCall | None = None,
    ) -> None:
        self.recorder.count(outcome, took_ns)
        if self._ring is not None or self._observers.listening:
            self._tell(outcome, took_ns, args, kwargs, call)

    def _tell(
        self,
        outcome: int,
        took_ns: int | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        call: FailedCall | None = None,
    ) -> None:
        known: dict[str, Any] = {} if call is None else _of_failed(call)
        if outcome == metrics.REJECTED:
            known["tries"] = 0
        event = CallEvent(
            self.component,
            self.method,
            metrics.OUTCOMES[outcome],
            float("nan") if took_ns is None else took_ns / 1e9,
            ended_at=time.time(),
            thread=get_ident(),
            arguments=named_kinds(kinds_of(args, kwargs)) if self._ring is not None else (),
            **known,
        )
        if self._ring is not None and outcome != metrics.SUCCESS:
            self._ring.append(event)
        self._observers.tell(event)

    # -- all that is not the fast path ------------------------------------------------------------

    def admit(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise `CallRejected` when the circuit breaker lets nothing through."""
        breaker = self.breaker
        if breaker is not None and breaker.is_troubled and not breaker.admits():
            self._end(metrics.REJECTED, None, args, kwargs)
            raise breaker.rejection(self.method)

    def note_success(
        self,
        begun_ns: int,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        call: FailedCall | None,
    ) -> None:
        """Count a call that returned, at its first try or a later one."""
        if self.breaker is not None and self.breaker.is_troubled:
            self.breaker.succeed()
        if call is None:
            self.succeeded(begun_ns, args, kwargs)
            return
        is_degraded = call.is_degraded or self.is_cured
        outcome = metrics.DEGRADED if is_degraded else metrics.SUCCESS
        self._end(outcome, perf_counter_ns() - call.begun_ns, args, kwargs, call)
        self.manager.decisions.note_end(call)

    def note_failure(
        self,
        error: BaseException,
        target: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        begun_ns: int,
        call: FailedCall | None,
        *,
        has_yielded: bool = False,
    ) -> FailedCall:
        """Find out what to do about a failed try, and count the call if it was the last.

        Returns:
            The call; its ``action`` says what to do.
        """
        if call is None:
            call = self.new_call(target, args, kwargs, begun_ns)
        call.has_yielded = has_yielded
        if not isinstance(error, Exception):
            self.note_cancelled(call)
            return call
        took_ns = perf_counter_ns() - begun_ns
        action = self.manager.handle_component_failure(
            self.component,
            error,
            {
                "method": self.method,
                "args": args,
                "kwargs": kwargs,
                "duration": took_ns / 1e9,
                "call": call,
            },
        )
        if call.is_over:
            return call
        if action is RecoveryAction.RETRY:
            self.recorder.count_retry()
            return call
        if self.breaker is not None:
            self.breaker.fail(error)
        self._end(_OUTCOME[action], perf_counter_ns() - call.begun_ns, args, kwargs, call)
        return call

    def recover_missing(
        self, error: AttributeError, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> bool:
        """Return whether a method that the component lacks is there now; count the call if not."""
        call = self.new_call(target, args, kwargs, perf_counter_ns())
        if self.manager.decisions.cure(call, error):
            return True
        self._end(metrics.FAILURE, perf_counter_ns() - call.begun_ns, args, kwargs, call)
        return False

    def note_cancelled(self, call: FailedCall) -> None:
        """Count a call that somebody or something ended; nothing is tried."""
        call.action, call.is_over = RecoveryAction.ABORT, True
        if self.breaker is not None:
            self.breaker.release()
        took_ns = perf_counter_ns() - call.begun_ns
        self._end(metrics.CANCELLED, took_ns, call.args, call.kwargs, call)

    def new_call(
        self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], begun_ns: int
    ) -> FailedCall:
        """Return what is known of a call whose first try failed."""
        return FailedCall(
            component=self.component,
            method=self.method,
            component_type=self.component_type,
            target=target,
            args=args,
            kwargs=kwargs,
            begun_ns=begun_ns,
            declaration=self.manager.declaration(target, self.component_type, self.method),
            is_ours=True,
        )

    def limited(self) -> Any:
        """Return what interrupts a try after its declared time."""
        return self.manager.limit(self.limit) if self.limit else nullcontext()


def _of_failed(call: FailedCall) -> dict[str, Any]:
    return {
        "tries": call.tries,
        "error": call.error,
        "category": call.category,
        "recovery_attempts": tuple(call.recovery_attempts),
        "correlation_id": call.correlation_id,
        "context": call.context,
    }
