"""Mounts, free space, missing bytes and quotas."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from machine_support import as_nobody, needs_root, open_folder, tmpfs
from support import make_facts, make_profile

from modelmedic.errors import CannotTell
from modelmedic.facts import disk, mounts, quota
from modelmedic.profile.model import ModelFile, ModelRepo

MOUNTINFO = r"""22 27 0:21 / /proc rw,nosuid shared:5 - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard,resv_strict
30 27 0:30 / /mnt/my\040disk\011x rw,noexec,relatime shared:7 master:2 - fuseblk /dev/sdb1 rw,user_id=0
31 27 0:31 /docker/abc /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw
32 27 8:17 / /data rw - xfs /dev/sdc1 ro
33 27 8:18 / /data rw - xfs /dev/sdd1 rw
a broken line
34 27 0:40 / /home rw,vers=4.2 - nfs4 filer.example:/export/home rw,addr=10.0.0.1
"""


def model(*files, folders=("weights",), name="weights"):
    return ModelRepo(name=name, folders=folders, layout="native", files=files)


def test_mountinfo_is_read_with_its_escapes_and_broken_lines_left_out():
    found = {m.point: m for m in mounts.parse_mountinfo(MOUNTINFO)}
    assert len(mounts.parse_mountinfo(MOUNTINFO)) == 7
    odd = found["/mnt/my disk\tx"]
    assert (odd.fs_type, odd.source, odd.is_noexec) == ("fuseblk", "/dev/sdb1", True)
    assert found["/sys/fs/cgroup"].root == "/docker/abc"
    assert found["/sys/fs/cgroup"].is_read_only
    assert found["/home"].source == "filer.example:/export/home"


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("/data/models", "/dev/sdd1"),
        ("/database", "/dev/vda"),
        ("/home", "filer.example:/export/home"),
        ("/", "/dev/vda"),
    ],
)
def test_a_path_lies_on_the_longest_and_latest_mount_above_it(path, source):
    assert mounts.mount_of(Path(path), mounts.parse_mountinfo(MOUNTINFO)).source == source


def test_without_mounts_nothing_covers_a_path():
    assert mounts.mount_of(Path("/x"), ()) is None


def test_a_folder_that_does_not_exist_lies_where_its_ancestor_does(tmp_path):
    volume = make_facts(tmp_path).get(disk.read_volume, tmp_path / "a" / "b")
    assert volume.folder == tmp_path.resolve()
    assert volume.device == tmp_path.stat().st_dev
    assert 0 < volume.free_bytes < volume.total_bytes


def test_a_link_to_a_folder_that_is_gone_leads_to_the_place_of_its_target(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target" / "gone" / "deep")
    assert disk.existing(tmp_path / "link" / "x") == (tmp_path / "target").resolve()


def test_a_link_loop_ends_at_its_folder(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert disk.existing(tmp_path / "a" / "x").is_relative_to(tmp_path.resolve())


@needs_root
def test_a_place_behind_a_closed_folder_is_unknown_and_not_missing():
    with open_folder() as folder:
        closed = folder / "closed"
        (closed / "place").mkdir(parents=True)
        closed.chmod(0o700)
        with as_nobody(), pytest.raises(CannotTell, match="cannot be looked at"):
            make_facts(closed / "place").get(disk.read_volume, closed / "place")


@needs_root
def test_free_space_inodes_and_type_are_those_of_the_mount():
    with tmpfs("size=1m,nr_inodes=20") as folder:
        volume = make_facts(folder).get(disk.read_volume, folder / "none")
    assert (volume.fs_type, volume.mount_point) == ("tmpfs", str(folder))
    assert volume.total_bytes == volume.free_bytes == 1 << 20
    assert (volume.inodes_total, volume.inodes_free) == (20, 19)
    assert not volume.is_read_only


@needs_root
@pytest.mark.skipif(shutil.which("mkfs.ext4") is None, reason="mkfs.ext4 is not installed")
def test_the_reserve_of_root_is_not_counted_as_free(tmp_path):
    image, folder = tmp_path / "image", tmp_path / "mounted"
    image.touch()
    os.truncate(image, 16 << 20)
    folder.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-m", "40", str(image)], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", str(image), str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("this sandbox may not mount a loop device")
    try:
        info = os.statvfs(folder)
        volume = make_facts(folder).get(disk.read_volume, folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    assert volume.fs_type == "ext4"
    assert volume.free_bytes == info.f_bavail * info.f_frsize
    assert volume.free_bytes < info.f_bfree * info.f_frsize - (4 << 20)


def test_missing_bytes_count_absent_and_wrong_files_whole(tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "whole").write_bytes(b"x" * 10)
    (weights / "short").write_bytes(b"x" * 4)
    (weights / "folder").mkdir()
    (weights / "unsized").write_bytes(b"")
    files = (
        ModelFile("whole", size_bytes=10),
        ModelFile("short", size_bytes=1_000),
        ModelFile("folder", size_bytes=20_000),
        ModelFile("absent", size_bytes=300_000),
        ModelFile("deep/er", size_bytes=4_000_000),
        ModelFile("guess", size_bytes=50_000_000, is_certain=False),
        ModelFile("optional", size_bytes=600_000_000, is_optional=True),
        ModelFile("unsized"),
        ModelFile("unsized-absent"),
    )
    facts = make_facts(tmp_path, make_profile(models=(model(*files),)))
    (missing,) = facts.get(disk.read_missing)
    assert missing.certain_bytes == 4_321_000
    assert missing.uncertain_bytes == 50_000_000
    assert missing.unsized_files == 1
    assert missing.files == 6
    assert missing.largest_bytes == 50_000_000


def test_without_models_nothing_is_missing(tmp_path):
    assert make_facts(tmp_path).get(disk.read_missing) == ()


def test_a_file_behind_a_link_counts_and_a_link_loop_or_fifo_is_missing(tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"12345")
    (tmp_path / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    files = [ModelFile(name, size_bytes=5) for name in ("linked", "loop", "fifo")]
    profile = make_profile(models=(model(*files, folders=(".",)),))
    (missing,) = make_facts(tmp_path, profile).get(disk.read_missing)
    assert missing.files == 2
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)


@needs_root
def test_models_on_two_disks_are_summed_for_each(tmp_path):
    with tmpfs("size=2m") as other:
        (tmp_path / "b").symlink_to(other / "models")
        models = [
            model(ModelFile("one", size_bytes=100), folders=("a",), name="a"),
            model(ModelFile("two", size_bytes=2_000), folders=("b",), name="b"),
            model(ModelFile("three", size_bytes=30_000), folders=("c",), name="c"),
        ]
        facts = make_facts(tmp_path, make_profile(models=tuple(models)))
        here, there = facts.get(disk.read_missing)
        volumes = facts.get(disk.read_weight_volumes)
    assert (here.certain_bytes, there.certain_bytes) == (30_100, 2_000)
    assert there.volume.mount_point == str(other)
    assert [volume.fs_type for volume in volumes][1:] == ["tmpfs"]


RECORDED_QUOTA = """Disk quotas for user ada (uid 1000):
     Filesystem  blocks   quota   limit   grace   files   quota   limit   grace
