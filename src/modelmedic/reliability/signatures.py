"""Whether a function takes a call, before it is called: in words that show both."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from modelmedic.errors import RecoveryRefused

Call = tuple[tuple[Any, ...], Mapping[str, Any]]
_ANY_NUMBER = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def refuse_call(function: Callable[..., Any], call: Call | None, label: str) -> None:
    """Raise `RecoveryRefused` when a function does not take a call; None: no call is known yet."""
    if call is not None and (problem := problem_of(function, call)):
        raise RecoveryRefused(f"{label} was called as {shown(call)}; {problem}.")


def problem_of(function: Callable[..., Any], call: Call) -> str:
    """Return why a function does not take a call, with its signature; empty when it does."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin that does not tell: its own TypeError will
        return ""
    try:
        signature.bind(*call[0], **call[1])
    except TypeError as error:
        return f"what stands in takes {signature}: {error}"
    return ""


def refuse_other(function: Callable[..., Any], like: Callable[..., Any], label: str) -> None:
    """Refuse a function that does not take what the method as its callers know it takes."""
    known = inspect.signature(like)
    parameters = list(known.parameters.values())
    if parameters and parameters[0].name == "self":  # a function of a class, not yet bound
        parameters = parameters[1:]
        known = known.replace(parameters=parameters)
    given = [each for each in parameters if each.kind not in _ANY_NUMBER]
    for chosen in (given, [each for each in given if each.default is each.empty]):
        args = tuple(None for each in chosen if each.kind in _POSITIONAL)
        kwargs = {each.name: None for each in chosen if each.kind not in _POSITIONAL}
        if problem := problem_of(function, (args, kwargs)):
            raise RecoveryRefused(f"{label} is called as {known}; {problem}.")


def shown(call: Call) -> str:
    """Return a call by the kinds of its arguments; their values are the caller's."""
    args, kwargs = call
    parts = [type(each).__name__ for each in args]
    parts += [f"{name}={type(value).__name__}" for name, value in kwargs.items()]
    return f"({', '.join(parts)})"
