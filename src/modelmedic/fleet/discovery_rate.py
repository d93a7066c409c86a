"""Keep the share of false discoveries low when many things are tested at once."""

from __future__ import annotations

from collections.abc import Sequence


def q_values(p_values: Sequence[float]) -> list[float]:
    """Return for each test the level at which it is the last that counts as a discovery.

    Who takes all tests with a q-value up to 0.05 for discoveries is wrong about one in twenty of
    them, in the mean, where tests are independent or hang together positively.

    Source: Y. Benjamini and Y. Hochberg, Controlling the false discovery rate, Journal of the
        Royal Statistical Society B 57 (1995); the step-up rule as adjusted p-values.
    """
    count = len(p_values)
    found = [1.0] * count
    least = 1.0
    ranked = sorted(range(count), key=lambda place: p_values[place], reverse=True)
    for rank, place in zip(range(count, 0, -1), ranked, strict=True):
        least = min(least, p_values[place] * count / rank)
        found[place] = least
    return found


def selected_level(level: float, chosen: int, tested: int) -> float:
    """Return the confidence that intervals of chosen results need to keep their promise.

    Whoever looks only at the results that stand out sees too large effects. With this confidence
    for each, the share of chosen intervals that miss the truth is at most ``level``.

    Source: Y. Benjamini and D. Yekutieli, False discovery rate-adjusted multiple confidence
        intervals for selected parameters, JASA 100 (2005).
    """
    return 1 - level * chosen / tested if tested else 1 - level
