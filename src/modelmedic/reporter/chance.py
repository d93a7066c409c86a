"""How likely it is that two things met by chance alone: Fisher's exact test."""

from __future__ import annotations

import math


def by_chance(both: int, ones: int, others: int, total: int) -> float:
    """Return the probability that at least ``both`` of ``total`` places hold one and other.

    As if each had been dealt to its places blindly: the upper tail of the hypergeometric
    distribution.

    Args:
        both: Places that hold the one and the other.
        ones: Places that hold the one.
        others: Places that hold the other.
        total: All places.

    Source: Fisher, "The Design of Experiments", 1935, the lady tasting tea.
    """
    start = max(both, ones + others - total, 0)
    end = min(ones, others)
    return min(1.0, math.fsum(_dealt(hit, ones, others, total) for hit in range(start, end + 1)))


def lift(both: int, ones: int, others: int, total: int) -> float:
    """Return how many times as often they met as chance would have it; NaN without any."""
    return both * total / (ones * others) if ones and others else math.nan


def _dealt(hit: int, ones: int, others: int, total: int) -> float:
    """Return the probability of exactly so many hits."""
    return math.exp(
        _log_choose(ones, hit)
        + _log_choose(total - ones, others - hit)
        - _log_choose(total, others)
    )


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
