"""A component that lacks a method: whether that is what failed, and the declared cures for it."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, MethodType
from typing import Any

from modelmedic.errors import RecoveryRefused
from modelmedic.healing.slots import (
    AlternativeClassStrategy,
    DynamicMethodInjectionStrategy,
    FallbackImplementationStrategy,
    IRecoveryStrategy,
)
from modelmedic.reliability import nearest, signatures
from modelmedic.reliability.injections import (
    Cure,
    Injections,
    is_absent,
)
from modelmedic.reliability.interfaces import StrategyAttempt
from modelmedic.reliability.shims import Cures, OtherClass, Shim, path_of, resolve
from modelmedic.reliability.signatures import Call

_MISSING = object()
Candidate = Callable[[], Cure]


def is_missing_method(error: BaseException, component: object, name: str) -> bool:
    """Return whether an error says that just this component lacks just this name.

    An AttributeError of anything else, of a typo inside the method, of a property that is there,
    is an ordinary error.
    """
    return (
        isinstance(error, AttributeError)
        and getattr(error, "obj", _MISSING) is component
        and getattr(error, "name", None) == name
        and is_absent(component, name)
    )


@dataclass(slots=True)
class MissingMethod:
    """One component without one method; carries out the strategies of its family.

    Args:
        component: The object itself.
        name: Of the method.
        cures: What was declared.
        injections: Where what is put in is remembered.
        alternatives: Further ones, of the method's `Declaration`; they are the nearest.
        call: Arguments of the call that failed, to compare signatures; None: not known yet.
    """

    component: Any
    name: str
    cures: Cures
    injections: Injections
    alternatives: tuple[str, ...] = ()
    call: Call | None = None
    refusals: list[str] = field(default_factory=list)

    def carry_out(self, strategy: IRecoveryStrategy) -> StrategyAttempt:
        """Find the strategy's first cure that holds, put it in, and see that it is there."""
        started = time.monotonic()
        cure = self._first_cure(_SOURCES.get(type(strategy), _nothing)(self))
        if cure is None:
            note = " ".join(self.refusals) or self._nothing_declared(strategy)
            return StrategyAttempt(strategy.name, "refused", note)
        seconds = round(time.monotonic() - started, 3)
        return StrategyAttempt(strategy.name, "degraded", cure.note, seconds)

    @property
    def label(self) -> str:
        """Return "Class.method"."""
        return f"{type(self.component).__name__}.{self.name}"

    def advice(self) -> str:
        """Return what a person can do: nearest names that exist, declared versions, the fix."""
        told = [nearest.told(self.component, self.name), *dict.fromkeys(self._versions())]
        module = type(self.component).__module__
        told.append(
            "Next: correct the name in the call, or install versions of the caller and of "
            f"{module} that go together, or declare a shim for it."
        )
        return " ".join(told)

    def _first_cure(self, candidates: Iterable[Candidate]) -> Cure | None:
        self.refusals = []
        for candidate in candidates:
            try:
                cure = candidate()
                signatures.refuse_call(cure.call, self.call, self.label)
                self.injections.put(self.component, self.name, cure)
            except RecoveryRefused as error:
                self.refusals.append(str(error))
                continue
            return cure
        return None

    def _versions(self) -> Iterator[str]:
        for load in self.cures.shims(self.component, self.name):
            try:
                made = load()
            except RecoveryRefused as error:
                yield str(error)
            else:
                yield f"A shim of {made.origin} is for {made.requirement}."

    def _nothing_declared(self, strategy: IRecoveryStrategy) -> str:
        if type(strategy) in _SOURCES:
            return f"Nothing of that kind was declared for {self.label}."
        return self.advice()


# -- the cures of each strategy -------------------------------------------------------------------


def _shims(failure: MissingMethod) -> Iterator[Candidate]:
    for load in failure.cures.shims(failure.component, failure.name):
        yield functools.partial(_of_shim, load, failure)


