"""Lasting shifts of response times are found, with when and by how much; spikes are none."""

from __future__ import annotations

import math
import random
import statistics
import tracemalloc

import pytest

from modelmedic.monitor import degradation
from modelmedic.monitor.degradation import Watch

pytestmark = pytest.mark.once


def changes(values, begin=0):
    watch = Watch("load shard")
    return [
        found for at, value in enumerate(values, begin) if (found := watch.add(float(at), value))
    ]


def times(seed, count, middle=0.2, noise=0.1):
    draw = random.Random(seed)
    return [middle * math.exp(draw.gauss(0, noise)) for _ in range(count)]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("factor", [1.5, 2.0, 10.0])
def test_a_lasting_shift_is_found_when_it_began_and_by_how_much(seed, factor):
    values = times(seed, 100) + times(seed + 100, 60, middle=0.2 * factor)
    (change,) = changes(values)
    assert change.is_slower
    assert change.began == pytest.approx(100, abs=6)
    assert change.ratio == pytest.approx(factor, rel=0.15)
    assert change.before_seconds == pytest.approx(0.2, rel=0.15)
    issue = change.issue()
    assert issue.kind == "degradation"
    assert issue.key == "slower[load shard]"
    assert issue.since == change.began
    assert f"{change.ratio:.1f} times as long" in issue.what


@pytest.mark.parametrize("seed", range(20))
def test_steady_times_never_change(seed):
    assert changes(times(seed, 2000)) == []


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("share", [0.02, 0.05, 0.1])
def test_spikes_alone_up_to_one_in_ten_are_no_change_however_high(seed, share):
    draw = random.Random(seed)
    values = [each * (1000 if draw.random() < share else 1) for each in times(seed, 1000)]
    assert changes(values) == []


def test_four_slow_ones_in_a_row_are_none_and_forty_are():
    assert changes(times(1, 100) + [100.0] * 4 + times(2, 100)) == []
    (slower, faster) = changes(times(1, 100) + [100.0] * 40 + times(2, 100))
    assert (slower.is_slower, faster.is_slower) == (True, False)
    assert faster.began == pytest.approx(140, abs=2)


def test_equal_times_have_no_spread_and_a_shift_is_found_all_the_same():
    assert changes([0.5] * 500) == []
    assert changes([0.5] * 100 + [0.51] * 500) == []  # 2 %: nobody's trouble
    (change,) = changes([0.5] * 100 + [1.0] * 40)
    assert (change.before_seconds, change.after_seconds) == pytest.approx((0.5, 1.0))


def test_times_of_nought_are_times():
    assert changes([0.0] * 200) == []
    (change,) = changes([0.0] * 50 + [0.1] * 40)
    assert change.is_slower


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_what_is_no_time_is_passed_over(value):
    values = [each for number in times(3, 200) for each in (number, value)]
    assert changes(values) == []


def test_the_slow_state_lasts_until_it_is_fast_again():
    watch = Watch("x")
    for at, value in enumerate(times(1, 60) + times(2, 60, middle=1.0)):
        watch.add(float(at), value)
    assert watch.change is not None
    assert watch.change.is_slower
    assert watch.average.value == pytest.approx(1.0, rel=0.5)
    for at, value in enumerate(times(3, 60), 120):
        watch.add(float(at), value)
    assert watch.change is None


def reference(values):
    """The same by going through every possible beginning, slowly: where the sum is highest."""
    logs = [math.log(max(value, degradation._LEAST_SECONDS)) for value in values]
    learned = logs[: degradation.LEARN]
    middle = statistics.median(learned)
    off = 1.4826 * statistics.median(abs(each - middle) for each in learned)
    sigma = max(degradation._LEAST_SIGMA, off)
    scores = [
        min((each - middle) / sigma, degradation.CLIP) - degradation.SLACK
        for each in logs[degradation.LEARN :]
    ]
    for end in range(len(scores)):
        sums = {start: sum(scores[start : end + 1]) for start in range(end + 1)}
        start = max(sums, key=lambda start: (sums[start], -start))
        if sums[start] > degradation.BAR:
            return start + degradation.LEARN, end + degradation.LEARN
    return None


@pytest.mark.parametrize("seed", range(10))
def test_the_running_sum_is_the_one_over_every_beginning(seed):
    values = times(seed, 60) + times(seed + 50, 40, middle=0.2 * (1.3 + seed / 10))
    watch, found = Watch("x"), None
    for at, value in enumerate(values):
        change = watch.add(float(at), value)
        if change and change.is_slower:
            found = int(change.began), at
            break
    assert found == reference(values)


def test_its_memory_is_flat():
    watch = Watch("x")
    draw = random.Random(1)

    def go(begin, count):
        for at in range(begin, begin + count):
            watch.add(float(at), draw.random() * (1 + at // 5000))

    go(0, 1000)
    tracemalloc.start()
    go(1000, 20_000)
    grown, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 20_000
