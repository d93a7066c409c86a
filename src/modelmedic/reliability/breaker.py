"""The circuit breaker of one component: after failures in a row its calls are turned away."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelmedic.reliability.refusals import CallRejected
from modelmedic.text import counted, duration

if TYPE_CHECKING:
    from circuitbreaker import CircuitBreaker


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When a component's calls are turned away.

    Args:
        failures: Calls that must fail in a row. Source: the default of `circuitbreaker`.
        seconds: After that time one call is let through; it decides. Source: likewise.
    """

    failures: int = 5
    seconds: float = 30.0


class Breaker:
    """The state of one component, kept by `circuitbreaker`.

    ``is_troubled`` is False while nothing failed lately: then a call costs one look at it.
    In the half-open state one call at a time is let through, where the library lets all through.
    """

    def __init__(self, component: str, settings: BreakerSettings) -> None:
        self.is_troubled = False
        self._component = component
        self._settings = settings
        self._circuit: CircuitBreaker | None = None
        self._probe_ends = 0.0  # until when one call is being tried
        self._lock = threading.Lock()

    @property
    def state(self) -> str:
        """Return "closed", "open" or "half_open"."""
        return str(self._circuit.state) if self._circuit is not None else "closed"

    def admits(self) -> bool:
        """Return whether a call may begin; the one call of a half-open state is taken by that."""
        with self._lock:
            if self.state != "half_open":
                return self.state == "closed"
            now = time.monotonic()
            if now < self._probe_ends:
                return False
            self._probe_ends = now + self._settings.seconds  # one that hangs blocks no longer
            return True

    def succeed(self) -> None:
        """Note a call that returned. One that began before the breaker opened does not close it."""
        with self._lock:
            if self._circuit is not None and self.state != "open":
                self._circuit.__exit__(None, None, None)  # its `reset` has no name before 2.1
                self._probe_ends = 0.0
                self.is_troubled = False

    def fail(self, error: Exception) -> None:
        """Note a call that failed. The exception itself is not kept: it would hold its frames."""
        with self._lock:
            circuit = self._loaded()
            self.is_troubled = True
            self._probe_ends = 0.0
            if self.state != "open":  # its time is not made longer by calls that were under way
                circuit.__exit__(type(error), None, None)

    def release(self) -> None:
        """Note a call that was cancelled: it says nothing, and the next one may try."""
        with self._lock:
            self._probe_ends = 0.0

    def rejection(self, operation: str) -> CallRejected:
        """Return the error of a call that was turned away."""
        left = max(self._circuit.open_remaining, 0) if self._circuit is not None else 0
        failures = self._circuit.failure_count if self._circuit is not None else 0
        name = self._component
        return CallRejected(
            f"{name}.{operation} was not called: the circuit breaker of {name} is open.",
            f"Its last {counted(failures, 'call')} failed in a row.",
            f"Read the notes on those errors and remove their cause; {name} is tried again in "
            f"{duration(left)}.",
        )

    def _loaded(self) -> CircuitBreaker:
        if self._circuit is None:
            from circuitbreaker import CircuitBreaker

            self._circuit = CircuitBreaker(
                self._settings.failures, self._settings.seconds, Exception, self._component
            )
        return self._circuit
