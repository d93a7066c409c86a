"""A day of watching in a minute: memory, files and rows stay within their bounds."""

from __future__ import annotations

import gc
import json
import math
import sys

import pytest
from monitor_support import NOON, Kept, Said, issue

from modelmedic.monitor.advice import Advice
from modelmedic.monitor.components import Components
from modelmedic.monitor.foresight import Foresight
from modelmedic.monitor.reader import Reader
from modelmedic.monitor.rules import RULES
from modelmedic.monitor.thresholds import Thresholds
from modelmedic.monitor.watch import MOST_EVENTS, Watch, of_series
from modelmedic.monitor.writing import AlertLog

DAY = 86_400
GIB = 1 << 30


class Day:
    """A machine whose disk fills and is emptied, whose memory swings, whose processes come and go."""

    def read(self, now):
        hour = now % 3600
        free = max(0.0, (60 - hour / 60) * GIB)
        found = {
            "cpu.busy_ratio": 0.5 + 0.4 * math.sin(now / 60),
            "memory.available_bytes": (8 + 7.9 * math.sin(now / 500)) * GIB,
            "memory.available_ratio": 0.5 + 0.49 * math.sin(now / 500),
            "disk.free_bytes[/models]": free,
            "disk.free_ratio[/models]": free / (60 * GIB),
        }
        return found | {f"process.rss_bytes[{int(now // 900)}]": float(now % 900) * 1e6}


def watched(tmp_path, keeper):
    reader = Reader([str(tmp_path / "app.log")], tmp_path, clock=lambda: NOON)
    judges = [
        Thresholds(RULES, Advice("modelmedic").command),
        Foresight(list),
        reader,
        Components(),
    ]
    return Watch([Day()], judges, keeper, since=NOON), judges


class Counted(Kept):
    """Counts rows and keeps none; alerts go to a real log."""

    def __init__(self, log):
        super().__init__()
        self.log, self.rows, self.samples, self.begun = log, 0, 0, 0

    def add_alerts(self, alerts):
        for alert in alerts:
            self.begun += alert.event == "begin"
            self.log.add(alert.as_json())

    def add_minutes(self, minutes):
        self.rows += len(minutes)
        self.samples += sum(row.samples for row in minutes)


@pytest.mark.once
@pytest.mark.slow
def test_a_day_at_one_sample_a_second_is_flat(tmp_path):
    keeper = Counted(AlertLog(tmp_path / "alerts.jsonl", most_bytes=50_000))
    watch, judges = watched(tmp_path, keeper)
    names = [f"part{number % 30}" for number in range(DAY // 60)]
    seen = []
    for second in range(DAY):
        watch.step(float(second), NOON + second)
        if second % 60 == 0:
            name = names[second // 60]
            judges[-1].hear(NOON + second, [{
                "component": name, "operation": "load", "calls": 1, "failures": 0, "retries": 0,
                "median_seconds": 0.1 + second % 7 / 1000, "p99_seconds": None,
            }])  # fmt: skip
            judges[-1].take_rows()
        if second in {9 * 3600, DAY - 1}:
            gc.collect()
            seen.append(sys.getallocatedblocks())  # tracemalloc would take three times as long
    watch.close()
    # One row a minute of each of five series, and of the process tree that runs then.
    assert keeper.rows == DAY // 60 * 6
    assert keeper.samples == DAY * 6
    assert keeper.begun >= 24, "the disk was full at the end of each hour"
    growth = seen[1] - seen[0]
    assert growth < 3000, f"{growth} objects more after fifteen hours"  # 0.06 for each sample
    sizes = [path.stat().st_size for path in tmp_path.glob("alerts.jsonl*")]
    assert sum(sizes) <= 100_000
    report = watch.report()
    assert len(report["events"]) <= MOST_EVENTS
    assert len(json.dumps(report)) < 500_000


@pytest.mark.once
def test_a_minute_has_its_least_mean_most_and_last():
    said, keeper = Said({"x": 0.0}), Kept()
    watch = Watch([said], [], keeper, since=NOON)
    for second in range(61):
        said.readings = {"x": float(second)}
        watch.step(float(second), NOON + second)
    (row,) = keeper.minutes
    assert row == ("x", NOON, 0.0, 29.5, 59.0, 59.0, 60)


@pytest.mark.once
def test_a_clock_that_is_set_back_loses_no_sample():
    keeper = Kept()
    watch = Watch([Said({"x": 1.0})], [], keeper, since=NOON)
    for now, wall in [(0, 0), (1, 1), (2, -3600), (3, -3599), (4, 0)]:
        watch.step(float(now), NOON + wall)
    watch.close()
    assert sum(row.samples for row in keeper.minutes) == 5


@pytest.mark.once
def test_series_without_end_are_held_at_a_bound():
    keeper = Kept()
    watch = Watch([Said({f"x{number}": 1.0 for number in range(5000)})], [], keeper, since=NOON)
    watch.step(0.0, NOON)
    watch.close()
    assert len(keeper.minutes) == 256


@pytest.mark.once
def test_what_is_wrong_belongs_to_a_thing_with_a_name():
    found = of_series(
        {"disk.free_bytes[/a.b/c]": 1.0, "memory.used_bytes": 1.0, "cpu.busy_ratio": 1.0},
        [
            issue(subject="disk.free_bytes[/a.b/c]"),
            issue(subject="memory.killed", severity="critical"),
            issue(subject="memory.used_bytes"),
            issue(kind="log", subject="/app/a.log"),
            issue(kind="degradation", subject="Loader.load"),
        ],
    )
    assert {name: status.value for name, status in found.items()} == {
        "disk[/a.b/c]": "degraded",
        "memory": "failing",
        "cpu": "healthy",
        "log[/app/a.log]": "degraded",
        "Loader": "degraded",
    }


@pytest.mark.once
def test_an_event_is_told_to_a_front_once():
    said = Said({"memory.killed": 1.0})
    watch = Watch([said], [Thresholds(RULES, Advice("modelmedic").command)], Kept(), since=NOON)
    watch.step(0.0, NOON)
    (event,) = watch.report()["events"]
    assert event["event"] == "begin"
    assert watch.report(after=event["number"])["events"] == []
    assert watch.report()["components"]["memory"] == "failing"
