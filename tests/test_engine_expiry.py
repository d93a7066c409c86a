# ruff: noqa: F401, F811 - fixtures are imported from engine_support
"""Kept files are let go by age and bytes, never those that the last repairs still need."""

from __future__ import annotations

import os

import pytest
from engine_support import GOOD, SHA, hub, install, operation, plan_of, was
from support import make_context

from modelmedic.errors import RecoveryRefused
from modelmedic.healing.engine import Engine, undo_run
from modelmedic.operations import expiry
from modelmedic.operations.kinds import Rename

PARTS = ".modelmedic/parts"


def run(install, run_id):
    return Engine(make_context(install, run_id=run_id))


def repaired(engine, *operations):
    with engine.locked():
        engine.keep(engine.apply(plan_of(*operations)))


def kept(install):
    folder = install / ".modelmedic" / "aside"
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def small(monkeypatch):
    """Let three bytes be too much."""
    monkeypatch.setattr(expiry, "KEEP_BYTES", 3)


def test_what_this_run_kept_stays_whatever_its_size_and_that_is_said(install, small):
    engine = run(install, "run-1")
    repaired(engine, operation("replace_file", install, None))
    told = []
    assert engine.expire(told.append) == 0
    assert "Replaced files of the newest repairs take 7 bytes, more than the 3 bytes" in told[0]
    assert len(told) == 1
    undo_run(engine.context.state_dir, install)
    assert (install / "settings.json").read_text() == "{broken"


def test_what_an_older_run_kept_goes_by_bytes_and_undo_says_so(install, small):
    repaired(run(install, "run-1"), operation("replace_file", install, None))
    newer = run(install, "run-2")
    repaired(newer, operation("set_aside", install, None))
    assert newer.expire() == len("{broken")
    with pytest.raises(RecoveryRefused, match="undo expired"):
        undo_run(newer.context.state_dir, install, "run-1")


def test_the_newest_run_that_repaired_stays_when_this_run_repaired_nothing(install, small):
    repaired(run(install, "run-1"), operation("replace_file", install, None))
    assert run(install, "run-2").expire() == 0
    assert len(kept(install)) == 1


def test_what_an_older_run_kept_goes_by_age(install, monkeypatch):
    repaired(run(install, "run-1"), operation("replace_file", install, None))
    newer = run(install, "run-2")
    repaired(newer, operation("set_aside", install, None))
    assert newer.expire() == 0
    monkeypatch.setattr(expiry, "KEEP_SECONDS", -1.0)
    assert newer.expire() == len("{broken")
    assert [path.name.endswith("-0") for path in kept(install)] == [True]  # the newer run's


def test_what_a_killed_run_needs_to_be_put_back_stays(install, small):
    killed = run(install, "run-1")
    with killed.locked():
        killed.apply(plan_of(operation("replace_file", install, None)))  # no verdict
    newer = run(install, "run-2")
    repaired(newer, operation("set_aside", install, None))
    assert newer.expire() == 0
    with newer.locked():
        newer.finish_interrupted()
    assert (install / "settings.json").read_text() == "{broken"


def test_a_shared_file_costs_nothing_so_letting_it_go_would_free_nothing(install, small, tmp_path):
    (tmp_path / "shared").hardlink_to(install / "settings.json")
    repaired(run(install, "run-1"), operation("replace_file", install, None))
    newer = run(install, "run-2")
    repaired(newer, operation("set_aside", install, None))
    assert newer.expire() == 0
    assert len(kept(install)) == 2


def test_half_fetched_files_go_by_bytes_but_not_those_of_a_repair_at_work(install, hub, small):
    (install / PARTS).mkdir(parents=True)
    (install / PARTS / "0123").write_bytes(b"of a repair long ago")
    engine = run(install, "run-1")
    (install / PARTS / SHA).write_bytes(GOOD[:50])
    with engine.locked():
        applied = engine.apply(plan_of(operation("fetch_file", install, hub)))
        engine.undo(applied)  # the proven bytes are a part again
    assert (install / PARTS / SHA).stat().st_size == len(GOOD)
    (install / PARTS / f"{SHA}.blocks").write_bytes(b"what proves it")
    told = []
    assert engine.expire(told.append) == len(b"of a repair long ago")
    assert (install / PARTS / SHA).stat().st_size == len(GOOD)
    assert (install / PARTS / f"{SHA}.blocks").exists()
    assert "Unfinished downloads of the newest repairs take" in told[0]


def test_kept_files_behind_a_link_are_not_let_go(install, small, tmp_path):
    outside = tmp_path / "outside"
    (outside / "run-0").mkdir(parents=True)
    (outside / "run-0" / "precious").write_text("precious")
    (install / ".modelmedic").mkdir()
    (install / ".modelmedic" / "aside").symlink_to(outside)
    told = []
    assert run(install, "run-1").expire(told.append) == 0
    assert "is a link" in told[0]
    assert (outside / "run-0" / "precious").exists()


def test_what_cannot_be_listed_is_said_and_is_no_crash(install, monkeypatch):
    engine = run(install, "run-1")
    repaired(engine, operation("set_aside", install, None))

    def denied(*_given):
        raise PermissionError(13, "Permission denied", "aside")

    monkeypatch.setattr(os, "scandir", denied)
    told = []
    assert engine.expire(told.append) == 0
    assert "Permission denied" in told[0]


def test_one_file_that_cannot_be_deleted_keeps_no_other(install, small, monkeypatch):
    older = run(install, "run-1")
    repaired(older, operation("replace_file", install, None))
    repaired(older, Rename("misplaced.bin", "x.bin", was(install, "misplaced.bin")))
    (install / PARTS / "stuck").write_bytes(b"stuck")
    (install / PARTS / "stuck2").write_bytes(b"loose")
    newer = run(install, "run-2")
    repaired(newer, operation("set_aside", install, None))
    real = os.unlink

    def unlink(name, **given):
        if name == "stuck":
            raise OSError(30, "Read-only file system", name)
        real(name, **given)

    monkeypatch.setattr(os, "unlink", unlink)
    told = []
    assert newer.expire(told.append) == len("{broken") + len("loose")
    assert "stuck could not be deleted" in told[0]


def test_what_a_run_of_another_state_folder_kept_goes_by_age_only(install, small, monkeypatch):
    """Another user of the install, or a container: the repair may wait there to be put back."""
    elsewhere = install.parent / "another-state"
    killed = Engine(make_context(install, run_id="run-1", state_dir=elsewhere))
    with killed.locked():
        killed.apply(plan_of(operation("replace_file", install, None)))
    newer = run(install, "run-2")
    repaired(newer, operation("set_aside", install, None))
    assert newer.expire() == 0
    with killed.locked():
        assert "was undone" in killed.finish_interrupted()[0]
    assert (install / "settings.json").read_text() == "{broken"
    with killed.locked():
        killed.apply(plan_of(operation("replace_file", install, None)))
    monkeypatch.setattr(expiry, "KEEP_SECONDS", -1.0)
    assert newer.expire() == len("{broken")
