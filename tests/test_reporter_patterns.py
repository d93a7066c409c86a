"""Patterns: one cause, causes that meet, what comes back, what flaps; and nothing by chance."""

from __future__ import annotations

import math
import random

import pytest
from reporter_support import DAY, NOW, Past, error_context, finding

from modelmedic import HealthReporter
from modelmedic.reliability.error_log import ErrorLog
from modelmedic.reporter import chance
from modelmedic.reporter.occurrences import Marks, Occurrences, Runs
from modelmedic.reporter.patterns import LEVEL, patterns, together
from modelmedic.reporter.tracked import MOST_CAUSES, TrackedErrors

pytestmark = pytest.mark.once  # arithmetic over rows of SQLite


@pytest.fixture
def past(tmp_path):
    with Past(tmp_path / "state") as made:
        yield made


def found(past, kind, **options):
    return [p for p in patterns(past.history.connection, 0.0, **options) if p.kind == kind]


def test_the_exact_test_is_that_of_counting_all_deals():
    for total, ones, others in ((12, 5, 7), (40, 9, 4), (300, 20, 30)):
        for both in range(min(ones, others) + 1):
            deals = sum(
                math.comb(ones, hit) * math.comb(total - ones, others - hit)
                for hit in range(both, min(ones, others) + 1)
            )
            exact = deals / math.comb(total, others)
            assert chance.by_chance(both, ones, others, total) == pytest.approx(exact, rel=1e-9)
    assert chance.lift(6, 8, 10, 100) == pytest.approx(7.5)


def test_a_cause_is_counted_over_runs_and_machines_repaired_or_not(past):
    wrong = finding("w.a[vae.pth]", "failed", failure_id="weights-cut")
    past.store(5, [finding("w.b", "healed", failure_id="weights-cut")])
    past.store(3, [wrong], machine="machine:00000000ff", is_own=False)
    past.store(2, [wrong, finding("once", "failed")])
    past.store(1, [finding("w.a[vae.pth]")])
    (pattern,) = found(past, "same cause")
    assert pattern.causes == ("weights-cut",)
    assert (pattern.times, pattern.machines) == (3, 2)
    assert (pattern.first_at, pattern.last_at) == (NOW - 3600 - 5 * DAY, NOW - 3600 - 2 * DAY)
    assert pattern.text == (
        "weights-cut occurred in 3 of 4 runs on 2 machines, from 2026-11-23 to 2026-11-26; "
        "1 of them ended with it repaired."
    )


def test_what_was_wrong_again_after_it_was_healed_comes_back(past):
    outcomes = ["healed", "passed", "passed", "failed", "failed", "healed", "healed", "passed"]
    for number, outcome in enumerate(outcomes):
        past.store(20 - number, [finding("w.a", outcome), finding("w.b", "failed")])
    (pattern,) = found(past, "comes back")
    assert pattern.causes == ("w.a",)
    # After the first repair, and right after the second; the failed run in between is no return.
    assert pattern.times == 2
    assert "repaired in 3 runs and was wrong again afterwards 2 times" in pattern.text


def test_what_one_machine_healed_does_not_come_back_on_another(past):
    past.store(2, [finding("w.a", "healed")])
    past.store(1, [finding("w.a", "failed")], machine="machine:00000000ff", is_own=False)
    assert found(past, "comes back") == []


def test_an_outcome_that_changes_to_and_fro_flaps_and_a_lasting_one_does_not(past):
    for number in range(12):
        past.store(
            20 - number,
            [finding("n.flap", "failed" if number % 3 == 0 else "passed"),
             finding("n.last", "failed" if number > 5 else "passed")],
        )  # fmt: skip
    (pattern,) = found(past, "flaps")
    assert pattern.causes == ("n.flap",)
    assert pattern.times == 7
    assert "changed between passed and wrong 7 times in the newest 12 runs" in pattern.text


def test_what_flapped_long_ago_and_has_settled_does_not_flap(past):
    for number in range(40):
        outcome = "failed" if number in {1, 3, 5} else "passed"
        past.store(60 - number, [finding("n.flap", outcome)])
    assert found(past, "flaps") == []


