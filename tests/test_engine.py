# ruff: noqa: F401, F811 - fixtures are imported from engine_support
"""The engine applies a plan whole or not at all, and any later process can undo it."""

from __future__ import annotations

import os

import pytest
from engine_support import (
    GOOD,
    SHA,
    engine_for,
    hub,
    install,
    operation,
    plan_of,
    snapshot,
    was,
)

from modelmedic.errors import RecoveryRefused
from modelmedic.healing.engine import undo_run
from modelmedic.operations import mounts
from modelmedic.operations.kinds import MakeDir, ReplaceFile, SetAside

needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root"
)


def test_a_failing_step_puts_the_earlier_ones_back(install):
    before = snapshot(install)
    engine = engine_for(install)
    plan = plan_of(
        MakeDir("outputs"),
        ReplaceFile("settings.json", "{}", was(install, "settings.json")),
        MakeDir("model"),
    )
    with engine.locked(), pytest.raises(RecoveryRefused, match="lies there already"):
        engine.apply(plan)
    assert snapshot(install) == before


def test_a_kept_repair_can_be_undone_by_a_later_process(install):
    before = snapshot(install)
    engine = engine_for(install)
    with engine.locked():
        engine.keep(
            engine.apply(
                plan_of(MakeDir("outputs"), SetAside("stale.lock", was(install, "stale.lock")))
            )
        )
    assert snapshot(install) != before
    told = undo_run(engine.context.state_dir, install)
    assert len(told) == 1
    assert "some_recovery for some.check" in told[0]
    assert snapshot(install) == before
    assert undo_run(engine.context.state_dir, install) == []


def test_an_unknown_run_cannot_be_undone(install):
    with pytest.raises(RecoveryRefused, match="No repair"):
        undo_run(install.parent / "state", install, "nonsense")


def test_a_journal_others_may_write_is_refused(install):
    engine = engine_for(install)
    with engine.locked():
        engine.keep(engine.apply(plan_of(MakeDir("outputs"))))
    engine.journal.path.chmod(0o666)
    with pytest.raises(RecoveryRefused, match="others may read or write"):
        undo_run(engine.context.state_dir, install)
    assert (install / "outputs").is_dir()


def test_a_budget_refuses_before_anything_is_touched(install, hub):
    before = snapshot(install)
    engine = engine_for(install, fetch_bytes=10)
    with engine.locked(), pytest.raises(RecoveryRefused, match="budget in bytes"):
        engine.apply(plan_of(operation("fetch_file", install, hub)))
    assert snapshot(install) == before
    assert not hub.requests


@pytest.mark.parametrize(
    ("name", "path"), [("fetch_missing", "model/c.bin"), ("fetch_file", "model/a.bin")]
)
def test_a_file_somebody_puts_there_during_the_fetch_is_left_alone(install, hub, name, path):
    engine = engine_for(install)
    engine.shop.progress = lambda *_told: (install / path).write_bytes(b"mine, newer")
    with engine.locked(), pytest.raises(RecoveryRefused, match="while the repair was at work"):
        engine.apply(plan_of(operation(name, install, hub)))
    assert (install / path).read_bytes() == b"mine, newer"


def test_one_repair_that_cannot_be_undone_does_not_keep_the_others(install):
    engine = engine_for(install)
    with engine.locked():
        engine.keep(engine.apply(plan_of(operation("set_aside", install, None))))
        engine.keep(engine.apply(plan_of(operation("replace_file", install, None))))
    (install / "settings.json").write_text("precious")
    with pytest.raises(RecoveryRefused, match=r"settings\.json.*changed after"):
        undo_run(engine.context.state_dir, install)
    assert (install / "stale.lock").exists()
    assert (install / "settings.json").read_text() == "precious"


def test_a_torn_or_lost_journal_line_costs_no_other(install):
    engine = engine_for(install)
    with engine.locked():
        engine.apply(plan_of(MakeDir("outputs")))
    with engine.journal.path.open("ab") as stream:
        stream.write(b'{"event": "noted", "rep')
    engine.journal.add("after", repair="nobody", seq=9, note={})
    engine.journal.add("after", repair=engine.journal.repairs()[0].number, seq=9, note={})
    with engine.locked():
        assert len(engine.finish_interrupted()) == 1
    assert not (install / "outputs").exists()


