"""A misplaced file is moved only when it is nobody else's; an unsure size is never free of cost."""

from __future__ import annotations

import hashlib
import os
import random

import pytest
from support import make_context, make_profile

from modelmedic.errors import RecoveryRefused
from modelmedic.healing.engine import Engine, Plan
from modelmedic.operations.base import Workshop
from modelmedic.operations.copy_file import CopyFile
from modelmedic.operations.kinds import Rename, from_json
from modelmedic.operations.tree import Tree
from modelmedic.profile.model import Endpoint, ModelFile, ModelRepo, ModelSource
from modelmedic.strategies import weights

GOOD = random.Random(17).randbytes(200_000)
SHA = hashlib.sha256(GOOD).hexdigest()
SUBJECT = "model/shard-1.safetensors"


def the_profile(**overrides):
    shard = {"path": "shard-1.safetensors", "size_bytes": len(GOOD), "sha256": SHA} | overrides
    others = [
        ModelFile(name, 3) for name in ("shard-2.safetensors", "shard-3.safetensors", "c.json")
    ]
    source = ModelSource("hub", "org/model", "main", "hub")
    model = ModelRepo("m", ("model",), "native", (ModelFile(**shard), *others), (source,))
    endpoint = Endpoint("hub", "https://hub.invalid", "hub")
    return make_profile(models=(model,), endpoints=(endpoint,))


@pytest.fixture
def context(tmp_path):
    place = tmp_path / "install"
    (place / "model").mkdir(parents=True)
    return make_context(place, the_profile())


def put(context, subject, data=GOOD):
    path = context.place / subject
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def planned(context):
    return list(weights.plan_move(context, SUBJECT))


def state(place):
    return {
        path.relative_to(place).as_posix(): (path.readlink() if path.is_symlink()
                                             else path.read_bytes() if path.is_file() else None)
        for path in place.rglob("*")
        if ".modelmedic" not in path.parts
    }  # fmt: skip


@pytest.mark.parametrize(
    "stray",
    ["shard-1.safetensors", "downloads/x.bin", "model/model/shard-1.safetensors",
     "model/shard-1 (1).safetensors", "a/b/c/shard-1.safetensors"],
)  # fmt: skip
def test_a_true_stray_is_moved(context, stray):
    put(context, stray)
    (context.place / "settings.json").write_text("{}")  # the install's own folder is no other model
    put(context, "model/c.json", b"{ }")
    operations = planned(context)
    assert [type(each) for each in operations] == [Rename]
    assert operations[0].path == stray


def hub_cache(context):
    blob = put(context, f"hub/models--org--model/blobs/{SHA}")
    link = context.place / "hub/models--org--model/snapshots/0123/shard-1.safetensors"
    link.parent.mkdir(parents=True)
    link.symlink_to(f"../../blobs/{SHA}")
    return blob


def flat_store(context):
    return put(context, f"ollama/models/blobs/sha256-{SHA}")


def another_model(context):
    put(context, "other/config.json", b"{}")
    return put(context, "other/shard-1.safetensors")


def an_indexed_model(context):
    put(context, "other/x.safetensors.index.json", b"{}")
    return put(context, "other/x-00001.safetensors")


def another_pipeline(context):
    put(context, "other/model_index.json", b"{}")
    return put(context, "other/transformer/w.safetensors")


def a_whole_set(context):
    for name in ("shard-2.safetensors", "shard-3.safetensors"):
        put(context, f"downloads/{name}", b"abc")
    return put(context, "downloads/shard-1.safetensors")


def modelscope_cache(context):
    put(context, "ms/hub/models/org/model/.msc", b"")
    return put(context, "ms/hub/models/org/model/w.bin")


def lfs_store(context):
    return put(context, f"clone/.git/lfs/objects/aa/bb/{SHA}")


def clone(context):
    put(context, "clone/.git/HEAD", b"ref")
    return put(context, "clone/big.bin")


def hard_link(context):
    path = put(context, "stray.bin")
    (context.place.parent / "elsewhere.bin").hardlink_to(path)
    return path


def linked(context):
    path = put(context, "stray.bin")
    (context.place / "app").mkdir()
    (context.place / "app/weights.bin").symlink_to(path)
    return path


def linked_folder(context):
    path = put(context, "store/stray.bin")
    (context.place / "app").symlink_to("store")
    return path


def unfinished(context):
    return put(context, "downloads/shard-1.safetensors.incomplete")


OWNED = [
    hub_cache, flat_store, another_model, an_indexed_model, another_pipeline, a_whole_set,
    modelscope_cache, lfs_store, clone, hard_link, linked, linked_folder, unfinished,
]  # fmt: skip


