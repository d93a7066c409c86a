"""Robust trends: Theil-Sen slopes with an interval, spread by MAD, exponential averages.

Pure standard library and small imports: this runs each few seconds in the monitor's process. One
slope of 60 points takes about 0.5 ms, of 120 points about 2 ms.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MOST_POINTS = 120
LEAST_POINTS = 5
# Of the standard normal distribution: 95 % lie between -1.96 and 1.96.
_Z95 = 1.959963984540054
# Turns a MAD into what the standard deviation of normal data would be.
# Source: Rousseeuw and Croux, "Alternatives to the Median Absolute Deviation", 1993.
MAD_TO_SIGMA = 1.4826
_ADDS_UP = 0.6  # measured: benchmarks/prediction_backtest.py
_MOST_LASTING = 0.9


@dataclass(frozen=True, slots=True)
class Slope:
    """A robust line through points.

    Args:
        per_second: Median of the slopes of all pairs of points.
        low: Lower end of its 95 % interval.
        high: Upper end.
        last: x of the newest point.
        level: y of the line there.
        spread: Of the points round the line, as a standard deviation; 0 when they lie on it.
        n: How many points went in.
        seconds: From the first point to the last.
    """

    per_second: float
    low: float
    high: float
    last: float
    level: float
    spread: float
    n: int
    seconds: float

    def intercept_at(self, at: float) -> float:
        """Return y of the line at a moment."""
        return self.level + self.per_second * (at - self.last)

    @property
    def is_trend(self) -> bool:
        """Return whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


def theil_sen(
    points: Sequence[tuple[float, float]],
    *,
    most_points: int = MOST_POINTS,
    are_independent: bool = False,
) -> Slope | None:
    """Return the Theil-Sen slope of points (seconds, value), in any order.

    The interval is that of Sen, from ranks of the pairs' slopes, as Kendall's statistic spreads
    for independent points. What a machine measures is often no such thing. Where neighbours err
    alike by a correlation r, the statistic spreads further, by the factor (1+r)/(1-r). Where r is
    above 0.6 the series adds up its steps, as the free bytes of a disk do: then the interval is
    that of the mean step. Without either, two of three random walks would be called a trend.

    Args:
        points: Of any number; above ``most_points`` they are thinned to medians of equal groups.
        most_points: Bounds the work, which is that of all pairs.
        are_independent: Leaves both corrections out: the interval of Sen as it stands in books.

    Returns:
        None below 5 points, at one moment only, or with a value that is no finite number.

    Source: Sen, "Estimates of the regression coefficient based on Kendall's tau", 1968; Bayley and
    Hammersley, "The effective number of independent observations", 1946; Hamed and Rao, "A
    modified Mann-Kendall trend test for autocorrelated data", 1998.
    """
    kept = thinned(sorted(points), most_points)
    if len(kept) < LEAST_POINTS or not all(math.isfinite(x) and math.isfinite(y) for x, y in kept):
        return None
    slopes = _pair_slopes(kept)
    if not slopes:
        return None
    middle = _of_sorted(slopes)
    first, last = kept[0][0], kept[-1][0]
    residuals = [y - middle * (x - last) for x, y in kept]
    level = median(residuals)
    r = 0.0 if are_independent else _correlation([each - level for each in residuals])
    if r > _ADDS_UP:
        low, high = _of_steps(kept, middle)
    else:
        low, high = _of_ranks(slopes, kept, (1 + r) / (1 - r))
    spread = MAD_TO_SIGMA * mad(residuals)
    return Slope(middle, low, high, last, level, spread, len(kept), last - first)


