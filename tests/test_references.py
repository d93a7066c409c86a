"""What a file should be, told by what lies on the machine."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, fields
from types import SimpleNamespace

import pytest
from hub_cache_support import (
    NEEDS_LINKS,
    REPO,
    SHARD,
    WEIGHTS,
    bare,
    cache,
    discovered,
    downloaded,
    file_of,
    judge,
    judge_records,
    look,
    snapshot_of,
    with_listing,
)
from support import PYTHON
from test_hub_clients import Client

from modelmedic.context import Context
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import references
from modelmedic.facts.digests import Digests
from modelmedic.profile.model import ModelFile
from modelmedic.testing.hub import DEMO_REPO, demo_hub
from modelmedic.testing.specimens import demo_files

__all__ = ["cache", "downloaded"]  # fixtures
pytestmark = NEEDS_LINKS


# --- what a file should be


@with_listing
def test_a_model_without_a_list_gets_it_from_the_client_s_listing(cache):
    context = look(cache, bare())
    files = {each.file.path: each for each in context.expected_files()}
    assert set(files) == set(demo_files())
    for path, content in demo_files().items():
        assert files[path].file.size_bytes == len(content)
        assert files[path].file.sha256 in {None, hashlib.sha256(content).hexdigest()}
        assert files[path].told_by.startswith("the Hub client's listing models--")
    WEIGHTS.test_profile_lists_the_files(context.profile.models[0])
    os.truncate(snapshot_of(cache) / SHARD, 5000)
    with pytest.raises(Unhealthy, match=r"the Hub client's listing .* says 1,517,224"):
        judge(context)


def test_without_a_listing_the_links_tell_names_and_hashes(cache):
    shutil.rmtree(cache / REPO / "trees", ignore_errors=True)
    context = look(cache, bare())
    shard = file_of(context)
    assert shard.file.sha256 == hashlib.sha256(demo_files()[SHARD]).hexdigest()
    assert shard.file.size_bytes is None
    assert "blob name" in shard.told_by


@with_listing
def test_a_file_the_profile_only_names_is_completed_and_never_contradicted(cache):
    context = look(cache, bare([ModelFile(SHARD), ModelFile("Demo_VAE.pth", 1)]))
    shard, vae = context.expected_files()
    assert shard.file.size_bytes == len(demo_files()[SHARD])
    assert shard.told_by.startswith("the profile and the Hub client's listing")
    assert (vae.file.size_bytes, vae.file.sha256 is None) == (1, False)  # by the blob's name
    context = look(cache, bare([ModelFile("Demo_VAE.pth", 1, "a" * 64)]))
    assert context.expected_files()[0].told_by == "the profile"


def test_the_records_of_a_local_download_tell_too(tmp_path, downloaded):
    home = tmp_path / "home"
    home.mkdir()
    script = (
        "import sys, huggingface_hub as h; h.snapshot_download(sys.argv[1], local_dir=sys.argv[2])"
    )
    with demo_hub() as hub:
        done = Client(PYTHON, home).run(hub, PYTHON, "-c", script, DEMO_REPO, tmp_path / "i/model")
    assert done.returncode == 0, done.stderr
    context = look(tmp_path / "i", bare())
    assert (context.store, context.model_folders) == ("", ("model",))
    assert {each.file.path for each in context.expected_files()} == set(demo_files())
    shutil.rmtree(tmp_path / "i/model/.cache/huggingface/trees", ignore_errors=True)
    context = look(tmp_path / "i", bare())
    shard = file_of(context)
    assert shard.file.sha256 == hashlib.sha256(demo_files()[SHARD]).hexdigest()
    assert shard.told_by.endswith(".metadata")
    for name in demo_files():
        judge(context, name) if name.endswith((".safetensors", ".pth")) else None
    shutil.rmtree(tmp_path / "i/model/.cache")
    context = look(tmp_path / "i", bare())
    index = "the index diffusion_pytorch_model.safetensors.index.json"
    assert {each.told_by for each in context.expected_files()} == {index}
    assert sum(each.file.path.endswith(".safetensors") for each in context.expected_files()) == 3


def test_pointers_of_a_clone_tell_what_they_stand_for(tmp_path):
    folder = tmp_path / "i" / "model"
    folder.mkdir(parents=True)
    oid = "5" * 64
    (folder / "a.safetensors").write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 1234\n"
    )
    (only,) = look(tmp_path / "i", bare()).expected_files()
    assert (only.file.size_bytes, only.file.sha256) == (1234, oid)
    assert only.told_by == "the Git LFS pointers in the folder and the Git LFS pointer in its place"


def test_no_reference_at_all_is_unknown(tmp_path):
    (tmp_path / "i" / "model").mkdir(parents=True)
    (tmp_path / "i" / "model" / "a.safetensors").write_bytes(b"x" * 99)
    context = look(tmp_path / "i", bare())
    assert context.expected_files() == ()
    with pytest.raises(CannotTell, match="nothing beside the model"):
        WEIGHTS.test_profile_lists_the_files(context.profile.models[0])


@with_listing
@pytest.mark.parametrize(
    "listed",
    [
        {"format_version": 2, "files": {}},
        {"format_version": 1, "files": {"a": {"size": "many", "blob_id": "a" * 40}}},
        {"format_version": 1, "files": []},
        [],
    ],
)
def test_a_listing_of_another_form_says_nothing(cache, listed):
    (tree,) = (cache / REPO / "trees").glob("*.json")
    tree.write_text(json.dumps(listed))
    assert "blob name" in file_of(look(cache, bare())).told_by


@with_listing
def test_a_listing_cannot_name_files_outside(cache):
    (tree,) = (cache / REPO / "trees").glob("*.json")
    entry = {"size": 1, "blob_id": "a" * 40}
    names = ["../../x", "/etc/passwd", "a\0b", "a//b", "b\\c", "ok.json"]
    tree.write_text(json.dumps({"format_version": 1, "files": dict.fromkeys(names, entry)}))
    assert [each.file.path for each in look(cache, bare()).expected_files()] == ["ok.json"]


# --- a sealed manifest


@dataclass(frozen=True)
class Sealed(Context):
    """A context with manifests, as a run has them that was given some."""

    manifests: tuple[object, ...] = ()


def sealed(context, revision="", **files):
    listed = [
        SimpleNamespace(
            path=path.replace("__", "/"), digests=Digests(size_bytes, sha256, None), git_blob=None
        )
        for path, (size_bytes, sha256) in files.items()
    ]
    manifest = SimpleNamespace(name="", repo=DEMO_REPO, revision=revision, files=tuple(listed))
    values = {each.name: getattr(context, each.name) for each in fields(context)}
    return references.completed(Sealed(**values | {"manifests": (manifest,)}))


def test_a_manifest_comes_before_what_a_download_left(cache):
    first = discovered(cache, bare())
    (only,) = sealed(first, vae=(7, "a" * 64)).expected_files()
    assert (only.file.path, only.file.size_bytes, only.file.sha256) == ("vae", 7, "a" * 64)
    assert only.told_by.startswith("the sealed manifest")


def test_a_manifest_never_contradicts_the_profile(cache):
    first = discovered(cache, bare([ModelFile("vae", 8)]))
    (only,) = sealed(first, vae=(7, "a" * 64)).expected_files()
    assert (only.file.size_bytes, only.file.sha256, only.told_by) == (8, None, "the profile")
    guessed = discovered(cache, bare([ModelFile("vae", 8, is_certain=False)]))
    (only,) = sealed(guessed, vae=(7, "a" * 64)).expected_files()
    assert (only.file.size_bytes, only.file.is_certain) == (7, True)


@with_listing
def test_a_listing_that_omits_what_the_manifest_has_fails(cache):
    commit = next((cache / REPO / "snapshots").iterdir()).name
    context = sealed(discovered(cache, bare()), revision=commit, more=(7, "a" * 64))
    with pytest.raises(Unhealthy, match="omits 1 file of the model: more"):
        judge_records(context, "tree")
