"""Forecasts: true leaks are found in time, what is none is quiet, and the text says the numbers."""

from __future__ import annotations

import json
import math
import random
import re
import subprocess
import sys
import tracemalloc

import pytest
from support import CHECKOUT

from modelmedic.monitor.forecast_words import KINDS
from modelmedic.monitor.prediction import LEAST_POINTS, Predictor, Window

GIB = 1 << 30
EPOCH = 1e9
pytestmark = pytest.mark.once
sys.path.insert(0, str(CHECKOUT / "benchmarks"))
try:
    import prediction_backtest as backtest
    import prediction_series as sorts
finally:
    sys.path.pop(0)


def run(predictor, values, every=5.0, begin=EPOCH):
    """Return what was told: (seconds, issue)."""
    found = []
    for number, value in enumerate(values):
        at = begin + number * every
        predictor.add(at, float(value))
        if issue := predictor.issue(at):
            found.append((at - EPOCH, issue))
    return found


def falling(seconds, per_second, noise=0.0, begin=100 * GIB, every=5.0):
    draw = random.Random(7)
    return [
        begin - per_second * at * every + draw.gauss(0, noise) * GIB
        for at in range(int(seconds / every))
    ]


def disk():
    return Predictor("disk_full", "disk.free_bytes[/models]", 0, subject="/models")


def test_a_filling_disk_is_told_with_slope_interval_count_window_and_command():
    told = run(disk(), falling(600, 0.1 * GIB, noise=0.2))
    assert told
    at, issue = told[-1]
    early, likely, late = issue.expected_at
    assert early <= likely <= late
    assert likely - EPOCH == pytest.approx(1000, rel=0.03)
    assert issue.severity == "critical"
    assert issue.key == "disk_full[/models]"
    assert issue.kind == "prediction"
    assert issue.command == "modelmedic check --checks=disk.space"
    assert issue.failure_id == "no-space-on-model-disk"
    assert issue.since == EPOCH + told[0][0]
    assert issue.what.startswith("The disk of /models will be full in 7 min")
    assert "UTC" in issue.what
    assert "GiB now" in issue.what
    assert re.fullmatch(
        r"It shrinks by 10[\d.]+ MiB/s \(95 % interval 10[\d.]+ MiB/s to 10[\d.]+ MiB/s\), "
        r"by \d\d points in \d+ min; its last forecasts missed by \d+% of what the guess that "
        r"nothing changes missed by \(\d+ judged\)\.",
        issue.why,
    )
    assert at < 600


def test_far_ahead_it_is_a_warning_and_beyond_the_reach_of_its_window_nothing():
    slow = run(disk(), falling(2 * 3600, 100 * GIB / (5 * 3600)))
    assert slow
    assert {issue.severity for _at, issue in slow} == {"warning"}
    assert run(disk(), falling(2 * 3600, 100 * GIB / (90 * 3600))) == []


@pytest.mark.parametrize("seed", range(6))
def test_noise_alone_is_never_told(seed):
    series = sorts.noise_only(random.Random(f"noise in tests {seed}"))
    predictor = Predictor(series.kind, series.name, series.limit)
    assert run(predictor, [value for _at, value in series.points]) == []


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("make", [sorts.wandering, sorts.jobs, sorts.announced_download])
def test_what_wanders_comes_and_goes_or_was_announced_is_no_leak(make, seed):
    series = make(random.Random(f"quiet in tests {seed}"))
    assert backtest.judged(series)["ours"].false_alarms == 0


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "make",
    [
        sorts.steady_fill, sorts.bursty_fill, sorts.fill_in_steps, sorts.leak_with_sawtooth,
        sorts.leak_in_bursts, sorts.files_leak,
    ],
)  # fmt: skip
def test_true_leaks_are_told_in_time_and_in_time_right(make, seed):
    series = make(random.Random(f"leak in tests {seed}"))
    assert series.event_at
    assert backtest.judged(series)["ours"].lead_seconds >= 300


@pytest.mark.parametrize("series", [*sorts.recorded()], ids=lambda series: series.name)
def test_what_was_recorded_of_real_processes_is_told_if_it_happened_and_only_then(series):
    if series.kind == "download_finish":
        found = backtest.finish_errors(series)
        assert found["told"] > found["looks"] / 3
        assert found["ours"] < 0.05
        return
    told = backtest.judged(series)["ours"]
    assert told.false_alarms == 0
    if series.event_at:
        assert told.lead_seconds >= 120
    else:
        assert told.lead_seconds is None


def test_logs_that_are_rotated_are_told_twice_at_most_and_a_true_fill_after_that():
    predictor = disk()
    rotated = [(80 - 60 * (at % 720) / 720) * GIB for at in range(7200)]  # each hour, for ten
    told = run(predictor, rotated)
    assert told
    assert told[-1][0] < 2.1 * 3600
    more = falling(3600, 20 * GIB / 3600, begin=20 * GIB)
    assert run(predictor, more, begin=EPOCH + 7200 * 5.0)


def test_a_ramp_that_has_ended_is_told_no_more():
    level = [90 - 60 * min(1, at / 120) for at in range(1000)]  # ten minutes of 60 GiB
    told = run(disk(), [value * GIB for value in level])
    assert not [at for at, _issue in told if at > 600 + 300]


def test_a_rise_that_levels_off_is_hidden_by_its_record():
    """Each forecast overshoots; the last rate is nearer. Without a record it would be told."""
    predictor, bare = disk(), 0
    for number in range(700):
        value = GIB * (5 + 95 * math.exp(-number / 150))
        at = EPOCH + 5 * number
        predictor.add(at, value)
        bare += predictor.unproven(at) is not None
        assert predictor.forecast(at) is None or number < 130
    assert bare > 100


