"""Only damaged blocks are fetched and written; the old bytes come back whatever happens."""

from __future__ import annotations

import hashlib
import os
import random
import time

import pytest
from blocks_support import (
    BLOCK,
    BLOCKS,
    DAMAGED,
    GOOD,
    PATH,
    SHA,
    address,
    flipped,
    kept_files,
    look,
    make_install,
    operation,
    serving,
    workshop,
)

from modelmedic.errors import RecoveryFailed, RecoveryRefused
from modelmedic.operations import expiry, kinds, whole_hash
from modelmedic.operations.new_blocks import NewBlocks
from modelmedic.operations.write_blocks import WriteBlocks
from modelmedic.testing.hub import Fault, LoopbackHub

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


@pytest.mark.parametrize("known", [True, False])
def test_apply_inspect_undo_and_undo_again(kind, known, hub, tmp_path):
    install = make_install(tmp_path / "install", kind)
    before, shop = look(install), workshop(install)
    change = operation(install, kind, address(hub), known=known)
    assert kinds.from_json(change.to_json()) == change
    assert change.describe()
    note = change.prepare(shop, "seat")
    assert change.inspect(shop, note) == "before"
    inode = (install / PATH).stat().st_ino
    change.apply(shop, note)
    assert (install / PATH).read_bytes() == GOOD
    assert (install / PATH).stat().st_ino == inode
    assert (install / PATH).stat().st_mode & 0o777 == 0o640
    assert change.inspect(shop, note) == "after"
    assert kept_files(install) == ["aside/run/seat.old-blocks"]
    change.undo(shop, note)
    assert look(install) == before
    change.undo(shop, note)
    assert look(install) == before
    assert kept_files(install) == []


def test_only_the_damaged_blocks_are_fetched_and_kept(hub, tmp_path):
    install = make_install(tmp_path / "install", "flips")
    shop, change = workshop(install), operation(install, "flips", address(hub))
    note = change.prepare(shop, "seat")
    change.apply(shop, note)
    assert sent(hub) == change.cost().fetch_bytes == 2 * BLOCK + 777
    kept = (install / note["aside"]).stat().st_size
    assert kept < change.cost().fetch_bytes + 300
    assert shop.fetched_bytes == change.cost().fetch_bytes


def test_too_many_bytes_are_cut_without_a_source(tmp_path):
    install = make_install(tmp_path / "install", "excess")
    shop, change = workshop(install), operation(install, "excess")
    change.apply(shop, change.prepare(shop, "seat"))
    assert (install / PATH).read_bytes() == GOOD


def test_a_file_that_is_wrong_before_the_excess_too_is_left_alone(tmp_path):
    install = make_install(tmp_path / "install", "excess")
    (install / PATH).write_bytes(flipped(DAMAGED["excess"], 17))
    before, shop = look(install), workshop(install)
    change = operation(install, "excess")
    note = change.prepare(shop, "seat")
    with pytest.raises(RecoveryFailed, match="left as it was"):
        change.apply(shop, note)
    assert look(install) == before


def test_a_server_without_ranges_is_read_through_and_only_the_blocks_are_taken(hub, tmp_path):
    install = make_install(tmp_path / "install", "flips")
    hub.fault("cdn GET", Fault(ignore_range=True), times=None)
    shop, change = workshop(install), operation(install, "flips", address(hub))
    change.apply(shop, change.prepare(shop, "seat"))
    assert (install / PATH).read_bytes() == GOOD


