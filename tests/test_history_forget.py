"""What is forgotten is gone, its bytes too; what is left is as if it had never been stored."""

from __future__ import annotations

import sqlite3

import pytest
from evidence_support import entry
from history_support import BEGIN, OTHER, attempt, bytes_of, finding, inventory, record, rows

from modelmedic.healing.evidence_log import EvidenceLog
from modelmedic.history import forgetting, queries
from modelmedic.history.store import History

THIRD = "machine:00000000cc"
SECRET = "zanzibar-quagmire"


@pytest.fixture
def history(tmp_path):
    with History.open(tmp_path / "state", clock=lambda: BEGIN) as history:
        yield history


def secret_record(number=1, machine=OTHER):
    """A record with the word in every place that a record has for one."""
    found = [
        finding(f"{SECRET}.a[{SECRET}]", "failed", what=SECRET * 50, why=SECRET, title=SECRET,
                area=SECRET, failure_id=SECRET, severity=SECRET, blocked_by=SECRET),
        finding(f"{SECRET}.b", "healed", attempts=[attempt(SECRET)]),
    ]  # fmt: skip
    kept = inventory(packages={SECRET: SECRET}, files={SECRET: 1}, driver=SECRET)
    return record(
        found=found, kept=kept, number=number, machine=machine, install_dir=SECRET, profile=SECRET,
        modelmedic=SECRET,
    )  # fmt: skip


def everything(history):
    tables = rows(history, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    return {name: rows(history, f"SELECT * FROM {name} ORDER BY 1, 2") for (name,) in tables}


def test_a_forgotten_run_leaves_no_byte_and_the_rest_as_it_was(history):
    for number in (1, 3):
        history.store(record({"x.one": "failed"}, number=number, kept=inventory()))
    before = everything(history)
    history.store(secret_record(number=2))
    assert SECRET.encode() in bytes_of(history.state_dir)
    done = forgetting.forget_runs(history, [queries.find_run(history, "20260921-161320")])
    assert (done.runs, done.left) == (1, ())
    assert SECRET.encode() not in bytes_of(history.state_dir)
    assert everything(history) == before


def test_without_a_run_the_newest_word_is_that_of_the_runs_that_are_left(history):
    for number, outcome in enumerate(["passed", "failed", "passed"]):
        history.store(record({"x.one": outcome}, number=number))
    forgetting.forget_runs(history, queries.runs(history, limit=1))
    ((outcome, since, flaps),) = rows(history, "SELECT outcome, since, flaps FROM latest_finding")
    assert (outcome, since, flaps) == ("failed", BEGIN + 3600, 1)
    assert rows(history, "SELECT last_seen FROM machine") == [(BEGIN + 3600,)]


def test_a_forgotten_machine_takes_all_of_its_own_and_nothing_of_others(history):
    history.store(record(number=1, machine=THIRD))
    before = everything(history)
    for number in range(3):
        history.store(secret_record(number=number))
    machine = queries.find_machine(history, OTHER)
    history.label(machine.id, SECRET)
    history.add_minutes([(SECRET, 60, 1.0, 1.0, 1.0, 1.0, 1)], machine=machine.id)
    done = forgetting.forget_machine(history, machine)
    assert done.runs == 3
    assert everything(history) == before
    assert SECRET.encode() not in bytes_of(history.state_dir)


def test_what_is_older_than_a_moment_goes_of_all_machines(history):
    for number, machine in ((1, OTHER), (2, THIRD), (5, OTHER)):
        history.store(record({"x.one": "failed"}, number=number, machine=machine))
    history.add_minutes([("disk.free_bytes", BEGIN, 1.0, 1.0, 1.0, 1.0, 1)])
    history.add_alert(key="k", severity="warning", text="t", first_at=BEGIN, last_at=BEGIN)
    done = forgetting.forget_before(history, BEGIN + 3 * 3600)
    assert done.runs == 2
    assert [run.machine for run in queries.runs(history)] == [OTHER]
    assert [each.since for each in queries.failing(history)] == [BEGIN + 5 * 3600]
    assert rows(history, "SELECT count(*) FROM minute") == [(0,)]
    assert rows(history, "SELECT count(*) FROM alert") == [(0,)]


def test_everything_goes_with_the_files_that_were_set_aside(history):
    history.store(secret_record())
    EvidenceLog(history.state_dir).add(entry(1))
    history.take_in_repairs()
    (history.state_dir / "history.db.aside-20260101-000000").write_text(SECRET)
    assert forgetting.forget_all(history).runs == 1
    kept = {name for name, found in everything(history).items() if found}
    assert kept == set()
    assert SECRET.encode() not in bytes_of(history.state_dir)
    history.store(record(), is_own=True)  # and it goes on


def test_a_file_set_aside_is_named_when_one_run_is_forgotten(history):
    history.store(record())
    (history.state_dir / "history.db.aside-20260101-000000").write_text("x")
    done = forgetting.forget_runs(history, queries.runs(history))
    assert "history.db.aside-20260101-000000 was set aside" in done.left[0]


class NoRoom:
    """A connection on a disk that has no room for a copy of the file."""

    def __init__(self, connection):
        self.connection = connection

    def __getattr__(self, name):
        return getattr(self.connection, name)

    def execute(self, text, *values):
        if text == "VACUUM":
            raise sqlite3.OperationalError("database or disk is full")
        return self.connection.execute(text, *values)


def test_where_there_is_no_room_to_write_it_anew_that_is_said_and_no_other_process_blamed(history):
    history.store(secret_record())
    history.connection = NoRoom(history.connection)
    done = forgetting.forget_runs(history, queries.runs(history))
    assert "could not be written anew" in done.left[0]
    assert "Another process" not in done.left[0]
    assert done.runs == 1


def test_who_still_reads_is_said_and_the_bytes_go_with_the_next_chance(tmp_path, history):
    history.store(secret_record())
    history.connection.execute("PRAGMA busy_timeout = 100")
    with History.open(tmp_path / "state", is_read_only=True) as reader:
        reader.connection.execute("BEGIN")
        reader.connection.execute("SELECT * FROM run").fetchone()
        done = forgetting.forget_runs(history, queries.runs(history))
        assert "Another process has the history open" in done.left[0]
    forgetting.forget_runs(history, [])
    assert SECRET.encode() not in bytes_of(history.state_dir)