@pytest.mark.parametrize("make", OWNED, ids=lambda make: make.__name__)
def test_what_belongs_to_something_else_is_copied_and_stays(context, make):
    path = make(context)
    before = state(context.place)
    operations = planned(context)
    assert [type(each) for each in operations] == [CopyFile]
    assert operations[0].source == path.relative_to(context.place).as_posix()
    engine = Engine(context)
    with engine.locked():
        applied = engine.apply(Plan("r", "c", "n", operations=operations))
        assert (context.place / SUBJECT).read_bytes() == GOOD
        assert (context.place / SUBJECT).stat().st_nlink == 1
        assert before.items() <= state(context.place).items()
        engine.undo(applied)
    assert state(context.place) == before
    assert not [p for p in (context.place / ".modelmedic/parts").rglob("*") if p.is_file()]


def test_a_true_stray_goes_before_a_file_of_something_else(context):
    hub_cache(context)
    put(context, "zzz.bin")
    assert [each.path for each in planned(context)] == ["zzz.bin"]


def test_a_link_is_no_candidate_and_an_expected_file_neither(context):
    (context.place.parent / "outside.bin").write_bytes(GOOD)
    (context.place / "stray.bin").symlink_to(context.place.parent / "outside.bin")
    put(context, "model/shard-2.safetensors")
    with pytest.raises(RecoveryRefused, match="No other file"):
        planned(context)


def copy_of(context, **overrides):
    path = put(context, "other/x.bin")
    was = (path.stat().st_size, path.stat().st_mtime_ns)
    values = {"path": SUBJECT, "source": "other/x.bin", "size_bytes": len(GOOD), "sha256": SHA,
              "source_was": was, "was": None}  # fmt: skip
    return CopyFile(**values | overrides)


def test_a_copy_survives_json(context):
    copy = copy_of(context)
    assert from_json(copy.to_json()) == copy
    assert "copy other/x.bin to model/shard-1.safetensors" in copy.describe()
    assert (copy.cost().fetch_bytes, copy.cost().disk_bytes) == (0, len(GOOD))


def test_a_copy_that_does_not_prove_is_not_put_in_place(context):
    engine = Engine(context)
    copy = copy_of(context, sha256="0" * 64)
    before = state(context.place)
    with engine.locked(), pytest.raises(Exception, match="other bytes than are expected"):
        engine.apply(Plan("r", "c", "n", operations=[copy]))
    assert state(context.place) == before
    assert not [p for p in (context.place / ".modelmedic/parts").rglob("*") if p.is_file()]


def test_a_copy_is_refused_when_its_source_changed(context):
    copy = copy_of(context)
    put(context, "other/x.bin", b"new")
    with pytest.raises(RecoveryRefused, match="changed since"):
        copy.prepare(Workshop(Tree(context.place), "run"), "seat")


def test_a_copy_needs_its_space(context, monkeypatch):
    monkeypatch.setattr("modelmedic.operations.mounts.free_bytes", lambda _tree: 1000)
    with pytest.raises(RecoveryRefused, match=r"195\.3 KiB on this disk and 1000 bytes are free"):
        copy_of(context).prepare(Workshop(Tree(context.place), "run"), "seat")


def test_a_copy_is_made_where_the_kernel_cannot(context, monkeypatch):
    def refuse(*_args):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "copy_file_range", refuse, raising=False)
    engine = Engine(context)
    with engine.locked():
        engine.apply(Plan("r", "c", "n", operations=[copy_of(context)]))
    assert (context.place / SUBJECT).read_bytes() == GOOD


def refetched(context):
    return list(weights.plan_refetch(context, SUBJECT))[-1]


def test_a_certain_size_is_exact(context):
    fetch = refetched(context)
    assert (fetch.size_bytes, fetch.expected_bytes) == (len(GOOD), None)


def test_an_uncertain_size_counts_as_expected(tmp_path):
    profile = the_profile(size_bytes=9_000_000_000, is_certain=False)
    fetch = refetched(make_context(tmp_path, profile))
    assert (fetch.size_bytes, fetch.expected_bytes) == (None, 9_000_000_000)
    assert (fetch.cost().fetch_bytes, fetch.cost().risk) == (9_000_000_000, "costly")
    assert "about 8.4 GiB" in fetch.describe()


def test_no_size_at_all_is_not_safe(tmp_path):
    fetch = refetched(make_context(tmp_path, the_profile(size_bytes=None)))
    assert (fetch.size_bytes, fetch.expected_bytes) == (None, None)
    assert fetch.cost().risk == "costly"
