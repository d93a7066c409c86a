"""Each operation does its change, knows its state, and undoes it; nothing leaves the tree."""

from __future__ import annotations

import dataclasses
import hashlib
import os

import pytest
from support import make_context

from modelmedic.errors import RecoveryFailed, RecoveryRefused
from modelmedic.healing.engine import Budget, Engine, Plan, undo_run
from modelmedic.operations import aside, kinds
from modelmedic.operations.aside import seen
from modelmedic.operations.base import Workshop
from modelmedic.operations.fetch_file import FetchFile
from modelmedic.operations.kinds import MakeDir, Rename, ReplaceFile, SetAside
from modelmedic.operations.tree import Tree
from modelmedic.testing.hub import LoopbackHub

GOOD = b"good bytes " * 10_000
SHA = hashlib.sha256(GOOD).hexdigest()


@pytest.fixture
def install(tmp_path):
    root = tmp_path / "install"
    (root / "model").mkdir(parents=True)
    (root / "model" / "a.bin").write_bytes(b"bad")
    (root / "settings.json").write_text("{broken")
    (root / "stale.lock").write_text("")
    (root / "misplaced.bin").write_bytes(GOOD)
    return root


@pytest.fixture
def hub():
    with LoopbackHub() as hub:
        hub.add_repo("org/model", {"a.bin": GOOD})
        yield hub


def was(install, path):
    return seen(Tree(install).identity(path))


def operation(name, install, hub):
    return {
        "make_dir": lambda: MakeDir("outputs"),
        "rename": lambda: Rename("misplaced.bin", "model/b.bin", was(install, "misplaced.bin")),
        "set_aside": lambda: SetAside("stale.lock", was(install, "stale.lock")),
        "replace_file": lambda: ReplaceFile(
            "settings.json", '{"a": 1}\n', was(install, "settings.json")
        ),
        "new_file": lambda: ReplaceFile("new.json", "{}\n", None),
        "fetch_file": lambda: FetchFile(
            "model/a.bin",
            len(GOOD),
            SHA,
            "",
            (f"{hub.endpoint}/org/model/resolve/main/a.bin",),
            was(install, "model/a.bin"),
        ),
        "fetch_missing": lambda: FetchFile(
            "model/c.bin",
            len(GOOD),
            SHA,
            "",
            (f"{hub.endpoint}/org/model/resolve/main/a.bin",),
            None,
        ),
    }[name]()


NAMES = (
    "make_dir",
    "rename",
    "set_aside",
    "replace_file",
    "new_file",
    "fetch_file",
    "fetch_missing",
)


def snapshot(root):
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(root.rglob("*"))
        if ".modelmedic" not in path.parts
    }


@pytest.mark.parametrize("name", NAMES)
def test_apply_inspect_undo_and_undo_again(name, install, hub):
    before = snapshot(install)
    change = operation(name, install, hub)
    shop = Workshop(Tree(install), "run")
    note = change.prepare(shop, "seat")
    assert change.inspect(shop, note) == "before"
    change.apply(shop, note)
    assert snapshot(install) != before
    assert change.inspect(shop, note) == "after"
    change.undo(shop, note)
    assert snapshot(install) == before
    change.undo(shop, note)
    assert snapshot(install) == before


@pytest.mark.parametrize("name", NAMES)
def test_an_operation_survives_json(name, install, hub):
    change = operation(name, install, hub)
    assert kinds.from_json(change.to_json()) == change
    assert change.describe()


@pytest.mark.parametrize("name", ["rename", "set_aside", "replace_file", "fetch_file"])
def test_a_file_changed_since_the_plan_is_refused(name, install, hub):
    change = operation(name, install, hub)
    target = install / change.path
    target.write_bytes(b"someone was here")
    before = snapshot(install)
    with pytest.raises(RecoveryRefused, match="changed since"):
        change.prepare(Workshop(Tree(install), "run"), "seat")
    assert snapshot(install) == before


@pytest.mark.parametrize("name", ["replace_file", "new_file", "fetch_file", "fetch_missing"])
def test_undo_refuses_what_someone_changed_after_the_repair(name, install, hub):
    change = operation(name, install, hub)
    shop = Workshop(Tree(install), "run")
    note = change.prepare(shop, "seat")
    change.apply(shop, note)
    (install / change.path).write_bytes(b"precious work of the user")
    with pytest.raises(RecoveryRefused, match="changed after"):
        change.undo(shop, note)
    assert (install / change.path).read_bytes() == b"precious work of the user"


@pytest.mark.parametrize(
    "path", ["../out", "/etc/passwd", "a/../../b", "a//b", "", "C:/x", "a\\..\\b", "a\0b", "./a"]
)
def test_no_path_leaves_the_tree(path, install):
    shop = Workshop(Tree(install), "run")
    with pytest.raises((RecoveryRefused, ValueError)):
        MakeDir(path).prepare(shop, "seat")


