"""The walk over an install, layouts, and other copies of a model."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import support

from modelmedic.facts import install_scan, layout, other_installs
from modelmedic.profile.model import ModelFile, ModelRepo, ModelSource

posix_only = pytest.mark.skipif(os.name == "nt", reason="flock, links and pipes of POSIX")
DOWNLOAD = "model/.cache/huggingface/download"


def write(path: Path, data: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# --- the walk


def test_the_walk_finds_unfinished_downloads_and_locks(tmp_path):
    write(tmp_path / f"{DOWNLOAD}/a.incomplete", b"x" * 10)
    write(tmp_path / "b.safetensors.aria2", b"xx")
    write(tmp_path / ".modelmedic/parts/0123.part", b"no leftover: the next repair goes on with it")
    write(tmp_path / ".modelmedic/aside/kept.part", b"no leftover: kept for undo")
    write(tmp_path / f"{DOWNLOAD}/a.lock")
    write(tmp_path / "uv.lock")
    write(tmp_path / ".venv/lib/python3/site-packages/x/y.part")
    write(tmp_path / "._____temp/org/model/part")
    found = install_scan.scan(tmp_path)
    assert {each.subject: each.size_bytes for each in found.leftovers} == {
        f"{DOWNLOAD}/a.incomplete": 10,
        "b.safetensors.aria2": 2,
    }
    assert [each.subject for each in found.locks] == [f"{DOWNLOAD}/a.lock"]
    assert found.unfinished_folders == ("._____temp",)
    assert found.cut == ""


def test_the_walk_finds_model_files_in_the_wrong_place(tmp_path):
    write(tmp_path / "model/w.safetensors", b"home")
    write(tmp_path / "model/model/w.safetensors", b"stray")
    found = install_scan.scan(tmp_path, frozenset({"model/w.safetensors"}))
    assert [(each.subject, each.size_bytes) for each in found.strays] == [
        ("model/model/w.safetensors", 5)
    ]


@posix_only
def test_the_walk_follows_no_link(tmp_path):
    write(tmp_path / "outside/a.part")
    (tmp_path / "install").mkdir()
    (tmp_path / "install/out").symlink_to("../outside")
    (tmp_path / "install/self").symlink_to(".")
    found = install_scan.scan(tmp_path / "install")
    assert found.leftovers == ()
    assert found.entries == 2


def test_a_walk_that_was_cut_says_so(tmp_path):
    for index in range(20):
        write(tmp_path / f"{index}.part")
    by_count = install_scan.scan(tmp_path, max_entries=10)
    assert "more than 10 names" in by_count.cut
    assert len(by_count.leftovers) == 10
    for index in range(600):
        write(tmp_path / f"{index}.txt")
    assert "longer than its limit" in install_scan.scan(tmp_path, max_seconds=-1).cut


def test_the_walk_over_nothing_is_empty(tmp_path):
    assert install_scan.scan(tmp_path / "gone").entries == 0
    assert install_scan.scan(write(tmp_path / "file")).entries == 0


@pytest.mark.slow
def test_200_000_files_are_walked_within_the_limits(tmp_path):
    folder = tmp_path / "outputs"
    folder.mkdir()
    here = os.open(folder, os.O_RDONLY) if {os.open, os.link} <= os.supports_dir_fd else None
    if here is None:
        pytest.skip("Making so many files by path takes minutes.")
    for index in range(200_000):  # names of a few files: a fifth of what as many files would take
        if index % 50_000 == 0:  # ext4 gives a file 65,000 names
            first = f"{index:06}.png"
            os.close(os.open(first, os.O_CREAT | os.O_WRONLY, dir_fd=here))
        else:
            os.link(first, f"{index:06}.png", src_dir_fd=here, dst_dir_fd=here)
    os.close(here)
    write(tmp_path / "outputs/z.incomplete", b"x")
    found = install_scan.scan(tmp_path)
    shutil.rmtree(folder)  # pytest would keep all of them for the last three runs
    assert found.cut == ""
    assert found.entries == 200_002
    assert [each.subject for each in found.leftovers] == ["outputs/z.incomplete"]


@posix_only
def test_hostile_names_do_not_stop_the_walk(tmp_path):
    for name in (b"a\nb.part", b"\xff\xfe.part", b"<script>.part", b"\x1b[31m.part"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"")
    assert len(install_scan.scan(tmp_path).leftovers) == 4


def test_scratch_folders_of_other_runs_are_found_and_ours_is_not(tmp_path):
    facts = support.make_facts(tmp_path)
    (tmp_path / facts.context.scratch_name).mkdir()
    (tmp_path / ".modelmedic-probe-killed").mkdir()
    found = facts.get(install_scan.read_scratch_leftovers)
    assert [Path(each.subject).name for each in found] == [".modelmedic-probe-killed"]


@pytest.mark.parametrize(
    ("subject", "is_lock"),
    [
        (f"{DOWNLOAD}/a/b.lock", True),
        (".cache/huggingface/.gitignore.lock", True),
        ("hub/.locks/models--a--b/0f.lock", True),
        ("poetry.lock", False),
        ("x.cache/huggingface/a.lock", False),
        (f"{DOWNLOAD}/a.metadata", False),
    ],
)
def test_only_locks_of_the_hub_client_are_taken_for_download_locks(subject, is_lock):
    assert install_scan.is_download_lock(subject) is is_lock


# --- layouts and other copies


def files(*paths: str) -> tuple[ModelFile, ...]:
    return tuple(ModelFile(path, size_bytes=100) for path in paths)


NATIVE = ModelRepo("demo", ("model",), "native", files("vae.pth", "low/a.safetensors"))


def facts_for(place, *models, **more):
    return support.make_facts(place, support.make_profile(models=models or (NATIVE,)), **more)


def test_a_listing_tells_a_pipeline_from_native_weights(tmp_path):
    write(tmp_path / "pipe/model_index.json")
    write(tmp_path / "pipe/transformer/w.safetensors")
    write(tmp_path / "native/vae.pth")
    write(tmp_path / "native/low/w.safetensors")
    pipe = layout.list_names(tmp_path / "pipe", "pipe")
    native = layout.list_names(tmp_path / "native", "native")
    assert (pipe.is_diffusers, pipe.has_native_weights) == (True, False)
    assert (native.is_diffusers, native.has_native_weights) == (False, True)
    assert pipe.native_beside_diffusers(frozenset({"vae.pth"}))
    assert not pipe.native_beside_diffusers(frozenset({"model_index.json"}))
    assert not layout.list_names(tmp_path / "gone", "gone").exists


def test_a_folder_full_of_files_is_cut_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "MAX_NAMES", 10)
    for index in range(30):
        write(tmp_path / f"a/{index}")
        write(tmp_path / f"b/{index}")
    assert layout.list_names(tmp_path, ".").is_cut


def test_files_with_a_bf16_mark_are_told_where_unmarked_are_missing():
    missing = frozenset({"low/diffusion_pytorch_model-00001-of-00006.safetensors", "x.pth"})
    present = frozenset(
        {
            "low/diffusion_pytorch_model-00001-of-00003-bf16.safetensors",
            "high/diffusion_pytorch_model-00001-of-00003-bf16.safetensors",
            "low/models_t5_umt5-xxl-enc-bf16.pth",
            "low/bf16.safetensors",
        }
    )
    assert layout.bf16_names(missing, present) == (
        "low/diffusion_pytorch_model-00001-of-00003-bf16.safetensors",
    )


@pytest.mark.parametrize("where", ["model/demo", "downloads/Wan2___2", "../elsewhere"])
def test_a_model_in_another_folder_nearby_is_found(tmp_path, where):
    place = tmp_path / "install"
    place.mkdir()
    for file in NATIVE.files:
        write(place / where / file.path, b"x" * 100)
    found = facts_for(place).get(layout.read_candidates, "demo")
    assert (found[0].subject, found[0].found, found[0].tried) == (where, 2, 2)


def test_a_model_that_is_at_home_has_no_other_place(tmp_path):
    for file in NATIVE.files:
        write(tmp_path / "install/model" / file.path, b"x" * 100)
        write(tmp_path / "install/copy" / file.path, b"x" * 100)
    assert facts_for(tmp_path / "install").get(layout.read_candidates, "demo") == ()


def test_another_variant_beside_the_install_is_not_taken_for_the_model(tmp_path):
    """Variants share their text encoder and VAE, and even names and sizes of most shards."""
    write(tmp_path / "install/model/README.md")
    write(tmp_path / "variant/model/vae.pth", b"x" * 100)
    write(tmp_path / "variant/model/low/a.safetensors", b"x" * 99)
    write(tmp_path / "variant/model/README.md")
    assert facts_for(tmp_path / "install").get(layout.read_candidates, "demo") == ()


def test_half_a_model_one_folder_too_deep_is_found(tmp_path):
    write(tmp_path / "install/model/demo/vae.pth", b"x" * 100)
    (found,) = facts_for(tmp_path / "install").get(layout.read_candidates, "demo")
    assert (found.subject, found.found) == ("model/demo", 1)


def test_copies_in_caches_and_beside_the_install_are_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "scope"))
    sources = (
        ModelSource("hub", "Org/De.mo", "main", "hub"),
        ModelSource("modelscope", "Org/De.mo", "master", "scope"),
    )
    model = ModelRepo("demo", ("model",), "native", NATIVE.files, sources)
    place = tmp_path / "near" / "install"
    write(place / "model/vae.pth")
    write(tmp_path / "hub/models--Org--De.mo/snapshots/abc/vae.pth", b"x" * 100)
    write(tmp_path / "scope/hub/models/Org/De___mo/vae.pth", b"x" * 100)
    write(tmp_path / "near/second/model/low/a.safetensors", b"x" * 100)
    found = facts_for(place, model).get(other_installs.read_others)
    assert [each.folder.relative_to(tmp_path).as_posix() for each in found] == [
        "hub/models--Org--De.mo/snapshots/abc",
        "scope/hub/models/Org/De___mo",
        "near/second/model",
    ]
    assert {each.found for each in found} == {1}


@pytest.mark.parametrize(
    ("settings", "folder"),
    [
        ({"HF_HUB_CACHE": "{0}/a"}, "a"),
        ({"HF_HOME": "{0}/b"}, "b/hub"),
        ({"XDG_CACHE_HOME": "{0}/c"}, "c/huggingface/hub"),
        ({"HOME": "{0}/d"}, "d/.cache/huggingface/hub"),
    ],
)
def test_the_hub_cache_is_where_its_client_looks(tmp_path, monkeypatch, settings, folder):
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    assert other_installs.hub_cache() == tmp_path / folder
