"""Counts are exact, durations as good as they say, and observers break nothing."""

from __future__ import annotations

import gc
import math
import random
import threading

import pytest
import wrapper_support
from wrapper_support import Downloader, raised, reset

from modelmedic import ReliabilityManager
from modelmedic.reliability import metrics
from modelmedic.reliability.metrics import Recorder, bucket_of, middle_ns


def test_each_bucket_holds_its_own_middle_and_they_rise():
    seed = 7
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when the test fails
    chance = random.Random(seed)
    for _number in range(3000):
        took = int(2 ** (chance.random() * 43))
        bucket = bucket_of(took)
        assert bucket < metrics.BUCKETS
        assert abs(middle_ns(bucket) - took) <= max(took / 16, 1)
        assert bucket_of(int(middle_ns(bucket))) == bucket
    assert [bucket_of(n) for n in range(17)] == list(range(17))
    assert bucket_of(2**60) == metrics.BUCKETS - 1


def test_the_fast_path_puts_durations_where_the_table_does(tmp_path, monkeypatch):
    clock = [0]
    monkeypatch.setattr("modelmedic.reliability.operation.perf_counter_ns", lambda: clock[0])
    monkeypatch.setattr("modelmedic.reliability.calls.perf_counter_ns", lambda: clock[0])
    manager = wrapper_support.manager(tmp_path)

    class Timed:
        def work(self, took):
            clock[0] += took

    made = manager.wrap_component(Timed(), "timed")
    durations = [0, 1, 9, 15, 16, 17, 1000, 123_456, 5_000_000_000, 2**50]
    for took in durations:
        made.work(took)
    found = manager.metrics("Timed").total
    wanted = {}
    for took in durations:
        wanted[bucket_of(took)] = wanted.get(bucket_of(took), 0) + 1
    assert found.histogram == wanted
    assert found.seconds == pytest.approx(sum(durations) / 1e9)


def test_percentiles_rates_and_means_are_those_of_the_calls():
    recorder = Recorder("c", "o")
    for number in range(1, 101):
        recorder.count(metrics.SUCCESS, number * 1_000_000)
    found = recorder.read()
    for ratio in (0.5, 0.95, 0.99):
        assert found.percentile_seconds(ratio) == pytest.approx(ratio / 10, rel=1 / 15)
    assert found.mean_seconds == pytest.approx(0.0505)
    assert (found.calls, found.success_ratio) == (100, 1.0)
    assert found.until >= found.since
    nothing = Recorder("c", "o").read()
    assert math.isnan(nothing.p50_seconds)
    assert math.isnan(nothing.failure_ratio)


