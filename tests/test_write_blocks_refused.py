"""What a repair inside a file refuses: shared, foreign, changed files; too little disk."""

from __future__ import annotations

import os
import sys

import pytest
from blocks_support import (
    BLOCK,
    BLOCKS,
    DAMAGED,
    GOOD,
    PATH,
    address,
    look,
    make_install,
    operation,
    serving,
    workshop,
)

from modelmedic.errors import RecoveryFailed, RecoveryRefused
from modelmedic.operations import block_source, kinds, mounts

NOWHERE = "http://127.0.0.1:9/a"


@pytest.fixture
def hub():
    with serving() as hub:
        yield hub


@pytest.fixture(params=BLOCKS)
def kind(request):
    return request.param


def sent(hub):
    return sum(each.bytes_sent for each in hub.requests if each.side == "cdn")


def test_a_file_with_another_name_is_refused(hub, tmp_path):
    install = make_install(tmp_path / "install", "flips")
    (tmp_path / "shared").hardlink_to(install / PATH)
    with pytest.raises(RecoveryRefused, match="hard links"):
        operation(install, "flips", address(hub)).prepare(workshop(install), "seat")
    assert not hub.requests


def test_a_name_given_during_the_repair_is_not_written_through(hub, tmp_path, monkeypatch):
    install = make_install(tmp_path / "install", "flips")
    before, shop = look(install), workshop(install)
    change = operation(install, "flips", address(hub))
    note = change.prepare(shop, "seat")
    rename = shop.tree.rename

    def renamed(old, new):
        rename(old, new)
        if new == note["private"] and not (tmp_path / "shared").exists():
            (tmp_path / "shared").hardlink_to(install / new)

    monkeypatch.setattr(shop.tree, "rename", renamed)
    with pytest.raises(RecoveryRefused, match="shared"):
        change.apply(shop, note)
    assert (tmp_path / "shared").read_bytes() == DAMAGED["flips"]
    (tmp_path / "shared").unlink()
    monkeypatch.undo()
    change.undo(shop, note)
    assert look(install) == before


def test_a_link_is_refused(hub, tmp_path):
    install = make_install(tmp_path / "install", "flips")
    (install / PATH).rename(install / "real.bin")
    (install / PATH).symlink_to("../real.bin")
    change = operation(install, "flips", address(hub))
    with pytest.raises((RecoveryRefused, OSError)):
        change.prepare(workshop(install), "seat")
    assert (install / "real.bin").read_bytes() == DAMAGED["flips"]


def test_a_file_changed_since_the_plan_is_refused(kind, hub, tmp_path):
    install = make_install(tmp_path / "install", kind)
    change = operation(install, kind, address(hub))
    (install / PATH).write_bytes(b"someone was here")
    with pytest.raises(RecoveryRefused, match="changed since"):
        change.prepare(workshop(install), "seat")


def test_a_file_changed_while_blocks_are_fetched_is_left_alone(hub, tmp_path):
    install = make_install(tmp_path / "install", "flips")
    change = operation(install, "flips", address(hub))

    def progress(_what, _done, _total):
        (install / PATH).write_bytes(b"someone was here")

    shop = workshop(install, progress=progress)
    note = change.prepare(shop, "seat")
    with pytest.raises(RecoveryRefused, match="left alone"):
        change.apply(shop, note)
    assert (install / PATH).read_bytes() == b"someone was here"
    change.undo(shop, note)
    assert (install / PATH).read_bytes() == b"someone was here"


def test_without_hash_source_or_room_nothing_is_done(hub, tmp_path, monkeypatch):
    install = make_install(tmp_path / "install", "flips")
    before, shop = look(install), workshop(install)
    for change, words in (
        (operation(install, "flips", address(hub), sha256=""), "no sha256"),
        (operation(install, "flips"), "no source"),
        (operation(install, "flips", address(hub), blocks=(3, 0, 40)), "plan is damaged"),
        (operation(install, "flips", address(hub), blocks=(0, 3, 41)), "plan is damaged"),
        (operation(install, "flips", address(hub), blocks=(0, 3)), "plan is damaged"),
        (operation(install, "flips", address(hub), block_bytes=0), "plan is damaged"),
    ):
        with pytest.raises(RecoveryRefused, match=words):
            change.prepare(shop, "seat")
    monkeypatch.setattr(mounts, "free_bytes", lambda _tree: BLOCK)
    with pytest.raises(RecoveryRefused, match="Free that space"):
        operation(install, "flips", address(hub)).prepare(shop, "seat")
    assert look(install) == before
    assert not hub.requests


def test_a_full_disk_names_what_earlier_repairs_keep_there(hub, tmp_path, monkeypatch):
    install = make_install(tmp_path / "install", "flips")
    kept = install / ".modelmedic" / "aside" / "run" / "old"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(bytes(3_000_000))
    monkeypatch.setattr(mounts, "free_bytes", lambda _tree: BLOCK)
    with pytest.raises(RecoveryRefused, match=r"2.9 MiB are what earlier repairs .* delete that"):
        operation(install, "flips", address(hub)).prepare(workshop(install), "seat")


def test_differences_that_do_not_fit_on_the_disk_change_nothing(hub, tmp_path, monkeypatch):
    install = make_install(tmp_path / "install", "stream")
    before, shop = look(install), workshop(install)
    change = operation(install, "stream", address(hub))
    note = change.prepare(shop, "seat")
    free = block_source._RESERVE_BYTES + 2 * BLOCK + 100  # one difference fits, the second not
    monkeypatch.setattr(mounts, "free_bytes", lambda _tree: free)
    with pytest.raises(RecoveryFailed, match="does not fit"):
        change.apply(shop, note)
    change.undo(shop, note)
    assert look(install) == before
    monkeypatch.undo()
    hub.clear()
    change.apply(shop, change.prepare(shop, "again"))
    assert (install / PATH).read_bytes() == GOOD
    assert sent(hub) <= len(GOOD) - 20 * BLOCK  # the first 20 blocks were compared before


@pytest.mark.parametrize(
    "change",
    [{"blocks": ["0"]}, {"blocks": 3}, {"blocks": [True]}, {"digests": [1]}, {"was": None},
     {"size_bytes": "1"}],
)  # fmt: skip
def test_an_operation_of_a_wrong_form_is_refused_with_words(change, tmp_path):
    install = make_install(tmp_path / "install", "flips")
    value = operation(install, "flips", NOWHERE).to_json()
    with pytest.raises(RecoveryRefused, match="cannot be read"):
        kinds.from_json(value | change)


def test_a_note_that_names_a_foreign_place_puts_nothing_there(hub, tmp_path):
    install = make_install(tmp_path / "install", "flips")
    shop, change = workshop(install), operation(install, "flips", address(hub))
    note = change.prepare(shop, "seat")
    change.apply(shop, note)
    for name in ("aside", "private"):
        with pytest.raises(RecoveryRefused, match="not where modelmedic keeps"):
            change.undo(shop, note | {name: "model/other"})
    assert (install / PATH).read_bytes() == GOOD


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX owners")
def test_a_file_of_another_user_is_refused(hub, tmp_path, monkeypatch):
    install = make_install(tmp_path / "install", "flips")
    owner = (install / PATH).stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(RecoveryRefused, match="belongs to another user"):
        operation(install, "flips", address(hub)).prepare(workshop(install), "seat")
