"""What the checks of the machine say: on this machine, and on ones set up by facts."""

from __future__ import annotations

import dataclasses
import datetime as dt
import resource
import sys
from pathlib import Path

import pytest
from machine_support import Losses, preset
from support import make_context, make_profile

from modelmedic import rooms
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import cgroup, clock, filesystem, gpu, memory, resources, system, wsl
from modelmedic.facts.book import FactBook
from modelmedic.profile.model import Endpoint, Hardware

GIB = 1 << 30
LINUX = system.System("linux", "6.8.0", "x86_64", None, "")

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the texts are those for Linux"
)


class Bench:
    """One machine under check."""

    def __init__(self, place, **hardware):
        self.profile = make_profile(
            hardware=Hardware(**hardware), endpoints=(Endpoint("hub", "http://hub.invalid", "hub"),)
        )
        self.context = make_context(place, self.profile, offline=True)
        self.facts = FactBook(self.context)
        self.losses = Losses()

    def set(self, probe, value, *args):
        preset(self.facts, probe, value, *args)
        return self

    def run(self, room, name):
        function = getattr(rooms.load("checks", room), name)
        known = {
            "facts": self.facts,
            "profile": self.profile,
            "context": self.context,
            "degraded": self.losses,
        }
        wanted = function.__code__.co_varnames[: function.__code__.co_argcount]
        return function(**{key: known[key] for key in wanted})

    def fails(self, room, name):
        with pytest.raises(Unhealthy) as caught:
            self.run(room, name)
        return caught.value


def machine(ram=64, swap=8, available=60, **limits):
    cap = cgroup.MemoryCap(version=2, where="/sys/fs/cgroup/box", **limits)
    return memory.under_cap(ram * GIB, swap * GIB, available * GIB, swap * GIB, cap)


MODEST = {
    "systems": ("linux",),
    "machines": ("x86_64", "aarch64", "arm64"),
    "min_ram_bytes": 1 << 20,
    "min_open_files": 3,
    "min_shm_bytes": 1,
}


@pytest.mark.parametrize(
    ("room", "name"),
    [
        ("test_system", "test_operating_system_is_supported"),
        ("test_system", "test_open_files_are_enough"),
        ("test_system", "test_shared_memory_is_enough"),
        ("test_system", "test_clock_is_right"),
        ("test_memory", "test_no_cap_takes_the_memory"),
        ("test_memory", "test_memory_is_enough"),
        ("test_memory", "test_system_promises_the_memory"),
    ],
)
def test_this_machine_is_healthy_for_a_modest_profile(tmp_path, room, name):
    bench = Bench(tmp_path, **MODEST)
    bench.run(room, name)
    assert bench.losses.said == []


@pytest.mark.parametrize(
    ("room", "name"),
    [
        ("test_system", "test_operating_system_is_supported"),
        ("test_system", "test_processor_has_the_features"),
        ("test_system", "test_open_files_are_enough"),
        ("test_system", "test_shared_memory_is_enough"),
        ("test_memory", "test_no_cap_takes_the_memory"),
        ("test_memory", "test_memory_is_enough"),
        ("test_memory", "test_system_promises_the_memory"),
    ],
)
def test_what_the_profile_does_not_ask_for_does_not_apply(tmp_path, room, name):
    with pytest.raises(pytest.skip.Exception, match="The profile asks for no"):
        Bench(tmp_path).run(room, name)


def test_a_system_the_profile_is_not_made_for_is_named(tmp_path):
    bench = Bench(tmp_path, systems=("win32",)).set(system.read_system, LINUX)
    said = bench.fails("test_system", "test_operating_system_is_supported")
    assert "linux" in said.what
    assert "win32" in said.what
    arm = dataclasses.replace(LINUX, machine="riscv64")
    bench = Bench(tmp_path, machines=("x86_64",)).set(system.read_system, arm)
    assert "riscv64" in bench.fails("test_system", "test_operating_system_is_supported").what


def test_wsl_1_has_no_gpu(tmp_path):
    old = system.System("linux", "4.4.0-19041-Microsoft", "x86_64", 1, "")
    bench = Bench(tmp_path, needs_gpu=True).set(system.read_system, old)
    assert "WSL 1" in bench.fails("test_system", "test_operating_system_is_supported").what
    bench = Bench(tmp_path, systems=("linux",)).set(system.read_system, old)
    bench.run("test_system", "test_operating_system_is_supported")


def test_missing_processor_features_are_listed_and_unseen_ones_unknown(tmp_path):
    name = "test_processor_has_the_features"
    bench = Bench(tmp_path, cpu_features=("avx", "avx2", "no_such_feature"))
    assert "no_such_feature" in bench.fails("test_system", name).what
    windows = system.Processor(frozenset({"avx"}), askable=frozenset({"avx"}))
    bench = Bench(tmp_path, cpu_features=("avx", "f16c")).set(system.read_processor, windows)
    with pytest.raises(CannotTell, match="f16c"):
        bench.run("test_system", name)


