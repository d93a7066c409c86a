"""What observers are told about calls."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modelmedic.reliability.error_context import EnhancedErrorContext

MOST_KEPT = 1000  # of the ring on level "full"


@dataclass(frozen=True, slots=True)
class CallEvent:
    """One call of a component that ended.

    Args:
        component: Its name.
        operation: The method.
        outcome: "success", "degraded", "optional", "failure", "cancelled" or "rejected".
        seconds: How long it took, its waits included; NaN when it was not timed.
        tries: How often it was called; 0 when it was rejected.
        ended_at: When, in seconds since the epoch.
        thread: `threading.get_ident` of the thread it ended in.
        arguments: Types of its arguments, as "Path" or "force=bool"; only on level "full". Never
            values: an event keeps nothing alive and holds no secret.
        error: Type and message of its exception, masked; empty when it has none.
        category: Value of the `EnhancedErrorCategory` of that; empty when nothing says which.
        recovery_attempts: What was tried, as sentences.
        correlation_id: The same for one exception in all calls it passes, and for all errors in
            one `correlated` block; empty without an error.
        context: Everything about the failure; None when nothing failed, when the failure was
            captured already where it began, or when failures come faster than they are captured.
    """

    component: str
    operation: str
    outcome: str
    seconds: float = float("nan")
    tries: int = 1
    ended_at: float = 0.0
    thread: int = 0
    arguments: tuple[str, ...] = ()
    error: str = ""
    category: str = ""
    recovery_attempts: tuple[str, ...] = ()
    correlation_id: str = ""
    context: EnhancedErrorContext | None = None


Observer = Callable[[CallEvent], Any]
Kinds = tuple[tuple[type, ...], tuple[str, ...]]


class Observers:
    """Those who are told. One that raises breaks no call: it is counted, and said once."""

    def __init__(self) -> None:
        self.listening: list[Observer] = []  # the same list always: fast paths hold it
        self.errors = 0
        self._told: set[int] = set()
        self._lock = threading.Lock()

    def subscribe(self, observer: Observer) -> Callable[[], None]:
        """Tell an observer of every call from now on; returns what ends that."""
        with self._lock:
            self.listening.append(observer)

        def unsubscribe() -> None:
            with self._lock:
                self.listening[:] = [one for one in self.listening if one is not observer]
                self._told.discard(id(observer))

        return unsubscribe

    def tell(self, event: CallEvent) -> None:
        """Tell everyone about one call."""
        for observer in tuple(self.listening):
            try:
                observer(event)
            except Exception as error:  # noqa: BLE001 - somebody else's code; no call fails for it
                self._note(observer, error)

    def _note(self, observer: Observer, error: Exception) -> None:
        with self._lock:
            self.errors += 1
            is_new = id(observer) not in self._told
            self._told.add(id(observer))
        if is_new and sys.stderr is not None:
            name = getattr(observer, "__qualname__", type(observer).__name__)
            print(  # noqa: T201 - once; a library has no other place for the fault of a guest
                f"modelmedic: the observer {name} raised {type(error).__name__}. The call it was "
                "told of is not affected; more of its errors are only counted.",
                file=sys.stderr,
            )


class Ring:
    """The newest events, of level "full"; rendered when somebody asks."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._kept: deque[CallEvent | tuple[Any, ...]] = deque(maxlen=most)
        self.append = self._kept.append
        self._began_at = time.time() - time.perf_counter_ns() / 1e9

    def events(self) -> list[CallEvent]:
        """Return them, the oldest first."""
        return [
            one if isinstance(one, CallEvent) else self._rendered(*one) for one in list(self._kept)
        ]

    def _rendered(
        self,
        names: tuple[str, str],
        begun_ns: int,
        took_ns: int,
        thread: int,
        kinds: Kinds,
    ) -> CallEvent:
        component, operation = names
        ended_at = self._began_at + (begun_ns + took_ns) / 1e9
        seconds = took_ns / 1e9
        return CallEvent(
            component, operation, "success", seconds, 1, ended_at, thread, named_kinds(kinds)
        )


def kinds_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Kinds:
    """Return the types of arguments, and the names of the last ones: all that is kept of them."""
    if kwargs:
        return tuple(map(type, (*args, *kwargs.values()))), tuple(kwargs)
    return tuple(map(type, args)), ()


def named_kinds(kinds: Kinds) -> tuple[str, ...]:
    """Return types of arguments as an event shows them."""
    types, names = kinds
    plain = len(types) - len(names)
    return (
        *(kind.__name__ for kind in types[:plain]),
        *(f"{name}={kind.__name__}" for name, kind in zip(names, types[plain:], strict=True)),
    )