@pytest.mark.parametrize("known", [True, False])
def test_a_source_with_other_bytes_changes_nothing_and_the_next_one_is_asked(
    known, kind, hub, tmp_path
):
    if kind == "excess":
        pytest.skip("nothing is fetched")
    install = make_install(tmp_path / "install", kind)
    before = look(install)
    hub.fault("cdn GET", Fault(flip_byte_at=3 * BLOCK + 5 if kind != "tail" else 35 * BLOCK),
              times=None)  # fmt: skip
    shop = workshop(install)
    change = operation(install, kind, address(hub), known=known)
    note = change.prepare(shop, "seat")
    with pytest.raises(RecoveryFailed, match="left as it was"):
        change.apply(shop, note)
    assert look(install) == before
    change.undo(shop, note)
    assert look(install) == before
    with serving() as other:
        change = operation(install, kind, address(hub), address(other), known=known)
        change.apply(shop, change.prepare(shop, "next"))
        assert (install / PATH).read_bytes() == GOOD


def test_another_version_at_the_source_changes_nothing(tmp_path):
    install = make_install(tmp_path / "install", "stream")
    before, shop = look(install), workshop(install)
    with LoopbackHub() as hub:
        hub.add_repo("org/model", {"a.bin": random.Random(6).randbytes(len(GOOD))})
        change = operation(install, "stream", address(hub))
        with pytest.raises(RecoveryFailed):
            change.apply(shop, change.prepare(shop, "seat"))
    assert look(install) == before


def test_the_second_source_is_asked_when_the_first_is_down(hub, tmp_path):
    install = make_install(tmp_path / "install", "flips")
    shop = workshop(install)
    change = operation(install, "flips", NOWHERE, address(hub))
    change.apply(shop, change.prepare(shop, "seat"))
    assert (install / PATH).read_bytes() == GOOD


@pytest.mark.parametrize("known", [True, False])
def test_an_ended_fetch_goes_on_with_the_blocks_that_were_proven(known, hub, tmp_path):
    install = make_install(tmp_path / "install", "tail")
    hub.fault("cdn GET", Fault(cut_after_bytes=5 * BLOCK), times=2)  # block 0, then the tail
    hub.fault("cdn GET", Fault(status=404), times=None)
    shop = workshop(install)
    change = operation(install, "tail", address(hub), known=known)
    note = change.prepare(shop, "seat")
    with pytest.raises(RecoveryFailed, match="could not be fetched"):
        change.apply(shop, note)
    change.undo(shop, note)
    hub.clear()
    later = workshop(install, "later")
    change.apply(later, change.prepare(later, "seat"))
    assert (install / PATH).read_bytes() == GOOD
    assert sent(hub) <= change.fetch_bytes - 4 * BLOCK


def test_a_part_that_the_disk_spoiled_is_not_used(hub, tmp_path):
    install = make_install(tmp_path / "install", "tail")
    change = operation(install, "tail", address(hub), known=False)
    part = install / change.part
    part.parent.mkdir(parents=True)
    handle = os.open(part, os.O_RDWR | os.O_CREAT, 0o600)
    log = NewBlocks(handle, BLOCK, len(GOOD), change.was)
    for index in (0, 30, 31):
        log.add(index, GOOD[index * BLOCK : (index + 1) * BLOCK])
    os.close(handle)
    part.write_bytes(flipped(part.read_bytes(), part.stat().st_size - BLOCK - 500))  # in block 30
    shop = workshop(install)
    change.apply(shop, change.prepare(shop, "seat"))
    assert (install / PATH).read_bytes() == GOOD
    assert sent(hub) == change.fetch_bytes - BLOCK


def test_undo_refuses_what_someone_changed_after_the_repair(kind, hub, tmp_path):
    install = make_install(tmp_path / "install", kind)
    shop, change = workshop(install), operation(install, kind, address(hub))
    note = change.prepare(shop, "seat")
    change.apply(shop, note)
    with (install / PATH).open("r+b") as stream:  # in place: the inode stays
        stream.write(b"precious work of the user")
    changed = (install / PATH).read_bytes()
    with pytest.raises(RecoveryRefused, match="changed after"):
        change.undo(shop, note)
    assert (install / PATH).read_bytes() == changed
    assert kept_files(install) == ["aside/run/seat.old-blocks"]


