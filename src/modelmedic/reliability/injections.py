"""Methods put into a component that lacks them, each compared with its calls, and taken out."""

from __future__ import annotations

import inspect
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modelmedic.errors import RecoveryRefused
from modelmedic.reliability import signatures

MARK = "__modelmedic_cure__"  # on a method that stands in: a sentence that says for what
_OWNER = "__modelmedic_injections__"
_MISSING = object()


def is_absent(component: object, name: str) -> bool:
    """Return whether a component has no such attribute; runs none of its code."""
    if name.startswith("__") and name.endswith("__"):
        return False  # Python looks those up on the class, and asks for many that are nowhere
    return inspect.getattr_static(component, name, _MISSING) is _MISSING


def is_cured(component: object, name: str) -> bool:
    """Return whether what a component has by that name is something that stands in."""
    return hasattr(inspect.getattr_static(component, name, None), MARK)


@dataclass(frozen=True, slots=True)
class Cure:
    """A callable that may stand in, bound to its component, and what is lost by it."""

    call: Callable[..., Any]
    note: str
    on_class: type | None = None  # gets `function`, and with it every object of it
    function: Callable[..., Any] | None = None


class Injections:
    """What was put into components and classes, and can be taken out again.

    They are held weakly: what nobody else uses any more is gone, with what was put into it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: list[tuple[Callable[[], Any], str]] = []

    def put(self, component: object, name: str, cure: Cure) -> None:
        """Put a cure where it was declared to go: into the one object, or its class.

        Raises:
            RecoveryRefused: Objects of that class take no attribute.
        """
        with self._lock:
            if not is_absent(component, name):
                return  # another thread was first
            holder = component if cure.on_class is None else cure.on_class
            self._made = [entry for entry in self._made if entry[0]() is not None]
            made = self._guarded(cure, name)
            if cure.on_class is None:
                _put_on_object(component, name, made)
            else:
                _put_on_class(cure.on_class, name, made)
            self._made.append((_held(holder), name))

    def undo(self) -> int:
        """Take out what is still there as it was put in; return how many that were."""
        with self._lock:
            made, self._made = self._made, []
            return sum(self._take_out(held(), name) for held, name in reversed(made))

    def _take_out(self, holder: Any, name: str) -> bool:
        own = vars(holder) if holder is not None else {}
        if getattr(own.get(name), _OWNER, None) is not self:
            return False  # somebody replaced it since
        if isinstance(holder, type):
            delattr(holder, name)
        else:
            del own[name]
        return True

    def _guarded(self, cure: Cure, name: str) -> Callable[..., Any]:
        """Return what is put in: it compares each call with the signature before anything runs."""
        is_bound = cure.on_class is None or cure.function is None
        function: Any = cure.call if is_bound else cure.function

        def stand_in(*args: Any, **kwargs: Any) -> Any:
            if problem := signatures.problem_of(function, (args, kwargs)):
                told = signatures.shown((args, kwargs))
                raise TypeError(f"{name} was called as {told}; {problem}")
            return function(*args, **kwargs)

        stand_in.__name__ = name
        setattr(stand_in, MARK, cure.note)
        setattr(stand_in, _OWNER, self)
        return stand_in


def own_names(component: object) -> dict[str, Any] | None:
    """Return an object's own attributes, past its ``__setattr__``; None when it has none."""
    try:
        own = object.__getattribute__(component, "__dict__")
    except (AttributeError, TypeError):
        return None
    return own if isinstance(own, dict) and not isinstance(component, type) else None


def _put_on_object(component: object, name: str, made: Callable[..., Any]) -> None:
    own = own_names(component)
    if own is None:
        raise RecoveryRefused(
            f"{type(component).__name__} takes no method on one of its objects.",
            "It has __slots__, is built in, or is itself a class.",
            "Declare the shim class-wide, if the class is one of Python code.",
        )
    own[name] = made


def _put_on_class(kind: type, name: str, made: Callable[..., Any]) -> None:
    try:
        setattr(kind, name, made)
    except (TypeError, AttributeError) as error:
        raise RecoveryRefused(f"{kind.__name__} is built in and takes no method.") from error


def _held(holder: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(holder)
    except TypeError:  # a class may forbid it
        return lambda: holder
