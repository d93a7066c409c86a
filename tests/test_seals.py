"""Digests of proven contents: kept for this user, and worth nothing when anybody could write them."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from modelmedic.facts import digests, seals
from modelmedic.facts.digests import BLOCK_BYTES, Blocks, Digests

SHA = hashlib.sha256(b"x").hexdigest()
ONE = Digests(5, SHA, Blocks("sha256", BLOCK_BYTES, b"d" * 32))


def test_digests_come_back(tmp_path):
    seals.keep_blocks(tmp_path, ONE)
    assert seals.blocks_for(tmp_path, SHA) == ONE
    assert [path.name for path in (tmp_path / "digests").iterdir()] == [f"{SHA}.json"]


def test_nothing_is_known_of_another_content(tmp_path):
    assert seals.blocks_for(tmp_path, SHA) is None
    assert seals.blocks_for(tmp_path, "../../etc/passwd") is None


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX")
def test_digests_that_others_may_write_are_not_used(tmp_path):
    seals.keep_blocks(tmp_path, ONE)
    (tmp_path / "digests" / f"{SHA}.json").chmod(0o666)
    assert seals.blocks_for(tmp_path, SHA) is None


@pytest.mark.parametrize(
    "spoiled",
    [
        b"", b"[]", b"{}", b"null", b"{" * 5000, b"\xff",
        json.dumps({"size_bytes": 5, "sha256": SHA, "algorithm": "sha256", "block_bytes": 0,
                    "blocks": ""}).encode(),
        json.dumps({"size_bytes": BLOCK_BYTES + 1, "sha256": SHA, "algorithm": "sha256",
                    "block_bytes": BLOCK_BYTES, "blocks": "00" * 32}).encode(),
        json.dumps({"size_bytes": 5, "sha256": "0" * 64, "algorithm": "sha256",
                    "block_bytes": BLOCK_BYTES, "blocks": "00" * 32}).encode(),
    ],
)  # fmt: skip
def test_a_spoiled_record_is_no_record(tmp_path, spoiled):
    seals.keep_blocks(tmp_path, ONE)
    (tmp_path / "digests" / f"{SHA}.json").write_bytes(spoiled)
    assert seals.blocks_for(tmp_path, SHA) is None


def test_an_algorithm_that_is_not_known_is_said():
    with pytest.raises(digests.CannotTell, match="md5"):
        digests.new_hasher("md5")


@pytest.mark.parametrize(
    ("size", "count"), [(0, 0), (1, 1), (BLOCK_BYTES, 1), (BLOCK_BYTES + 1, 2)]
)
def test_the_last_block_may_be_short(size, count):
    assert digests.block_count(size) == count


def test_what_is_known_already_is_not_written_again(tmp_path):
    seals.keep_blocks(tmp_path, ONE)
    [record] = (tmp_path / "digests").iterdir()
    before = record.stat()
    seals.keep_blocks(tmp_path, ONE)
    assert (record.stat().st_ino, record.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
