"""What the machine did during a run: read now and then, bounded, and never in the way."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import jsonschema
import pytest
from room_support import SEVEN, Room
from test_records import SCHEMA

from modelmedic import resource_log, rooms
from modelmedic.resource_log import MOST_POINTS, Machine, ResourceLog

VALUES = {"cpu": 50.0, "memory": 10.0, "disk_free": 5.0, "network": 1.0}


def test_a_long_run_keeps_its_whole_course_in_few_points():
    log = ResourceLog(time.time(), None)
    at = 0.0
    while at < 100_000:
        at += log.interval_seconds
        log.add(at, {**VALUES, "memory": at})
    points = log.stop()["memory"]["points"]
    assert MOST_POINTS / 2 <= len(points) < MOST_POINTS
    assert points[0][0] < 2_000
    assert points[-1][0] > 98_000
    assert all(value == at for at, value in points), "a level is not averaged"


def test_rates_become_their_mean_and_what_is_unknown_stays_so():
    log = ResourceLog(time.time(), None)
    for second in range(MOST_POINTS):
        log.add(second, {"cpu": 100.0 * (second % 2), "network": None if second < 60 else 8.0})
    told = log.stop()
    assert {value for _at, value in told["cpu"]["points"]} == {50.0}
    assert [value for _at, value in told["network"]["points"]] == [None] * 30 + [8.0] * 30
    assert "disk_free" not in told


def test_one_reading_is_no_course():
    log = ResourceLog(time.time(), None)
    log.add(1.0, VALUES)
    assert log.stop() == {}
    log.add(2.0, VALUES)
    assert set(log.stop()) == set(VALUES)


def test_it_reads_in_a_thread_that_ends():
    read = threading.Semaphore(0)

    def told():
        read.release()
        return VALUES

    log = ResourceLog(time.time() - 100, None, interval_seconds=0.005, read=told)
    log.start()
    for _ in range(4):
        assert read.acquire(timeout=30)
    points = log.stop()["cpu"]["points"]
    assert len(points) >= 2
    assert all(100 <= at < 160 for at, _value in points), "counted from the start of the run"
    assert "resource-log" not in {thread.name for thread in threading.enumerate()}


def test_a_reading_that_hangs_or_fails_is_not_waited_for():
    ending = threading.Event()
    begun = threading.Event()

    def hang():
        begun.set()
        ending.wait(60)
        raise OSError("gone")

    log = ResourceLog(time.time(), None, interval_seconds=0.001, read=hang)
    log.start()
    assert begun.wait(30)
    try:
        assert log.stop() == {}
    finally:
        ending.set()
        assert log._done.wait(30)


def test_this_machine_is_read(tmp_path):
    machine = Machine(tmp_path)
    first, second = machine.read(), machine.read()
    assert first["cpu"] is None, "over no time at all nothing can be said"
    assert first["network"] is None
    assert 0 <= second["cpu"] <= 100
    assert second["memory"] > 2**20
    assert second["disk_free"] >= 0
    assert Machine(tmp_path / "gone").read()["disk_free"] is None


@pytest.mark.parametrize(
    ("dist", "marked", "is_on"),
    [("no", [True, False], True), ("no", [False], False), ("load", [], True)],
)
def test_only_a_run_of_checks_is_watched(dist, marked, is_on):
    plugin = rooms.load("plugins", "resources")
    items = [SimpleNamespace(get_closest_marker=lambda _name, has=has: has) for has in marked]
    config = SimpleNamespace(option=SimpleNamespace(dist=dist))
    assert plugin._has_checks(SimpleNamespace(config=config, items=items)) is is_on


SLOW = '''
@pytest.mark.check("room.slow", area="system")
def test_slow():
    """It takes its time."""
    time.sleep(2.5)
'''


@pytest.mark.once
def test_a_run_on_two_workers_records_times_and_the_machine(tmp_path):
    run = Room(tmp_path).run(SLOW + SEVEN, "--heal", "-n2")
    record = run.record
    jsonschema.validate(record, SCHEMA)
    found = {finding["check"]: finding for finding in record["findings"]}
    slow, healed, blocked = (found[f"room.{name}"] for name in ("slow", "healed", "blocked"))
    assert 2.5 <= slow["seconds"] <= record["duration_seconds"]
    assert 0 < slow["started"] <= record["duration_seconds"] - 2.5
    assert healed["seconds"] >= sum(attempt["seconds"] for attempt in healed["attempts"]) > 0
    assert (blocked["started"], blocked["seconds"]) == (None, None)
    assert {"memory", "disk_free"} <= set(record["resources"])
    at = [point[0] for point in record["resources"]["memory"]["points"]]
    assert at == sorted(at)
    assert 1 <= at[0] < at[-1] <= record["duration_seconds"]
    assert "room.slow" in run.page.partition('<h2 id="mm-time">')[2].partition("</table>")[0]
    assert "Memory in use" in run.page.partition('<h2 id="mm-machine">')[2]


def test_where_no_thread_can_be_had_there_are_no_charts_and_the_run_goes_on(monkeypatch):
    def refuse(*_args):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(resource_log._thread, "start_new_thread", refuse)
    log = ResourceLog(0.0, None)
    log.start()
    assert log.stop() == {}