def test_too_little_memory_names_all_numbers_and_a_cure(tmp_path):
    bench = Bench(tmp_path, min_ram_bytes=97 * GIB).set(memory.read_memory, machine())
    bench.set(system.read_system, LINUX)
    bench.run("test_memory", "test_no_cap_takes_the_memory")
    said = bench.fails("test_memory", "test_memory_is_enough")
    assert said.failure_id == "host-ram-oom-killed"
    for part in ("64.0 GiB", "8.0 GiB", "72.0 GiB", "97.0 GiB"):
        assert part in said.what
    assert "fallocate -l 25G /swapfile" in said.next_step
    assert said.evidence["needed_bytes"] == 97 * GIB


def test_swap_that_covers_the_rest_is_a_stated_loss(tmp_path):
    bench = Bench(tmp_path, min_ram_bytes=70 * GIB).set(memory.read_memory, machine())
    bench.run("test_memory", "test_memory_is_enough")
    assert "swap holds the rest" in bench.losses.text


def test_memory_that_others_hold_is_a_stated_loss(tmp_path):
    busy = machine(available=5)
    bench = Bench(tmp_path, min_ram_bytes=40 * GIB).set(memory.read_memory, busy)
    bench.run("test_memory", "test_memory_is_enough")
    assert "13.0 GiB of memory are free now" in bench.losses.text


def test_a_container_limit_below_the_need_is_the_cause(tmp_path):
    capped = machine(ram_bytes=16 * GIB, swap_bytes=0, killed=2)
    bench = Bench(tmp_path, min_ram_bytes=34 * GIB).set(memory.read_memory, capped)
    bench.set(system.read_system, dataclasses.replace(LINUX, container="Docker"))
    said = bench.fails("test_memory", "test_no_cap_takes_the_memory")
    assert "16.0 GiB" in said.what
    assert "72.0 GiB" in said.what
    assert "--memory=34g" in said.next_step
    assert "2 processes" in said.why
    assert said.failure_id == "host-ram-oom-killed"


def test_a_limit_is_not_blamed_when_the_machine_is_too_small_itself(tmp_path):
    capped = machine(ram_bytes=16 * GIB)
    bench = Bench(tmp_path, min_ram_bytes=97 * GIB).set(memory.read_memory, capped)
    bench.set(system.read_system, LINUX)
    bench.run("test_memory", "test_no_cap_takes_the_memory")
    bench.fails("test_memory", "test_memory_is_enough")


def test_a_soft_limit_below_the_need_is_a_stated_loss(tmp_path):
    soft = machine(soft_bytes=8 * GIB)
    bench = Bench(tmp_path, min_ram_bytes=34 * GIB).set(memory.read_memory, soft)
    bench.set(system.read_system, LINUX)
    bench.run("test_memory", "test_no_cap_takes_the_memory")
    assert "memory.high" in bench.losses.text


@pytest.mark.parametrize(
    ("config", "part"),
    [
        (None, "half of Windows' RAM"),
        (wsl.WslConfig(Path("/mnt/c/Users/a/.wslconfig"), trouble="it is UTF-16"), "is ignored"),
        (wsl.WslConfig(Path("/mnt/c/Users/a/.wslconfig"), 12 * GIB), "sets memory to 12.0 GiB"),
    ],
)
def test_wsl_is_told_as_the_cap_with_its_setting(tmp_path, config, part):
    bench = Bench(tmp_path, min_ram_bytes=34 * GIB).set(memory.read_memory, machine(16, 4, 15))
    bench.set(system.read_system, dataclasses.replace(LINUX, wsl=2))
    bench.set(wsl.read_wsl_config, config)
    said = bench.fails("test_memory", "test_no_cap_takes_the_memory")
    assert said.failure_id == "wsl-memory-cap"
    assert part in said.why
    assert "memory=34GB" in said.next_step


def test_a_limit_on_the_address_space_is_found_for_real(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    bench = Bench(tmp_path, min_ram_bytes=1 << 50).set(memory.read_memory, machine())
    bench.set(system.read_system, LINUX)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 45, hard))
    try:
        said = bench.fails("test_memory", "test_no_cap_takes_the_memory")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert "ulimit -v unlimited" in said.next_step


@pytest.mark.parametrize(("limit", "promised", "is_failed"), [(30, 1, True), (40, 20, False)])
def test_a_commit_limit_fails_below_the_need_and_degrades_when_used_up(
    tmp_path, limit, promised, is_failed
):
    commit = memory.Commit(True, limit * GIB, promised * GIB)
    bench = Bench(tmp_path, min_ram_bytes=34 * GIB).set(memory.read_commit, commit)
    name = "test_system_promises_the_memory"
    if is_failed:
        assert "overcommit_memory" in bench.fails("test_memory", name).what
    else:
        bench.run("test_memory", name)
        assert "20.0 GiB more of 40.0 GiB" in bench.losses.text


