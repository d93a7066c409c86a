"""Caches of the Hub's client as installs: real ones, made by huggingface_hub, in every state."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support import PYTHON, make_facts, make_profile
from test_hub_clients import HAS_VERIFY, Client, old_python

from modelmedic import rooms
from modelmedic.discovery import discover
from modelmedic.errors import RecoveryRefused, Unhealthy
from modelmedic.facts import hub_cache, install_scan, partials
from modelmedic.facts.book import FactBook
from modelmedic.operations.base import Workshop
from modelmedic.operations.kinds import from_json
from modelmedic.operations.tree import Tree
from modelmedic.profile.loader import load_profile
from modelmedic.profile.model import ModelFile, ModelRepo, ModelSource
from modelmedic.strategies import hub_links
from modelmedic.testing.hub import DEMO_REPO, demo_hub
from modelmedic.testing.specimens import demo_files

__all__ = ["old_python"]  # a fixture
pytestmark = pytest.mark.skipif(os.name == "nt", reason="the client makes no links there")
REPO = "models--modelmedic--demo"
SHARD = "diffusion_pytorch_model-00002-of-00003.safetensors"
WEIGHTS = rooms.load("checks", "test_weights")
RECORDS = rooms.load("checks", "test_weights_cache")
INSTALL = rooms.load("checks", "test_install")


@pytest.fixture(scope="session")
def downloaded(tmp_path_factory):
    """A cache as huggingface_hub leaves it."""
    home = tmp_path_factory.mktemp("cache") / "home"
    home.mkdir()
    with demo_hub() as hub:
        folder = Path(Client(PYTHON, home).download(hub)["folder"])
        assert folder.parts[-3:] == (REPO, "snapshots", hub.commit)
    return home / "hub"


@pytest.fixture
def cache(downloaded, tmp_path):
    return Path(shutil.copytree(downloaded, tmp_path / "hub", symlinks=True))


def look(folder, profile=None, **more):
    values = {
        "profile": profile or load_profile("demo", cwd=Path.cwd()), "install_dir": str(folder),
        "target_python": None, "stage": "auto", "deep": False, "offline": True, "run_id": "r1",
        "command": "pytest checks/", "cwd": Path.cwd(), "environ": {},
    }  # fmt: skip
    return discover(**values | more)


def snapshot_of(cache):
    (folder,) = (cache / REPO / "snapshots").iterdir()
    return folder


def file_of(context, name=SHARD):
    return next(each for each in context.expected_files() if each.file.path == name)


def share(cache, name=SHARD):
    """Move a blob into the store that all repos share, as huggingface_hub 2 does with Xet files."""
    blob = (snapshot_of(cache) / name).resolve()
    xet = hashlib.blake2s(name.encode()).hexdigest()
    stored = cache / "blobs" / xet[:2] / xet
    stored.parent.mkdir(parents=True)
    blob.rename(stored)
    stored.chmod(0o444)
    blob.symlink_to(f"../../blobs/{xet[:2]}/{xet}")
    return stored


def judge(context, name=SHARD, losses=None):
    facts = FactBook(context)
    lost = [] if losses is None else losses
    expected = file_of(context, name)

    def degraded(what, why="", next_step="", failure_id=None):
        lost.append(what)

    WEIGHTS.test_model_file_is_present(facts, context, expected)
    WEIGHTS.test_model_file_is_intact(facts, context, expected, degraded)


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


# --- the client's records


def judge_records(context, check):
    losses = []
    facts = FactBook(context)
    given = [context] if check == "refs" else []
    (model,) = context.profile.models
    name = {
        "refs": "test_refs_of_the_cache_lead_to_a_snapshot",
        "tree": "test_listing_of_the_hub_client_is_complete",
    }[check]
    getattr(RECORDS, name)(facts, *given, model, lambda what, *_, **__: losses.append(what))
    return losses


def test_healthy_records_are_healthy(cache):
    assert judge_records(look(cache), "refs") == []
    assert judge_records(look(cache), "tree") == []


@pytest.mark.parametrize(("text", "flaw"), [("", "empty"), ("<html>", "no-commit")])
def test_an_empty_or_broken_ref_fails(cache, text, flaw):
    (cache / REPO / "refs" / "main").write_text(text)
    with pytest.raises(Unhealthy) as failed:
        judge_records(look(cache), "refs")
    assert failed.value.evidence["flaw"] == flaw
    assert failed.value.subject == f"{REPO}/refs/main"
    assert snapshot_of(cache).name in failed.value.next_step


def test_a_ref_to_a_commit_that_is_not_there_is_a_stated_loss(cache):
    (cache / REPO / "refs" / "main").write_text("f" * 40)
    (loss,) = judge_records(look(cache), "refs")
    assert "has no snapshot" in loss


def test_a_listing_that_omits_a_file_fails(cache):
    (tree,) = (cache / REPO / "trees").glob("*.json")
    listed = json.loads(tree.read_text())
    del listed["files"][SHARD]
    tree.write_text(json.dumps(listed))
    with pytest.raises(Unhealthy) as failed:
        judge_records(look(cache), "tree")
    assert SHARD in failed.value.what
    tree.write_text("{")
    (loss,) = judge_records(look(cache), "tree")
    assert "not readable" in loss


# --- parts that nobody goes on with


@pytest.fixture
def old_part(cache):
    part = cache / REPO / "blobs" / f"{'e' * 64}.12345678.incomplete"
    part.write_bytes(b"x" * 5000)
    os.utime(part, (1, 1))
    return part


def test_orphans_are_found_and_set_aside_and_come_back(cache, old_part):
    context = look(cache)
    facts = FactBook(context)
    assert [each.size_bytes for each in facts.get(partials.read_orphans)] == [5000]
    with pytest.raises(Unhealthy, match="1 orphaned part"):
        INSTALL.test_no_download_was_left_unfinished(facts, context, None)
    shop = Workshop(Tree(cache), "run-1")
    (change,) = hub_links.plan_set_partials_aside(context)
    note = change.prepare(shop, "seat")
    change.apply(shop, note)
    assert not old_part.exists()
    change.undo(shop, note)
    assert old_part.read_bytes() == b"x" * 5000


def test_no_part_is_touched_while_a_download_runs_or_just_ran(cache, old_part):
    import fcntl

    locks = cache / ".locks" / REPO
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / "any.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(RecoveryRefused, match="none is orphaned") as refused:
            list(hub_links.plan_set_partials_aside(look(cache)))
        assert f"process {os.getpid()}" in refused.value.why
    os.utime(old_part, (time.time() - 60,) * 2)
    with pytest.raises(RecoveryRefused, match="none is orphaned"):
        list(hub_links.plan_set_partials_aside(look(cache)))


@pytest.mark.parametrize("name", ["a.aria2", "._____temp/a.incomplete", "a.part"])
def test_parts_of_other_programs_are_theirs(tmp_path, name):
    part = tmp_path / "install" / "model" / name
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x")
    os.utime(part, (1, 1))
    assert make_facts(tmp_path / "install").get(partials.read_orphans) == ()


# --- what a file should be


def bare(files=()):
    """Return the demo profile without what it knows of its files."""
    profile = load_profile("demo", cwd=Path.cwd())
    (model,) = profile.models
    return replace(profile, models=(replace(model, files=tuple(files)),))


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
    shutil.rmtree(cache / REPO / "trees")
    context = look(cache, bare())
    shard = file_of(context)
    assert shard.file.sha256 == hashlib.sha256(demo_files()[SHARD]).hexdigest()
    assert shard.file.size_bytes is None
    assert "blob name" in shard.told_by


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
    with pytest.raises(WEIGHTS.CannotTell, match="nothing beside the model"):
        WEIGHTS.test_profile_lists_the_files(context.profile.models[0])


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


def test_a_listing_cannot_name_files_outside(cache):
    (tree,) = (cache / REPO / "trees").glob("*.json")
    entry = {"size": 1, "blob_id": "a" * 40}
    names = ["../../x", "/etc/passwd", "a\0b", "a//b", "b\\c", "ok.json"]
    tree.write_text(json.dumps({"format_version": 1, "files": dict.fromkeys(names, entry)}))
    assert [each.file.path for each in look(cache, bare()).expected_files()] == ["ok.json"]
