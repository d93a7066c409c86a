"""A fetch of a file whose size nobody is sure of: it has a cost, a disk check and an end."""

from __future__ import annotations

import hashlib
import random

import pytest

from modelmedic.errors import RecoveryFailed, RecoveryRefused
from modelmedic.facts.digests import Blocks, Digests
from modelmedic.operations import fetch_file, mounts
from modelmedic.operations.base import Workshop
from modelmedic.operations.fetch_file import FetchFile
from modelmedic.operations.kinds import from_json
from modelmedic.operations.tree import Tree
from modelmedic.testing.hub import Fault, LoopbackHub

GOOD = random.Random(19).randbytes(400_000)
SHA = hashlib.sha256(GOOD).hexdigest()


@pytest.fixture
def hub():
    with LoopbackHub() as hub:
        hub.add_repo("org/model", {"a.safetensors": GOOD})
        yield hub


@pytest.fixture
def shop(tmp_path):
    return Workshop(Tree(tmp_path), "run", extras={"sleep": lambda _seconds: None})


def fetch_of(hub, **overrides):
    values = {
        "path": "a.safetensors", "size_bytes": None, "sha256": SHA, "git_blob": "",
        "sources": (f"{hub.endpoint}/org/model/resolve/main/a.safetensors",), "was": None,
    }  # fmt: skip
    return FetchFile(**values | overrides)


def free(monkeypatch, count):
    monkeypatch.setattr(mounts, "free_bytes", lambda _tree: count)


def apply(fetch, shop):
    fetch.apply(shop, fetch.prepare(shop, "seat"))


def test_a_line_of_an_older_journal_can_be_read(hub):
    old = fetch_of(hub).to_json()
    del old["expected_bytes"]
    assert from_json(old) == fetch_of(hub)


@pytest.mark.parametrize("expected", [300_000, 400_000, 900_000, None])
def test_a_wrong_guess_is_no_hindrance(hub, shop, expected):
    apply(fetch_of(hub, expected_bytes=expected), shop)
    assert (shop.tree.root / "a.safetensors").read_bytes() == GOOD


def test_a_file_far_larger_than_expected_is_refused(hub, shop, monkeypatch):
    monkeypatch.setattr(fetch_file, "_GIB", 1000)
    with pytest.raises(RecoveryFailed, match="400,000 bytes; at most 150,000 are taken"):
        apply(fetch_of(hub, expected_bytes=100_000), shop)
    assert shop.fetched_bytes == 0


def test_a_file_nobody_knows_leaves_the_reserve_free(hub, shop, monkeypatch):
    free(monkeypatch, fetch_file.RESERVE_BYTES + 300_000)
    with pytest.raises(RecoveryFailed, match="400,000 bytes; at most 300,000 are taken"):
        apply(fetch_of(hub), shop)
    assert not (shop.tree.root / "a.safetensors").exists()


def test_what_is_there_of_it_counts(hub, shop, monkeypatch):
    shop.tree.make_own_folder(".modelmedic/parts")
    (shop.tree.root / ".modelmedic/parts" / SHA).write_bytes(GOOD[:150_000])
    free(monkeypatch, fetch_file.RESERVE_BYTES + 300_000)
    apply(fetch_of(hub, expected_bytes=440_000), shop)
    assert shop.fetched_bytes == 250_000


@pytest.mark.parametrize(("expected", "space"), [(9_000_000_000, 9_500_000_000), (None, 10**9)])
def test_an_unsure_size_is_checked_against_the_disk(hub, shop, monkeypatch, expected, space):
    free(monkeypatch, space)
    with pytest.raises(RecoveryRefused, match="more on this disk"):
        fetch_of(hub, expected_bytes=expected).prepare(shop, "seat")
    assert not hub.requests


@pytest.mark.parametrize(
    ("size", "expected", "shown", "risk"),
    [
        (5, None, "(5 bytes)", "safe"),
        (None, 2_000_000_000, "(about 1.9 GiB)", "costly"),
        (None, 5, "(about 5 bytes)", "safe"),
        (None, None, "(unknown size, counted as", "costly"),
    ],
)
def test_the_plan_says_how_sure_the_size_is(hub, size, expected, shown, risk):
    fetch = fetch_of(hub, size_bytes=size, expected_bytes=expected)
    assert shown in fetch.describe()
    assert fetch.cost().risk == risk
    assert fetch.cost().disk_bytes == fetch.cost().fetch_bytes > 0