def test_undo_is_refused_once_the_old_bytes_are_let_go(hub, tmp_path):
    install = make_install(tmp_path / "install", "flips")
    shop, change = workshop(install), operation(install, "flips", address(hub))
    note = change.prepare(shop, "seat")
    change.apply(shop, note)
    (install / note["aside"]).unlink()
    with pytest.raises(RecoveryRefused, match="no longer kept"):
        change.undo(shop, note)
    assert (install / PATH).read_bytes() == GOOD


def test_a_read_only_file_is_repaired_and_stays_read_only(hub, tmp_path):
    install = make_install(tmp_path / "install", "flips")
    (install / PATH).chmod(0o444)
    before, shop = look(install), workshop(install)
    change = operation(install, "flips", address(hub))
    note = change.prepare(shop, "seat")
    change.apply(shop, note)
    assert (install / PATH).read_bytes() == GOOD
    assert (install / PATH).stat().st_mode & 0o777 == 0o444
    change.undo(shop, note)
    assert look(install) == before


def test_a_disk_that_does_not_give_back_what_was_written_gets_the_old_bytes(
    hub, tmp_path, monkeypatch
):
    install = make_install(tmp_path / "install", "flips")
    before, shop = look(install), workshop(install)
    change = operation(install, "flips", address(hub))
    note = change.prepare(shop, "seat")
    monkeypatch.setattr(whole_hash, "of_file", lambda *_: "0" * 64)
    with pytest.raises(RecoveryFailed, match="put back as it was"):
        change.apply(shop, note)
    assert look(install) == before
    change.undo(shop, note)
    assert look(install) == before


def test_what_a_whole_would_be_is_told_without_writing_it(tmp_path):
    """Blocks larger and smaller than what is read at once, and a file that ends too early."""
    rng = random.Random(8)
    for block_bytes, length in ((BLOCK, 3 * BLOCK + 5), (9 << 20, 20 << 20), (4096, 9 << 20)):
        good = rng.randbytes(length)
        old = tmp_path / "old"
        old.write_bytes(flipped(good, 1, length - 1)[: length - 2])
        with old.open("rb") as stream, (tmp_path / "log").open("w+b") as log:
            new = NewBlocks(log.fileno(), block_bytes, length, (1, 2))
            last = (length - 1) // block_bytes
            new.add(last, good[last * block_bytes :])
            told = whole_hash.of_patched(stream.fileno(), new, lambda _at: None)
            assert told != hashlib.sha256(good).hexdigest()
            new.add(0, good[:block_bytes])
            told = whole_hash.of_patched(stream.fileno(), new, lambda _at: None)
            assert told == hashlib.sha256(good).hexdigest()


def test_its_cost_is_the_damage():
    change = WriteBlocks(
        "a", 100_000_000_000, SHA, (NOWHERE,), (100_000_000_000, 1), (1, 2), 4 << 20
    )
    assert change.cost().fetch_bytes == 8 << 20
    assert change.cost().disk_bytes == 16 << 20
    assert change.cost().risk == "safe"


def test_the_replaced_bytes_are_counted_and_let_go_like_other_kept_files(
    hub, tmp_path, monkeypatch
):
    install = make_install(tmp_path / "install", "flips")
    shop, change = workshop(install), operation(install, "flips", address(hub))
    note = change.prepare(shop, "seat")
    change.apply(shop, note)
    monkeypatch.setattr(expiry, "KEEP_BYTES", BLOCK)

    def expire(*needed):
        return expiry.expire(
            shop, now_seconds=time.time(), is_needed=lambda path: path in needed,
            is_on_record=lambda _path: True, told=lambda _sentence: None,
        )  # fmt: skip

    assert expire(note["aside"]) == 0
    assert expire() > 2 * BLOCK
    with pytest.raises(RecoveryRefused, match="no longer kept"):
        change.undo(shop, note)
    assert (install / PATH).read_bytes() == GOOD
