# ruff: noqa: F401, F811 - fixtures are imported from engine_support
"""Each operation does its change, knows its state, and undoes it; nothing leaves the tree."""

from __future__ import annotations

import os
import sys

import pytest
from engine_support import (
    GOOD,
    NAMES,
    SHA,
    hub,
    install,
    operation,
    snapshot,
    was,
)

from modelmedic.errors import RecoveryFailed, RecoveryRefused
from modelmedic.operations import kinds
from modelmedic.operations.base import Workshop
from modelmedic.operations.fetch_file import FetchFile
from modelmedic.operations.kinds import MakeDir, ReplaceFile
from modelmedic.operations.tree import Tree


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


def test_a_file_fetched_by_hand_after_a_kill_is_not_taken_for_ours(install, hub):
    change = operation("fetch_missing", install, hub)
    shop = Workshop(Tree(install), "run")
    note = change.prepare(shop, "seat")  # killed right after this
    (install / "model" / "c.bin").write_bytes(GOOD)
    change.undo(shop, note)
    assert (install / "model" / "c.bin").read_bytes() == GOOD


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


@pytest.mark.parametrize("name", ["replace_file", "fetch_file"])
def test_the_other_name_of_a_shared_file_keeps_its_bytes_and_mode(name, install, hub, tmp_path):
    change = operation(name, install, hub)
    shared = tmp_path / "shared"
    shared.hardlink_to(install / change.path)
    shared.chmod(0o640)
    bytes_before, shop = shared.read_bytes(), Workshop(Tree(install), "run")
    note = change.prepare(shop, "seat")
    change.apply(shop, note)
    assert (install / change.path).read_bytes() != bytes_before
    assert shared.read_bytes() == bytes_before
    assert shared.stat().st_mode & 0o777 == 0o640
    change.undo(shop, note)
    assert (install / change.path).samefile(shared)


def test_a_part_that_got_a_second_name_is_not_written_through(install, hub, tmp_path):
    change = operation("fetch_missing", install, hub)
    shop = Workshop(Tree(install), "run")
    note = change.prepare(shop, "seat")
    change.apply(shop, note)
    (tmp_path / "copy.bin").hardlink_to(install / "model" / "c.bin")
    change.undo(shop, note)  # the part is now the file that somebody shares
    with Tree(install).open_own(change.private) as handle:
        os.write(handle, b"scribble")
    assert (tmp_path / "copy.bin").read_bytes() == GOOD


def test_the_mode_of_a_shared_file_is_not_changed(install, tmp_path):
    (tmp_path / "shared").hardlink_to(install / "settings.json")
    mode = (install / "settings.json").stat().st_mode
    with pytest.raises(RecoveryRefused, match="shared"):
        Tree(install).set_mode("settings.json", 0o600)
    assert (install / "settings.json").stat().st_mode == mode


@pytest.mark.skipif(sys.platform not in {"linux", "win32"}, reason="needs renameat2")
def test_a_file_made_after_the_look_is_not_replaced_by_a_rename(install, monkeypatch):
    """Between the look at the target and the rename somebody may put a file there."""
    monkeypatch.setattr(Tree, "identity", lambda self, relative: None)
    with pytest.raises(FileExistsError):
        Tree(install).rename("misplaced.bin", "settings.json")
    assert (install / "settings.json").read_text() == "{broken"
    assert (install / "misplaced.bin").read_bytes() == GOOD


def test_an_install_that_is_swapped_for_a_link_during_the_run_is_refused(install, tmp_path):
    tree = Tree(install)
    tree.make_folder("outputs")
    install.rename(tmp_path / "moved")
    (tmp_path / "elsewhere").mkdir()
    install.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RecoveryRefused, match="another folder than when this run began"):
        tree.make_folder("more")
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(
    "value",
    [
        {"kind": "make_dir", "path": 5},
        {"kind": "make_dir"},
        {"kind": ["make_dir"], "path": "x"},
        {"kind": "rename", "path": "a", "target": "b", "was": ["x", 1]},
        {"kind": "rename", "path": "a", "target": "b", "was": None},
        {"kind": "replace_file", "path": "a", "content": "b", "was": 7},
        {"kind": "fetch_file", "path": "a", "size_bytes": "1", "sha256": "", "git_blob": "",
         "sources": ["x"], "was": None},
        {"kind": "fetch_file", "path": "a", "size_bytes": 1, "sha256": "", "git_blob": "",
         "sources": [1], "was": None},
    ],
)  # fmt: skip
def test_an_operation_of_a_wrong_form_is_refused_with_words(value):
    with pytest.raises(RecoveryRefused, match="cannot be read"):
        kinds.from_json(value)
