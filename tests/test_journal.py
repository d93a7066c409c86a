# ruff: noqa: F401, F811 - fixtures are imported from engine_support
"""The journal is whole or says so: full disks, torn lines, other hosts, lines of a wrong form."""

from __future__ import annotations

import errno
import json
import os
import platform
from pathlib import Path

import pytest
from engine_support import hub, install, operation, plan_of, snapshot
from support import make_context

from modelmedic.errors import CannotTell, RecoveryRefused
from modelmedic.healing import journal as journals
from modelmedic.healing.engine import Engine, undo_run
from modelmedic.healing.journal import CannotWrite, Journal
from modelmedic.operations.durable import write_all
from modelmedic.operations.kinds import MakeDir


@pytest.fixture
def engine(install):
    return Engine(make_context(install))


def full_after(monkeypatch, room_bytes):
    """Let the disk take so many bytes more: a short write first, then the error, as Linux does."""
    real, left = os.write, [room_bytes]

    def write(handle, data):
        data = bytes(data)[: left[0]]
        if not data:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left[0] -= len(data)
        return real(handle, data)

    monkeypatch.setattr(os, "write", write)


def test_a_short_write_is_followed_by_the_rest(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, bytes(data)[:7]))
    handle = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT, 0o600)
    write_all(handle, b"whole " * 100)
    os.close(handle)
    assert (tmp_path / "file").read_bytes() == b"whole " * 100


@pytest.mark.parametrize("room_bytes", [0, 1, 50])
def test_a_full_disk_leaves_no_torn_line(tmp_path, monkeypatch, room_bytes):
    journal = Journal(tmp_path / "deep" / "journals" / "run.jsonl")
    journal.add("open", run="run")
    before = journal.path.read_bytes()
    with monkeypatch.context() as patch:
        full_after(patch, room_bytes)
        with pytest.raises(CannotWrite, match=r"could not be written: No space left") as refused:
            journal.add("repair", repair="1", recovery="r" * 200, check="c")
    assert "Free space" in refused.value.next_step
    assert journal.path.read_bytes() == before


@pytest.mark.parametrize("room_bytes", [0, 40, 300])
def test_a_journal_on_a_full_disk_refuses_before_anything_is_touched(
    install, engine, monkeypatch, room_bytes
):
    before = snapshot(install)
    with engine.locked(), monkeypatch.context() as patch:
        full_after(patch, room_bytes)
        with pytest.raises(RecoveryRefused, match="nothing was touched"):
            engine.apply(plan_of(operation("replace_file", install, None)))
    assert snapshot(install) == before


def test_a_journal_that_cannot_be_written_does_not_keep_the_files_from_being_put_back(
    install, engine, monkeypatch
):
    before = snapshot(install)
    with engine.locked():
        applied = engine.apply(plan_of(MakeDir("outputs"), MakeDir("models")))
        with monkeypatch.context() as patch:
            full_after(patch, 0)
            said = engine.undo(applied)
    assert snapshot(install) == before
    assert "could not be written down" in said
    with engine.locked():  # nobody noted it: it is done again, and changes nothing
        assert "was undone" in engine.finish_interrupted()[0]
        assert engine.finish_interrupted() == []
    assert snapshot(install) == before


def test_undo_by_name_says_that_it_could_not_be_noted(install, engine, monkeypatch):
    before = snapshot(install)
    with engine.locked():
        engine.keep(engine.apply(plan_of(operation("replace_file", install, None))))
    with monkeypatch.context() as patch:
        full_after(patch, 0)
        (told,) = undo_run(engine.context.state_dir, install)
    assert "was undone" in told
    assert "could not be written down" in told
    assert snapshot(install) == before


def test_a_repair_that_cannot_be_recorded_as_kept_is_refused(install, engine, monkeypatch):
    with engine.locked():
        applied = engine.apply(plan_of(MakeDir("outputs")))
        with monkeypatch.context() as patch:
            full_after(patch, 0)
            with pytest.raises(RecoveryRefused, match="could not be written"):
                engine.keep(applied)
        engine.undo(applied)
    assert not (install / "outputs").exists()


def test_a_state_folder_that_is_a_file_is_refused_with_words(install):
    engine = Engine(make_context(install))
    engine.context.state_dir.write_text("in the way")
    with pytest.raises(RecoveryRefused, match="Not a directory") as refused, engine.locked():
        pass
    assert "Look what lies there" in str(refused.value)
    with pytest.raises(RecoveryRefused, match="cannot be read: Not a directory"):
        engine.apply(plan_of(MakeDir("outputs")))
    assert not (install / "outputs").exists()


def test_an_unreadable_folder_of_journals_is_not_an_empty_one(install, engine, monkeypatch):
    with engine.locked():
        engine.apply(plan_of(MakeDir("outputs")))
    folder, real = engine.journal.path.parent, os.scandir

    def scandir(path):
        if str(path) == str(folder):  # as root sees every folder, it is denied here
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(CannotTell, match="Permission denied"):
        undo_run(engine.context.state_dir, install)
    with engine.locked(), pytest.raises(CannotTell, match="cannot be read"):
        engine.finish_interrupted()
    assert engine.generation() == 0


