"""What an installer declares about its operations: nothing is assumed that is not said here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

_MARK = "__modelmedic_declared__"
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Declaration:
    """How a method of a component may be treated.

    Args:
        is_idempotent: Calling it again after any failure does no harm, and it takes the same
            arguments. Without it only failures that are known to pass are tried again.
        is_optional: The installation can go on without it: None may stand for its result.
        limit: A name of `TimeoutManager` that says how long it takes; empty for no limit.
        tries: How often it is called at most; None takes the manager's policy.
        alternatives: Names of other methods of the component, or "module:Class.method" of other
            implementations, that may stand in for it when it is missing; nearest first.
    """

    is_idempotent: bool = False
    is_optional: bool = False
    limit: str = ""
    tries: int | None = None
    alternatives: tuple[str, ...] = ()


NOTHING_DECLARED = Declaration()


def declare(**declared: Any) -> Callable[[F], F]:
    """Declare something about a method where it is defined; takes the fields of `Declaration`.

    Raises:
        TypeError: There is no such field.
    """
    Declaration(**declared)  # a wrong name is told here, not at the first failure

    def mark(function: F) -> F:
        known = getattr(function, _MARK, NOTHING_DECLARED)
        setattr(function, _MARK, replace(known, **declared))
        return function

    return mark


def idempotent(function: F) -> F:
    """Declare that a method may be called again after any failure."""
    return declare(is_idempotent=True)(function)


def optional(function: F) -> F:
    """Declare that the installation can go on without a method's result."""
    return declare(is_optional=True)(function)


def declared(function: object) -> Declaration | None:
    """Return what was declared where a method is defined; None when nothing was."""
    found = getattr(function, _MARK, None)
    return found if isinstance(found, Declaration) else None
