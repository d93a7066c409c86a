"""Trends say a direction only where their interval does; a suggestion needs its numbers."""

from __future__ import annotations

import random

import pytest
from reporter_support import DAY, NOW, Past, finding, inventory
from support import CHECKOUT

from modelmedic import HealthReporter
from modelmedic.reporter import trends
from modelmedic.reporter.reading import Scope
from modelmedic.reporter.suggestions import RULES

_HEALTHY = [finding("a.b")]
_SICK = [finding("a.b", "failed", failure_id="x")]

pytestmark = pytest.mark.once  # arithmetic over rows of SQLite


@pytest.fixture
def past(tmp_path):
    with Past(tmp_path / "state") as made:
        yield made


def analysis(past, days=30.0, **options):
    with HealthReporter(state_dir=past.state_dir, clock=lambda: NOW, **options) as reporter:
        return reporter.generate_trend_analysis(days=days)


def report(past):
    with HealthReporter(state_dir=past.state_dir, clock=lambda: NOW) as reporter:
        return reporter.generate_installation_report()


def named(found, name):
    (trend,) = [trend for trend in found.trends if trend.name == name]
    return trend


def minutes(past, series, value_of_day, *, days=14, every_hours=3):
    past.history.add_minutes(
        (series, int(NOW - day * DAY - hour * 3600 - 60), *(value_of_day(day + hour / 24),) * 4, 60)
        for day in range(days)
        for hour in range(0, 24, every_hours)
    )


def test_the_share_of_failing_runs_is_that_of_each_day(past):
    past.store(3.1, _SICK)
    past.store(3.2, _HEALTHY)
    past.store(2, _SICK)
    past.store(1, _HEALTHY)
    past.store(40, _SICK)
    found = analysis(past)
    trend = named(found, "runs that failed")
    assert found.runs == 4
    assert [value for _, value in trend.points] == [0.5, 1.0, 0.0]
    assert all(at % DAY == 0 for at, _ in trend.points)
    assert (trend.slope_per_day, trend.interval, trend.direction) == (None, None, "none")


def test_a_killed_run_and_one_that_could_not_look_are_told_apart(past):
    past.store(2, [finding("a.b", "unknown")])
    past.store(1, _HEALTHY, exit_code=None)
    assert [value for _, value in named(analysis(past), "runs that failed").points] == [1.0, 0.0]


def test_durations_that_grow_are_rising_with_an_interval(past):
    dice = random.Random(7)
    for day in range(20):
        took = 10.0 + (20 - day) * 0.5 + dice.random()
        past.store(day, [finding("w.sha", seconds=took), finding("a.b", seconds=0.01)])
    trend = named(analysis(past), "seconds of w.sha")
    assert trend.unit == "seconds"
    assert trend.direction == "rising"
    assert trend.slope_per_day == pytest.approx(0.5, abs=0.1)
    assert trend.interval[0] < 0.5 < trend.interval[1]
    assert named(analysis(past), "seconds of a run").direction == "none"


def test_what_only_wanders_has_no_direction(past):
    dice = random.Random(3)
    minutes(past, "memory.used_bytes", lambda _day: 8e9 + dice.random() * 1e9)
    past.store(0, _HEALTHY)
    trend = named(analysis(past), "memory.used_bytes")
    assert trend.direction == "none"
    assert len(trend.points) == 14
    assert trend.unit == "bytes"


def test_a_day_of_the_monitor_is_seen_by_the_hour(past):
    minutes(past, "gpu.temperature_celsius[0]", lambda day: 60 - day * 5, days=1, every_hours=1)
    past.store(0, _HEALTHY)
    trend = named(analysis(past), "gpu.temperature_celsius[0]")
    assert (len(trend.points), trend.unit, trend.direction) == (24, "celsius", "rising")


def test_repairs_have_a_share_for_each_day_that_had_one(past):
    past.heal("refetch", "healed", "not healed", "healed")
    assert [v for _, v in named(analysis(past), "repairs that healed").points] == [1.0, 0.0, 1.0]


def test_an_imported_machine_has_trends_of_its_own(past):
    theirs = "machine:00000000ff"
    past.store(2, _SICK, machine=theirs, is_own=False)
    past.store(1, _HEALTHY)
    assert analysis(past).runs == 2
    assert analysis(past, machine=theirs).runs == 1
    assert analysis(past, machine="machine:no").runs == 0


def test_a_trend_of_nothing_is_no_trend(past):
    assert trends.trends(past.history.connection, 0.0, NOW, scope=Scope(()), monitored=1) == []


# -- suggestions -------------------------------------------------------------------------------


def test_a_healthy_history_suggests_nothing(past):
    for day in range(20):
        past.store(day, _HEALTHY, inventory=inventory(driver=f"{day // 5}"))
    past.heal("refetch", "healed", "healed", "failed")
    minutes(past, "disk.free_bytes[/models]", lambda _day: 300e9)
    assert report(past).suggestions == ()
    assert analysis(past).suggestions == ()