# -- what proves a part of it ----------------------------------------------------------------------

BLOCK = 50_000


def digests(sha256):
    """Know the block digests of GOOD."""
    if sha256 != SHA:
        return None
    found = [hashlib.sha256(GOOD[start : start + BLOCK]) for start in range(0, len(GOOD), BLOCK)]
    joined = b"".join(each.digest() for each in found)
    return Digests(len(GOOD), SHA, Blocks("sha256", BLOCK, joined))


def own(shop, name, content):
    shop.tree.make_own_folder(".modelmedic/parts")
    (shop.tree.root / ".modelmedic/parts" / name).write_bytes(content)


def test_known_block_digests_keep_a_part_as_far_as_they_prove_it(hub, shop):
    shop.extras["digests"] = digests
    own(shop, SHA, GOOD[:150_000] + bytes(100_000))
    apply(fetch_of(hub, size_bytes=len(GOOD)), shop)
    assert shop.fetched_bytes == len(GOOD) - 150_000
    assert (shop.tree.root / "a.safetensors").read_bytes() == GOOD


@pytest.mark.parametrize("is_known", [True, False])
def test_a_strangers_download_is_used_only_if_blocks_prove_it(hub, shop, is_known):
    if is_known:
        shop.extras["digests"] = digests
    (shop.tree.root / "x.incomplete").write_bytes(GOOD[:220_000])
    apply(fetch_of(hub, size_bytes=len(GOOD), partial="x.incomplete"), shop)
    assert shop.fetched_bytes == len(GOOD) - (200_000 if is_known else 0)
    assert (shop.tree.root / "a.safetensors").read_bytes() == GOOD
    assert (shop.tree.root / "x.incomplete").read_bytes() == GOOD[:220_000]


@pytest.mark.parametrize("kind", ["none", "folder", "link"])
def test_a_strangers_download_that_is_none_is_no_hindrance(hub, shop, kind):
    shop.extras["digests"] = digests
    partial = shop.tree.root / "x.incomplete"
    if kind == "folder":
        partial.mkdir()
    elif kind == "link":
        (shop.tree.root / "y").write_bytes(GOOD)
        partial.symlink_to("y")
    apply(fetch_of(hub, size_bytes=len(GOOD), partial="x.incomplete"), shop)
    assert shop.fetched_bytes == len(GOOD)


def test_the_record_of_a_download_goes_with_it(hub, shop):
    hub.fault("cdn GET", Fault(cut_after_bytes=150_000))
    hub.fault("cdn GET", Fault(status=404), times=None)
    parts = shop.tree.root / ".modelmedic/parts"
    with pytest.raises(RecoveryFailed):
        apply(fetch_of(hub, size_bytes=len(GOOD)), shop)
    assert {path.name for path in parts.iterdir()} == {SHA, f"{SHA}.blocks"}
    hub.clear()
    apply(fetch_of(hub, size_bytes=len(GOOD)), shop)
    assert shop.fetched_bytes == len(GOOD)
    assert not list(parts.iterdir())


def test_the_record_decides_what_a_resume_trusts(hub, shop):
    hub.fault("cdn GET", Fault(cut_after_bytes=150_000))
    hub.fault("cdn GET", Fault(status=404), times=None)
    with pytest.raises(RecoveryFailed):
        apply(fetch_of(hub, size_bytes=len(GOOD)), shop)
    hub.clear()
    own(shop, SHA, bytes(150_000))  # as a power loss leaves it
    apply(fetch_of(hub, size_bytes=len(GOOD)), shop)
    assert shop.fetched_bytes == 150_000 + len(GOOD)
    assert (shop.tree.root / "a.safetensors").read_bytes() == GOOD


def test_a_repair_inside_a_file_keeps_its_new_blocks_under_another_name():
    """Both are found again by the file's hash: one must not take the other's for its own."""
    from modelmedic.operations.write_blocks import WriteBlocks

    fetch = FetchFile("f", 1, SHA, "", ("http://127.0.0.1/f",), None)
    repair = WriteBlocks("f", 1, SHA, ("http://127.0.0.1/f",), (1, 1), (0,), 1 << 20)
    assert repair.part not in {fetch.private, fetch.record}