def test_a_planted_link_does_not_lead_the_lock_elsewhere(install, tmp_path):
    (tmp_path / "outside").mkdir()
    (install / ".modelmedic").symlink_to(tmp_path / "outside")
    with pytest.raises(RecoveryRefused, match="not a folder"), engine_for(install).locked():
        pass
    assert not list((tmp_path / "outside").iterdir())


@needs_root
def test_root_does_not_work_in_another_users_install(install):
    os.chown(install, 65534, 65534)
    engine = engine_for(install)
    with pytest.raises(RecoveryRefused, match="as root"), engine.locked():
        pass
    with pytest.raises(RecoveryRefused, match="as root"):
        engine.apply(plan_of(MakeDir("outputs")))
    assert not (install / "outputs").exists()
    assert not (install / ".modelmedic").exists()


def test_a_folder_that_holds_files_now_is_kept_and_the_repair_counts_as_undone(install):
    engine = engine_for(install)
    with engine.locked():
        engine.keep(engine.apply(plan_of(MakeDir("outputs"), MakeDir("models"))))
    (install / "outputs" / "film.mp4").write_text("mine")
    told = undo_run(engine.context.state_dir, install)
    assert "outputs was kept: it holds files now" in told[0]
    assert (install / "outputs" / "film.mp4").exists()
    assert not (install / "models").exists()
    assert undo_run(engine.context.state_dir, install) == []


@needs_root
def test_root_does_not_work_in_a_folder_of_another_user_below_the_install(install):
    os.chown(install / "model", 65534, 65534)
    engine = engine_for(install)
    with engine.locked(), pytest.raises(RecoveryRefused, match=r"model belongs to another user"):
        engine.apply(plan_of(MakeDir("model/new")))
    assert not (install / "model" / "new").exists()


@needs_root
def test_root_does_not_undo_in_another_users_install(install):
    engine = engine_for(install)
    with engine.locked():
        engine.keep(engine.apply(plan_of(MakeDir("model/new"))))
        engine.apply(plan_of(MakeDir("model/newer")))  # as if killed
    os.chown(install / "model", 65534, 65534)
    with engine.locked():
        (told,) = engine.finish_interrupted()
    assert "is not put back yet" in told
    with pytest.raises(RecoveryRefused, match="as root"):
        undo_run(engine.context.state_dir, install)
    os.chown(install, 65534, 65534)
    with pytest.raises(RecoveryRefused, match="as root"):
        undo_run(engine.context.state_dir, install)
    assert (install / "model" / "new").is_dir()
    assert (install / "model" / "newer").is_dir()
    os.chown(install, 0, 0)
    os.chown(install / "model", 0, 0)
    with engine.locked():  # it stayed pending: nobody undid it, and nobody gave it up
        assert "was undone" in engine.finish_interrupted()[0]
    undo_run(engine.context.state_dir, install)
    assert not (install / "model" / "new").exists()


def fetches(install, hub, monkeypatch, free):
    monkeypatch.setattr(mounts, "free_bytes", lambda _tree: free)
    plan = plan_of(*(operation(n, install, hub) for n in ("fetch_file", "fetch_missing")))
    return plan, engine_for(install)


def test_a_set_of_files_that_the_disk_cannot_hold_is_not_begun(install, hub, monkeypatch):
    before = snapshot(install)
    plan, engine = fetches(install, hub, monkeypatch, 2 * len(GOOD) - 1)  # each alone would fit
    with engine.locked(), pytest.raises(RecoveryRefused, match="2 files together need"):
        engine.apply(plan)
    with pytest.raises(RecoveryRefused, match="2 files together need"):
        engine.refuse(plan)
    assert snapshot(install) == before
    assert not hub.requests


def test_a_set_of_files_that_the_disk_holds_with_what_is_there_is_fetched(
    install, hub, monkeypatch
):
    plan, engine = fetches(install, hub, monkeypatch, 2 * len(GOOD) - 50)
    engine.shop.tree.make_own_folder(".modelmedic/parts")
    (install / ".modelmedic/parts" / SHA).write_bytes(GOOD[:50])
    with engine.locked():
        assert engine.apply(plan).fetched_bytes
    assert (install / "model/c.bin").read_bytes() == GOOD
