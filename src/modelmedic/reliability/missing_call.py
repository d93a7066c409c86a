"""The call of a method that a component lacks, where a cure for it was declared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modelmedic.reliability.operation import Operation


def missing_call(
    operation: Operation, component: Any, handed: Callable[[], Any]
) -> Callable[..., Any]:
    """Return what, when it is called, recovers the method and then makes that call.

    To look at it does nothing. The calls of a method that was recovered are counted as degraded.

    Args:
        operation: The method that is missing.
        component: Lacks it.
        handed: Returns the stand-in, which makes the call.
    """
    method = operation.method

    def recovered(*args: Any, **kwargs: Any) -> Any:
        breaker = operation.breaker
        if breaker is not None and breaker.is_troubled and breaker.state == "open":
            operation.admit(args, kwargs)
        lacking = AttributeError(
            f"{type(component).__name__!r} object has no attribute {method!r}",
            name=method,
            obj=component,
        )
        if not operation.recover_missing(lacking, component, args, kwargs):
            raise lacking
        operation.manager.note_cured(operation.component, method)
        return getattr(handed(), method)(*args, **kwargs)

    recovered.__name__ = recovered.__qualname__ = method
    return recovered
