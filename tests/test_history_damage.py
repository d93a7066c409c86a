"""A damaged, foreign or unusable file of the history is said and set aside, and stops nothing."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import time

import pytest
from history_support import BEGIN, finding, record, rows
from machine_support import as_nobody, needs_root, open_folder, tmpfs

from modelmedic.facts import mounts
from modelmedic.history import database, keeping, queries
from modelmedic.history.schema import MIGRATIONS
from modelmedic.history.store import History


def fill(state, runs=3):
    checks = dict.fromkeys([f"x.check-{n}" for n in range(200)], "failed")
    with History.open(state, clock=lambda: BEGIN) as history:
        for number in range(runs):
            history.store(record(checks, number=number))


def garbage(path):
    path.write_bytes(os.urandom(5000))


def head_lost(path):
    path.write_bytes(b"\0" * 100 + path.read_bytes()[100:])


def other_tables(path):
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE diary (text)")
    path.chmod(0o600)


def table_gone(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE heal")


def trigger_added(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TRIGGER t AFTER INSERT ON run BEGIN DELETE FROM run; END")


def newer(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")


def readable_by_others(path):
    path.chmod(0o644)


def a_folder(path):
    path.unlink()
    path.mkdir()


def a_link(path):
    path.rename(path.with_name("elsewhere.db"))
    path.symlink_to("elsewhere.db")


DAMAGES = [
    (garbage, "not a database"),
    (head_lost, "not a database"),
    (other_tables, "it holds other tables"),
    (table_gone, "its tables are not ours, heal for one"),
    (trigger_added, "its tables are not ours, t for one"),
    (readable_by_others, "others may read or write it"),
    (a_folder, "no regular file"),
    (a_link, "it is a link"),
]


@pytest.mark.skipif(sys.platform == "win32", reason="modes and links of POSIX")
@pytest.mark.parametrize(("damage", "words"), DAMAGES, ids=[d.__name__ for d, _ in DAMAGES])
def test_what_cannot_be_ours_is_set_aside_under_a_dated_name_and_said(tmp_path, damage, words):
    fill(tmp_path)
    damage(tmp_path / "history.db")
    lay = (tmp_path / "history.db").lstat().st_ino
    with History.open(tmp_path, is_read_only=True, clock=lambda: BEGIN) as history:
        assert history.trouble  # who only reads changes nothing
        assert queries.runs(history) == []
    assert (tmp_path / "history.db").lstat().st_ino == lay
    with History.open(tmp_path, clock=lambda: BEGIN) as history:
        assert words in history.trouble
        assert "history.db.aside-20260921-141320" in history.trouble
        assert history.is_kept
        assert history.store(record())
    assert (tmp_path / "history.db.aside-20260921-141320").lstat().st_ino == lay
    with History.open(tmp_path) as history:
        assert history.trouble == ""
        assert len(queries.runs(history)) == 1


def test_what_a_newer_version_wrote_is_left_for_it_and_said(tmp_path):
    fill(tmp_path)
    newer(tmp_path / "history.db")
    before = (tmp_path / "history.db").read_bytes()
    told = keeping.keep(tmp_path, record(number=99))
    assert "a newer modelmedic wrote it" in told
    assert "not kept" in told
    assert "aside" not in told
    assert (tmp_path / "history.db").read_bytes() == before
    assert not list(tmp_path.glob("*aside*"))


def test_what_an_older_version_wrote_is_brought_up_to_date_by_who_writes_and_said_to_who_reads(
    tmp_path,
):
    with contextlib.closing(sqlite3.connect(tmp_path / "history.db")) as connection:
        connection.executescript(f"{MIGRATIONS[0]}; PRAGMA user_version = 1;")
    (tmp_path / "history.db").chmod(0o600)
    with History.open(tmp_path, is_read_only=True) as history:
        assert "an older modelmedic wrote it" in history.trouble
        assert not history.is_kept
    assert keeping.keep(tmp_path, record()) == ""
    with History.open(tmp_path, is_read_only=True) as history:
        assert history.trouble == ""
        assert len(queries.runs(history)) == 1


def test_damage_that_shows_only_while_storing_is_set_aside_and_the_run_is_stored(tmp_path):
    fill(tmp_path, runs=20)
    path = tmp_path / "history.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'finding'")
    with path.open("r+b") as stream:  # the table of tables is whole
        stream.seek((page[0] - 1) * 4096)
        stream.write(os.urandom(4096))
    with History.open(tmp_path) as history:
        assert history.trouble == ""
    trouble = keeping.keep(tmp_path, record(number=99), clock=lambda: BEGIN)
    assert "cannot be used" in trouble
    assert "history.db.aside-" in trouble
    with History.open(tmp_path) as history:
        assert [run.is_own for run in queries.runs(history)] == [True]


@pytest.mark.parametrize("value", [2**70, {}], ids=["too large", "no number"])
def test_a_value_that_no_record_should_hold_costs_only_the_run(tmp_path, value):
    told = keeping.keep(tmp_path, record(found=[finding(seconds=value)]))
    assert told.startswith("This run is not in the history: ")
    assert keeping.keep(tmp_path, record()) == ""


def test_two_damages_in_one_second_keep_both_files(tmp_path):
    for _ in range(2):
        fill(tmp_path)
        garbage(tmp_path / "history.db")
    fill(tmp_path)
    assert len(list(tmp_path.glob("history.db.aside-*[0-9]"))) == 2


def test_a_state_folder_that_is_none_costs_only_the_history(tmp_path):
    (tmp_path / "state").write_text("a file")
    with History.open(tmp_path / "state") as history:
        assert "cannot be used" in history.trouble
        assert "not kept" in history.trouble
        assert not history.is_kept
        history.store(record())  # who asks works on, in memory
        assert len(queries.runs(history)) == 1
    assert "cannot be used" in keeping.keep(tmp_path / "state", record())


@needs_root
def test_a_folder_that_may_not_be_written_costs_only_the_history():
    with open_folder() as folder, as_nobody():
        assert "unable to open" in (told := keeping.keep(folder, record())) or "denied" in told


def test_a_lock_that_another_process_keeps_is_waited_for_and_then_said(tmp_path, monkeypatch):
    fill(tmp_path)
    monkeypatch.setattr(database, "WAIT_SECONDS", 0.2)
    with contextlib.closing(sqlite3.connect(tmp_path / "history.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        told = keeping.keep(tmp_path, record(number=50))
        assert told == "This run is not in the history: database is locked"
        other.rollback()
    assert keeping.keep(tmp_path, record(number=50)) == ""
    assert not list(tmp_path.glob("*aside*"))


@needs_root
def test_a_full_disk_costs_only_the_run_and_later_ones_are_stored_again():
    checks = dict.fromkeys([f"x.check-{n}" for n in range(8000)], "failed")
    with tmpfs("size=1m") as folder:
        fill(folder, runs=1)
        assert "full" in keeping.keep(folder, record(checks, number=5))
        assert not list(folder.glob("*aside*"))
        assert keeping.keep(folder, record({"x.one": "passed"}, number=6)) == ""
        with History.open(folder) as history:
            assert rows(history, "PRAGMA integrity_check") == [("ok",)]
            assert len(queries.runs(history)) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="mounts are asked on Linux")
def test_on_a_network_file_system_it_warns_and_works_without_wal(tmp_path, monkeypatch):
    info = tmp_path / "mountinfo"
    info.write_text("36 35 98:0 / / rw - ext4 /dev/a rw\n"
                    f"37 36 98:1 / {tmp_path.resolve()} rw - nfs4 host:/x rw\n")  # fmt: skip
    monkeypatch.setattr(mounts, "MOUNTINFO", info)
    with History.open(tmp_path / "state") as history:
        assert "network file system (nfs4)" in history.trouble
        assert history.is_kept
        assert rows(history, "PRAGMA journal_mode") == [("delete",)]
        assert history.store(record())
    info.write_text("36 35 98:0 / / rw - ext4 /dev/a rw\n")
    with History.open(tmp_path / "state") as history:
        assert history.trouble == ""
        assert rows(history, "PRAGMA journal_mode") == [("wal",)]
        assert len(queries.runs(history)) == 1


def test_an_older_file_gets_the_tables_that_came_later(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "history.db")) as connection:
        connection.executescript(MIGRATIONS[0])
        connection.execute("INSERT INTO machine VALUES (1, 'machine:00000000bb', 0, '', 1, 2)")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    (tmp_path / "history.db").chmod(0o600)
    with History.open(tmp_path) as history:
        assert history.trouble == ""
        assert history.store(record())
        assert [machine.runs for machine in queries.machines(history)] == [1]


def test_reading_where_there_is_nothing_makes_nothing(tmp_path):
    with History.open(tmp_path / "state", is_read_only=True) as history:
        assert history.trouble == ""
        assert queries.runs(history) == []
    assert not (tmp_path / "state").exists()


def test_who_reads_is_not_held_up_by_who_writes(tmp_path):
    fill(tmp_path)
    with History.open(tmp_path) as writer, writer.writing():
        begun = time.monotonic()
        with History.open(tmp_path, is_read_only=True) as reader:
            assert len(queries.runs(reader)) == 3
        assert time.monotonic() - begun < database.WAIT_SECONDS
