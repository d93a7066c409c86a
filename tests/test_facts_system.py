"""Operating system, processor, memory and its caps, limits of a process."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import textwrap
from pathlib import Path

import pytest
from machine_support import needs_root, preset, tmpfs
from support import CHECKOUT, PYTHON, child_env, make_facts

from modelmedic.errors import CannotTell
from modelmedic.facts import cgroup, memory, mounts, resources, system, wsl

GIB = 1 << 30

CPUINFO = """processor\t: 0
vendor_id\t: AuthenticAMD
flags\t\t: fpu sse sse2 ssse3 avx avx2

processor\t: 1
flags\t\t: fpu sse sse2 ssse3 avx
"""
CPUINFO_ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd evtstrm aes sve\n"
SYSCTL_INTEL = """machdep.cpu.features: FPU SSE SSE2 SSE3 SSSE3 SSE4.1 SSE4.2 AVX1.0
machdep.cpu.leaf7_features: BMI1 AVX2
hw.optional.avx2_0: 1
hw.optional.avx512f: 0
"""
SYSCTL_APPLE = "hw.optional.arm.FEAT_DotProd: 1\nhw.optional.neon: 1\nhw.optional.arm.FEAT_SME: 0\n"


def test_a_feature_counts_only_when_every_processor_has_it():
    found = system.parse_cpuinfo(CPUINFO)
    assert found.has("avx") is True
    assert found.has("avx2") is False


def test_arm_features_are_read():
    assert system.parse_cpuinfo(CPUINFO_ARM).has("sve")


def test_a_cpuinfo_without_features_is_unknown():
    with pytest.raises(CannotTell):
        system.parse_cpuinfo("processor\t: 0\nmodel name\t: something\n")


def test_sysctl_of_both_kinds_of_mac_is_read_under_linux_names():
    intel = system.parse_sysctl(SYSCTL_INTEL)
    wanted = {"avx", "avx2", "sse4_1", "sse4_2", "pni"}
    assert wanted <= intel.features
    assert intel.has("avx512f") is False
    apple = system.parse_sysctl(SYSCTL_APPLE)
    assert apple.has("neon")
    assert apple.has("sme") is False
    with pytest.raises(CannotTell):
        system.parse_sysctl("")


def test_what_windows_cannot_be_asked_stays_open():
    found = system.Processor(frozenset({"avx"}), askable=frozenset({"avx", "avx2"}))
    assert [found.has(name) for name in ("avx", "avx2", "f16c")] == [True, False, None]


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="only Linux has /proc/cpuinfo")
def test_this_machine_is_described(tmp_path):
    facts = make_facts(tmp_path)
    assert facts.get(system.read_system).machine == os.uname().machine.lower()
    assert facts.get(system.read_processor).features


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("4.4.0-19041-Microsoft", 1),
        ("5.15.90.1-microsoft-standard-WSL2", 2),
        ("6.6.87.2-microsoft-standard-WSL2+", 2),
        ("6.8.0-45-generic", None),
    ],
)
def test_wsl_is_told_by_the_kernels_release(release, version):
    assert system.wsl_version(release) == version


@pytest.mark.parametrize(
    ("path", "text", "kind"),
    [
        (".dockerenv", "", "Docker"),
        ("run/.containerenv", "", "Podman"),
        ("run/systemd/container", "lxc\n", "LXC"),
        ("run/systemd/container", "systemd-nspawn\n", "systemd-nspawn"),
        ("proc/self/cgroup", "4:memory:/kubepods/burstable/pod1\n", "Kubernetes"),
        ("proc/self/cgroup", "0::/user.slice\n", ""),
    ],
)
def test_containers_are_told_apart(tmp_path, monkeypatch, path, text, kind):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(text)
    assert system.container_kind(tmp_path) == kind


V2_MOUNT = "30 23 0:26 {root} /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNT = "35 31 0:32 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"


def tree(root, files):
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


def cap(root, text, mountinfo, mount_root="/"):
    mounted = mounts.parse_mountinfo(mountinfo.format(root=mount_root))
    return cgroup.cap_of(text, mounted, root=root)


def test_the_narrowest_limit_on_the_way_up_holds_in_version_2(tmp_path):
    tree(
        tmp_path,
        {
            "user.slice/memory.max": 8 * GIB,
            "user.slice/memory.high": "max",
            "user.slice/memory.swap.max": "max",
            "user.slice/memory.current": 3 * GIB,
            "user.slice/app.scope/memory.max": 16 * GIB,
            "user.slice/app.scope/memory.high": 6 * GIB,
            "user.slice/app.scope/memory.swap.max": 0,
            "user.slice/app.scope/memory.current": GIB,
            "user.slice/app.scope/memory.events": "low 0\nhigh 3\nmax 1\noom 2\noom_kill 2",
        },
    )
    found = cap(tmp_path, "0::/user.slice/app.scope\n", V2_MOUNT)
    assert found.version == 2
    assert (found.ram_bytes, found.soft_bytes, found.swap_bytes) == (8 * GIB, 6 * GIB, 0)
    assert found.used_bytes == 3 * GIB
    assert found.where.endswith("user.slice")
    assert found.killed == 2


def test_no_limit_in_version_2_is_no_cap(tmp_path):
    tree(tmp_path, {"a/memory.max": "max", "a/memory.swap.max": "max"})
    found = cap(tmp_path, "0::/a\n", V2_MOUNT)
    assert (found.version, found.ram_bytes, found.swap_bytes, found.where) == (2, None, None, "")


def test_a_container_that_sees_only_its_own_group_is_read_at_the_mount_point(tmp_path):
    tree(tmp_path, {"memory.max": 4 * GIB})
    assert cap(tmp_path, "0::/\n", V2_MOUNT).ram_bytes == 4 * GIB
    assert cap(tmp_path, "0::/../../host.slice\n", V2_MOUNT).ram_bytes == 4 * GIB
    inside = cap(tmp_path, "0::/docker/abc\n", V2_MOUNT, mount_root="/docker/abc")
    assert inside.ram_bytes == 4 * GIB


def test_version_1_believes_the_kernels_own_sum(tmp_path):
    unlimited = 9223372036854771712
    tree(
        tmp_path,
        {
            "memory/memory.limit_in_bytes": unlimited,
            "memory/docker/abc/memory.limit_in_bytes": 16 * GIB,
            "memory/docker/abc/memory.usage_in_bytes": GIB,
            "memory/docker/abc/memory.memsw.limit_in_bytes": 20 * GIB,
            "memory/docker/abc/memory.stat": f"cache 0\nhierarchical_memory_limit {8 * GIB}\n"
            f"hierarchical_memsw_limit {12 * GIB}",
            "memory/docker/abc/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1",
        },
    )
    found = cap(tmp_path, "5:cpu:/x\n4:memory:/docker/abc\n0::/\n", V1_MOUNT)
    assert (found.version, found.ram_bytes, found.ram_and_swap_bytes) == (1, 8 * GIB, 12 * GIB)
    assert found.killed == 1


def test_version_1_without_that_sum_is_walked_up(tmp_path):
    tree(
        tmp_path,
        {
            "memory/docker/memory.limit_in_bytes": 2 * GIB,
            "memory/docker/abc/memory.limit_in_bytes": 3 * GIB,
        },
    )
    assert cap(tmp_path, "4:memory:/docker/abc\n", V1_MOUNT).ram_bytes == 2 * GIB


def test_the_unlimited_number_of_version_1_is_no_cap(tmp_path):
    tree(
        tmp_path,
        {
            "memory/a/memory.limit_in_bytes": 9223372036854771712,
            "memory/a/memory.stat": "hierarchical_memory_limit 9223372036854771712",
        },
    )
    found = cap(tmp_path, "4:memory:/a\n", V1_MOUNT)
    assert (found.ram_bytes, found.where) == (None, "")


def test_a_hidden_group_is_unknown_and_the_outermost_one_is_no_cap(tmp_path):
    with pytest.raises(CannotTell, match="not visible"):
        cgroup.cap_of("0::/sandbox/1\n", (), root=tmp_path)
    assert cgroup.cap_of("0::/\n", (), root=tmp_path).version == 0


def test_a_limit_that_cannot_be_read_is_unknown(tmp_path):
    tree(tmp_path, {"a/memory.max/x": "a folder where a number should be"})
    with pytest.raises(CannotTell, match="cannot be read"):
        cap(tmp_path, "0::/a\n", V2_MOUNT)


@contextlib.contextmanager
def real_group(limit_bytes):
    """A real version 1 memory group below our own."""
    own = cgroup._groups(Path("/proc/self/cgroup").read_text(), "memory")
    version, group = own[0] if own else (0, "")
    folder = Path(f"/sys/fs/cgroup/memory{group}") / "modelmedic-test"
    if version != 1 or not folder.parent.is_dir():
        pytest.skip("no version 1 memory hierarchy is mounted here")
    folder.mkdir()
    try:
        (folder / "memory.limit_in_bytes").write_text(str(limit_bytes))
        yield folder
    finally:
        folder.rmdir()


@needs_root
def test_a_real_control_group_is_found_from_inside(tmp_path):
    program = textwrap.dedent("""
        import dataclasses, json, os, sys
        from pathlib import Path
        from support import make_facts
        from modelmedic.facts import memory
        (Path(sys.argv[1]) / "cgroup.procs").write_text(str(os.getpid()))
        found = make_facts(Path(sys.argv[2])).get(memory.read_memory)
        print(json.dumps(dataclasses.asdict(found)))
    """)
    path = os.pathsep.join([str(CHECKOUT / "src"), str(CHECKOUT / "tests")])
    with real_group(512 << 20) as folder:
        done = subprocess.run(
            [PYTHON, "-c", program, str(folder), str(tmp_path)],
            env=child_env(PYTHONPATH=path),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    found = json.loads(done.stdout)
    assert found["cap"]["ram_bytes"] == found["usable_ram_bytes"] == 512 << 20
    assert found["cap"]["where"] == str(folder)


@pytest.mark.parametrize(
    ("limits", "ram", "both"),
    [
        ({}, 10, 14),
        ({"ram_bytes": 8}, 8, 12),
        ({"ram_bytes": 8, "swap_bytes": 0}, 8, 8),
        ({"ram_bytes": 8, "ram_and_swap_bytes": 9}, 8, 9),
        ({"ram_bytes": 99, "swap_bytes": 99, "ram_and_swap_bytes": 99}, 10, 14),
    ],
)
def test_ram_and_swap_are_laid_under_their_caps(limits, ram, both):
    found = memory.under_cap(10, 4, 9, 4, cgroup.MemoryCap(version=2, **limits))
    assert (found.usable_ram_bytes, found.usable_bytes) == (ram, both)


MEMINFO = """MemTotal:       24684092 kB
MemAvailable:   24287448 kB
SwapTotal:       2097148 kB
SwapFree:        2097148 kB
CommitLimit:    12342044 kB
Committed_AS:      71696 kB
HugePages_Total:       0
"""


def test_meminfo_is_read_in_bytes():
    found = memory.parse_meminfo(MEMINFO)
    assert found["MemTotal"] == 24684092 * 1024
    assert "HugePages_Total" not in found


@pytest.mark.parametrize(("mode", "is_limited"), [(0, False), (1, False), (2, True)])
def test_only_strict_overcommit_limits_promises(mode, is_limited):
    found = memory.commit_of(mode, memory.parse_meminfo(MEMINFO))
    assert found.is_limited is is_limited
    if is_limited:
        assert found.free_bytes == (12342044 - 71696) * 1024


def test_strict_overcommit_without_numbers_is_unknown():
    with pytest.raises(CannotTell):
        memory.commit_of(2, {"MemTotal": 1})


def test_this_machines_memory_agrees_with_psutil(tmp_path):
    import psutil

    found = make_facts(tmp_path).get(memory.read_memory)
    assert found.ram_bytes == psutil.virtual_memory().total
    assert found.usable_ram_bytes <= found.ram_bytes
    assert 0 < found.available_bytes <= found.ram_bytes


def test_limits_of_this_process_are_the_kernels(tmp_path):
    found = make_facts(tmp_path).get(resources.read_process_limits)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert (found.open_files_soft, found.open_files_hard) == (soft, hard)


@needs_root
def test_shared_memory_is_measured_on_its_own_file_system(tmp_path):
    with tmpfs("size=64m") as folder:
        (folder / "held").write_bytes(b"\0" * (1 << 20))
        found = make_facts(tmp_path).get(resources.read_shared_memory, folder)
    assert found.total_bytes == 64 << 20
    assert found.free_bytes == 63 << 20
    assert found.is_writable


def test_missing_shared_memory_is_a_fact_and_no_error(tmp_path):
    found = make_facts(tmp_path).get(resources.read_shared_memory, tmp_path / "none")
    assert found == resources.SharedMemory(exists=False)


WSLCONFIG = b"; mine\r\n[wsl2]\r\nMemory = 48GB\r\nswap=0\r\n[experimental]\r\nmemory=1GB\r\n"


def test_a_wslconfig_is_read_from_its_section():
    found = wsl.parse_wslconfig(Path(".wslconfig"), WSLCONFIG)
    assert (found.memory_bytes, found.swap_bytes, found.trouble) == (48 * GIB, 0, "")


@pytest.mark.parametrize(
    ("data", "trouble"),
    [
        (WSLCONFIG.decode().encode("utf-16"), "UTF-16"),
        (WSLCONFIG.decode().encode("utf-16-le"), "UTF-16"),
        (b"\xef\xbb\xbf" + WSLCONFIG, "byte order mark"),
        (b"memory=8GB\n", "no line [wsl2]"),
        (b"[wsl2] memory=8GB", "share one line"),
        (b"", ""),
        (b"[wsl2]\nmemory=lots\n", ""),
    ],
)
def test_a_wslconfig_that_wsl_ignores_is_named(data, trouble):
    found = wsl.parse_wslconfig(Path(".wslconfig"), data)
    assert trouble in found.trouble
    assert bool(trouble) == bool(found.trouble)
    assert found.memory_bytes is None


def test_the_only_users_wslconfig_is_taken_and_of_two_none(tmp_path):
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / ".wslconfig").write_bytes(WSLCONFIG)
    assert wsl.find_config(tmp_path).memory_bytes == 48 * GIB
    (tmp_path / "bob").mkdir()
    (tmp_path / "bob" / ".wslconfig").write_bytes(WSLCONFIG)
    assert wsl.find_config(tmp_path) is None
    assert wsl.find_config(tmp_path / "none") is None


def test_an_unreadable_cap_leaves_the_memory_unknown(tmp_path):
    facts = preset(make_facts(tmp_path), cgroup.read_memory_cap, CannotTell("hidden"))
    with pytest.raises(CannotTell, match="hidden"):
        facts.get(memory.read_memory)