filer.example:/export/home 48234496* 47185920 52428800 1790000000 210340 0 300000 0
/dev/sda1 12 0 0 0 4 0 0 0
"""


def test_recorded_quota_output_is_read():
    found = quota.parse_quota(RECORDED_QUOTA, "filer.example:/export/home")
    assert found.used_bytes == 48234496 * 1024
    assert found.soft_bytes == 47185920 * 1024
    assert found.free_bytes == (52428800 - 48234496) * 1024
    assert found.free_files == 300000 - 210340


def test_a_quota_without_limits_leaves_everything_free():
    found = quota.parse_quota(RECORDED_QUOTA, "/dev/sda1")
    assert (found.free_bytes, found.free_files, found.soft_bytes) == (None, None, None)


@pytest.mark.parametrize(
    "text", ["", "Disk quotas for user root (uid 0): none\n", "/dev/sda1 a b c d e f g h\n"]
)
def test_no_quota_in_the_output_is_no_quota(text):
    assert quota.parse_quota(text, "/dev/sda1") is None


def test_a_disk_without_quotas_has_none(tmp_path):
    found = make_facts(tmp_path).get(quota.read_quotas, tmp_path)
    assert found.quotas == ()


def network_volume(folder):
    real = make_facts(folder).get(disk.read_volume, folder)
    return disk.Volume(
        **{name: getattr(real, name) for name in real.__slots__}
        | {"fs_type": "nfs4", "source": "filer.example:/export/home"}
    )


def test_a_share_asks_the_program_quota_and_reads_its_answer(tmp_path, monkeypatch):
    program = tmp_path / "quota"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{RECORDED_QUOTA}END\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    found = quota._ask_tool(network_volume(tmp_path))
    assert found.quotas[0].hard_bytes == 52428800 * 1024
    assert found.unseen == ""


def test_a_share_without_the_program_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = quota._ask_tool(network_volume(tmp_path))
    assert "not installed" in found.unseen
    assert found.quotas == ()


def test_a_program_that_hangs_says_so(tmp_path, monkeypatch):
    (tmp_path / "quota").write_text("#!/bin/sh\nsleep 60\n")
    (tmp_path / "quota").chmod(0o755)
    monkeypatch.setattr(quota, "_DEADLINE_SECONDS", 0.3)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert "did not answer" in quota._ask_tool(network_volume(tmp_path)).unseen


def test_the_kernel_structure_has_the_size_of_the_kernels_header():
    assert quota.ctypes.sizeof(quota._Dqblk) == 72


@pytest.mark.skipif(not Path("/usr/bin/findmnt").exists(), reason="findmnt is not installed")
def test_the_mount_of_the_temporary_folder_is_the_one_findmnt_names(tmp_path):
    argv = ["/usr/bin/findmnt", "-no", "FSTYPE,TARGET", "-T", str(tmp_path)]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    volume = make_facts(tmp_path).get(disk.read_volume, tmp_path)
    assert said == [volume.fs_type, volume.mount_point]
