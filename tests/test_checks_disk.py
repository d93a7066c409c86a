"""What the checks of the disk say, on real small, full and odd file systems."""

from __future__ import annotations

import dataclasses
import errno
import os
import shlex
import subprocess
import sys

import pytest
from machine_support import Losses, needs_root, preset, tmpfs
from support import make_context, make_profile

from modelmedic import rooms
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import disk, filesystem, quota
from modelmedic.facts.book import FactBook
from modelmedic.facts.filesystem import Trial
from modelmedic.profile.model import ModelFile, ModelRepo, PythonNeeds, Requirement

GIB = 1 << 30


class Bench:
    """One install folder under check."""

    def __init__(self, place, *files, requirements=(), **overrides):
        models = (ModelRepo("weights", ("weights",), "native", files),) if files else ()
        python = PythonNeeds(requirements=tuple(Requirement(spec) for spec in requirements))
        self.profile = make_profile(models=models, python=python)
        self.context = make_context(place, self.profile, **overrides)
        self.facts = FactBook(self.context)
        self.losses = Losses()

    def run(self, name):
        function = getattr(rooms.load("checks", "test_disk"), name)
        known = {
            "facts": self.facts,
            "profile": self.profile,
            "context": self.context,
            "degraded": self.losses,
        }
        wanted = function.__code__.co_varnames[: function.__code__.co_argcount]
        return function(**{key: known[key] for key in wanted})

    def fails(self, name):
        with pytest.raises(Unhealthy) as caught:
            self.run(name)
        return caught.value

    def with_trial(self, **trials):
        (real,) = self.facts.get(filesystem.read_weight_scratches)
        changed = dataclasses.replace(real, **trials)
        preset(self.facts, filesystem.read_weight_scratches, (changed,))
        return self


SMALL = ModelFile("small", size_bytes=1000)
LARGE = ModelFile("large", size_bytes=5 * GIB)
TRAITS = {
    "test_symbolic_links_work": "symlink",
    "test_long_paths_work": "long_path",
    "test_large_files_fit": "large_file",
    "test_a_file_replaces_another_at_once": "rename",
    "test_files_can_be_locked": "lock",
}


@pytest.mark.parametrize(
    "name",
    [
        *TRAITS,
        "test_disk_holds_what_is_missing",
        "test_disk_can_hold_more_files",
        "test_quota_allows_what_is_missing",
    ],
)
def test_an_ordinary_disk_is_healthy(tmp_path, name):
    bench = Bench(tmp_path, SMALL, LARGE)
    bench.run(name)
    assert bench.losses.said == []
    assert list(tmp_path.iterdir()) == []


def test_without_models_space_does_not_apply(tmp_path):
    for name in ("test_disk_holds_what_is_missing", "test_quota_allows_what_is_missing"):
        with pytest.raises(pytest.skip.Exception, match="no model files"):
            Bench(tmp_path).run(name)


@needs_root
def test_too_small_a_disk_names_both_numbers_and_a_command_that_runs():
    with tmpfs("size=2m") as place:
        said = Bench(place, ModelFile("a", size_bytes=3 << 20)).fails(
            "test_disk_holds_what_is_missing"
        )
        command = said.next_step.split("`")[1]
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
        assert str(place) in done.stdout
    assert "2.0 MiB free of 2.0 MiB" in said.what
    assert "3.0 MiB" in said.what
    assert said.failure_id == "no-space-on-model-disk"
    assert said.evidence["needed_bytes"] == 3 << 20
    assert shlex.quote(str(place)) in command


@needs_root
def test_what_is_there_already_needs_no_more_space():
    with tmpfs("size=2m") as place:
        (place / "weights").mkdir()
        (place / "weights" / "a").write_bytes(b"x" * (1 << 20))
        bench = Bench(place, ModelFile("a", size_bytes=1 << 20), SMALL)
        bench.run("test_disk_holds_what_is_missing")
        assert bench.losses.said == []


@needs_root
def test_a_full_disk_fails_even_when_nothing_is_missing():
    with tmpfs("size=64k") as place:
        (place / "weights").mkdir()
        (place / "weights" / "a").write_bytes(b"x" * (64 << 10))
        bench = Bench(place, ModelFile("a", size_bytes=64 << 10))
        assert "is full" in bench.fails("test_disk_holds_what_is_missing").what