def test_what_a_thread_has_counted_stays_when_it_ends():
    recorder = Recorder("c", "o")

    def counting():
        for _number in range(500):
            recorder.count(metrics.SUCCESS, 10)

    for _round in range(8):
        threads = [threading.Thread(target=counting) for _number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        gc.collect()
    assert recorder.read().successes == 8 * 4 * 500
    assert len(recorder._shards._live) <= 1  # threads that have ended leave no shard


def test_a_later_reading_can_be_taken_off(tmp_path):
    manager = wrapper_support.manager(tmp_path)
    made = manager.wrap_component(Downloader(), "d")
    made.fetch()
    earlier = manager.metrics()
    made.fetch()
    made.failing["fetch"] = [ValueError("wrong")]
    with raised(ValueError):
        made.fetch()
    made.inner()
    added = manager.metrics(since=earlier)
    assert added.operations["Downloader", "fetch"].successes == 1
    assert added.operations["Downloader", "fetch"].failures == 1
    assert added.operations["Downloader", "inner"].successes == 1
    assert added.total.calls == 3
    assert sum(added.total.histogram.values()) == 3
    assert manager.metrics("Downloader", "inner").total.calls == 1
    assert manager.metrics("Other").total.calls == 0


@pytest.mark.parametrize("level", metrics.LEVELS)
def test_each_level_records_what_it_says(tmp_path, level):
    manager = wrapper_support.manager(tmp_path, level=level)
    made = manager.wrap_component(Downloader(), "d")
    made.fetch("secret-word", force=True)
    made.failing["fetch"] = [ValueError("wrong")]
    with raised(ValueError):
        made.fetch()
    total = manager.metrics().total
    assert (total.successes, total.failures) == (1, 1)
    assert total.timed == (0 if level == "minimal" else 2)
    assert (total.seconds > 0) == (level != "minimal")
    recent = manager.recent_calls()
    if level != "full":
        assert recent == []
        return
    assert [(event.outcome, event.operation, event.arguments) for event in recent] == [
        ("success", "fetch", ("str", "force=bool")),
        ("failure", "fetch", ()),
    ]
    assert "secret-word" not in repr(recent)
    assert abs(recent[0].ended_at - recent[1].ended_at) < 60


def test_an_unknown_level_is_said():
    with pytest.raises(ValueError, match="minimal, standard, full"):
        ReliabilityManager(level="loud")


def test_the_ring_holds_the_newest_and_keeps_no_argument_alive(tmp_path):
    import weakref

    manager = wrapper_support.manager(tmp_path, level="full", samples_per_second=float("inf"))
    made = manager.wrap_component(Downloader(), "d")
    argument = Downloader()
    held = weakref.ref(argument)
    made.fetch(argument)
    del argument
    gc.collect()
    assert held() is None
    for _number in range(1500):
        made.inner()
    assert len(manager.recent_calls()) == 1000


def test_under_load_samples_are_shed_and_counted_never_calls(tmp_path):
    seen = []
    manager = wrapper_support.manager(
        tmp_path, level="full", samples_per_second=10, observers=[seen.append]
    )
    made = manager.wrap_component(Downloader(), "d")
    for _number in range(2000):
        made.fetch()
    total = manager.metrics().total
    sampled = sum(total.histogram.values())
    assert total.successes == total.timed == 2000
    assert total.shed > 0
    assert sampled + total.shed == 2000
    assert len(seen) == len(manager.recent_calls()) == sampled
    made.failing["fetch"] = [ValueError("wrong")]
    with raised(ValueError):
        made.fetch()
    assert seen[-1].outcome == "failure"  # of failures nothing is shed


def test_observers_hear_of_every_call_until_they_leave(tmp_path):
    heard = []
    manager = wrapper_support.manager(tmp_path)
    leave = manager.subscribe(heard.append)
    made = manager.wrap_component(Downloader(), "d")
    made.failing["fetch"] = [reset()]
    made.fetch()
    made.decorate()
    leave()
    made.fetch()
    assert [(event.operation, event.outcome, event.tries) for event in heard] == [
        ("fetch", "success", 2),
        ("decorate", "success", 1),
    ]


def test_an_observer_that_raises_breaks_no_call_and_is_said_once(tmp_path, capsys):
    manager = wrapper_support.manager(tmp_path)

    def broken(event):
        raise RuntimeError("the observer is broken")

    manager.subscribe(broken)
    made = manager.wrap_component(Downloader(), "d")
    assert [made.fetch() for _number in range(3)] == ["file"] * 3
    assert manager.metrics().observer_errors == 3
    said = capsys.readouterr().err
    assert said.count("broken raised RuntimeError") == 1


def test_names_without_end_are_held(tmp_path, monkeypatch):
    monkeypatch.setattr(metrics, "MOST_OPERATIONS", 5)
    manager = wrapper_support.manager(tmp_path)
    for number in range(50):
        manager.track_reliability_metrics("c", f"download {number}", success=True, duration=0.1)
    found = manager.metrics()
    assert len(found.operations) == 6
    assert found.total.calls == 50


def test_calls_can_be_counted_from_outside(tmp_path):
    manager = wrapper_support.manager(tmp_path)
    manager.track_reliability_metrics("Own", "get", success=True, duration=0.5)
    manager.track_reliability_metrics("Own", "get", success=False, duration=float("nan"))
    total = manager.metrics("Own").total
    assert (total.successes, total.failures, total.timed, total.seconds) == (1, 1, 1, 0.5)


@pytest.mark.parametrize(
    ("successes", "failures", "state"),
    [
        (0, 0, "unknown"),
        (30, 0, "healthy"),
        (30, 1, "degraded"),
        (3, 2, "degraded"),
        (100, 3, "failing"),
        (1, 2, "failing"),
    ],
)
def test_health_is_by_its_formula(tmp_path, successes, failures, state):
    manager = wrapper_support.manager(tmp_path)
    for _number in range(successes):
        manager.track_reliability_metrics("c", "o", success=True, duration=0.1)
    for _number in range(failures):
        manager.track_reliability_metrics("c", "o", success=False, duration=0.1)
    found = manager.health("c")
    assert found.state == state
    assert found.streak == failures
    assert found.breaker == "off"


def test_a_success_ends_a_streak(tmp_path):
    manager = wrapper_support.manager(tmp_path)
    for success in (True,) * 97 + (False,) * 3:
        manager.track_reliability_metrics("c", "o", success=success, duration=0.1)
    assert manager.health("c").state == "failing"
    manager.track_reliability_metrics("c", "o", success=True, duration=0.1)
    assert manager.health("c").state == "healthy"
    assert manager.health("c").streak == 0


def test_a_repaired_component_is_degraded(tmp_path):
    engine = wrapper_support.Engine(heals=True, cures={"gone": lambda: 1})
    manager = wrapper_support.manager(tmp_path, engine=engine)
    assert manager.wrap_component(Downloader(), "d").gone() == 1
    assert manager.health("Downloader").state == "degraded"