def _of_shim(load: Callable[[], Shim], failure: MissingMethod) -> Cure:
    made = load()
    made.refuse_version()
    call = _callable(made.function, f"The shim of {made.origin}")
    bound = MethodType(call, failure.component)
    if made.like is not None:
        signatures.refuse_other(bound, made.like, failure.label)
    kind = _declaring_class(failure, made) if made.is_class_wide else None
    note = f"{failure.label} is the shim of {made.origin} for {made.requirement}."
    return Cure(bound, note, kind, call)


def _declaring_class(failure: MissingMethod, made: Shim) -> type:
    """Return the class that the shim was declared for: the nearest base that has it."""
    for kind in type(failure.component).__mro__:
        if made.target in {"", path_of(kind)}:
            return kind
    return type(failure.component)


def _others(failure: MissingMethod) -> Iterator[str | OtherClass]:
    yield from failure.alternatives
    yield from failure.cures.alternatives(failure.component, failure.name)


def _implementations(failure: MissingMethod) -> Iterator[Candidate]:
    for other in _others(failure):
        if isinstance(other, str) and not _names_class(other):
            yield functools.partial(_of_implementation, other, failure)


def _of_implementation(other: str, failure: MissingMethod) -> Cure:
    component = failure.component
    note = f"{failure.label} is {other}, which was declared to stand in for it."
    if ":" not in other:
        if inspect.getattr_static(component, other, _MISSING) is _MISSING:
            raise RecoveryRefused(f"{type(component).__name__} has no {other} either.")
        try:
            found = getattr(component, other)
        except Exception as error:
            raise RecoveryRefused(f"{other} cannot be read: {type(error).__name__}.") from error
        return Cure(_callable(found, f"{type(component).__name__}.{other}"), note)
    found = resolve(other)
    if isinstance(found, staticmethod):
        return Cure(_callable(found.__func__, other), note)
    return Cure(MethodType(_callable(found, other), component), note)


def _classes(failure: MissingMethod) -> Iterator[Candidate]:
    for other in _others(failure):
        if isinstance(other, OtherClass) or _names_class(other):
            made = other if isinstance(other, OtherClass) else OtherClass(other)
            yield functools.partial(_of_class, made, failure)


def _of_class(other: OtherClass, failure: MissingMethod) -> Cure:
    kind = resolve(other.path)
    if not isinstance(kind, type):
        raise RecoveryRefused(f"{other.path} is no class.")
    if inspect.getattr_static(kind, failure.name, _MISSING) is _MISSING:
        raise RecoveryRefused(f"{other.path} has no method {failure.name} either.")
    if other.factory is None:
        raise RecoveryRefused(
            f"No {other.path} was made: nobody declared how.",
            "What it needs to be made is nothing that can be guessed.",
            "Declare an OtherClass with a factory.",
        )
    try:
        made = other.factory(failure.component)
    except Exception as error:
        raise RecoveryRefused(
            f"{other.path} could not be made: {type(error).__name__}: {error}."
        ) from error
    if not isinstance(made, kind):
        raise RecoveryRefused(f"The factory made a {type(made).__name__}, no {other.path}.")
    call = _callable(getattr(made, failure.name), f"{other.path}.{failure.name}")
    return Cure(call, f"{failure.label} is that of a {other.path} of its own.")


_SOURCES: Mapping[type[IRecoveryStrategy], Callable[[MissingMethod], Iterator[Candidate]]] = (
    MappingProxyType(
        {
            DynamicMethodInjectionStrategy: _shims,
            FallbackImplementationStrategy: _implementations,
            AlternativeClassStrategy: _classes,
        }
    )
)


def _nothing(_failure: MissingMethod) -> Iterator[Candidate]:
    return iter(())


def _names_class(other: str) -> bool:
    return ":" in other and "." not in other.partition(":")[2]


def _callable(found: Any, what: str) -> Callable[..., Any]:
    if not callable(found) or isinstance(found, type):
        raise RecoveryRefused(f"{what} is a {type(found).__name__}, which is no method.")
    call: Callable[..., Any] = found
    return call
