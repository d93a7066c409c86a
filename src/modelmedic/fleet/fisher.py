"""Fisher's exact test of a two-by-two table, without statistics packages."""

from __future__ import annotations

from functools import lru_cache

_TIE = 1 + 1e-7  # tables as likely as the seen one, but for a float's last digits. Source: scipy


def p_value(a: int, b: int, c: int, d: int) -> float:
    """Return how likely a table at least as odd as this one is when nothing hangs together.

    Two-sided: the chances of all tables with the same margins that are no likelier than the seen
    one are added.

    Args:
        a: Of the first group, how many have the feature.
        b: Of the first group, how many have it not.
        c: Of the second group, how many have the feature.
        d: Of the second group, how many have it not.

    Source: R. A. Fisher, Statistical Methods for Research Workers, section 21.02; the two-sided
        form is that of R's fisher.test and scipy.stats.fisher_exact.
    """
    low, chances = _chances(a + b, c + d, a + c)
    return _tail(chances, a - low)


def least_p_value(first: int, second: int, having: int) -> float:
    """Return the least p-value that any table with these margins can have.

    It hangs on the margins alone. So leaving out what can never be told, before looking who is in
    which group, makes no false discovery likelier.

    Source: R. E. Tarone, A modified Bonferroni method for discrete data, Biometrics 46 (1990).
    """
    _low, chances = _chances(first, second, having)
    return min(_tail(chances, 0), _tail(chances, len(chances) - 1))


def _tail(chances: tuple[float, ...], place: int) -> float:
    seen = chances[place] * _TIE
    return min(1.0, sum(chance for chance in chances if chance <= seen))


@lru_cache(maxsize=4096)
def _chances(first: int, second: int, having: int) -> tuple[int, tuple[float, ...]]:
    """Return the least possible count in the first group, and the chance of each from there on.

    The hypergeometric distribution, from its mode outwards: each chance is its neighbour's times a
    ratio, so no factorial is needed. What is below a float's range comes out as 0.
    """
    low, high = max(0, having - second), min(first, having)
    mode = min(max((having + 1) * (first + 1) // (first + second + 2), low), high)
    down, up = [1.0], [1.0]
    for x in range(mode, low, -1):
        down.append(down[-1] * x * (second - having + x) / ((first - x + 1) * (having - x + 1)))
    for x in range(mode, high):
        up.append(up[-1] * (first - x) * (having - x) / ((x + 1) * (second - having + x + 1)))
    whole = [*reversed(down), *up[1:]]
    total = sum(whole)
    return low, tuple(chance / total for chance in whole)