@needs_root
@pytest.mark.parametrize(
    "files",
    [
        (ModelFile("a", size_bytes=3 << 20, is_certain=False),),
        (ModelFile("a", size_bytes=(2 << 20) - 4096),),
        (ModelFile("a"),),
    ],
    ids=["uncertain size", "thin margin", "unknown size"],
)
def test_what_is_not_sure_to_fit_degrades_and_never_fails(files):
    with tmpfs("size=2m") as place:
        bench = Bench(place, *files)
        bench.run("test_disk_holds_what_is_missing")
    assert len(bench.losses.said) == 1


@needs_root
def test_no_inode_left_fails_though_bytes_are_free():
    with tmpfs("size=2m,nr_inodes=3") as place:
        bench = Bench(place, *(ModelFile(name, size_bytes=1) for name in "abc"))
        said = bench.fails("test_disk_can_hold_more_files")
    assert "2 more files; 3 will be made" in said.what
    assert said.evidence["inodes_total"] == 3


def test_a_file_system_without_inode_counts_does_not_apply(tmp_path):
    bench = Bench(tmp_path, SMALL)
    (volume,) = bench.facts.get(disk.read_weight_volumes)
    uncounted = dataclasses.replace(volume, inodes_total=0, inodes_free=0)
    preset(bench.facts, disk.read_weight_volumes, (uncounted,))
    with pytest.raises(pytest.skip.Exception, match="does not count"):
        bench.run("test_disk_can_hold_more_files")


def with_quota(place, unseen="", **numbers):
    bench = Bench(place, ModelFile("a", size_bytes=10 * GIB), SMALL)
    bench.facts.get(disk.read_missing)
    volume = bench.facts.get(disk.read_volume, place)
    limit = quota.Quota(
        **{
            "kind": "user",
            "used_bytes": 5 * GIB,
            "soft_bytes": None,
            "hard_bytes": None,
            "used_files": 1,
            "hard_files": None,
        }
        | numbers
    )
    found = quota.Quotas(volume, (limit,) if numbers else (), unseen)
    preset(bench.facts, quota.read_quotas, found, volume.folder)
    return bench


def test_a_quota_below_the_need_fails_and_a_soft_one_degrades(tmp_path):
    name = "test_quota_allows_what_is_missing"
    said = with_quota(tmp_path, hard_bytes=12 * GIB).fails(name)
    assert "room for 7.0 GiB" in said.what
    assert said.evidence["hard_bytes"] == 12 * GIB
    assert "room for 1 file" in with_quota(tmp_path, hard_files=2).fails(name).what
    bench = with_quota(tmp_path, soft_bytes=12 * GIB, hard_bytes=40 * GIB)
    bench.run(name)
    assert "soft quota of 12.0 GiB" in bench.losses.text
    with_quota(tmp_path, hard_bytes=40 * GIB, hard_files=10).run(name)


def test_a_quota_that_cannot_be_asked_is_said(tmp_path):
    with pytest.raises(pytest.skip.Exception, match="not installed"):
        with_quota(tmp_path, unseen="quota is not installed").run(
            "test_quota_allows_what_is_missing"
        )


def with_temp(place, free_bytes, **overrides):
    bench = Bench(place, requirements=("torch>=2.4",), **overrides)
    temp = bench.facts.get(disk.read_temp)
    preset(bench.facts, disk.read_temp, dataclasses.replace(temp, free_bytes=free_bytes))
    return bench


def test_little_temporary_space_fails_before_and_degrades_after_the_environment(tmp_path):
    name = "test_temporary_folder_holds_downloads"
    said = with_temp(tmp_path, GIB).fails(name)
    assert said.failure_id == "no-space-on-tmp"
    assert "1.0 GiB free" in said.what
    later = with_temp(tmp_path, GIB, target_python=tmp_path / "python")
    later.run(name)
    assert len(later.losses.said) == 1
    tight = with_temp(tmp_path, 5 * GIB)
    tight.run(name)
    assert len(tight.losses.said) == 1
    wide = with_temp(tmp_path, 50 * GIB)
    wide.run(name)
    assert wide.losses.said == []


@needs_root
def test_a_small_temporary_folder_is_pointed_to_the_larger_disk(tmp_path, monkeypatch):
    with tmpfs("size=2m") as temp:
        monkeypatch.setattr("tempfile.tempdir", str(temp))
        bench = Bench(tmp_path, requirements=("torch",))
        place = bench.facts.get(disk.read_volume, tmp_path)
        preset(
            bench.facts,
            disk.read_volume,
            dataclasses.replace(place, free_bytes=100 * GIB),
            bench.context.place,
        )
        said = bench.fails("test_temporary_folder_holds_downloads")
    assert f"export TMPDIR={tmp_path}/tmp" in said.next_step
    assert str(temp) in said.what


