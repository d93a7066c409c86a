"""Repairs beyond one file and one source: what is taken from where, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil

import pytest
from support import make_context, make_facts, make_profile

from modelmedic.errors import RecoveryFailed, RecoveryRefused, Unhealthy
from modelmedic.facts import identical, left_out
from modelmedic.healing import planfile
from modelmedic.healing.engine import Engine, Plan
from modelmedic.operations.base import Workshop
from modelmedic.operations.fetch_file import FetchFile
from modelmedic.operations.import_file import ImportFile
from modelmedic.operations.kinds import MakeDir, Rename, from_json
from modelmedic.operations.tree import Tree
from modelmedic.profile.model import Endpoint, ModelFile, ModelRepo, ModelSource
from modelmedic.strategies import model_files, optional_models, weights

GOOD = random.Random(23).randbytes(150_000)
SHA = hashlib.sha256(GOOD).hexdigest()
OTHER = random.Random(24).randbytes(90_000)
SUBJECT = "model/sub/shard-1.safetensors"


def known(path, data):
    return ModelFile(path, len(data), hashlib.sha256(data).hexdigest())


def the_profile(**overrides):
    files = (known("sub/shard-1.safetensors", GOOD), known("sub/shard-2.safetensors", OTHER))
    sources = (
        ModelSource("hub", "org/model", "main", "hub"),
        ModelSource("modelscope", "org/mo.del", "master", "scope"),
    )
    model = ModelRepo("m", ("model",), "native", files, sources, **overrides)
    endpoints = (
        Endpoint("hub", "https://hub.invalid", "hub"),
        Endpoint("scope", "https://scope.invalid", "modelscope"),
    )
    return make_profile(models=(model,), endpoints=endpoints)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home of its own, so that no cache of this machine is looked in."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME",
                 "MODELSCOPE_CACHE"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def install(tmp_path, home):
    place = tmp_path / "apps" / "install"
    place.mkdir(parents=True)
    put(place / "model/sub/shard-2.safetensors", OTHER)
    return place


def put(path, data=GOOD):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def hub_blob(home, _install, _state):
    return put(home / f".cache/huggingface/hub/models--any--name/blobs/{SHA}")


def shared_store_of_2x(home, _install, _state):
    real = put(home / f".cache/huggingface/hub/blobs/ab/{'c' * 64}")
    real.chmod(0o444)
    link = home / f".cache/huggingface/hub/models--any--name/blobs/{SHA}"
    link.parent.mkdir(parents=True)
    link.symlink_to(real)
    return real


def hub_snapshot(home, _install, _state):
    repo = home / ".cache/huggingface/hub/models--org--model"
    blob = put(repo / "blobs/etag-without-hash")
    link = repo / "snapshots/0123/sub/shard-1.safetensors"
    link.parent.mkdir(parents=True)
    link.symlink_to(blob)
    return blob


def modelscope(home, _install, _state):
    return put(home / ".cache/modelscope/hub/models/org/mo___del/sub/shard-1.safetensors")


def sibling(_home, install, _state):
    return put(install.parent / "older/model/sub/shard-1.safetensors")


def journaled(home, _install, state):
    other = home.parent / "elsewhere" / "wan"
    journal = put(state / "journals/0123/89ab/20260101-000000-aaaaaa.jsonl", b"")
    journal.write_text("\n" + json.dumps({"event": "open", "install": str(other)}) + "\n")
    return put(other / "model/sub/shard-1.safetensors")


def hinted(home, _install, _state):
    return put(home / "backup/deep/er/any-name.bin")


PLACES = [hub_blob, shared_store_of_2x, hub_snapshot, modelscope, sibling, journaled, hinted]


@pytest.mark.parametrize("make", PLACES, ids=lambda make: make.__name__)
def test_a_twin_is_found_copied_and_left_as_it_was(home, install, tmp_path, make):
    facts = make_facts(install, the_profile(also_in=("~/backup",)), state_dir=tmp_path / "state")
    source = make(home, install, tmp_path / "state")
    before = (source.read_bytes(), source.stat().st_mtime_ns, source.stat().st_nlink)
    operations = list(model_files.plan_copy(facts, facts.context, SUBJECT))
    assert [type(each) for each in operations] == [ImportFile]
    assert operations[0].source == str(source)
    engine = Engine(facts.context)
    with engine.locked():
        applied = engine.apply(Plan("r", "c", "n", operations=operations))
        target = install / SUBJECT
        assert target.read_bytes() == GOOD
        assert (target.stat().st_nlink, target.is_symlink()) == (1, False)
        assert os.access(target, os.W_OK)
        engine.undo(applied)
    assert not (install / SUBJECT).exists()
    assert (source.read_bytes(), source.stat().st_mtime_ns, source.stat().st_nlink) == before
    assert not [p for p in (install / ".modelmedic/parts").rglob("*") if p.is_file()]


def test_a_twin_of_other_bytes_or_inside_the_install_is_none(home, install):
    facts = make_facts(install, the_profile(also_in=(str(install), "~/backup")))
    hub_blob(home, install, None).write_bytes(GOOD[:-1] + b"\0")
    put(install / "stray.bin")
    put(home / "backup/other-size.bin", GOOD + b"x")
    with pytest.raises(RecoveryRefused, match="No file elsewhere"):
        list(model_files.plan_copy(facts, facts.context, SUBJECT))


def test_few_candidates_are_read(home, install, monkeypatch):
    for number in range(6):
        put(home / f"backup/{number}.bin", bytes([number]) * len(GOOD))
    read = []
    real = identical._sha256
    monkeypatch.setattr(identical, "_sha256", lambda *a: read.append(a[0]) or real(*a))
    facts = make_facts(install, the_profile(also_in=("~/backup",)))
    assert facts.get(identical.read_twin, SUBJECT) is None
    assert len(read) == identical.MAX_HASHED


def test_a_huge_folder_is_not_searched_without_end(home, install, monkeypatch):
    monkeypatch.setattr(identical, "MAX_ENTRIES", 20)
    for number in range(30):
        put(home / f"backup/{number}.txt", b"")
    put(home / "backup/zz/twin.bin")
    facts = make_facts(install, the_profile(also_in=("~/backup",)))
    assert facts.get(identical.read_twin, SUBJECT) is None


def test_a_twin_is_hashed_once_for_all_plans(home, install, monkeypatch):
    hub_blob(home, install, None)
    facts = make_facts(install, the_profile())
    assert facts.get(identical.read_twin, SUBJECT)
    monkeypatch.setattr(identical, "_sha256", lambda *_: pytest.fail("read again"))
    facts.forget()
    assert facts.get(identical.read_twin, SUBJECT)


# -- the operation


def copy_of(source, **overrides):
    found = source.stat()
    values = {
        "path": SUBJECT, "source": str(source), "size_bytes": len(GOOD), "sha256": SHA,
        "source_was": (found.st_size, found.st_mtime_ns), "source_inode": found.st_ino,
        "was": None,
    }  # fmt: skip
    return ImportFile(**values | overrides)


def test_an_import_survives_json_and_says_what_it_does(home):
    operation = copy_of(put(home / "x.bin"))
    assert from_json(json.loads(json.dumps(operation.to_json()))) == operation
    assert f"copy {home / 'x.bin'} to {SUBJECT}" in operation.describe()
    assert (operation.cost().fetch_bytes, operation.cost().disk_bytes) == (0, len(GOOD))


def swapped_for_a_link(source):
    real = source.rename(source.with_name("moved.bin"))
    source.symlink_to(real)


def behind_a_link(source):
    folder = source.parent.rename(source.parent.with_name("moved"))
    source.parent.symlink_to(folder)


def swapped_for_a_pipe(source):
    source.unlink()
    os.mkfifo(source)


def swapped_for_another(source):
    found = source.stat()
    shutil.copyfile(source, source.with_name("new"))
    source.with_name("new").replace(source)
    os.utime(source, ns=(found.st_atime_ns, found.st_mtime_ns))


@pytest.mark.parametrize(
    "swap",
    [swapped_for_a_link, behind_a_link, swapped_for_a_pipe, swapped_for_another],
    ids=lambda swap: swap.__name__,
)
def test_a_source_that_was_swapped_is_refused(home, install, swap):
    source = put(home / "folder" / "x.bin")
    operation = copy_of(source)
    swap(source)
    with pytest.raises(RecoveryRefused, match=r"was not copied|changed since"):
        operation.prepare(Workshop(Tree(install), "run"), "seat")


def test_bytes_that_do_not_prove_are_not_put_in_place(home, install):
    context = make_context(install, the_profile())
    engine = Engine(context)
    operation = copy_of(put(home / "x.bin"), sha256="0" * 64)
    with engine.locked(), pytest.raises(RecoveryFailed, match="other bytes than are expected"):
        engine.apply(Plan("r", "c", "n", operations=[operation]))
    assert not (install / SUBJECT).exists()


def test_an_import_needs_its_space(home, install, monkeypatch):
    monkeypatch.setattr("modelmedic.operations.mounts.free_bytes", lambda _tree: 1000)
    with pytest.raises(RecoveryRefused, match="1000 bytes are free"):
        copy_of(put(home / "x.bin")).prepare(Workshop(Tree(install), "run"), "seat")


def test_a_plan_from_elsewhere_cannot_name_another_source(home, install, tmp_path):
    """What a plan file says is only compared with what is planned here: its paths are not used."""
    ours = copy_of(put(home / "x.bin"))
    secret = put(home / "secret.bin")
    smuggled = copy_of(secret).to_json() | {"text": ours.describe()}
    plans = [{"check": "c", "recovery": "copy_identical_file", "operations": [smuggled]}]
    plan = Plan("copy_identical_file", "c", "n", operations=[ours])
    with pytest.raises(RecoveryRefused, match=r"source was .*secret\.bin, and is .*x\.bin now"):
        planfile.PlanFile(tmp_path / "plan.json", plans).bind(plan)
    assert plan.operations == [ours]


# -- one or several files, one or several sources


def test_a_file_is_fetched_from_the_preferred_source_and_then_from_the_others(install):
    context = make_context(install, the_profile())
    first = list(weights.plan_refetch(context, SUBJECT))[-1]
    others = list(weights.plan_alternative(context, SUBJECT))[-1]
    assert [url.partition("/org")[0] for url in first.sources] == ["https://hub.invalid"]
    assert [url.split("/")[2] for url in others.sources] == ["scope.invalid", "hub.invalid"]


def test_a_misnamed_file_in_the_models_folder_is_found_by_its_hash(install):
    put(install / "model/sub/diffusion (1).bin")
    (operation,) = weights.plan_move(make_context(install, the_profile()), SUBJECT)
    assert operation.path == "model/sub/diffusion (1).bin"
    assert isinstance(operation, Rename)


@pytest.fixture
def bare(install):
    shutil.rmtree(install / "model")
    return install


def test_a_model_is_brought_up_by_the_cheapest_way_for_each_file(home, bare):
    hub_blob(home, bare, None)
    put(bare / "stray.bin", OTHER)
    facts = make_facts(bare, the_profile())
    operations = list(model_files.plan_bring_up(facts, facts.context, SUBJECT))
    assert [type(each) for each in operations] == [MakeDir, MakeDir, ImportFile, Rename]
    engine = Engine(facts.context)
    with engine.locked():
        engine.apply(Plan("r", "c", "n", operations=operations))
    assert (bare / SUBJECT).read_bytes() == GOOD
    assert (bare / "model/sub/shard-2.safetensors").read_bytes() == OTHER


def test_of_several_missing_files_none_is_fetched_alone(bare):
    facts = make_facts(bare, the_profile())
    for plan in (weights.plan_refetch, weights.plan_alternative):
        with pytest.raises(RecoveryRefused, match="not fetched alone"):
            list(plan(facts.context, SUBJECT))
    operations = list(model_files.plan_bring_up(facts, facts.context, SUBJECT))
    assert [type(each) for each in operations] == [MakeDir, MakeDir, FetchFile, FetchFile]
    assert all(len(each.sources) == 2 for each in operations[2:])


def test_a_model_that_does_not_fit_is_not_begun(bare, monkeypatch):
    facts = make_facts(bare, the_profile())
    room = len(GOOD) + len(OTHER) - 1
    monkeypatch.setattr("modelmedic.operations.mounts.free_bytes", lambda _tree: room)
    with pytest.raises(RecoveryRefused, match="2 missing files need"):
        list(model_files.plan_bring_up(facts, facts.context, SUBJECT))
    monkeypatch.setattr("modelmedic.operations.mounts.free_bytes", lambda _tree: room + 1)
    assert list(model_files.plan_bring_up(facts, facts.context, SUBJECT))


def test_one_missing_file_is_no_model_to_bring_up(install):
    facts = make_facts(install, the_profile())
    with pytest.raises(RecoveryRefused, match="fewer than two"):
        list(model_files.plan_bring_up(facts, facts.context, SUBJECT))


# -- what a failed download leaves

LEAVINGS = {
    "pointer": f"version https://git-lfs.github.com/spec/v1\noid sha256:{SHA}\n"
    f"size {len(GOOD)}\n".encode(),
    "page": b"<!doctype html><title>Log in</title>",
    "error": b'{"error": "Repository not found"}',
    "zeros": bytes(len(GOOD)),
    "empty": b"",
}


@pytest.mark.parametrize("name", LEAVINGS)
def test_leavings_of_a_download_are_replaced(install, name):
    put(install / SUBJECT, LEAVINGS[name])
    facts = make_facts(install, the_profile())
    (fetch,) = model_files.plan_replace(facts, facts.context, SUBJECT)
    assert (fetch.sha256, fetch.was[0]) == (SHA, len(LEAVINGS[name]))


def test_what_may_be_a_model_is_not_replaced_as_a_leaving(install):
    put(install / SUBJECT)
    facts = make_facts(install, the_profile())
    with pytest.raises(RecoveryRefused, match="is no pointer, page or empty space"):
        list(model_files.plan_replace(facts, facts.context, SUBJECT))


def test_a_pointer_says_the_hash_that_a_profile_does_not(install):
    put(install / SUBJECT, LEAVINGS["pointer"])
    profile = the_profile()
    (model,) = profile.models
    bare = ModelFile("sub/shard-1.safetensors")
    model = ModelRepo("m", ("model",), "native", (bare,), model.sources)
    facts = make_facts(install, make_profile(models=(model,), endpoints=profile.endpoints))
    (fetch,) = model_files.plan_replace(facts, facts.context, SUBJECT)
    assert (fetch.sha256, fetch.size_bytes) == (SHA, len(GOOD))


def test_published_bytes_are_not_fetched_again():
    error = Unhealthy("It imports os.", evidence={"is_published": True})
    with pytest.raises(RecoveryRefused, match="published ones already"):
        weights.refuse_published(error, SUBJECT)
    weights.refuse_published(Unhealthy("It imports os.", evidence={}), SUBJECT)


# -- optional models


def test_a_model_is_left_out_only_where_the_profile_says_so(install):
    with pytest.raises(RecoveryRefused, match="does not call it optional"):
        list(optional_models.plan_skip(make_context(install, the_profile()), SUBJECT))


def test_a_model_that_is_left_out_is_noted_and_asked_for_again_after_undo(install):
    profile = the_profile(is_optional=True, task="sound")
    facts = make_facts(install, profile)
    engine = Engine(facts.context)
    operations = list(optional_models.plan_skip(facts.context, SUBJECT))
    with engine.locked():
        applied = engine.apply(Plan("r", "c", "n", operations=operations))
        assert left_out.names(facts.context) == {"m"}
        with pytest.raises(RecoveryRefused, match="left out already"):
            list(optional_models.plan_skip(facts.context, SUBJECT))
        # A profile that needs the model is not fooled by what was allowed for another.
        assert left_out.names(make_context(install, the_profile())) == frozenset()
        engine.undo(applied)
    assert left_out.names(facts.context) == frozenset()


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"schema": 2, "models": ["m"]}', '{"schema": 1}',
             '{"schema": 1, "models": [["m"]]}', '{"schema": 1, "models": 3}', "[" * 100_000],
)  # fmt: skip
def test_a_record_that_cannot_be_read_leaves_nothing_out(install, text):
    put(install / left_out.RECORD, text.encode())
    assert left_out.names(make_context(install, the_profile(is_optional=True))) == frozenset()