def thinned(points: list[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """Return at most so many points: the medians of equal groups of neighbours, in order."""
    if len(points) <= most:
        return points
    edges = [len(points) * number // most for number in range(most + 1)]
    groups = [points[start:end] for start, end in itertools.pairwise(edges)]
    return [(median([x for x, _ in group]), median([y for _, y in group])) for group in groups]


def median(values: Iterable[float]) -> float:
    """Return the middle value; the mean of the middle two for an even number.

    Raises:
        IndexError: There is no value.
    """
    return _of_sorted(sorted(values))


def mad(values: Sequence[float]) -> float:
    """Return the median distance from the median; 0 when more than half are the same."""
    middle = median(values)
    return median([abs(value - middle) for value in values])


class Ewma:
    """An average in which a value counts half after so many seconds; gaps of any length.

    Args:
        half_life_seconds: After this time a value has half its weight.
    """

    __slots__ = ("_at", "_half_life", "value")

    def __init__(self, half_life_seconds: float) -> None:
        self._half_life = half_life_seconds
        self._at: float | None = None
        self.value: float | None = None  # None before the first value

    def add(self, at: float, value: float) -> float:
        """Take a value and return the average."""
        if self.value is None or self._at is None:
            self.value = value
        else:
            keep = 0.5 ** (max(0.0, at - self._at) / self._half_life)
            self.value = value + keep * (self.value - value)
        self._at = at
        return self.value


def _pair_slopes(points: list[tuple[float, float]]) -> list[float]:
    found: list[float] = []
    for number, (x0, y0) in enumerate(points):
        found += [(y - y0) / (x - x0) for x, y in points[number + 1 :] if x > x0]
    found.sort()
    return found


def _of_sorted(values: Sequence[float]) -> float:
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2


def _of_ranks(
    slopes: list[float], points: list[tuple[float, float]], factor: float
) -> tuple[float, float]:
    """Return the slopes at the ranks between which the true one lies in 95 of 100 cases."""
    sigma = math.sqrt(max(0.0, _kendall_variance(points)) * factor)
    low = round((len(slopes) - _Z95 * sigma) / 2) - 1
    high = round((len(slopes) + _Z95 * sigma) / 2)
    if low < 0 or high >= len(slopes):  # too few points to say anything
        return -math.inf, math.inf
    return slopes[low], slopes[high]


def _kendall_variance(points: list[tuple[float, float]]) -> float:
    """Return the variance of Kendall's S with ties, when there is no trend."""
    n = len(points)
    ties = sum(
        k * (k - 1) * (2 * k + 5)
        for side in (0, 1)
        for k in _tie_lengths(sorted(point[side] for point in points))
    )
    return (n * (n - 1) * (2 * n + 5) - ties) / 18


def _tie_lengths(values: list[float]) -> list[int]:
    lengths = [1]
    for before, value in itertools.pairwise(values):
        if value == before:
            lengths[-1] += 1
        else:
            lengths.append(1)
    return lengths


def _of_steps(points: list[tuple[float, float]], middle: float) -> tuple[float, float]:
    """Return the 95 % interval of the mean speed, made so wide that it holds the slope.

    Speeds last, too: their correlation widens it as it does above.
    """
    speeds = [(y - v) / (x - u) for (u, v), (x, y) in itertools.pairwise(points) if x > u]
    n = len(speeds)
    mean = sum(speeds) / n
    off = [each - mean for each in speeds]
    r = min(_correlation(off), _MOST_LASTING)
    error = math.sqrt(sum(each * each for each in off) / (n - 1) / n * (1 + r) / (1 - r))
    return min(middle, mean - _Z95 * error), max(middle, mean + _Z95 * error)


def _correlation(residuals: list[float]) -> float:
    """Return how much each is like the one before, from 0 (not at all) to below 1."""
    n = len(residuals)
    mean = sum(residuals) / n
    centred = [each - mean for each in residuals]
    power = sum(each * each for each in centred)
    scale = max(map(abs, residuals))
    if power <= n * (1e-12 * scale) ** 2:
        return 0.0  # they lie on the line
    r = sum(a * b for a, b in itertools.pairwise(centred)) / power
    # A line through n points bends r down by about (1+3r)/n. Source: Kendall, "Note on bias in the
    # estimation of autocorrelation", 1954.
    return min(max(0.0, (r + 1 / n) / (1 - 3 / n)), 1 - 2 / n)
