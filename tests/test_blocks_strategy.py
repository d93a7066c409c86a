"""Which repair inside a file is planned, and what is refused before anything is fetched."""

from __future__ import annotations

import hashlib
import json
import os
import random

import pytest
from support import make_facts, make_profile

from modelmedic.errors import RecoveryRefused
from modelmedic.operations.kinds import ReplaceFile
from modelmedic.profile.model import Endpoint, ModelFile, ModelRepo, ModelSource
from modelmedic.strategies import blocks, indexes
from modelmedic.testing.specimens import demo_files

KIB = 1 << 10
GOOD = random.Random(4).randbytes(900 * KIB)
SHA = hashlib.sha256(GOOD).hexdigest()
SUBJECT = "model/a.bin"
INDEX = "diffusion_pytorch_model.safetensors.index.json"


def facts_for(place, files, **overrides):
    source = ModelSource("hub", "org/model", "main", "hub")
    model = ModelRepo("m", ("model",), "native", tuple(files), (source,))
    endpoint = Endpoint("hub", "https://hub.invalid", "hub")
    profile = make_profile(models=(model,), endpoints=(endpoint,))
    return make_facts(place, profile, **overrides)


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "install"
    (folder / "model").mkdir(parents=True)
    return folder


def facts_of(place, data, **overrides):
    (place / SUBJECT).write_bytes(data)
    return facts_for(place, [ModelFile("a.bin", len(GOOD), SHA)], **overrides)


def test_a_hole_of_zeros_is_all_that_is_fetched(place):
    data = bytearray(GOOD)
    data[128 * KIB : 256 * KIB] = bytes(128 * KIB)
    operation = blocks.plan_damaged(facts_of(place, bytes(data)), SUBJECT)
    assert operation.blocks == (2, 3)
    assert operation.fetch_bytes == 128 * KIB
    assert operation.sources == ("https://hub.invalid/org/model/resolve/main/a.bin",)


def test_a_missing_tail_is_fetched_from_where_the_file_ends(place):
    operation = blocks.plan_size(facts_of(place, GOOD[: 700 * KIB]), SUBJECT)
    assert operation.blocks == (10, 11, 12, 13, 14)
    assert operation.was[0] == 700 * KIB


def test_bytes_too_many_are_cut_off_also_offline(place):
    operation = blocks.plan_size(facts_of(place, GOOD + b"x", offline=True), SUBJECT)
    assert (operation.blocks, operation.sources) == ((), ())


def test_without_any_hint_all_is_compared(place):
    operation = blocks.plan_differing(facts_of(place, b"x" + GOOD[1:]), SUBJECT)
    assert operation.blocks is None
    assert operation.cost().fetch_bytes == len(GOOD)


@pytest.mark.parametrize("plan", [blocks.plan_damaged, blocks.plan_size, blocks.plan_differing])
@pytest.mark.parametrize(
    "data",
    [
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 5\n",
        b"<!DOCTYPE html><html></html>",
        b"",
    ],
)
def test_a_file_that_is_something_else_is_not_written_into(plan, data, place):
    with pytest.raises(RecoveryRefused):
        plan(facts_of(place, data), SUBJECT)


@pytest.mark.parametrize("plan", [blocks.plan_damaged, blocks.plan_size, blocks.plan_differing])
def test_offline_without_hash_or_with_a_second_name_nothing_is_planned(plan, place, tmp_path):
    cut = GOOD[: 600 * KIB]
    with pytest.raises(RecoveryRefused, match="offline"):
        plan(facts_of(place, cut, offline=True), SUBJECT)
    (place / SUBJECT).write_bytes(cut)
    for file in (
        ModelFile("a.bin", len(GOOD)),
        ModelFile("a.bin", None, SHA),
        ModelFile("a.bin", len(GOOD), SHA, is_certain=False),
    ):
        with pytest.raises(RecoveryRefused, match="not both known"):
            plan(facts_for(place, [file]), SUBJECT)
    (tmp_path / "second").hardlink_to(place / SUBJECT)
    with pytest.raises(RecoveryRefused, match="other names"):
        plan(facts_for(place, [ModelFile("a.bin", len(GOOD), SHA)]), SUBJECT)


def test_behind_a_link_the_real_file_is_repaired_and_a_shared_one_is_not(place):
    facts = facts_of(place, GOOD[: 700 * KIB])
    for blob, is_own in ((SHA, True), ("0" * 64, False), (f"{SHA[:2]}/{SHA}", False)):
        target = place / "hub" / "blobs" / blob
        target.parent.mkdir(parents=True, exist_ok=True)
        (place / SUBJECT).rename(target)
        (place / SUBJECT).symlink_to(os.path.relpath(target, place / "model"))
        facts.forget()
        if is_own:
            assert blocks.plan_size(facts, SUBJECT).path == f"hub/blobs/{SHA}"
        else:
            with pytest.raises(RecoveryRefused, match="not repaired in place"):
                blocks.plan_size(facts, SUBJECT)
        (place / SUBJECT).unlink()
        target.rename(place / SUBJECT)


def shards(place, **index):
    files = demo_files()
    for name in [name for name in files if name.endswith(".safetensors")]:
        (place / "model" / name).write_bytes(files[name])
    (place / "model" / INDEX).write_text("{torn")
    listed = [ModelFile(name, len(data)) for name, data in files.items() if "-of-" in name]
    return facts_for(place, [*listed, ModelFile(INDEX, **index)]), files[INDEX]


def test_an_index_is_rebuilt_to_the_byte_when_its_hash_is_known(place):
    data = demo_files()[INDEX]
    git_blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    sha256 = hashlib.sha256(data).hexdigest()
    for known in ({"sha256": sha256}, {"git_blob": git_blob}, {"size_bytes": len(data)}):
        facts, wanted = shards(place, **known)
        [operation] = indexes.plan_rebuild(facts, f"model/{INDEX}")
        assert isinstance(operation, ReplaceFile)
        if "size_bytes" not in known:
            assert operation.content.encode() == wanted
        assert json.loads(operation.content) == json.loads(wanted)


def test_an_index_with_another_hash_or_a_damaged_shard_is_not_rebuilt(place):
    facts, _ = shards(place, sha256="0" * 64)
    with pytest.raises(RecoveryRefused, match="does not give the expected bytes"):
        list(indexes.plan_rebuild(facts, f"model/{INDEX}"))
    facts, _ = shards(place)
    with pytest.raises(RecoveryRefused, match="no index"):
        list(indexes.plan_rebuild(facts, f"model/{INDEX.replace('.index.json', '')}"))
    shard = next((place / "model").glob("*-00002-*"))
    os.truncate(shard, shard.stat().st_size - 1)
    with pytest.raises(RecoveryRefused, match="missing or damaged itself"):
        list(indexes.plan_rebuild(facts, f"model/{INDEX}"))


def test_an_index_without_any_known_hash_is_rebuilt_in_the_usual_form(place):
    facts, wanted = shards(place)
    [operation] = indexes.plan_rebuild(facts, f"model/{INDEX}")
    assert operation.content == json.dumps(json.loads(wanted), indent=2, sort_keys=True) + "\n"
