"""What counts of successes say about a rate: the Beta posterior, without statistics packages."""

from __future__ import annotations

import math
from dataclasses import dataclass

_TINY = 1e-300  # Lentz's method may not divide by zero
_EXACT = 1e-14  # where the continued fraction stops: beyond it a float has no digits
_MOST_ROUNDS = 10_000  # it needs about the square root of the count; a million takes 1,000
_HALVINGS = 50  # of [0, 1]: 1e-15, the end of a float's digits


@dataclass(frozen=True, slots=True)
class Posterior:
    """What is known about a success rate after independent tries.

    Before the first try every rate is as likely as any other (the prior Beta(1, 1), Bayes and
    Laplace). After ``successes`` and ``failures`` the rate is distributed as
    Beta(successes + 1, failures + 1).
    """

    successes: int = 0
    failures: int = 0

    @property
    def tries(self) -> int:
        """Return how often it was tried."""
        return self.successes + self.failures

    @property
    def mean(self) -> float:
        """Return the expected rate, (successes + 1) / (tries + 2); 0.5 before the first try."""
        return (self.successes + 1) / (self.tries + 2)

    def interval(self, level: float = 0.9) -> tuple[float, float]:
        """Return the equal-tailed interval that holds the rate with probability ``level``.

        It is exact: the distribution function is inverted by halving.
        """
        tail = (1 - level) / 2
        return self.quantile(tail), self.quantile(1 - tail)

    def quantile(self, probability: float) -> float:
        """Return the rate that the true one is below with this probability."""
        low, high = 0.0, 1.0
        for _halving in range(_HALVINGS):
            middle = (low + high) / 2
            if _beta_cdf(middle, self.successes + 1, self.failures + 1) < probability:
                low = middle
            else:
                high = middle
        return (low + high) / 2


def _beta_cdf(x: float, a: int, b: int) -> float:
    """Return the regularized incomplete beta function I_x(a, b).

    Source: NIST Digital Library of Mathematical Functions 8.17.22 (continued fraction, here by
    Lentz's method) and 8.17.4 (symmetry, used where the fraction converges slowly).
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta_cdf(1 - x, b, a)
    log_front = (
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
        + a * math.log(x) + b * math.log1p(-x)
    )  # fmt: skip
    return math.exp(log_front) / a / _fraction(x, a, b)


def _fraction(x: float, a: int, b: int) -> float:
    """Return 1 + d1/(1 + d2/(1 + ...)) of DLMF 8.17.22, from the front."""
    value = numerator = 1.0
    denominator = 0.0
    for round_ in range(1, _MOST_ROUNDS):
        term = _term(round_, x, a, b)
        numerator = 1 + term / (numerator or _TINY)
        denominator = 1 / (1 + term * denominator or _TINY)
        change = numerator * denominator
        value *= change
        if abs(change - 1) < _EXACT:
            break
    return value


def _term(number: int, x: float, a: int, b: int) -> float:
    """Return d_number of DLMF 8.17.23."""
    m = number // 2
    if number % 2:
        return -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
    return m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