def test_each_forecast_is_sure_within_three_times_its_time():
    for seed in range(3):
        series = sorts.wandering(random.Random(f"unsure {seed}"))
        predictor = Predictor(series.kind, series.name, series.limit)
        for at, value in series.points[:2000]:
            predictor.add(at, value)
            if forecast := predictor.unproven(at):
                begin = predictor._windows[0].points[-1][0]
                likely, late = forecast.likely_at - begin, forecast.latest_at - begin
                assert late <= 3.01 * likely or forecast.likely_at == at


def test_a_trend_that_has_ended_and_noise_have_no_slope():
    window = Window(5.0)
    for number in range(60 * 5):  # a window of 60 points: 40 of a ramp, 20 without
        window.add(EPOCH + number, 100.0 - min(number, 200) / 4, 0.0)
    assert window.slope is None
    draw, seen = random.Random(1), 0
    window = Window(5.0)
    for number in range(5000):
        window.add(EPOCH + number, 50.0 + draw.gauss(0, 10), 0.0)
        seen += window.slope is not None
    assert seen < 5000 / 20


def test_a_series_that_moves_away_from_its_limit_is_not_told():
    assert run(disk(), falling(1200, -0.1 * GIB, begin=GIB)) == []


def test_what_was_said_is_not_said_for_ever_when_nobody_looks_any_more():
    predictor = disk()
    assert run(predictor, falling(600, 0.1 * GIB))
    assert predictor.issue(EPOCH + 600)
    assert predictor.issue(EPOCH + 600 + 3600) is None


def test_after_a_pause_the_window_begins_anew():
    predictor = disk()
    run(predictor, falling(600, 0.1 * GIB))
    assert len(predictor._windows[0].points) == 60
    later = falling(60, 0.0, begin=40 * GIB)
    assert run(predictor, later, begin=EPOCH + 600 + 7200) == []
    assert len(predictor._windows[0].points) < 12


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_passed_over(value):
    predictor = disk()
    values = falling(600, 0.1 * GIB)
    mixed = [each for number in values for each in (number, value)]
    assert run(predictor, mixed, every=2.5)


def test_a_clock_that_is_set_back_does_not_stop_it():
    predictor = disk()
    run(predictor, falling(600, 0.1 * GIB))
    assert run(predictor, falling(600, 0.1 * GIB), begin=EPOCH - 86400)


def test_a_download_is_no_trouble_but_can_be_asked_for():
    predictor = Predictor("download_finish", "download", 100 * GIB, subject="wan2.2.safetensors")
    for at in range(300):
        predictor.add(EPOCH + at, 0.1 * GIB * at)
        assert predictor.issue(EPOCH + at) is None
    forecast = predictor.forecast(EPOCH + 300)
    assert forecast.likely_at - EPOCH == pytest.approx(1000, rel=0.02)
    said = predictor.sentence(EPOCH + 300)
    assert said.startswith("Wan2.2.safetensors will be complete in 12 min")
    assert "the limit is 100.0 GiB" in said


def test_a_limit_may_change():
    predictor = Predictor("memory_leak", "process.rss_bytes[1]", 400 * GIB, subject="process 1")
    values = [GIB * (10 + at * 0.02) for at in range(400)]
    assert run(predictor, values) == []
    predictor.limit = 30 * GIB
    told = run(predictor, [GIB * (18 + at * 0.02) for at in range(400)], begin=EPOCH + 2000)
    assert told
    assert told[-1][1].what.startswith("Process 1 will have used up the memory in")


def test_hostile_subjects_are_shown_on_one_line():
    subject = "/m\x1b[31m\n<script>" + "x" * 100_000
    predictor = Predictor("disk_full", "disk.free_bytes[/m]", 0, subject=subject)
    _at, issue = run(predictor, falling(600, 0.1 * GIB))[-1]
    assert "\x1b" not in issue.what
    assert "\n" not in issue.what
    assert len(issue.what) < 1000


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_names_a_check_and_a_failure_that_exist(name):
    kind = KINDS[name]
    if not kind.is_trouble:
        assert (kind.command, kind.failure_id) == ("", "")
        return
    check = kind.command.removeprefix("modelmedic check --checks=")
    sources = [path.read_text("utf-8") for path in (CHECKOUT / "checks").rglob("*.py")]
    assert any(f'check("{check}"' in source for source in sources)
    table = (CHECKOUT / "src/modelmedic/healing/failures.toml").read_text("utf-8")
    assert f"\n[{kind.failure_id}]\n" in table


def test_a_window_holds_few_points_however_many_come():
    window = Window(5.0)
    for number in range(5000):
        window.add(EPOCH + number * 0.05, 1.0, 0.0)
    assert LEAST_POINTS < len(window.points) <= 60


def test_its_memory_is_flat():
    predictor, draw = disk(), random.Random(1)

    def go(begin, count):
        for number in range(count):
            value = 50 * GIB + draw.gauss(0, GIB) - 1e6 * (number % 3000)
            predictor.add(EPOCH + begin + 10.0 * number, value)
            predictor.issue(EPOCH + begin + 10.0 * number)

    go(0, 8000)  # 22 hours: all windows are full
    tracemalloc.start()
    go(80_000, 4000)
    grown, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 60_000


def test_importing_what_the_monitor_needs_imports_nothing_heavy():
    code = (
        "import sys\nbefore = set(sys.modules)\n"
        "from modelmedic.monitor import announced, degradation, log_patterns, log_tail, prediction\n"
        "import json; print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    found = json.loads(done.stdout)
    heavy = {"statistics", "psutil", "requests", "tomllib", "tomli", "importlib.resources",
             "modelmedic.healing", "modelmedic.masking", "socket", "subprocess"}  # fmt: skip
    assert not heavy & set(found)
