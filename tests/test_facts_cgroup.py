"""Quotas of processor time, read from recorded files of both versions of control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelmedic.facts import cgroup, mounts

V2_MOUNT = "30 23 0:26 {root} /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNT = "35 31 0:32 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"


def tree(root, files):
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


CPU_V1_MOUNT = "35 31 0:32 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"


@pytest.mark.parametrize(
    ("text", "mountinfo", "files", "quota"),
    [
        # docker run --cpus=1.5: its own group is the top of what it sees
        ("0::/\n", V2_MOUNT, {"cpu.max": "150000 100000"}, 1.5),
        ("0::/a/b\n", V2_MOUNT, {"a/cpu.max": "50000 100000", "a/b/cpu.max": "max 100000"}, 0.5),
        ("0::/a\n", V2_MOUNT, {"a/cpu.max": "max 100000"}, None),
        ("0::/a\n", V2_MOUNT, {"a/cgroup.procs": ""}, None),  # no cpu controller down here
        (
            "4:cpu,cpuacct:/docker/1\n0::/\n",
            CPU_V1_MOUNT,
            {
                "cpu,cpuacct/docker/1/cpu.cfs_quota_us": "200000",
                "cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000",
                "cpu,cpuacct/cpu.cfs_quota_us": "-1",
                "cpu,cpuacct/cpu.cfs_period_us": "100000",
            },
            2.0,
        ),
        ("4:memory:/a\n", V1_MOUNT, {}, None),
        ("0::/a\n", V2_MOUNT, {"a/cpu.max": "100000 0"}, None),
    ],
)
def test_a_quota_of_processor_time_is_told_in_processors(tmp_path, text, mountinfo, files, quota):
    tree(tmp_path, files)
    mounted = mounts.parse_mountinfo(mountinfo.format(root="/"))
    assert cgroup.cpu_quota_of(text, mounted, root=tmp_path) == quota


def test_our_own_groups_are_read_without_an_error(monkeypatch):
    quota = cgroup.own_cpu_quota()
    assert quota is None or quota > 0
    monkeypatch.setattr(mounts, "MOUNTINFO", Path("/no/such/file"))
    assert cgroup.own_cpu_quota() is None