def test_without_torch_temporary_space_does_not_apply(tmp_path):
    with pytest.raises(pytest.skip.Exception):
        Bench(tmp_path, requirements=("numpy",)).run("test_temporary_folder_holds_downloads")


def test_links_that_fail_are_a_loss_only(tmp_path):
    broken = Trial(False, "Operation not permitted", errno.EPERM)
    bench = Bench(tmp_path, SMALL).with_trial(symlink=broken)
    bench.run("test_symbolic_links_work")
    assert "whole copies" in bench.losses.text
    windows = Trial(False, "A required privilege is not held", 22, winerror=1314)
    bench = Bench(tmp_path, SMALL).with_trial(symlink=windows)
    bench.run("test_symbolic_links_work")
    assert "Developer Mode" in bench.losses.text
    assert bench.losses.said[0][3] == "windows-symlink-privilege"


def test_long_paths_fail_only_when_the_profile_has_one(tmp_path):
    broken = Trial(False, "File name too long", errno.ENAMETOOLONG)
    bench = Bench(tmp_path, SMALL).with_trial(long_path=broken)
    bench.run("test_long_paths_work")
    assert len(bench.losses.said) == 1
    deep = ModelFile("/".join(["folder-of-a-model"] * 20), size_bytes=1)
    said = Bench(tmp_path, deep).with_trial(long_path=broken).fails("test_long_paths_work")
    assert said.failure_id == "windows-path-too-long"
    assert said.evidence["longest_path"] >= 260


def test_large_files_are_asked_for_only_by_profiles_that_have_them(tmp_path):
    broken = Trial(False, "vfat holds no file of 4 GiB or more")
    with pytest.raises(pytest.skip.Exception, match="4 GiB"):
        Bench(tmp_path, SMALL).with_trial(large_file=broken).run("test_large_files_fit")
    said = Bench(tmp_path, SMALL, LARGE).with_trial(large_file=broken).fails("test_large_files_fit")
    assert "weights/large" in said.why
    bench = Bench(tmp_path, LARGE).with_trial(large_file=Trial(None, "of an unknown type"))
    with pytest.raises(CannotTell, match="unknown type"):
        bench.run("test_large_files_fit")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file size")
def test_a_limit_of_the_shell_on_file_size_is_found_for_real(tmp_path):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, hard))
    try:
        said = Bench(tmp_path, LARGE).fails("test_large_files_fit")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.strerror(errno.EFBIG) in said.what
    assert "ulimit -f unlimited" in said.next_step


@pytest.mark.parametrize(
    ("name", "trait", "failure_id"),
    [
        ("test_a_file_replaces_another_at_once", "rename", None),
        ("test_files_can_be_locked", "lock", "flock-unsupported-filesystem"),
    ],
)
def test_what_a_repair_stands_on_fails_when_it_is_missing(tmp_path, name, trait, failure_id):
    bench = Bench(tmp_path, SMALL).with_trial(**{trait: Trial(False, "No locks available", 37)})
    said = bench.fails(name)
    assert "No locks available" in said.what
    assert said.failure_id == failure_id


@pytest.mark.parametrize("name", [name for name in TRAITS if "large" not in name])
def test_what_was_not_tried_is_unknown(tmp_path, name):
    bench = Bench(tmp_path, SMALL).with_trial(**{TRAITS[name]: Trial(None, "nothing written")})
    with pytest.raises(CannotTell, match="nothing written"):
        bench.run(name)


@needs_root
def test_the_disk_of_the_models_is_judged_and_not_only_the_installs(tmp_path):
    with tmpfs("size=2m") as models:
        (tmp_path / "weights").symlink_to(models)
        bench = Bench(tmp_path, ModelFile("a", size_bytes=3 << 20))
        assert str(models) in bench.fails("test_disk_holds_what_is_missing").what
        scratches = bench.facts.get(filesystem.read_weight_scratches)
    assert [scratch.fs_type for scratch in scratches][1] == "tmpfs"


@needs_root
def test_large_files_are_judged_on_the_disk_they_go_to(tmp_path):
    with tmpfs("size=2m") as models:
        (tmp_path / "weights").symlink_to(models)
        bench = Bench(tmp_path, LARGE)
        here, there = bench.facts.get(filesystem.read_weight_scratches)
        broken = Trial(False, "vfat holds no file of 4 GiB or more")
        probe = filesystem.read_weight_scratches
        preset(bench.facts, probe, (dataclasses.replace(here, large_file=broken), there))
        bench.run("test_large_files_fit")
        preset(bench.facts, probe, (here, dataclasses.replace(there, large_file=broken)))
        assert str(models) in bench.fails("test_large_files_fit").what
