"""Which way to run a model fits, forecast from the driver's answer and the machine's memory."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import gpu_support
import pytest
from gpu_support import A100, H100, RTX_3060
from hardware_support import GIB, Given, Losses
from profile_texts import load
from support import make_context

from modelmedic import forecast, rooms
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import cgroup, disk, fit, gpu, memory, system, visible
from modelmedic.facts.gpu import Gpu, Gpus, MigSlice
from modelmedic.facts.visible import Place, Visible

library = gpu_support.library
machine = gpu_support.machine
checks = rooms.load("checks", "test_fit")

T2V, TI2V, ANIMATE = "wan2.2-t2v-a14b", "wan2.2-ti2v-5b", "wan2.2-animate-14b"
UNLIMITED = memory.Commit(is_limited=False)


def ram(bytes_, *, cap=None):
    limits = cgroup.MemoryCap(2, ram_bytes=cap, swap_bytes=0, where="/sys/fs/cgroup/job")
    return memory.under_cap(bytes_, 0, bytes_, 0, limits if cap else cgroup.MemoryCap(0))


class Machine:
    """One machine and what the check said of it; its GPUs are really asked for."""

    def __init__(self, place, name, **given):
        self.profile = load(name)
        self.context = make_context(place, self.profile)
        values = {
            memory.read_memory: ram(128 * GIB),
            memory.read_commit: UNLIMITED,
            disk.read_missing: (),
        }
        self.facts = Given(self.context, values | given.pop("given", {}))
        self.losses, self.stated = Losses(), []

    def judge(self):
        checks.test_a_way_to_run_the_model_fits(
            self.facts, self.context, self.profile, self.losses, self.stated.append
        )

    def failure(self):
        with pytest.raises(Unhealthy) as caught:
            self.judge()
        return caught.value


@pytest.fixture
def judged(machine, tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def make(name, *lines, **given):
        machine.say(*lines)
        return Machine(tmp_path, name, given=given.get("given", {}))

    return make


def test_a_card_of_80_gb_runs_the_large_model_as_its_authors_say(judged):
    here = judged(T2V, *H100)
    here.judge()
    assert here.losses == []
    [stated] = here.stated
    assert stated == (
        "It fits GPU 0 (NVIDIA H100 80GB HBM3): `python generate.py --task t2v-A14B --size "
        "'1280*720' --ckpt_dir ./Wan2.2-T2V-A14B --offload_model True --convert_model_dtype`."
    )


def test_a_card_of_24_gb_runs_the_small_model_with_options_that_cost_speed(judged):
    here = judged(TI2V)
    here.judge()
    [(what, why, next_step, failure_id)] = here.losses
    assert what.endswith(" with --offload_model True --convert_model_dtype --t5_cpu, at a loss.")
    assert "loses speed" in why
    assert "without options it takes 74.5 GiB" in why
    assert "--task ti2v-5B --size '1280*704'" in next_step
    assert next_step.endswith("--offload_model True --convert_model_dtype --t5_cpu`.")
    assert failure_id == "vram-insufficient"


def test_the_small_model_is_lossless_on_a_large_card(judged):
    here = judged(TI2V, *A100)
    here.judge()
    assert here.losses == []
    assert "--offload" not in here.stated[0]


def test_what_is_only_computed_is_a_stated_uncertainty(judged):
    here = judged(T2V, "total_mib 49140")
    here.judge()
    [(what, why, _next, _id)] = here.losses
    assert what.endswith("--offload_model True --convert_model_dtype --t5_cpu, at a loss.")
    assert "26.6 GiB of GPU memory are computed" in why


@pytest.mark.parametrize("name", [T2V, TI2V])
def test_a_card_that_is_too_small_for_every_way_fails_with_all_of_them(judged, name):
    failure = judged(name, *RTX_3060).failure()
    assert "GPU 0 (NVIDIA GeForce RTX 3060) has 12.0 GiB" in failure.what
    assert "no way to run" in failure.what
    assert "74.5 GiB of GPU memory stated" in failure.why
    assert "--t5_cpu" in failure.why
    assert failure.failure_id == "vram-insufficient"


def test_a_smaller_variant_that_fits_is_named(judged):
    failure = judged(T2V, "total_mib 24564").failure()
    assert "a smaller variant that fits: wan2.2-ti2v-5b." in failure.next_step


def test_without_any_stated_number_too_small_is_no_failure(judged):
    here = judged(ANIMATE)
    here.judge()
    [(what, why, _next, failure_id)] = here.losses
    assert "no way to run Wan 2.2 Animate 14B fits" in what
    assert "36.6 GiB of GPU memory computed" in why
    assert failure_id == "vram-insufficient"


def test_memory_held_by_others_is_told_apart_from_a_small_card(judged):
    failure = judged(TI2V, "used_mib 9000", "compute 4194300:8192").failure()
    assert failure.failure_id == "vram-held-or-fragmented"
    assert "15.2 GiB of its 24.0 GiB free" in failure.what
    assert "pid 4194300, 8.0 GiB" in failure.why


def test_a_desktops_share_is_a_loss_and_no_failure(judged):
    here = judged(TI2V, "used_mib 2000")
    here.judge()
    [(_what, why, _next, failure_id)] = here.losses
    assert "Other programs hold" in why
    assert failure_id == "vram-held-or-fragmented"


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        (
            {memory.read_memory: ram(128 * GIB, cap=16 * GIB)},
            "the control group /sys/fs/cgroup/job",
        ),
        ({memory.read_commit: memory.Commit(True, 20 * GIB, 4 * GIB)}, "vm.overcommit_memory"),
        (
            {
                memory.read_memory: ram(16 * GIB),
                system.read_system: system.System("linux", "5.15-microsoft", "x86_64", 2, ""),
            },
            "WSL",
        ),
    ],
    ids=["cgroup", "commit", "wsl"],
)
def test_ram_is_counted_under_its_caps_and_only_degrades(judged, given, limit):
    here = judged(TI2V, *A100, given=given)
    here.judge()
    [(_what, why, _next, failure_id)] = here.losses
    assert "needs 31.7 GiB of RAM and swap, computed; there are 16.0 GiB" in why
    assert f"({limit} sets this limit)" in why
    assert failure_id == "host-ram-oom-killed"


def test_on_windows_the_page_file_is_what_limits(judged, monkeypatch):
    """The commit limit as GlobalMemoryStatusEx told it on a machine of 32 GB without page file."""
    monkeypatch.setattr(fit, "sys", SimpleNamespace(platform="win32"))
    given = {
        memory.read_memory: ram(64 * GIB),
        memory.read_commit: memory.Commit(True, 34_242_998_272, 20_401_094_656),
    }
    here = judged(TI2V, *A100, given=given)
    here.judge()
    assert "there are 12.9 GiB (the page file sets this limit)" in here.losses[0][1]


def test_a_disk_that_is_too_small_belongs_to_the_forecast(judged, tmp_path):
    volume = disk.Volume(tmp_path, 1, "/", "ext4", "", 40 * GIB, 10 * GIB, 0, 0, False, False)
    missing = disk.Missing(volume, (".",), 3, 34 * GIB, 0, 0, GIB)
    here = judged(TI2V, *A100, given={disk.read_missing: (missing,)})
    here.judge()
    [(_what, why, _next, failure_id)] = here.losses
    assert "The disk lacks 24.0 GiB" in why
    assert failure_id == "no-space-on-model-disk"


def test_a_larger_card_that_is_hidden_is_pointed_at(judged, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    failure = judged(TI2V, "devices 2", "gpu1.total_mib 8192").failure()
    assert failure.failure_id == "visible-devices-or-flags-mismatch"
    assert failure.next_step.endswith("=GPU-00000000-0000-0000-0000-000000000000.")


def test_among_unequal_cards_the_command_chooses_the_one_that_does(judged):
    here = judged(TI2V, "devices 2", "gpu0.total_mib 8192")
    here.judge()
    uuid = "GPU-00000000-0000-0000-0000-000000000001"
    assert f"`CUDA_VISIBLE_DEVICES={uuid} python generate.py" in here.losses[0][2]
    alike = judged(TI2V, "devices 2")
    alike.judge()
    assert "CUDA_VISIBLE_DEVICES" not in alike.losses[0][2]


def test_a_slice_of_a_divided_card_is_what_counts(judged):
    lines = ("mig 1", "slices 1", "mig0.0.uuid MIG-a", "mig0.0.total_mib 40448",
             "mig0.0.used_mib 0")  # fmt: skip
    here = judged(TI2V, *lines, *A100)
    here.judge()
    assert "slice MIG-a of GPU 0" in here.losses[0][0]


def test_a_divided_card_whose_slices_are_not_told_is_unknown(judged):
    here = judged(TI2V, "mig 1", "fail.nvmlDeviceGetMaxMigDeviceCount 4", *A100)
    with pytest.raises(CannotTell, match="given no GPU"):
        here.judge()


def test_a_profile_without_ways_is_not_judged(judged):
    here = judged("demo")
    with pytest.raises(pytest.skip.Exception):
        here.judge()


def test_every_wan_profile_of_its_own_code_has_ways_with_a_source():
    for name in (T2V, "wan2.2-i2v-a14b", TI2V, "wan2.2-s2v-14b", ANIMATE):
        fits = load(name).fits
        assert fits
        assert all(each.source and each.sizes and each.min_vram_bytes for each in fits)
        assert not fits[0].loses
        assert all(each.loses for each in fits[1:])


# --- what a program is given


CARDS = tuple(
    Gpu(index, uuid=f"GPU-{index}{index}aa", memory_total_bytes=GIB, memory_free_bytes=GIB)
    for index in range(3)
)
DIVIDED = replace(CARDS[0], has_mig=True, slices=(MigSlice("MIG-x"), MigSlice("MIG-y")))


@pytest.mark.parametrize(
    ("setting", "indices", "unknown", "hidden"),
    [
        (None, [0, 1, 2], None, 0),
        ("2,0", [2, 0], None, 0),
        ("GPU-11", [1], None, 0),
        ("GPU-", [], "GPU-", 0),  # not unique
        ("0,7,1", [0], "7", 1),
        ("0,0", [0], "0", 0),
        ("", [], None, 0),
        ("-1", [], None, 0),
        ("0,-1,1", [0], "-1", 1),
        ("cuda:0", [], "cuda:0", 0),
    ],
)
def test_the_list_is_read_as_cuda_reads_it(setting, indices, unknown, hidden):
    env = {} if setting is None else {"CUDA_VISIBLE_DEVICES": setting}
    seen = visible.visible_of(CARDS, env)
    assert [place.gpu.index for place in seen.places] == indices
    assert (seen.unknown, seen.hidden) == (unknown, hidden)


@pytest.mark.parametrize("setting", ["MIG-y", "MIG-GPU-00aa/1/0"])
def test_slices_are_named_by_both_spellings(setting):
    seen = visible.visible_of((DIVIDED,), {"CUDA_VISIBLE_DEVICES": setting})
    assert [place.slice is not None for place in seen.places] == [True]
    assert seen.unknown is None


def test_a_way_that_loses_less_comes_first():
    place = Place(replace(CARDS[0], memory_total_bytes=90 * GIB, memory_free_bytes=90 * GIB))
    found = forecast.forecast(load(TI2V).fits, fit.Means(place, 64 * GIB))
    assert found.best is found.ways[0]
    assert found.least.fit.name == "offload-t5-cpu"


def test_no_gpu_at_all_is_unknown(tmp_path):
    facts = Given(make_context(tmp_path), {gpu.read_gpus: Gpus("nvml")})
    assert facts.get(visible.read_visible) == Visible(())
    with pytest.raises(CannotTell):
        facts.get(fit.read_roomiest)
