"""The history: a run is stored once and whole, by any number of processes, or not at all."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import time

import pytest
from evidence_support import entry
from history_support import BEGIN, OTHER, attempt, finding, inventory, record, rows
from support import CHECKOUT, child_env

import modelmedic
from modelmedic.healing.evidence_log import EvidenceLog
from modelmedic.history import queries
from modelmedic.history.retention import DAY_SECONDS, Limits
from modelmedic.history.store import History
from modelmedic.history.storing import OtherContent

STORER = """
import sys
sys.path[:0] = [{src!r}, {tests!r}]
from pathlib import Path
from history_support import record
from modelmedic.history.store import History
state, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
checks = dict.fromkeys([f"x.check-{{n}}" for n in range(200)], "failed")
print("ready", flush=True)
for number in range(first, first + count):
    with History.open(state) as history:
        assert not history.trouble, history.trouble
        history.store(record(checks, number=number))
""".format(src=str(CHECKOUT / "src"), tests=str(CHECKOUT / "tests"))


@pytest.fixture
def history(tmp_path):
    with History.open(tmp_path / "state", clock=lambda: BEGIN) as history:
        assert history.trouble == ""
        yield history


def storer(state, first, count):
    argv = [sys.executable, "-c", STORER, str(state), str(first), str(count)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=child_env())


def test_it_is_part_of_the_public_face():
    assert modelmedic.History is History


@pytest.mark.skipif(sys.platform == "win32", reason="no modes on Windows")
def test_only_this_user_can_read_its_files(history):
    history.store(record())
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in history.state_dir.iterdir()}
    assert set(modes) >= {"history.db", "history.db-wal", "history.db-shm"}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(history.state_dir.stat().st_mode) == 0o700


def test_a_run_is_stored_with_all_that_is_asked_of_it_later(history):
    found = [
        finding("x.bad", "failed", what="Broken.", why="Dust.", category="corruption"),
        finding("x.good", "passed", what="not kept"),
        finding("x.waits", "blocked", blocked_by="x.bad"),
    ]
    assert history.store(record(found=found, kept=inventory()))
    (run,) = queries.runs(history)
    assert (run.machine, run.folder, run.profile) == (OTHER, "~/models/demo", "demo")
    assert (run.exit_code, run.started_at, run.seconds) == (1, BEGIN, 2.5)
    assert run.counts["failed"] == 1
    assert run.root_causes[0]["check"] == "x.bad"
    assert not run.is_own
    assert rows(
        history,
        "SELECT name, outcome, what, why, category, blocked_by FROM finding "
        "JOIN check_name ON id = check_id ORDER BY name",
    ) == [
        ("x.bad", "failed", "Broken.", "Dust.", "corruption", None),
        ("x.good", "passed", None, None, None, None),
        ("x.waits", "blocked", "x.waits does not hold.", "", "system", "x.bad"),
    ]
    assert rows(history, "SELECT driver, memory_bytes FROM environment") == [("550.54", 64 << 30)]


def test_a_second_time_it_is_known(history):
    assert history.store(record(kept=inventory()))
    assert not history.store(record(kept=inventory()))
    assert rows(history, "SELECT count(*) FROM run") == [(1,)]


def test_two_machines_may_have_a_run_of_one_id(history):
    assert history.store(record(machine=OTHER))
    assert history.store(record(machine="machine:0123456789"))
    assert len(queries.machines(history)) == 2


def test_the_same_run_with_other_content_is_refused_by_name_and_changes_nothing(history):
    history.store(record({"x.one": "passed"}))
    before = "\n".join(history.connection.iterdump())
    with pytest.raises(OtherContent, match=r"Run .* of machine:00000000bb is known with other"):
        history.store(record({"x.one": "failed"}))
    assert "\n".join(history.connection.iterdump()) == before


def test_a_run_that_had_not_ended_is_replaced_by_its_end(history):
    history.store(record({"x.one": "unknown"}, exit_code=None))
    assert history.store(record({"x.one": "passed", "x.two": "failed"}))
    assert rows(history, "SELECT exit_code FROM run") == [(1,)]
    assert rows(history, "SELECT outcome, flaps FROM latest_finding ORDER BY check_id") == [
        ("passed", 0),
        ("failed", 0),
    ]


def test_a_snapshot_is_stored_once_and_never_by_a_strangers_word_for_its_hash(history):
    history.store(record(number=1, kept=inventory()))
    history.store(record(number=2, kept=inventory(hash="f" * 32)))
    history.store(record(number=3, kept=inventory(driver="560.35")))  # and the hash of the others
    assert sorted(rows(history, "SELECT driver FROM environment")) == [("550.54",), ("560.35",)]


def test_a_record_from_before_machines_had_names_is_of_an_unknown_one(history):
    history.store(record(machine=""))
    assert [run.machine for run in queries.runs(history)] == ["machine:unknown"]


def test_texts_are_cut_and_half_characters_replaced(history):
    found = [finding("x.long", what="a" * 10_000_000), finding("x.half", what="\ud800 broken")]
    history.store(record(found=found))
    assert rows(history, "SELECT length(what) FROM finding ORDER BY check_id") == [(4000,), (8,)]


def test_this_machine_has_one_name_in_every_run(tmp_path):
    names = set()
    for _ in range(2):
        with History.open(tmp_path) as history:
            names.add((history.own_machine(), history.own_name()))
    assert len(names) == 1
    with History.open(tmp_path) as history:
        history.store(record(), is_own=True)
        (run,) = queries.runs(history)
        assert run.is_own
        assert run.machine == names.pop()[1]


def test_repairs_of_this_machine_come_from_its_log_once_with_the_last_verdict(history):
    log = EvidenceLog(history.state_dir)
    log.add(entry(1))
    log.add(entry(2))
    history.take_in_repairs()
    history.take_in_repairs()
    log.revise(entry(1).repair, "not healed", is_lasting=True)
    history.take_in_repairs()
    told = {(heal.repair, heal.verdict, heal.origin) for heal in queries.heals(history)}
    assert told == {
        (entry(1).repair, "not healed", "log"),
        (entry(2).repair, entry(2).verdict, "log"),
    }


def test_repairs_of_other_machines_come_from_their_records(history):
    found = [finding("x.one[a]", "healed", attempts=[attempt(), attempt(verdict="refused")])]
    history.store(record(found=found))
    history.store(record(found=found), is_own=True)  # of our own, the log knows more
    (heal,) = queries.heals(history)
    assert (heal.machine, heal.check, heal.verdict, heal.origin) == (
        *(OTHER, "x.one", "healed", "record"),
    )
    assert heal.repair.endswith("/x.one[a]/0")


def test_what_the_monitor_saw_is_added_up_and_brought_up_to_date(history):
    history.add_minutes([("memory.used_bytes", 60, 1.0, 2.0, 3.0, 2.0, 10)])
    history.add_minutes([("memory.used_bytes", 60, 0.0, 5.0, 9.0, 4.0, 20)])
    assert rows(history, "SELECT least, mean, most, last, samples FROM minute") == [
        (0.0, 4.0, 9.0, 4.0, 30)
    ]
    told = {"key": "disk_full[/m]", "severity": "warning", "text": "t", "first_at": 1.0}
    history.add_alert(**told, last_at=2.0)
    history.add_alert(**told, last_at=3.0, times=2, ended_at=3.0)
    assert rows(history, "SELECT last_at, times, ended_at FROM alert") == [(3.0, 2, 3.0)]
    history.add_component_metrics([(1.0, "Downloader", "fetch", 5, 1, 2, 0.5, None)])
    assert rows(history, "SELECT calls, median_seconds FROM component_metric") == [(5, 0.5)]


@pytest.mark.once
def test_processes_that_store_at_once_all_store(tmp_path):
    """From the first on: the file itself is not there yet."""
    children = [storer(tmp_path / "state", first, 10) for first in (0, 100, 200)]
    for child in children:
        _out, errors = child.communicate(timeout=60)
        assert child.returncode == 0, errors.decode()
    with History.open(tmp_path / "state") as history:
        assert rows(history, "SELECT count(*) FROM run") == [(30,)]
        assert rows(history, "SELECT count(*) FROM finding") == [(30 * 200,)]


@pytest.mark.once
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on Windows")
def test_a_killed_storer_leaves_whole_runs_only(tmp_path):
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - a failure can be run again
    source = random.Random(seed)
    for number in range(4):
        child = storer(tmp_path / "state", number * 1000, 500)
        child.stdout.readline()
        time.sleep(source.uniform(0.02, 0.25))
        os.kill(child.pid, signal.SIGKILL)
        child.communicate(timeout=60)
    with History.open(tmp_path / "state") as history:
        assert history.trouble == ""
        counted = rows(history, "SELECT count(*) FROM finding GROUP BY run")
        runs = rows(history, "SELECT count(*) FROM run")[0][0]
        assert runs > 0
        assert counted == [(200,)] * runs
        assert rows(history, "PRAGMA integrity_check") == [("ok",)]


def test_findings_go_after_ninety_days_but_the_newest_of_each_check_stays(tmp_path):
    now = BEGIN + 100 * DAY_SECONDS
    with History.open(tmp_path, clock=lambda: now) as history:
        history.store(record({"x.old": "failed", "x.one": "passed"}, at=BEGIN, number=1))
        history.store(record({"x.one": "failed"}, at=BEGIN + 50 * DAY_SECONDS, number=2))
        for key, at, ended in (("a", 1, 2), ("b", 1, None), ("c", 95, None)):
            history.add_alert(
                key=key, severity="warning", text="", first_at=at, last_at=BEGIN + at * DAY_SECONDS,
                ended_at=ended,
            )  # fmt: skip
        history.keep_house(Limits(events=10 * DAY_SECONDS))
        assert rows(history, "SELECT key FROM alert") == [("c",)]
        kept = rows(history, "SELECT name FROM finding JOIN check_name ON id = check_id")
        assert sorted(kept) == [("x.old",), ("x.one",)]
        assert len(queries.runs(history)) == 2
        assert [each.check for each in queries.failing(history)] == ["x.old", "x.one"]


def test_it_is_done_once_a_day(tmp_path):
    now = [BEGIN + 200 * DAY_SECONDS]
    with History.open(tmp_path, clock=lambda: now[0]) as history:
        history.keep_house()
        history.add_minutes([("disk.free_bytes", BEGIN, 1.0, 1.0, 1.0, 1.0, 1)])
        gone = Limits(hours=1.0)
        history.keep_house(gone)
        assert rows(history, "SELECT count(*) FROM minute") == [(1,)]
        now[0] += DAY_SECONDS
        history.keep_house(gone)
        assert rows(history, "SELECT count(*) FROM minute") == [(0,)]


def test_a_clock_that_is_wrong_for_one_run_removes_nothing(tmp_path):
    now = [float(BEGIN)]
    with History.open(tmp_path, clock=lambda: now[0]) as history:
        for number in range(3):
            history.store(record(number=number))
        for moment in (BEGIN, BEGIN + 70 * 365 * DAY_SECONDS, BEGIN + 2 * DAY_SECONDS):
            now[0] = moment
            history.keep_house()
            assert rows(history, "SELECT count(*) FROM finding") == [(3,)]
        now[0] = BEGIN + 120 * DAY_SECONDS  # a machine that was off: a day later it is done
        history.keep_house()
        now[0] += DAY_SECONDS
        history.keep_house()
        assert rows(history, "SELECT count(*) FROM finding") == [(1,)]


def test_minutes_become_hours_after_a_fortnight_with_their_extremes(tmp_path):
    hour = BEGIN // 3600 * 3600
    now = hour + 20 * DAY_SECONDS
    with History.open(tmp_path, clock=lambda: now) as history:
        history.add_minutes(
            ("memory.used_bytes", hour + 60 * n, float(n), n + 1.0, n + 2.0, n + 1.5, 10)
            for n in range(120)
        )
        history.add_minutes([("memory.used_bytes", int(now), 1.0, 1.0, 1.0, 1.0, 1)])
        history.keep_house()
        assert rows(history, "SELECT at, least, mean, most, last, samples FROM minute") == [
            (hour, 0.0, 30.5, 61.0, 60.5, 600),
            (hour + 3600, 60.0, 90.5, 121.0, 120.5, 600),
            (int(now), 1.0, 1.0, 1.0, 1.0, 1),
        ]


def test_the_file_is_bounded_whatever_the_age(tmp_path):
    checks = dict.fromkeys([f"x.check-{n}" for n in range(100)], "failed")
    with History.open(tmp_path, clock=lambda: BEGIN) as history:
        for number in range(40):
            history.store(record(checks, number=number))
        history.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        before = (tmp_path / "history.db").stat().st_size
        history.keep_house(Limits(most_bytes=100_000, most_runs=30))
        history.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        assert len(queries.runs(history)) == 30
        assert len(queries.failing(history)) == 100  # the newest word on each check stays
        assert (tmp_path / "history.db").stat().st_size < before * 0.6


def test_a_failing_statement_rolls_the_whole_run_back(history):
    history.connection.execute(
        "CREATE TEMP TRIGGER full BEFORE INSERT ON latest_finding "
        "BEGIN SELECT raise(FAIL, 'database or disk is full'); END"
    )
    with pytest.raises(sqlite3.Error, match="full"):
        history.store(record())
    assert rows(history, "SELECT count(*) FROM run") == [(0,)]
    assert rows(history, "SELECT count(*) FROM machine") == [(0,)]