@pytest.mark.parametrize(
    ("hard", "container", "cure"),
    [
        (65536, "", "ulimit -n 4096"),
        (None, "", "ulimit -n 4096"),
        (2048, "", "limits.conf"),
        (2048, "Docker", "--ulimit nofile=4096"),
    ],
)
def test_too_few_open_files_name_what_raises_them(tmp_path, hard, container, cure):
    limits = resources.ProcessLimits(1024, hard, None)
    bench = Bench(tmp_path, min_open_files=4096).set(resources.read_process_limits, limits)
    bench.set(system.read_system, dataclasses.replace(LINUX, container=container))
    said = bench.fails("test_system", "test_open_files_are_enough")
    assert said.failure_id == "nofile-limit"
    assert "1024" in said.what
    assert cure in said.next_step


@pytest.mark.parametrize(
    ("shm", "part"),
    [
        (resources.SharedMemory(exists=False), "does not exist"),
        (resources.SharedMemory(True, 64 << 20, 64 << 20, True), "holds 64.0 MiB"),
        (resources.SharedMemory(True, 8 * GIB, 8 * GIB, False), "cannot be written"),
    ],
)
def test_shared_memory_that_does_not_do_is_told(tmp_path, shm, part):
    bench = Bench(tmp_path, min_shm_bytes=GIB).set(resources.read_shared_memory, shm)
    bench.set(system.read_system, dataclasses.replace(LINUX, container="Docker"))
    said = bench.fails("test_system", "test_shared_memory_is_enough")
    assert part in said.what
    assert "--shm-size=1024m" in said.next_step
    assert said.failure_id == "shm-too-small"


def test_shared_memory_that_others_hold_is_a_stated_loss(tmp_path):
    shm = resources.SharedMemory(True, 8 * GIB, GIB // 2, True)
    bench = Bench(tmp_path, min_shm_bytes=GIB).set(resources.read_shared_memory, shm)
    bench.run("test_system", "test_shared_memory_is_enough")
    assert "512.0 MiB of 8.0 GiB" in bench.losses.text


CARDS = tuple(gpu.Gpu(index, "NVIDIA A100") for index in range(4))


@pytest.mark.parametrize(
    ("container", "cards", "ends"),
    [("Docker", 4, "degraded"), ("Docker", 1, "skipped"), ("", 4, "skipped")],
)
def test_several_cards_of_a_container_talk_through_shared_memory(tmp_path, container, cards, ends):
    shm = resources.SharedMemory(True, 64 << 20, 64 << 20, True)
    bench = Bench(tmp_path, needs_gpu=True).set(resources.read_shared_memory, shm)
    bench.set(system.read_system, dataclasses.replace(LINUX, container=container))
    bench.set(gpu.read_gpus, gpu.Gpus("nvml", gpus=CARDS[:cards]))
    if ends == "skipped":
        with pytest.raises(pytest.skip.Exception):
            bench.run("test_system", "test_shared_memory_is_enough")
        return
    bench.run("test_system", "test_shared_memory_is_enough")
    assert "64.0 MiB in this container of 4 cards" in bench.losses.text
    assert "--shm-size=4096m" in bench.losses.text


def test_an_impossible_date_fails(tmp_path):
    then = dt.datetime(1970, 1, 1, 0, 5, tzinfo=dt.timezone.utc)
    bench = Bench(tmp_path).set(clock.read_clock, clock.Clock(then))
    assert "1970-01-01 00:05 UTC" in bench.fails("test_system", "test_clock_is_right").what


def online(tmp_path, *ahead, suspicion=""):
    bench = Bench(tmp_path)
    bench.context = dataclasses.replace(bench.context, offline=False)
    times = tuple(clock.ServerTime("hub", one) for one in ahead)
    return bench.set(clock.read_server_times, clock.ServerTimes(times, suspicion))


@pytest.mark.parametrize(
    ("ahead", "outcome"),
    [(0, ""), (-299, ""), (301, "ahead of"), (-1800, "behind"), (4000, None), (-4000, None)],
)
def test_the_difference_to_the_servers_decides(tmp_path, ahead, outcome):
    bench = online(tmp_path, ahead)
    if outcome is None:
        assert "67 min" in bench.fails("test_system", "test_clock_is_right").what
        return
    bench.run("test_system", "test_clock_is_right")
    assert outcome in bench.losses.text
    assert bool(outcome) == bool(bench.losses.said)


def test_silent_servers_leave_the_clock_as_it_was_judged(tmp_path):
    bench = online(tmp_path)
    bench.run("test_system", "test_clock_is_right")
    assert bench.losses.said == []


def test_a_refused_certificate_leaves_the_clock_unknown(tmp_path):
    bench = online(tmp_path, suspicion="the certificate is not valid yet")
    with pytest.raises(CannotTell, match="not valid yet"):
        bench.run("test_system", "test_clock_is_right")
    online(tmp_path, 1, suspicion="the certificate is not valid yet").run(
        "test_system", "test_clock_is_right"
    )


def test_a_file_servers_clock_that_is_ahead_is_a_stated_loss(tmp_path):
    bench = Bench(tmp_path)
    real = bench.facts.get(filesystem.read_weight_scratches)[0]
    ahead = dataclasses.replace(real, clock_ahead_seconds=90.0)
    bench.set(filesystem.read_weight_scratches, (ahead,))
    bench.run("test_system", "test_clock_is_right")
    assert "90 s ahead" in bench.losses.text
