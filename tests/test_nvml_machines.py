"""Machines from a gaming computer to a server, told by the real binding and judged by the checks."""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace

import gpu_support
import hardware_support
import psutil
import pytest
from gpu_support import A100, B200, H100, RTX_3060, RTX_5090, read, recorded_smi
from hardware_support import (
    ALL,
    CAPABILITY,
    DRIVER,
    MEMORY,
    NVML,
    PCIE,
    THROTTLING,
    VRAM,
)

from modelmedic.errors import CannotTell
from modelmedic.facts import gpu, gpu_words, smi
from modelmedic.facts.book import FactBook
from modelmedic.facts.gpu import MigSlice

library = gpu_support.library
machine = gpu_support.machine
world = hardware_support.world

NEWER = replace(hardware_support.FILES, module_version="570.86.16", library_version="570.86.16")


@pytest.fixture(scope="session")
def ancient(tmp_path_factory):
    return gpu_support.build_library(tmp_path_factory.mktemp("ancient"), "-DANCIENT_DRIVER")


@pytest.mark.parametrize(
    ("card", "name", "total_mib", "capability", "has_ecc"),
    [
        (RTX_3060, "NVIDIA GeForce RTX 3060", 12288, (8, 6), False),
        ((), "NVIDIA GeForce RTX 4090", 24564, (8, 9), False),
        (RTX_5090, "NVIDIA GeForce RTX 5090", 32607, (12, 0), False),
        (A100, "NVIDIA A100-SXM4-80GB", 81920, (8, 0), True),
        (H100, "NVIDIA H100 80GB HBM3", 81559, (9, 0), True),
        (B200, "NVIDIA B200", 183359, (10, 0), True),
    ],
    ids=["3060", "4090", "5090", "a100", "h100", "b200"],
)
def test_each_card_tells_what_it_is(machine, card, name, total_mib, capability, has_ecc):
    machine.say(*card)
    answer = read()
    [found] = answer.gpus
    assert (answer.source, answer.problem) == ("nvml", None)
    assert (found.name, found.memory_total_bytes) == (name, total_mib << 20)
    assert found.compute_capability == capability
    assert (found.ecc_uncorrected is not None) is has_ecc
    assert (found.slices == ()) is has_ecc  # only servers have MIG, here switched off
    assert found.why_unknown("slices").code == (None if has_ecc else gpu.NOT_SUPPORTED)


@pytest.mark.parametrize(
    ("card", "wrong"),
    [(RTX_3060, {VRAM}), ((), set()), (RTX_5090, set()), (A100, set()), (B200, set())],
    ids=["3060", "4090", "5090", "a100", "b200"],
)
def test_each_card_is_judged_by_what_it_lacks(machine, world, card, wrong):
    machine.say(*card)
    here = world(files=NEWER)
    for name in set(ALL) - wrong - {MEMORY, hardware_support.VRAM_FREE}:
        here.judge(name)
    for name in wrong:
        here.failure(name)
    assert here.losses == []


def test_unequal_cards_are_told_apart_and_the_one_that_does_is_enough(machine, world):
    machine.say(
        "devices 3", "gpu0.name NVIDIA GeForce RTX 3060", "gpu0.total_mib 12288",
        "gpu0.capability 8.6", "gpu2.name Tesla P4", "gpu2.total_mib 7680", "gpu2.capability 6.1",
        "gpu2.width 8",
    )  # fmt: skip
    totals = [card.memory_total_bytes >> 20 for card in read().gpus]
    assert totals == [12288, 24564, 7680]
    here = world()
    for name in (DRIVER, NVML, VRAM, CAPABILITY, THROTTLING):
        here.judge(name)
    assert here.losses == []
    here.judge(PCIE)
    assert "GPU 2 (Tesla P4) is connected with 8 of 16" in here.losses[0][0]


def test_a_divided_card_tells_its_slices(machine):
    machine.say(
        "mig 1", "slices 2", "mig0.0.uuid MIG-aaaa", "mig0.0.total_mib 40448",
        "mig0.0.used_mib 25", "mig0.1.uuid MIG-bbbb", "mig0.1.total_mib 19968",
        "mig0.1.used_mib 0", *A100,
    )  # fmt: skip
    [card] = read().gpus
    assert card.has_mig is True
    assert card.slices == (
        MigSlice("MIG-aaaa", 40448 << 20, 40423 << 20),
        MigSlice("MIG-bbbb", 19968 << 20, 19968 << 20),
    )


def test_a_divided_card_without_slices_has_none(machine):
    machine.say("mig 1", *A100)
    assert read().gpus[0].slices == ()


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (("ecc_uncorrected 3",), "3 uncorrectable errors since start"),
        (("remapped 0 1 1 0",), "a row remapping waits for a restart"),
        (("remapped 0 1 0 1",), "no spare is left"),
        (("retired_pending 1",), "a page retirement waits for a restart"),
    ],
    ids=["ecc", "pending", "failed", "retired"],
)
def test_a_server_card_with_bad_memory_is_named(machine, world, lines, says):
    machine.say(*lines, *A100)
    failure = world().failure(MEMORY)
    assert says in failure.what
    assert failure.failure_id == "ecc-uncorrectable"


