"""A forecast is shown while it beats the naive guesses on its own past, and only then."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from modelmedic.monitor.track_record import LEAST_JUDGED, TrackRecord, TurningPoints

pytestmark = pytest.mark.once


def judged(rows):
    """Return a record of rows (from line, from value, stays, lately, rate, what came)."""
    record = TrackRecord()
    for number, (line, value, stays, lately, rate, came) in enumerate(rows):
        record.note(number, from_line=line, from_value=value, stays=stays, lately=lately, rate=rate)
        record.settle(number, came)
    return record


def test_nothing_is_shown_before_enough_was_judged():
    row = (10.0, 10.0, 0.0, 0.0, 0.0, 10.0)
    assert not judged([row] * (LEAST_JUDGED - 1)).is_better
    assert judged([row] * LEAST_JUDGED).is_better
    assert judged([row] * LEAST_JUDGED).skill == 1.0


@pytest.mark.parametrize(
    ("row", "is_better"),
    [
        ((10, 10, 10, 0, 0, 10), False),  # it stayed
        ((10, 10, 0, 10, 0, 10), False),  # it stayed as it was lately
        ((7, 7, 0, 0, 10, 10), False),  # the last rate was right
        ((9.5, 9.5, 0, 0, 10, 10), True),  # and so was ours, nearly
        ((7, 7, 0, 0, 0, 10), True),
        ((3, 3, 0, 0, 0, 10), True),
        ((1.5, 1.5, 0, 0, 0, 10), False),  # by less than a fifth
        ((0, 10, 0, 0, 0, 10), True),  # one of the two is enough
        ((20, 20, 0, 0, 0, 10), False),
    ],
)
def test_each_naive_guess_must_be_beaten(row, is_better):
    assert judged([tuple(map(float, row))] * 8).is_better is is_better


def test_what_did_better_of_line_and_value_speaks():
    assert judged([(0.0, 10.0, 0.0, 0.0, 0.0, 10.0)] * 4).is_value_better
    assert not judged([(10.0, 0.0, 0.0, 0.0, 0.0, 10.0)] * 4).is_value_better


def test_a_forecast_that_goes_wrong_is_hidden_soon_and_comes_back_when_it_is_right_again():
    good, bad = (10.0, 10.0, 0.0, 0.0, 0.0, 10.0), (10.0, 10.0, 0.0, 0.0, 0.0, 0.0)
    assert judged([good] * 100).is_better
    assert not judged([good] * 100 + [bad] * 6).is_better
    assert judged([good] * 100 + [bad] * 6 + [good] * 12).is_better


def test_only_what_is_due_is_judged_and_what_is_dropped_never():
    record = TrackRecord()
    for due in (5.0, 6.0, 7.0):
        record.note(due, from_line=1.0, from_value=1.0, stays=0.0, lately=0.0, rate=0.0)
    record.settle(4.9, 1.0)
    assert record.judged == 0
    record.settle(6.0, 1.0)
    assert record.judged == 2
    record.drop_open()
    record.settle(100.0, 1.0)
    assert record.judged == 2


def test_its_words_say_the_numbers():
    assert str(TrackRecord()) == "no forecast of it has been judged yet"
    told = str(judged([(9.0, 9.0, 0.0, 0.0, 0.0, 10.0)] * 5))
    assert told == (
        "its last forecasts missed by 10% of what the guess that nothing changes missed by "
        "(5 judged)"
    )


def test_it_takes_no_more_memory_with_time():
    record, turns, draw = TrackRecord(), TurningPoints(), random.Random(1)

    def go(count):
        for at in range(count):
            value = draw.random()
            record.note(
                at + 1e9, from_line=value, from_value=value, stays=value, lately=value, rate=value
            )
            turns.told(value, at)
            turns.add(at + 1, value * 2)

    go(200)
    tracemalloc.start()
    go(20_000)
    grown, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 20_000


def turned(turns, nearest, at=0.0):
    turns.told(100.0, at + 1000)
    turns.add(at + 1, nearest)
    turns.add(at + 2, nearest * 2)


def test_after_two_false_forecasts_one_must_be_nearer_than_usual():
    turns = TurningPoints()
    assert not turns.is_usual(100.0)
    turned(turns, 40.0)
    assert not turns.is_usual(100.0)
    turned(turns, 44.0)
    assert turns.is_usual(100.0)
    assert turns.is_usual(40.0)
    assert not turns.is_usual(30.0)  # by a quarter nearer than the median of 42


def test_a_forecast_whose_time_has_passed_was_false_and_noise_is_no_turn():
    turns = TurningPoints()
    for at in (0.0, 1000.0):
        turns.told(100.0, at + 10)
        turns.add(at + 1, 50.0)
        turns.add(at + 2, 60.0)  # noise
        assert not turns.is_usual(90.0)
        turns.add(at + 11, 50.0)
    assert turns.is_usual(90.0)
