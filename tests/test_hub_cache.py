"""Caches of the Hub's client as installs: real ones, made by huggingface_hub, in every state."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hub_cache_support import (
    NEEDS_LINKS,
    REPO,
    SHARD,
    bare,
    cache,
    downloaded,
    file_of,
    judge,
    judge_records,
    look,
    share,
    snapshot_of,
)
from support import PYTHON, make_profile
from test_hub_clients import HAS_VERIFY, Client, old_python

from modelmedic.errors import RecoveryRefused, Unhealthy
from modelmedic.facts import hub_cache, install_scan
from modelmedic.facts.book import FactBook
from modelmedic.operations.base import Workshop
from modelmedic.operations.kinds import from_json
from modelmedic.operations.tree import Tree
from modelmedic.profile.model import ModelFile, ModelRepo, ModelSource
from modelmedic.strategies import hub_links
from modelmedic.testing.hub import demo_hub
from modelmedic.testing.specimens import demo_files

__all__ = ["cache", "downloaded", "old_python"]  # fixtures
pytestmark = NEEDS_LINKS


# --- the cache as an install


@pytest.mark.parametrize("where", ["", REPO, f"{REPO}/snapshots", "snapshot", "home"])
def test_a_cache_its_repo_and_its_snapshot_are_the_same_install(cache, where):
    commit = snapshot_of(cache).name
    given = {"snapshot": snapshot_of(cache), "home": cache.parent}.get(where, cache / where)
    context = look(given)
    assert (context.store, context.place, context.stage) == ("hub", cache, "installed")
    assert context.model_folders == (f"{REPO}/snapshots/{commit}",)
    assert context.own_folders == (REPO,)
    assert "download cache" in context.install_reason
    assert context.profile.folders == context.profile.configs == ()  # an app's, not a cache's
    for file in demo_files():
        judge(context, file)


def test_a_link_to_a_snapshot_is_that_snapshot(cache, tmp_path):
    (tmp_path / "model").symlink_to(snapshot_of(cache))
    assert look(tmp_path / "model").place == cache


def test_a_cache_beside_a_plain_model_is_not_meant(cache):
    (cache / "model").mkdir()
    (cache / "model" / "Demo_VAE.pth").write_bytes(b"x")
    assert look(cache).store == ""


def test_the_snapshot_is_chosen_by_the_ref_then_by_what_it_holds(cache):
    other = cache / REPO / "snapshots" / ("0" * 40)
    other.mkdir()
    commit = next(e.name for e in (cache / REPO / "snapshots").iterdir() if e != other)
    assert look(cache).model_folders[0].endswith(commit)
    (cache / REPO / "refs" / "main").write_text("")
    assert look(cache).model_folders[0].endswith(commit)
    (cache / REPO / "refs" / "main").write_text("0" * 40)
    assert look(cache).model_folders[0].endswith("0" * 40)


def test_a_snapshot_of_a_copy_of_the_repo_is_taken_for_the_only_model(cache):
    (cache / REPO).rename(cache / "models--somebody--copy")
    (snapshot,) = (cache / "models--somebody--copy" / "snapshots").iterdir()
    assert look(snapshot).model_folders == (f"models--somebody--copy/snapshots/{snapshot.name}",)
    assert look(cache).store == ""  # nobody said which of its repos it is


def test_modelscope_caches_are_found_under_both_spellings(tmp_path):
    model = ModelRepo(
        "m", ("elsewhere",), "native", (ModelFile("a.safetensors", 1, "a" * 64),),
        sources=(ModelSource("modelscope", "Wan-AI/Wan2.2-X", "master", "ms"),),
    )  # fmt: skip
    profile = make_profile(models=(model,))
    for folder in ("models/Wan-AI/Wan2.2-X", "hub/Wan-AI/Wan2___2-X"):
        root = tmp_path / folder.replace("/", "-")
        (root / folder).mkdir(parents=True)
        unfinished = Path(folder).parent.parent / "._____temp" / "Wan-AI" / Path(folder).name
        (root / unfinished).mkdir(parents=True)
        context = look(root, profile)
        assert (context.store, context.model_folders) == ("modelscope", (folder,))
        scan = FactBook(context).get(install_scan.read_scan)
        assert scan.unfinished_folders == (unfinished.as_posix(),)
        assert look(root / folder, profile).model_folders == (".",)


def test_other_models_of_a_cache_are_nobody_s_business(cache):
    for name in ("models--other--m/blobs/x.incomplete", f"{REPO}/blobs/y.incomplete",
                 f".locks/{REPO}/z.lock", ".locks/models--other--m/z.lock"):  # fmt: skip
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).write_bytes(b"")
    scan = FactBook(look(cache)).get(install_scan.read_scan)
    assert [each.subject for each in scan.leftovers] == [f"{REPO}/blobs/y.incomplete"]
    assert {each.subject.split("/")[1] for each in scan.locks} == {REPO}


# --- where the bytes are


def test_a_repair_acts_on_the_blob_and_never_on_shared_bytes(cache):
    context = look(cache)
    subject = file_of(context).subject
    blob = (snapshot_of(cache) / SHARD).resolve()
    assert hub_cache.real_subject(context, subject) == (f"{REPO}/blobs/{blob.name}", "")
    stored = share(cache)
    trail = hub_cache.follow(cache, subject)
    assert trail.is_shared_store
    assert trail.is_read_only
    assert trail.links == (subject, f"{REPO}/blobs/{blob.name}")
    place = stored.relative_to(cache).as_posix()
    assert hub_cache.real_subject(context, subject) == (place, "")  # nobody else reads it
    other = cache / "models--other--m" / "blobs" / blob.name
    other.parent.mkdir(parents=True)
    other.symlink_to(os.path.relpath(stored, other.parent))
    where, words = hub_cache.real_subject(context, subject)
    assert where == f"{REPO}/blobs/{blob.name}"
    assert words == f"other repos of the cache share its bytes: models--other--m/blobs/{blob.name}"


def test_a_hard_link_and_a_link_out_are_told(cache, tmp_path):
    context = look(cache)
    subject = file_of(context).subject
    blob = (snapshot_of(cache) / SHARD).resolve()
    os.link(blob, tmp_path / "elsewhere")
    where, words = hub_cache.real_subject(context, subject)
    assert (where, "2 names" in words) == (f"{REPO}/blobs/{blob.name}", True)
    (snapshot_of(cache) / SHARD).unlink()
    (snapshot_of(cache) / SHARD).symlink_to(tmp_path / "elsewhere")
    assert hub_cache.real_subject(context, subject)[1].startswith("it is a link that leads out")


def test_what_is_missing_belongs_where_its_link_says(cache):
    context = look(cache)
    blob = (snapshot_of(cache) / SHARD).resolve()
    blob.unlink()
    assert hub_cache.real_subject(context, file_of(context).subject) == (
        f"{REPO}/blobs/{blob.name}", "",
    )  # fmt: skip


# --- damage


@pytest.mark.parametrize("shared", [False, True], ids=["0.36", "2.x"])
@pytest.mark.parametrize("damage", ["cut", "empty", "pointer", "zeros"])
def test_damage_the_client_reports_as_success_is_found(cache, damage, shared):
    if shared:
        share(cache)
    blob = (snapshot_of(cache) / SHARD).resolve()
    data = blob.read_bytes()
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:%b\nsize 7\n" % (b"a" * 64)
    blob.chmod(0o644)
    blob.write_bytes(
        {"cut": data[:5000], "empty": b"", "pointer": pointer, "zeros": bytes(len(data))}[damage]
    )
    with pytest.raises(Unhealthy) as failed:
        judge(look(cache))
    assert failed.value.evidence["damage"] == {
        "cut": "truncated", "empty": "truncated", "pointer": "pointer", "zeros": "zero-filled",
    }[damage]  # fmt: skip


@pytest.mark.parametrize("dangling", [False, True])
def test_a_lost_link_is_rebuilt_by_the_hash_of_its_blob_and_undone(cache, dangling):
    link = snapshot_of(cache) / "tokenizer" / "tokenizer.json"
    text = str(link.readlink())
    link.unlink()
    if dangling:
        link.symlink_to("../../../blobs/gone")
    context = look(cache)
    subject = file_of(context, "tokenizer/tokenizer.json").subject
    with pytest.raises(Unhealthy) as failed:
        judge(context, "tokenizer/tokenizer.json")
    assert failed.value.evidence["damage"] == ("dangling" if dangling else "missing")
    shop = Workshop(Tree(cache), "run-1")
    (change,) = hub_links.plan_relink(context, subject)
    change = from_json(json.loads(json.dumps(change.to_json())))
    note = change.prepare(shop, "seat")
    assert change.inspect(shop, note) == "before"
    change.apply(shop, note)
    assert change.inspect(shop, note) == "after"
    assert str(link.readlink()) == text  # as the client itself made it
    judge(context, "tokenizer/tokenizer.json")
    change.undo(shop, note)
    change.undo(shop, note)
    assert change.inspect(shop, note) == "before"
    assert os.path.lexists(link) == dangling
    if dangling:
        assert str(link.readlink()) == "../../../blobs/gone"


def test_a_snapshot_is_not_linked_to_a_damaged_blob(cache):
    link = snapshot_of(cache) / SHARD
    blob = link.resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + b"\0")
    link.unlink()
    context = look(cache)
    with pytest.raises(RecoveryRefused, match="has other bytes than its name says"):
        list(hub_links.plan_relink(context, file_of(context).subject))
    blob.unlink()
    with pytest.raises(RecoveryRefused, match="has no blob with the bytes"):
        list(hub_links.plan_relink(context, file_of(context).subject))


def test_a_link_that_leads_somewhere_is_left_alone(cache):
    context = look(cache)
    with pytest.raises(RecoveryRefused, match="leads to a file already"):
        list(hub_links.plan_relink(context, file_of(context).subject))


@pytest.mark.skipif(not HAS_VERIFY, reason="hf cache verify came with huggingface_hub 1")
def test_the_client_agrees_with_a_rebuilt_link(tmp_path):
    (tmp_path / "home").mkdir()
    client = Client(PYTHON, tmp_path / "home")
    with demo_hub() as hub:
        folder = Path(client.download(hub)["folder"])
        (folder / SHARD).unlink()
        context = look(folder)
        shop = Workshop(Tree(context.place), "run-1")
        for change in hub_links.plan_relink(context, file_of(context).subject):
            change.apply(shop, change.prepare(shop, "seat"))
        done = client.verify(hub)
    assert done.returncode == 0, done.stderr
    assert "Verified 8 file(s)" in done.stdout


@pytest.mark.network
@pytest.mark.timeout(300)
def test_a_cache_of_the_older_client_is_an_install_too(old_python, tmp_path):
    """It keeps no listing: the names of its blobs tell the hashes."""
    (tmp_path / "home").mkdir()
    with demo_hub() as hub:
        folder = Path(Client(old_python, tmp_path / "home").download(hub)["folder"])
    context = look(folder, bare())
    assert {each.file.path for each in context.expected_files()} == set(demo_files())
    assert {"blob name" in each.told_by for each in context.expected_files()} == {True}
    for name in demo_files():
        judge(look(folder), name)
    assert judge_records(context, "refs") == []
