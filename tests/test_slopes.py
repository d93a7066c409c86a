"""Robust slopes: the same whatever the order, the shift and the scale; what scipy says; no walks."""

from __future__ import annotations

import itertools
import math
import random
import statistics

import pytest

from modelmedic.monitor.slopes import Ewma, mad, median, theil_sen, thinned

pytestmark = pytest.mark.once
SEEDS = range(12)


def series(seed, n=40, slope=3.0, noise=20.0):
    draw = random.Random(seed)
    return [(float(at), round(slope * at + draw.gauss(0, noise), 6)) for at in range(n)]


def ends(slope):
    return slope.per_second, slope.low, slope.high


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_the_points_does_not_matter(seed):
    points = series(seed)
    mixed = random.Random(seed).sample(points, len(points))
    assert theil_sen(mixed) == theil_sen(points)


@pytest.mark.parametrize("seed", SEEDS)
def test_it_moves_and_stretches_with_the_points(seed):
    points = series(seed)
    found = theil_sen(points)
    later = theil_sen([(at + 1e6, value - 512.0) for at, value in points])
    assert ends(later) == pytest.approx(ends(found))
    assert later.intercept_at(1e6) == pytest.approx(found.intercept_at(0.0) - 512.0)
    larger = theil_sen([(at * 4.0, value * 1e9) for at, value in points])
    assert ends(larger) == pytest.approx([each * 1e9 / 4.0 for each in ends(found)])
    assert larger.spread == pytest.approx(found.spread * 1e9)
    turned = theil_sen([(at, -value) for at, value in points])
    assert ends(turned) == pytest.approx((-found.per_second, -found.high, -found.low))


@pytest.mark.parametrize("seed", SEEDS)
def test_it_is_the_median_of_all_pairs_slopes(seed):
    points = series(seed, n=5 + seed * 3)
    pairs = [(y - v) / (x - u) for (u, v), (x, y) in itertools.combinations(points, 2)]
    assert theil_sen(points).per_second == pytest.approx(statistics.median(pairs))


# What scipy.stats.theilslopes(y, x, 0.95) of scipy 1.17.1 says of such series: slope, low, high.
SCIPY = [
    (0, 5, "", (-0.5872117500000005, -43.76587, 24.00436)),
    (1, 8, "", (-4.743357261904762, -11.6816395, 1.2829366666666668)),
    (2, 20, "", (2.552099556818182, 0.23468260000000002, 4.051031923076923)),
    (3, 60, "", (2.7314352401960784, 2.4207792173913045, 3.0588526923076924)),
    (4, 33, "values", (2.712941176470588, 2.0, 3.391304347826087)),
    (5, 40, "moments", (6.6234197083333335, 5.240143615384616, 8.075463941176471)),
]


@pytest.mark.parametrize(("seed", "n", "ties", "expected"), SCIPY)
def test_scipy_says_the_same_also_with_ties(seed, n, ties, expected):
    draw = random.Random(seed)
    points = [
        (
            float(number // 2 if ties == "moments" else number),
            round(3 * number + draw.gauss(0, 20), 0 if ties == "values" else 6),
        )
        for number in range(n)
    ]
    assert ends(theil_sen(points, are_independent=True)) == pytest.approx(expected)


def test_scipy_says_the_same_of_few_values_many_times():
    draw = random.Random(11)
    points = [(float(at), float(round(0.05 * at + draw.gauss(0, 0.5)))) for at in range(40)]
    found = theil_sen(points, are_independent=True)
    assert ends(found) == pytest.approx((0.03571428571428571, 0.0, 0.05263157894736842))


def test_a_fifth_of_wild_values_does_not_move_it():
    points = [(float(at), 2.0 * at + (1e9 if at % 5 == 0 else 0.0)) for at in range(60)]
    found = theil_sen(points)
    assert found.per_second == pytest.approx(2.0)
    assert found.spread == pytest.approx(0.0)


def test_a_line_is_a_line():
    found = theil_sen([(float(at), 7.0 - 0.5 * at) for at in range(30)])
    assert ends(found) == (-0.5, -0.5, -0.5)
    assert (found.spread, found.level, found.n, found.seconds) == (0.0, -7.5, 30, 29.0)
    assert found.intercept_at(39.0) == -12.5
    assert found.is_trend


def test_nothing_that_moves_is_no_trend():
    found = theil_sen([(float(at), 5.0) for at in range(30)])
    assert ends(found) == (0.0, 0.0, 0.0)
    assert not found.is_trend


@pytest.mark.parametrize(
    "points",
    [
        [], [(0.0, 1.0)], [(float(at), 1.0) for at in range(4)], [(3.0, float(y)) for y in range(9)],
        [(float(at), math.nan) for at in range(9)], [(float(at), math.inf) for at in range(9)],
    ],
    ids=["none", "one", "four", "one moment", "nan", "infinity"],
)  # fmt: skip
def test_what_has_no_slope_has_none(points):
    assert theil_sen(points) is None


def test_many_points_are_thinned_to_medians_and_the_slope_stays():
    points = series(3, n=10_000, slope=0.5, noise=30.0)
    assert len(thinned(points, 120)) == 120
    found = theil_sen(points)
    assert found.n == 120
    assert found.per_second == pytest.approx(0.5, rel=0.01)


def test_the_interval_holds_the_true_slope_of_noise_about_as_often_as_it_says():
    """95 of 100 with independent noise; seeds 0 to 199."""
    found = [theil_sen(series(seed, n=40), are_independent=True) for seed in range(200)]
    held = sum(each.low <= 3.0 <= each.high for each in found)
    assert 180 <= held <= 198


@pytest.mark.parametrize(
    ("keeps", "as_books_say", "corrected"), [(1.0, 66, 15), (0.5, 20, 12)], ids=["walk", "wander"]
)
def test_what_wanders_is_seldom_called_a_trend(keeps, as_books_say, corrected):
    """Of 100 that keep so much of the value before; the interval of books is for noise alone."""

    def series_of(seed):
        draw, value, points = random.Random(seed), 0.0, []
        for at in range(60):
            value = keeps * value + draw.gauss(0, 1)
            points.append((float(at), value))
        return points

    found = [series_of(seed) for seed in range(100)]
    assert sum(theil_sen(each, are_independent=True).is_trend for each in found) > as_books_say
    assert sum(theil_sen(each).is_trend for each in found) < corrected


def test_what_adds_up_uneven_steps_is_a_trend():
    """A writer of changing speed: its bytes are no noise about a line, and all the same a trend."""
    draw, written, points = random.Random(1), 0.0, []
    for at in range(60):
        written += draw.choice([0.1, 0.3, 0.5, 0.5, 0.7, 1.2])
        points.append((float(at), written))
    found = theil_sen(points)
    assert found.low > 0.3
    assert found.high < 0.8


def test_an_average_forgets_half_in_its_half_life():
    average = Ewma(10.0)
    assert average.value is None
    assert average.add(100.0, 4.0) == 4.0
    assert average.add(110.0, 0.0) == pytest.approx(2.0)
    assert average.add(130.0, 0.0) == pytest.approx(0.5)
    assert average.add(129.0, 8.0) == pytest.approx(0.5)  # a clock set back: no time has passed


def test_medians_and_their_spread():
    assert median([3.0, 1.0, 2.0]) == 2.0
    assert median([4.0, 1.0, 2.0, 3.0]) == 2.5
    assert mad([1.0, 1.0, 1.0, 9.0]) == 0.0
    assert mad([1.0, 2.0, 3.0, 100.0, 4.0]) == 1.0
