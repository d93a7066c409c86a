"""Shares of a count and their difference, with intervals that also hold for few and for all."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist


def wilson(having: int, count: int, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a share; all from 0 to 1 where there is nothing to count.

    Source: E. B. Wilson, Probable inference, JASA 22 (1927).
    """
    if not count:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share, square = having / count, z * z / count
    middle = (share + square / 2) / (1 + square)
    half = z * sqrt(share * (1 - share) / count + square / count / 4) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def difference(a: int, first: int, c: int, second: int, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of ``a / first - c / second``; neither count may be 0.

    Source: R. G. Newcombe, Interval estimation for the difference between independent proportions,
        Statistics in Medicine 17 (1998), method 10.
    """
    one, other = a / first, c / second
    low_one, high_one = wilson(a, first, level)
    low_other, high_other = wilson(c, second, level)
    seen = one - other
    return (
        seen - sqrt((one - low_one) ** 2 + (high_other - other) ** 2),
        seen + sqrt((high_one - one) ** 2 + (other - low_other) ** 2),
    )
