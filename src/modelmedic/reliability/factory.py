"""The one factory of strategies: from a failure to the strategy to try next."""

from __future__ import annotations

from functools import cache

from modelmedic.findings import EnhancedErrorCategory as Category
from modelmedic.healing.classify import classify
from modelmedic.healing.registry import family_of
from modelmedic.healing.slots import (
    IRecoveryStrategy,
    ManualInterventionStrategy,
    RecoveryStrategyRegistry,
)
from modelmedic.reliability.error_context import EnhancedErrorContext

_STRATEGIES = RecoveryStrategyRegistry.strategies


def strategy_for(context: EnhancedErrorContext | BaseException) -> IRecoveryStrategy:
    """Return the strategy to try next on a failure.

    It is the first of its family that the context's ``recovery_attempts`` do not name yet. Where
    all were tried, where the family has none, and where nothing says which family it is, a person
    is asked.
    """
    if isinstance(context, BaseException):
        category, tried = classify(context), ""
    else:
        category = Category(context.category) if context.category else None
        tried = " ".join(context.recovery_attempts)
    family = family_of(category) if category is not None else "missing_method"
    chain = _STRATEGIES.get(family, ()) if category is not None else ()
    untried = (strategy for strategy in chain if strategy.name not in tried)
    return next(untried, None) or _manual(family)


@cache
def _manual(family: str) -> IRecoveryStrategy:
    return ManualInterventionStrategy(family)