def store_pairs(past, pairs, runs):
    for number in range(runs):
        names = ("a", "b") if number in pairs else ("c",) if number % 4 == 0 else ()
        past.store(runs - number, [finding(f"x.{name}", "failed") for name in names])


def test_causes_that_begin_in_the_same_runs_are_together(past):
    store_pairs(past, {3, 9, 17, 21, 30}, 40)
    (pattern,) = found(past, "together")
    assert pattern.causes == ("x.a", "x.b")
    assert pattern.times == 5
    assert "8.0 times as often as by chance" in pattern.text


def test_two_lasting_causes_that_merely_overlap_are_not_together(past):
    """They share twenty runs, and have begun once each: that proves nothing."""
    for number in range(40):
        names = ("a", "b") if 10 <= number < 30 else ()
        past.store(40 - number, [finding(f"x.{name}", "failed") for name in names])
    assert found(past, "together") == []


def test_among_causes_that_have_nothing_to_do_with_each_other_no_pair_is_reported():
    seed = random.randrange(1 << 32)
    print("seed", seed)  # noqa: T201 - what failed can be run again
    dice = random.Random(seed)
    reported = 0
    for _history in range(200):
        runs = Runs({}, [0.0] * 200, [1] * 200, [1] * 200, firsts=1)
        found = Occurrences(runs)
        for n in range(12):
            found.causes[f"x.{n}"] = marks = Marks.of(runs)
            for place in range(200):
                marks.wrong[place >> 3] |= (dice.random() < 0.15) << (place & 7)
        reported += bool(list(together(found)))
    # By chance, each history reports something with at most one in a hundred: 2 of 200. More than
    # 12 is a fault of the test once in ten million times.
    assert LEVEL == 0.01
    assert reported <= 12


def test_the_whole_history_and_one_install_are_read_alike(past):
    """Few runs are read one by one, many by the indexes of wrong findings."""
    from modelmedic.reporter import occurrences as module

    for number in range(30):
        past.store(30 - number, [finding("w.a", ("failed", "healed", "passed")[number % 3])])
    one = [p.text for p in found(past, "same cause") + found(past, "comes back")]
    original, module._BY_RUN = module._BY_RUN, 5
    try:
        other = [p.text for p in found(past, "same cause") + found(past, "comes back")]
    finally:
        module._BY_RUN = original
    assert one == other
    assert len(one) == 2


def errors(count, component="Downloader"):
    return [
        error_context(NOW - n * 60, component=component, error_id=f"{component}{n}")
        for n in range(count)
    ]


def test_errors_of_calls_are_counted_once_whether_told_or_logged(past):
    past.store(0, [finding("a.b")])
    log = ErrorLog(past.state_dir)
    for each in errors(3):
        log.add(each)
    with HealthReporter(state_dir=past.state_dir, clock=lambda: NOW) as reporter:
        reporter.track_error_patterns(errors(5))
        (pattern,) = reporter.generate_installation_report().patterns
        assert reporter.generate_installation_report().patterns == (pattern,)
    assert pattern.causes == ("Downloader.fetch: TimeoutError",)
    assert pattern.times == 5
    assert pattern.text == "Downloader.fetch raised TimeoutError (timeout) in 5 calls."


def test_a_log_of_errors_that_a_stranger_wrote_breaks_nothing(past):
    past.store(0, [finding("a.b")])
    (past.state_dir / "errors.jsonl").write_text(
        '{"schema": 1, "timestamp": 7, "component": [], "error_id": {}}\n'
        '{"schema": 1, "timestamp": "2026-11-28T00:00:00+00:00", "component": 1}\n[[[\n\x00'
    )
    with HealthReporter(state_dir=past.state_dir, clock=lambda: NOW) as reporter:
        assert reporter.generate_installation_report().patterns == ()


def test_the_memory_of_errors_is_bounded_and_keeps_the_newest():
    tracked = TrackedErrors()
    for number in range(MOST_CAUSES + 500):
        tracked.add(errors(2, f"C{number}"))
    assert len(tracked.patterns()) == MOST_CAUSES
    assert ("C2499.fetch: TimeoutError",) in {p.causes for p in tracked.patterns()}