def test_one_unreadable_journal_does_not_keep_the_others_from_being_finished(install):
    older = Engine(make_context(install, run_id="run-1"))
    newer = Engine(make_context(install, run_id="run-2"))
    with older.locked():
        older.apply(plan_of(MakeDir("outputs")))
        newer.apply(plan_of(MakeDir("models")))
    newer.journal.path.chmod(0o644)
    with older.locked():
        told = older.finish_interrupted()
    assert "others may read or write" in told[0]
    assert "run-1) was undone" in told[1]
    assert not (install / "outputs").exists()


def test_another_machine_with_the_same_home_is_not_undone_by_itself(install, engine, monkeypatch):
    with engine.locked():
        engine.apply(plan_of(MakeDir("outputs")))  # at work there, or killed
    before = engine.generation()
    monkeypatch.setattr(platform, "node", lambda: "another-machine.example")
    here = Engine(make_context(install, run_id="run-2"))
    assert here.generation() == before > 0
    assert journals.pending(here.context.state_dir, install) == []
    with here.locked():
        (told,) = here.finish_interrupted()
    assert "did not end on" in told
    assert f"modelmedic undo {engine.context.run_id}" in told
    with pytest.raises(RecoveryRefused, match="Nothing was undone"):
        undo_run(here.context.state_dir, install)
    assert (install / "outputs").is_dir()
    undo_run(here.context.state_dir, install, engine.context.run_id)  # asked for by name
    assert not (install / "outputs").exists()


def test_a_machine_keeps_its_journals_when_its_domain_changes(install, monkeypatch):
    monkeypatch.setattr(platform, "node", lambda: "Desk.home")
    first = journals.folder(install, install)
    monkeypatch.setattr(platform, "node", lambda: "desk.lan")
    assert journals.folder(install, install) == first


def test_the_generation_grows_with_the_repair_of_another_process(install):
    mine = Engine(make_context(install, run_id="run-1"))
    other = Engine(make_context(install, run_id="run-2"))
    before = mine.generation()
    with other.locked():
        other.keep(other.apply(plan_of(MakeDir("outputs"))))
    assert mine.generation() > before


WRONG = [
    {"event": ["open"]},
    {"event": "open", "install": 5},
    {"event": "repair"},
    {"event": "repair", "repair": "1", "recovery": None, "check": 7},
    {"event": "before", "repair": "1"},
    {"event": "before", "repair": "1", "seq": "0", "operation": {}, "note": {}},
    {"event": "before", "repair": "1", "seq": 1, "operation": 5, "note": {}},
    {"event": "before", "repair": "1", "seq": 2, "operation": {"kind": "new"}, "note": {}},
    {"event": "before", "repair": "1", "seq": 3,
     "operation": {"kind": "rename", "path": "a", "target": "b", "was": [1, 2]}, "note": {}},
    {"event": "before", "repair": "1", "seq": 4,
     "operation": {"kind": "set_aside", "path": "settings.json", "was": [1, 2]},
     "note": {"old": None, "new": 5, "aside": "../../etc/x", "private_inode": -1}},
    {"event": "noted", "repair": "1"},
    {"event": "after", "repair": "1", "seq": [], "note": 5},
    {"event": "undid", "repair": "1", "seq": {}},
    {"event": "verdict", "repair": "1"},
    {"event": "verdict", "repair": "1", "verdict": []},
    {"event": "verdict", "repair": "nobody", "verdict": "kept"},
    [], 5, None,
]  # fmt: skip


def test_lines_of_a_wrong_form_are_no_crash_and_hide_no_step(install, engine):
    before = snapshot(install)
    with engine.locked():
        engine.apply(plan_of(MakeDir("outputs")))
    with engine.journal.path.open("ab") as stream:
        stream.write(b"[" * 100_000 + b"\n\xff\xfe\x00\n")
        stream.writelines(json.dumps(line).encode() + b"\n" for line in WRONG)
    assert engine.journal.head()["run"] == engine.context.run_id
    with engine.locked():
        told = engine.finish_interrupted()
    assert any("was undone" in line for line in told)
    (refused,) = [line for line in told if "was interrupted" in line]
    assert refused.count("cannot be read") == 5
    assert "not where modelmedic keeps files" in refused
    assert snapshot(install) == before
    with engine.locked():
        assert engine.finish_interrupted() == []


def test_a_journal_and_its_folders_are_on_the_disk_before_its_first_line(tmp_path, monkeypatch):
    synced, real = [], os.fsync

    def fsync(handle):
        synced.append(Path(f"/proc/self/fd/{handle}").readlink())
        real(handle)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("tells a descriptor's path only on Linux")
    monkeypatch.setattr(os, "fsync", fsync)
    journal = Journal(tmp_path / "state" / "journals" / "run.jsonl")
    journal.add("open")
    names = [os.path.relpath(path, tmp_path) for path in synced]
    assert names == [".", "state", "state/journals", "state/journals/run.jsonl"]
    journal.add("repair")
    assert len(synced) == 5
    assert journal.path.parent.stat().st_mode & 0o777 == 0o700
