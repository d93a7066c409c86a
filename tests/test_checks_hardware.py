"""The hardware checks over what the fake driver library answers, and how they hang together."""

from __future__ import annotations

from dataclasses import replace

import gpu_support
import hardware_support
import pytest
from gpu_support import H100, RTX_3060
from hardware_support import ALL, FILES, GIB, MEMORY, NVML, VRAM, WANTS, checks
from support import make_context, make_profile

from modelmedic.errors import CannotTell
from modelmedic.facts.book import FactBook
from modelmedic.profile.model import Hardware

library = gpu_support.library
machine = gpu_support.machine
world = hardware_support.world


@pytest.mark.parametrize("name", ALL[:-1])
def test_a_4090_passes_every_check(machine, world, name):
    here = world()
    here.judge(name)
    assert here.losses == []


def test_a_4090_has_no_ecc_memory_to_judge(machine, world):
    assert "no ECC memory" in world().skipped(MEMORY)


@pytest.mark.parametrize("name", ALL)
def test_an_h100_passes_every_check(machine, world, name):
    machine.say(*H100)
    world(hardware=replace(WANTS, min_vram_bytes=80_000_000_000)).judge(name)


def test_a_3060_is_too_small(machine, world):
    machine.say(*RTX_3060)
    failure = world().failure(VRAM)
    assert "GPU 0 (NVIDIA GeForce RTX 3060) has 12.0 GiB" in failure.what
    assert "needs 22.4 GiB when run with --offload_model True" in failure.what
    assert failure.failure_id == "vram-insufficient"
    assert failure.evidence == {"total_bytes": 12 * GIB, "needed_bytes": 24_000_000_000}


@pytest.mark.parametrize(
    ("code", "says", "failure_id"),
    [
        (4, "may not use the NVIDIA driver", None),
        (9, "installed but not running", None),
        (15, "fallen off the bus", "gpu-fell-off-bus"),
        (16, "must be reset", None),
        (18, "different versions", "nvml-version-mismatch"),
        (999, "unknown error", None),
        (777, "did not start", None),
    ],
)
def test_each_refusal_of_nvml_has_its_cause_and_cure(machine, world, code, says, failure_id):
    machine.say(f"fail.nvmlInitWithFlags {code}")
    failure = world().failure(NVML)
    assert says in failure.what
    assert str(code) in failure.what
    assert failure.failure_id == failure_id
    assert failure.evidence == {"nvml_code": code}


def test_a_container_that_lost_its_gpu_is_told_to_be_made_anew(machine, world):
    machine.say("fail.nvmlInitWithFlags 999")
    failure = world(files=replace(FILES, is_container=True)).failure(NVML)
    assert failure.failure_id == "container-lost-gpu"
    assert "create it again" in failure.next_step


def test_one_lost_card_of_two_is_a_stated_loss_and_the_other_is_used(machine, world):
    machine.say("devices 2", "gpu0.fail.* 15")
    here = world()
    here.judge(NVML)
    [(what, _why, next_step, failure_id)] = here.losses
    assert what == "GPU 0 does not answer (NVML code 15)."
    assert failure_id == "gpu-fell-off-bus"
    assert next_step
    here.judge(VRAM)


def test_all_cards_lost_is_a_failure(machine, world):
    machine.say("devices 2", "fail.nvmlDeviceGetMemoryInfo 15")
    failure = world().failure(NVML)
    assert "GPU 0 (NVIDIA GeForce RTX 4090), GPU 1 (NVIDIA GeForce RTX 4090) do not" in failure.what
    with pytest.raises(CannotTell):
        world().judge(VRAM)


def test_a_hang_of_the_driver_is_unknown_and_not_a_pass(machine, world, monkeypatch):
    machine.say("delay.nvmlInitWithFlags 60")
    monkeypatch.setattr(FactBook, "seconds_for", lambda self, probe, *args: 3)
    assert "did not answer within 1 s" in world().unknown(NVML).what


def test_every_check_has_its_id_cause_and_guide():
    marks = {name: {mark.name: mark for mark in getattr(checks, name).pytestmark} for name in ALL}
    ids = [marks[name]["check"].args[0] for name in ALL]
    assert ids == [
        "hardware.gpu",
        "hardware.driver",
        "hardware.nvml",
        "hardware.vram",
        "hardware.vram-free",
        "hardware.compute-capability",
        "hardware.throttling",
        "hardware.pcie-width",
        "hardware.memory-errors",
    ]
    for name, check_id in zip(ALL, ids, strict=True):
        assert marks[name]["guidance"].args == (f"docs/checks.md#{check_id.replace('.', '-')}",)
        assert set(marks[name]["check"].kwargs.get("needs", ())) <= set(ids)
    assert all(ids[0] in chain(marks, name) for name in ALL[1:])


def chain(marks, name):
    """Return every id a check waits for."""
    by_id = {
        mark["check"].args[0]: mark["check"].kwargs.get("needs", []) for mark in marks.values()
    }
    found, todo = set(), list(marks[name]["check"].kwargs.get("needs", []))
    while todo:
        found.add(cause := todo.pop())
        todo.extend(by_id[cause])
    return found


@pytest.mark.parametrize(("needs_gpu", "count"), [(True, 2), (False, 0)])
def test_warming_starts_the_driver_only_where_it_is_needed(tmp_path, monkeypatch, needs_gpu, count):
    context = make_context(tmp_path, make_profile(hardware=Hardware(needs_gpu=needs_gpu)))
    facts, started = FactBook(context), []
    monkeypatch.setattr(facts, "start", lambda probe, *args: started.append(probe))
    checks.warm(facts)
    assert len(started) == count
