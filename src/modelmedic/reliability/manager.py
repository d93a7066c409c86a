"""The manager of an installer's components: wraps them, counts, and decides on their failures."""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from modelmedic.limits import TimeoutManager
from modelmedic.reliability import metrics as counting
from modelmedic.reliability.breaker import Breaker, BreakerSettings
from modelmedic.reliability.decisions import Capture, Decisions
from modelmedic.reliability.declarations import NOTHING_DECLARED, Declaration, declared
from modelmedic.reliability.events import CallEvent, Observer, Observers, Ring
from modelmedic.reliability.failed_call import FailedCall
from modelmedic.reliability.health import ComponentHealth, judged
from modelmedic.reliability.interfaces import (
    IAutoRecoveryEngine,
    IRecoveryStrategy,
    IReliabilityManager,
    RecoveryAction,
)
from modelmedic.reliability.journal import CallJournal
from modelmedic.reliability.operation import Operation
from modelmedic.reliability.refusals import UnknownErrorType

if TYPE_CHECKING:
    from modelmedic.reliability.retry import RetryPolicy


class ReliabilityManager(IReliabilityManager):
    """Makes an installer's components reliable, in its own process.

    To make one costs next to nothing: no file is written and nothing is looked at before the first
    failure. All methods may be called by many threads.

    Args:
        level: What is recorded: "minimal" (counts), "standard" (durations too) or "full" (also the
            newest calls, `recent_calls`).
        retry: How often and after which waits is tried again; None takes `RetryPolicy` as the
            environment sets it.
        breaker: When a component's calls are turned away; True takes the defaults of
            `BreakerSettings`, None is off.
        engine: What may repair; None: nothing but retries.
        capture: Captures the context of failures; None takes `ErrorCapture`.
        observers: Are told of every call.
        install_dir: The install, for the contexts.
        state_dir: Where the journal is written; None takes modelmedic's state folder.
        phase: Of the installation, for the contexts.
        task: Inside the phase.
        samples_per_second: How many successes of an operation are put into its histogram, in each
            thread; more are shed: counted, but not sampled.

    Raises:
        ValueError: There is no such level.
    """

    def __init__(
        self,
        *,
        level: str = "standard",
        retry: RetryPolicy | None = None,
        breaker: BreakerSettings | bool | None = None,
        engine: IAutoRecoveryEngine | None = None,
        capture: Capture | None = None,
        observers: Iterable[Observer] = (),
        install_dir: Path | str | None = None,
        state_dir: Path | str | None = None,
        phase: str = "",
        task: str = "",
        samples_per_second: float = counting.SAMPLES_PER_SECOND,
    ) -> None:
        if level not in counting.LEVELS:
            known = ", ".join(counting.LEVELS)
            raise ValueError(f"unknown level {level!r}; known are {known}")
        self.level = level
        self.engine = engine
        self._retry = retry
        self._capture = capture
        self._breaker_settings = BreakerSettings() if breaker is True else breaker or None
        self._install_dir = install_dir
        self._samples_per_second = samples_per_second
        self._observers = Observers()
        self._ring = Ring() if level == "full" else None
        self._recorders: dict[tuple[str, str], counting.Recorder] = {}
        self._breakers: dict[str, Breaker] = {}
        self._declared: dict[tuple[str, str], dict[str, Any]] = {}
        self._operations: weakref.WeakSet[Operation] = weakref.WeakSet()
        self._cured: set[tuple[str, str]] = set()
        self._lock = threading.RLock()
        self._types: weakref.WeakKeyDictionary[type, str] = weakref.WeakKeyDictionary()
        self._direct = threading.local()
        self.journal = CallJournal(None if state_dir is None else Path(state_dir))
        self.decisions = Decisions(self._policy, engine, self._capturing, self.journal, phase, task)
        for observer in observers:
            self.subscribe(observer)
        if hasattr(engine, "declared_for"):  # ours: its alternatives are declared here
            setattr(engine, "declared_for", self._declared_for)  # noqa: B010 - mypy knows only the interface

    def _declared_for(self, component: Any, name: str) -> Declaration | None:
        return self.declaration(component, self._types.get(type(component), ""), name)

    # -- the interface of the design --------------------------------------------------------------

    def wrap_component(self, component: Any, component_type: str = "") -> Any:
        """Return a stand-in for a component whose calls are protected and counted.

        Args:
            component: Any object; a stand-in of this manager is returned as it is.
            component_type: What it is to the installer, as "downloader"; `declare` may name it.

        Raises:
            CannotWrap: It is a plain value, a class, or the stand-in of another manager.
        """
        from modelmedic.reliability.wrapper import ReliabilityWrapper

        if issubclass(type(component), ReliabilityWrapper) and component._self_manager is self:  # noqa: SLF001
            return component
        self._types[type(component)] = component_type
        return ReliabilityWrapper(component, self, component_type)

    def handle_component_failure(
        self, component: str, error: Exception, context: dict[str, Any]
    ) -> RecoveryAction:
        """Return what to do about a failed call, after trying what may be tried.

        An installer that does not wrap may call it in its own ``except``: it waits before it
        returns RETRY. Tries are counted for each thread, component and method until something else
        than RETRY is returned, or `track_reliability_metrics` tells of a success.

        Args:
            component: Its name.
            error: What the call raised; it gets the notes.
            context: The design's ``method``, ``args``, ``kwargs``, ``duration`` (in seconds). More
                that is understood: ``component`` (the object), ``component_type``,
                ``declaration`` (a `Declaration`). ``call`` is set to what was found out.
        """
        call = context.get("call")
        if not isinstance(call, FailedCall):
            call = context["call"] = self._direct_call(component, context)
        if not isinstance(error, Exception):
            return RecoveryAction.ABORT
        breaker = self._breakers.get(component)
        is_open = breaker is not None and breaker.is_troubled and breaker.state == "open"
        action = self.decisions.decide(call, error, is_open)
        if not call.is_ours:
            if action is RecoveryAction.RETRY:
                time.sleep(call.wait_seconds)
            else:
                self._direct_calls().pop((component, call.method), None)
        return action

    def get_recovery_strategy(self, error_type: str, component: str) -> IRecoveryStrategy:
        """Return the first strategy for a kind of error.

        Args:
            error_type: A family ("network_failure") or the value of a category ("timeout").
            component: Which one failed; all have the same strategies.

        Raises:
            UnknownErrorType: No family and no category with a strategy has that name.
        """
        from modelmedic.findings import EnhancedErrorCategory as Category
        from modelmedic.healing.registry import FAMILY_OF_CATEGORY
        from modelmedic.healing.slots import RecoveryStrategyRegistry

        families = {kind.value: family for kind, family in FAMILY_OF_CATEGORY.items()}
        strategies = RecoveryStrategyRegistry.strategies
        # A category named as its family, "missing_method", is both.
        found = strategies.get(error_type) or strategies.get(families.get(error_type, ""))
        if found:
            return found[0]
        is_known = error_type in {kind.value for kind in Category}
        raise UnknownErrorType(
            f"There is no strategy for {error_type!r}, which {component or 'a component'} raised.",
            "The category is known, but no strategy of the design repairs it."
            if is_known
            else f"Families with strategies are {', '.join(strategies)}.",
            "Name one of these families, or a category of one; strategy_for(context) chooses by "
            "the error itself.",
        )

    def track_reliability_metrics(
        self, component: str, operation: str, success: bool, duration: float
    ) -> None:
        """Count one call that was not made through a stand-in; ``duration`` in seconds."""
        is_known = math.isfinite(duration) and duration >= 0
        took_ns = int(duration * 1e9) if is_known else None
        outcome = counting.SUCCESS if success else counting.FAILURE
        self._recorder(component, operation).count(outcome, took_ns)
        if success:
            self._direct_calls().pop((component, operation), None)

    # -- what is said beforehand ------------------------------------------------------------------

    def declare(self, component: str, method: str, **fields: Any) -> None:
        """Declare something about a method of a component that is not ours to decorate.

        Args:
            component: Its type as it was wrapped, or the name of its class or of a base.
            method: Which one.
            fields: Of `Declaration`; they count before those where the method is defined.

        Raises:
            TypeError: There is no such field.
        """
        Declaration(**fields)
        with self._lock:
            known = self._declared.get((component, method), {})
            self._declared[component, method] = {**known, **fields}
            operations = list(self._operations)
        for operation in operations:
            if "limit" in fields and operation.method == method:
                names = {operation.component, operation.component_type}
                operation.limit = fields["limit"] if component in names else operation.limit

    def declaration(self, target: Any, component_type: str, method: str) -> Declaration:
        """Return all that is declared about a method, here and where it is defined."""
        kind = target if isinstance(target, type) else type(target)
        function = vars(target).get(method) if hasattr(target, "__dict__") else None
        known = declared(function) or declared(getattr(kind, method, None)) or NOTHING_DECLARED
        for name in (*(base.__name__ for base in reversed(kind.__mro__)), component_type):
            if fields := self._declared.get((name, method)):
                known = replace(known, **fields)
        return known

    def subscribe(self, observer: Observer) -> Callable[[], None]:
        """Tell an observer of every call from now on; returns what ends that.

        It is called in the thread of the call. What it raises breaks no call: it is counted, and
        said once.
        """
        return self._observers.subscribe(observer)

    def limit(self, operation: str, context: Mapping[str, Any] | None = None) -> Any:
        """Return what breaks off a block after its time: ``with manager.limit("validation"):``.

        See `TimeoutManager.limit`.
        """
        return TimeoutManager().limit(operation, context)

    # -- questions --------------------------------------------------------------------------------

    def metrics(
        self,
        component: str | None = None,
        operation: str | None = None,
        since: counting.Metrics | None = None,
    ) -> counting.Metrics:
        """Return what was counted.

        Args:
            component: Only of this one; None takes all.
            operation: Only of this one; None takes all.
            since: An earlier reading, which is taken off.
        """
        with self._lock:
            recorders = list(self._recorders.items())
        chosen = {
            key: recorder.read()
            for key, recorder in recorders
            if component in {None, key[0]} and operation in {None, key[1]}
        }
        found = counting.Metrics(chosen, self._observers.errors)
        return found if since is None else found.minus(since)

    def health(self, component: str) -> ComponentHealth:
        """Return how a component is doing; `ComponentHealth` has the formula."""
        counts = replace(self.metrics(component).total, component=component)
        breaker = self._breakers.get(component)
        state = "off" if self._breaker_settings is None else breaker.state if breaker else "closed"
        with self._lock:
            own = [entry for (name, _), entry in self._recorders.items() if name == component]
        return judged(counts, state, max((entry.streak() for entry in own), default=0))

    def recent_calls(self) -> list[CallEvent]:
        """Return the newest 1,000 calls, the oldest first; empty below level "full"."""
        return self._ring.events() if self._ring is not None else []

    def close(self) -> None:
        """Tell nobody anything any more. Stand-ins go on working, and counts can be read."""
        self._observers.listening.clear()

    # -- what stand-ins need ----------------------------------------------------------------------

    def operation(self, component: str, component_type: str, method: str, target: Any) -> Operation:
        """Return one method of one component, as the calls of it need it."""
        operation = Operation(
            self,
            component,
            component_type,
            method,
            recorder=self._recorder(component, method),
            breaker=self._breaker(component),
            observers=self._observers,
            ring=self._ring,
            is_cured=(component, method) in self._cured,
        )
        operation.limit = self.declaration(target, component_type, method).limit
        with self._lock:
            self._operations.add(operation)
        return operation

    def has_cure(self, component: Any, method: str) -> bool:
        """Return whether the engine knows a declared cure for a method that a component lacks."""
        ask = getattr(self.engine, "has_cure", None)
        return ask is not None and bool(ask(component, method))

    def note_cured(self, component: str, method: str) -> None:
        """Count the calls of a method as degraded from now on: something stands in for it."""
        with self._lock:
            self._cured.add((component, method))

    def _recorder(self, component: str, operation: str) -> counting.Recorder:
        key = component, operation
        with self._lock:
            if key not in self._recorders and len(self._recorders) >= counting.MOST_OPERATIONS:
                key = counting.OTHERS, counting.OTHERS
            if key not in self._recorders:
                self._recorders[key] = counting.Recorder(*key, self.level, self._samples_per_second)
            return self._recorders[key]

    def _breaker(self, component: str) -> Breaker | None:
        if self._breaker_settings is None:
            return None
        with self._lock:
            if component not in self._breakers:
                self._breakers[component] = Breaker(component, self._breaker_settings)
            return self._breakers[component]

    def _policy(self) -> RetryPolicy:
        if self._retry is None:
            from modelmedic.reliability.retry import RetryPolicy

            self._retry = RetryPolicy.from_settings()
        return self._retry

    def _capturing(self) -> Capture:
        if self._capture is not None:
            return self._capture
        from modelmedic.reliability.capture import ErrorCapture
        from modelmedic.reliability.error_log import ErrorLog

        log = ErrorLog(self.journal.path.parent)
        self._capture = made = ErrorCapture(
            install_dir=self._install_dir, level=self.level, log=log
        )
        return made

    def _direct_calls(self) -> dict[tuple[str, str], FailedCall]:
        found: dict[tuple[str, str], FailedCall] = self._direct.__dict__.setdefault("calls", {})
        return found

    def _direct_call(self, component: str, context: dict[str, Any]) -> FailedCall:
        """Return the call that a direct question is about: the same as before while it fails."""
        method = str(context.get("method", ""))
        known = self._direct_calls().get((component, method))
        if known is not None:
            return known
        target, kind = context.get("component"), str(context.get("component_type", ""))
        given = context.get("declaration")
        took_ns = int(float(context.get("duration", 0) or 0) * 1e9)
        call = FailedCall(
            component=component,
            method=method,
            component_type=kind,
            target=target,
            args=tuple(context.get("args", ())),
            kwargs=dict(context.get("kwargs") or {}),
            begun_ns=perf_counter_ns() - took_ns,
            declaration=given
            if isinstance(given, Declaration)
            else self._named_declaration(component, kind, method, target),
        )
        self._direct_calls()[component, method] = call
        return call

    def _named_declaration(
        self, component: str, component_type: str, method: str, target: Any
    ) -> Declaration:
        known = self.declaration(target, component_type, method)
        return replace(known, **self._declared.get((component, method), {}))
