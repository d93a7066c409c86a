"""The statistics of the cohort table against other programs, and against their own promises."""

from __future__ import annotations

import random

import pytest

from modelmedic.fleet.discovery_rate import q_values, selected_level
from modelmedic.fleet.fisher import least_p_value, p_value
from modelmedic.fleet.proportions import difference, wilson
from modelmedic.fleet.slowest import sign_test

pytestmark = pytest.mark.once

# scipy 1.17.1: scipy.stats.fisher_exact([[a, b], [c, d]]), two-sided.
BY_SCIPY = [
    (3, 0, 0, 3, 0.10000000000000002),
    (1, 9, 11, 3, 0.0027594561852200836),
    (0, 5, 5, 0, 0.007936507936507938),
    (10, 2, 3, 15, 0.0005367241191434357),
    (8, 2, 1, 5, 0.034965034965034975),
    (0, 10, 0, 10, 1.0),
    (12, 1, 2, 25, 1.9778574898298566e-07),
    (100, 150, 50, 200, 1.4808563256825175e-06),
    (240, 10, 5, 245, 3.243416185743888e-122),
    (1, 0, 0, 1, 1.0),
    (2, 3, 3, 2, 1.0),
    (6, 2, 1, 4, 0.10256410256410256),
    (499, 1, 250, 250, 8.117262314395429e-92),
    (1000, 2000, 1500, 1500, 3.221643961793862e-39),
    (4, 16, 21, 1, 5.264391167427061e-07),
    (20, 60, 9, 25, 1.0),
    (41, 3, 4, 52, 7.958993282285113e-20),
    (3, 58, 32, 13, 2.055232130839971e-13),
    (2, 5, 27, 26, 0.4258677317330306),
    (4, 15, 5, 35, 0.4502928783885522),
    (27, 3, 52, 36, 0.0015518580911663149),
    (7, 60, 14, 40, 0.03102785114319312),
]


@pytest.mark.parametrize(("a", "b", "c", "d", "expected"), BY_SCIPY)
def test_the_exact_test_says_what_scipy_says(a, b, c, d, expected):
    assert p_value(a, b, c, d) == pytest.approx(expected, rel=1e-9)
    assert p_value(c, d, a, b) == pytest.approx(expected, rel=1e-9), "the groups change places"
    assert p_value(b, a, d, c) == pytest.approx(expected, rel=1e-9), "having and not having too"


def test_the_least_p_value_is_that_of_the_oddest_table():
    for first, second, having in ((3, 12, 3), (5, 5, 4), (10, 30, 7), (4, 4, 8)):
        low, high = max(0, having - second), min(first, having)
        tables = [
            p_value(a, first - a, having - a, second - having + a) for a in range(low, high + 1)
        ]
        assert least_p_value(first, second, having) == pytest.approx(min(tables))


def test_false_discovery_rates_are_those_of_scipy():
    """scipy 1.17.1: scipy.stats.false_discovery_control(ps)."""
    ps = [0.247, 0.85119, 0.1922, 0.06242, 0.93044, 0.0001, 0.63266, 0.02429, 0.003, 0.00163,
          0.02936, 0.54359]  # fmt: skip
    expected = [0.3705, 0.928570909, 0.329485714, 0.12484, 0.93044, 0.0012, 0.759192, 0.070464,
                0.012, 0.00978, 0.070464, 0.724786667]  # fmt: skip
    assert q_values(ps) == pytest.approx(expected)
    assert q_values([]) == []


def test_intervals_of_a_share_are_those_of_scipy():
    """scipy 1.17.1: scipy.stats.binomtest(k, n).proportion_ci(0.95, "wilson")."""
    for having, count, low, high in (
        (0, 20, 0.0, 0.16112515805281935),
        (20, 20, 0.8388748419471808, 1.0),
        (7, 31, 0.11395135561262495, 0.3981241838334205),
        (1, 3, 0.06149194472039626, 0.7923403991979523),
    ):
        assert wilson(having, count) == pytest.approx((low, high))
    assert wilson(0, 0) == (0.0, 1.0)


def test_intervals_of_a_difference_are_those_of_the_paper():
    """R. G. Newcombe, Statistics in Medicine 17 (1998) 873-890, table II, method 10."""
    for a, first, c, second, low, high in (
        (56, 70, 48, 80, 0.0524, 0.3339),
        (9, 10, 3, 10, 0.1705, 0.8090),
        (0, 10, 0, 20, -0.1611, 0.2775),
        (10, 10, 0, 20, 0.6791, 1.0000),
    ):
        assert difference(a, first, c, second) == pytest.approx((low, high), abs=6e-5)


def test_chosen_intervals_are_wider_the_fewer_are_chosen():
    assert selected_level(0.05, 10, 10) == pytest.approx(0.95)
    assert selected_level(0.05, 1, 100) == pytest.approx(0.9995)
    assert selected_level(0.05, 0, 0) == 0.95


def test_the_sign_test_adds_up_a_coins_throws():
    assert sign_test(5, 5) == pytest.approx(1 / 32)
    assert sign_test(4, 5) == pytest.approx(6 / 32)
    assert sign_test(2, 5) == 1.0
    assert sign_test(0, 0) == 1.0


def test_the_exact_test_keeps_its_promise_where_nothing_hangs_together():
    seed = random.randrange(1 << 32)
    random_ = random.Random(seed)
    rounds, wrong = 2000, 0
    for _ in range(rounds):
        sick = random_.sample(range(40), 12)
        having = set(random_.sample(range(40), random_.randint(3, 37)))
        a = len(having.intersection(sick))
        wrong += p_value(a, 12 - a, len(having) - a, 28 - len(having) + a) <= 0.05
    assert wrong <= 0.05 * rounds + 5 * (0.05 * rounds) ** 0.5, f"seed {seed}"