def test_the_same_file_repaired_three_times_in_ten_days_points_at_memory_and_disk(past):
    for day, outcome in ((9, "healed"), (5, "healed"), (2, "degraded"), (1, "passed")):
        past.store(day, [finding("weights.intact[vae.pth]", outcome)])
    assert not report(past).suggestions
    past.store(0.5, [finding("weights.intact[vae.pth]", "healed")])
    (text,) = report(past).suggestions
    assert text == (
        "weights.intact[vae.pth] was repaired 3 times from 2026-11-19 to 2026-11-28. Why is not "
        "proven. Where bytes went bad: test memory and disk (memtest86+, smartctl -a). Where the "
        "file was gone or another one: look for what removes or writes it."
    )


def test_a_disk_that_falls_is_full_in_so_many_days(past):
    past.store(0, _HEALTHY)
    minutes(past, "disk.free_bytes[/models]", lambda day: 45e9 + day * 4.1e9)
    minutes(past, "disk.free_bytes[/big]", lambda day: 900e9 + day * 4.1e9)
    texts = [text for text in report(past).suggestions if "disk.free" in text]
    (text,) = texts
    assert text.startswith("disk.free_bytes[/models] falls 4.1 GB a day (95 % interval 4.1 to 4.1")
    assert "full in about 11 days (11 to 11) if it goes on so" in text


def test_a_disk_whose_monitor_has_stopped_is_not_forecast(past):
    past.store(0, _HEALTHY)
    past.history.add_minutes(
        ("disk.free_bytes[/models]", int(NOW - day * DAY), *(45e9 + day * 4.1e9,) * 4, 60)
        for day in range(5, 20)
    )
    assert named(analysis(past), "disk.free_bytes[/models]").direction == "falling"
    assert report(past).suggestions == ()


def test_a_recovery_that_rarely_works_is_named_once_its_interval_says_so(past):
    past.store(0, _HEALTHY)
    past.heal("refetch", "healed", "failed")
    past.heal("unsure", "healed", *["not healed"] * 5)  # up to 58 %
    assert not report(past).suggestions
    past.heal("refetch_model_file", "healed", *["not healed"] * 8)
    (text,) = report(past).suggestions
    assert text.startswith("refetch_model_file worked 1 of 9 times (95 % interval 3% to 45%).")
    anchor = text.partition("docs/checks.md#")[2].split()[0]
    assert f'<a id="{anchor}"></a>' in (CHECKOUT / "docs/checks.md").read_text("utf-8")


def test_a_machine_that_stopped_reporting_is_named_by_its_stand_in(past):
    theirs = "machine:00000000ff"
    for day in range(9, 20):
        past.store(day, _HEALTHY, machine=theirs, is_own=False)
    past.store(0, _HEALTHY)
    past.history.connection.execute("UPDATE machine SET label = 'box 7' WHERE name = ?", [theirs])
    (text,) = analysis(past).suggestions
    assert text.startswith(
        "machine:00000000ff has not reported for 9 days; before, it did every 24 h 0 min (median of 10 gaps)."
    )
    assert report(past).suggestions == ()


def test_a_machine_that_reports_once_a_month_is_not_silent_after_a_week(past):
    theirs = "machine:00000000ff"
    for month in range(8):
        past.store(7 + 30 * month, _HEALTHY, machine=theirs, is_own=False)
    assert analysis(past, days=365).suggestions == ()


def test_what_fails_for_days_and_nobody_repaired_has_a_command_to_run(past):
    for day in (6, 4, 2, 0):
        past.store(day, _SICK, install_dir="~/my models/wan")
    (text,) = report(past).suggestions
    assert text == (
        "1 check failed, the oldest since 2026-11-22, and none of the 4 runs since then was "
        "allowed to repair. What would be done: modelmedic plan --install-dir ~/'my models/wan'"
    )
    past.store(1, _SICK, install_dir="~/my models/wan", mode="apply")
    assert report(past).suggestions == ()


def test_a_check_that_cannot_look_for_days_is_named(past):
    for day in (5, 0):
        past.store(day, [finding("g.x", "unknown", next="Install nvidia-smi.")])
    texts = report(past).suggestions
    (text,) = texts
    assert text == (
        "g.x could not be judged since 2026-11-23 (5 days): what it watches over may be broken "
        "unseen. Install nvidia-smi."
    )


def test_runs_that_fail_more_and_more_often_are_told_with_the_share(past):
    for day in range(20):
        for run in range(4):
            past.store(day + run / 24, _SICK if run < 4 - day / 5 else _HEALTHY)
    (text,) = [text for text in analysis(past).suggestions if text.startswith("The share")]
    assert text.startswith("The share of runs that failed rises by 4.5% a day over 20 days: 25% on")


def test_a_flapping_check_is_named(past):
    for day in range(12):
        past.store(day, _SICK if day % 2 else _HEALTHY)
    assert [text for text in report(past).suggestions if "Look for what changes with it" in text]


def test_each_rule_says_in_its_docstring_what_it_looks_for():
    assert len(RULES) == 9
    assert all(rule.__doc__ for rule in RULES)