def test_a_linked_folder_on_the_way_is_not_followed(install, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (install / "link").symlink_to(outside)
    shop = Workshop(Tree(install), "run")
    with pytest.raises(RecoveryRefused, match="is a link"):
        ReplaceFile("link/x.json", "{}", None).prepare(shop, "seat")
    assert not list(outside.iterdir())


def test_a_fetch_that_fails_leaves_the_old_bytes_where_they_lie(install):
    change = FetchFile(
        "model/a.bin", len(GOOD), SHA, "", ("http://127.0.0.1:9/a",), was(install, "model/a.bin")
    )
    shop = Workshop(Tree(install), "run", extras={"sleep": lambda _s: None})
    note = change.prepare(shop, "seat")
    with pytest.raises(RecoveryFailed, match="old bytes are untouched"):
        change.apply(shop, note)
    assert (install / "model" / "a.bin").read_bytes() == b"bad"


def test_the_second_source_is_asked_when_the_first_is_down(install, hub):
    change = FetchFile(
        "model/a.bin",
        len(GOOD),
        SHA,
        "",
        ("http://127.0.0.1:9/a", f"{hub.endpoint}/org/model/resolve/main/a.bin"),
        was(install, "model/a.bin"),
    )
    shop = Workshop(Tree(install), "run", extras={"sleep": lambda _s: None})
    change.apply(shop, change.prepare(shop, "seat"))
    assert (install / "model" / "a.bin").read_bytes() == GOOD


def test_without_a_hash_nothing_is_fetched(install, hub):
    change = FetchFile("model/a.bin", 5, "", "", (hub.endpoint,), was(install, "model/a.bin"))
    with pytest.raises(RecoveryRefused, match="no hash"):
        change.prepare(Workshop(Tree(install), "run"), "seat")
    assert not hub.requests


def engine_for(install, **budget):
    return Engine(make_context(install), budget=Budget(**budget))


def later_engine(install):
    """The engine of a later run on the same install and state folder."""
    return Engine(dataclasses.replace(make_context(install), run_id="20260102-000000-later"))


def plan_of(*operations):
    return Plan("some_recovery", "some.check", "x::y", operations=list(operations))


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


def test_kept_files_expire_by_age_and_by_bytes_and_undo_says_so(install, monkeypatch):
    engine = engine_for(install)
    with engine.locked():
        engine.keep(engine.apply(plan_of(operation("set_aside", install, None))))
        engine.keep(engine.apply(plan_of(operation("replace_file", install, None))))
    assert engine.expire() == 0
    monkeypatch.setattr(aside, "KEEP_BYTES", 3)
    assert engine.expire() == 0  # what this run kept stays, however much it is
    engine = later_engine(install)
    assert engine.expire() == len("{broken")
    with pytest.raises(RecoveryRefused, match="undo expired"):
        undo_run(engine.context.state_dir, install)
    monkeypatch.setattr(aside, "KEEP_SECONDS", -1.0)
    engine.expire()
    assert not [p for p in (install / ".modelmedic" / "aside").rglob("*") if p.is_file()]


@pytest.mark.parametrize(
    ("name", "path"), [("fetch_missing", "model/c.bin"), ("fetch_file", "model/a.bin")]
)
def test_a_file_somebody_puts_there_during_the_fetch_is_left_alone(install, hub, name, path):
    engine = engine_for(install)
    engine.shop.progress = lambda *_told: (install / path).write_bytes(b"mine, newer")
    with engine.locked(), pytest.raises(RecoveryRefused, match="while the repair was at work"):
        engine.apply(plan_of(operation(name, install, hub)))
    assert (install / path).read_bytes() == b"mine, newer"


def test_a_file_fetched_by_hand_after_a_kill_is_not_taken_for_ours(install, hub):
    change = operation("fetch_missing", install, hub)
    shop = Workshop(Tree(install), "run")
    note = change.prepare(shop, "seat")  # killed right after this
    (install / "model" / "c.bin").write_bytes(GOOD)
    change.undo(shop, note)
    assert (install / "model" / "c.bin").read_bytes() == GOOD


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


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_root_does_not_work_in_another_users_install(install):
    os.chown(install, 65534, 65534)
    engine = engine_for(install)
    with engine.locked(), pytest.raises(RecoveryRefused, match="as root"):
        engine.apply(plan_of(MakeDir("outputs")))
    assert not (install / "outputs").exists()


def test_the_new_file_of_a_link_gets_usual_permissions(install, hub):
    (install / "model" / "c.bin").symlink_to("../misplaced.bin")
    change = FetchFile(
        "model/c.bin", len(GOOD), SHA, "",
        (f"{hub.endpoint}/org/model/resolve/main/a.bin",), was(install, "model/c.bin"),
    )  # fmt: skip
    shop = Workshop(Tree(install), "run")
    change.apply(shop, change.prepare(shop, "seat"))
    assert (install / "model" / "c.bin").lstat().st_mode & 0o777 == 0o644
    assert (install / "misplaced.bin").read_bytes() == GOOD