@pytest.mark.parametrize(
    ("bits", "says"),
    [("0x8", "halved its clocks"), ("0x48", "too hot"), ("0x80", "power supply")],
)
def test_a_card_that_slows_down_says_why(machine, world, bits, says):
    machine.say(f"throttle {bits}", "temperature 93")
    failure = world().failure(THROTTLING)
    assert says in failure.what
    assert "93 °C" in failure.what


def test_a_card_at_its_power_limit_is_healthy(machine, world):
    machine.say("throttle 0x4")
    here = world()
    here.judge(THROTTLING)
    assert here.losses == []


@pytest.mark.parametrize(
    ("code", "failure_id"),
    [(4, None), (9, None), (18, "nvml-version-mismatch"), (15, "gpu-fell-off-bus")],
    ids=["no-permission", "not-loaded", "version-mismatch", "lost"],
)
def test_a_driver_that_refuses_says_why(machine, world, code, failure_id):
    machine.say(f"fail.nvmlInitWithFlags {code}")
    assert world().failure(NVML).failure_id == failure_id


def test_a_driver_that_hangs_in_the_middle_is_killed_at_the_deadline(machine, world, monkeypatch):
    machine.say("devices 2", "gpu1.name Hanging", "delay.nvmlDeviceGetMemoryInfo 60")
    monkeypatch.setattr(FactBook, "seconds_for", lambda self, probe, *args: 3)
    started = time.monotonic()
    unknown = world().unknown(NVML)
    assert "did not answer within 1 s" in unknown.what
    assert isinstance(unknown.__cause__, subprocess.TimeoutExpired)
    assert time.monotonic() - started < 30
    children = psutil.Process().children(recursive=True)
    assert not [child for child in children if "nvml_reader" in " ".join(child.cmdline())]


def test_a_driver_older_than_the_binding_is_named(ancient, world, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    gpu_support.install(monkeypatch, ancient, tmp_path / "machine")
    answer = read()
    assert (answer.problem.kind, answer.problem.code) == ("nvml", 13)
    failure = world().failure(NVML)
    assert "too old to be asked" in failure.what
    assert failure.failure_id == "driver-too-old"


def test_a_driver_older_than_the_binding_is_asked_by_nvidia_smi(ancient, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    gpu_support.install(monkeypatch, ancient, tmp_path / "machine")
    recorded_smi(tmp_path, driver_version="0, 390.157", memory__total="0, 8119, 1, 8118")
    answer = read()
    assert (answer.source, answer.driver_version) == ("nvidia-smi", "390.157")
    assert answer.gpus[0].memory_total_bytes == 8119 << 20


LOST = (
    "Unable to determine the device handle for GPU0000:01:00.0: GPU is lost.  Reboot the system to "
    "recover this GPU"
)


# What nvidia-smi prints and ends with, and the failure it then is.
@pytest.mark.parametrize(
    ("code", "printed", "failure_id"),
    [
        (4, "Failed to initialize NVML: Insufficient Permissions", None),
        (9, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", None),
        (15, LOST, "gpu-fell-off-bus"),
        (18, "Failed to initialize NVML: Driver/library version mismatch", "nvml-version-mismatch"),
        (255, "Failed to initialize NVML: Unknown Error", None),
    ],
    ids=["permission", "not-loaded", "lost", "mismatch", "unknown"],
)  # fmt: skip
def test_each_exit_code_of_nvidia_smi_is_the_drivers(code, printed, failure_id):
    error = smi.parse_rows(f"{printed}\n", code, 3).error
    problem = gpu.gpus_from({"error": error}, "nvidia-smi").problem
    assert (problem.kind, problem.code) == ("nvml", code)
    words = gpu_words.of_problem(problem, hardware_support.FILES)
    assert words.what
    assert words.failure_id == failure_id


def test_an_old_windows_driver_keeps_its_program_outside_the_path(tmp_path):
    folder = tmp_path / "NVIDIA Corporation" / "NVSMI"
    folder.mkdir(parents=True)
    assert smi._old_windows_program(tmp_path) is None
    (folder / "nvidia-smi.exe").write_bytes(b"MZ")
    assert smi._old_windows_program(tmp_path) == str(folder / "nvidia-smi.exe")


# nvidia-smi.exe of driver 560.94: rows end with CR LF, and WDDM keeps some values to itself.
WINDOWS_ROWS = (
    "0, GPU-5b1c6b9f-0000-0000-0000-000000000001, 00000000:01:00.0, NVIDIA GeForce RTX 4090\r\n"
    "1, [GPU is lost], [GPU is lost], [GPU is lost]\r\n"
)


def test_rows_of_windows_are_read_and_a_lost_card_is_seen():
    rows = smi.parse_rows(WINDOWS_ROWS, 15, 4).rows
    assert rows[0][2] == "NVIDIA GeForce RTX 4090"
    entry = {"index": 1, "error": None, "unknown": {}}
    smi._merge(entry, smi.GROUPS[0], smi.Rows(rows), 1)
    assert gpu._gpu(entry).error_code == 15
    entry = {"index": 0, "error": None, "unknown": {}}
    refused = smi.parse_rows("0, [N/A], [Not Supported]\r\n", 0, 3)
    smi._merge(entry, smi.GROUPS[5], smi.Rows({0: refused.rows[0][:1]}), 0)
    assert gpu._gpu(entry).why_unknown("ecc_uncorrected").code == gpu.NOT_SUPPORTED


def test_no_answer_at_all_is_no_pass(machine, world):
    machine.say("crash 1")
    with pytest.raises(CannotTell):
        world().judge(NVML)
