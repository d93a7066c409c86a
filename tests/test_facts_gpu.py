"""What the driver tells of its cards: real binding, real child, a driver library made by us."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import gpu_support
import pytest
from gpu_support import H100, RTX_3060, add_card, read, write_smi
from support import make_facts

from modelmedic.errors import CannotTell
from modelmedic.facts import driver, gpu, nvml_reader, pci

library = gpu_support.library
machine = gpu_support.machine


GIB = 1 << 30


# --- the driver's answer


def test_a_4090_tells_its_facts(machine):
    answer = read()
    assert (answer.source, answer.problem) == ("nvml", None)
    assert answer.driver_version == "535.129.03"
    assert answer.nvml_version == "12.535.129.03"
    assert answer.cuda_version == "12.2"
    [card] = answer.gpus
    assert card.label == "GPU 0 (NVIDIA GeForce RTX 4090)"
    assert card.memory_total_bytes == 24564 << 20
    assert card.memory_free_bytes == (24564 - 786) << 20
    assert card.compute_capability == (8, 9)
    assert card.throttle_reasons == 1
    assert (card.pcie_width, card.pcie_width_max) == (16, 16)
    assert (card.pcie_generation, card.pcie_generation_max) == (1, 4)
    assert card.bus_address == "0000:01:00.0"
    assert (card.has_display, card.has_persistence) == (True, False)
    assert card.temperature_celsius == 45
    assert card.holders == ()


def test_what_a_geforce_does_not_have_is_none_with_its_reason(machine):
    [card] = read().gpus
    assert card.ecc_uncorrected is None
    assert card.remapped_rows is None
    assert card.has_mig is None
    assert card.why_unknown("ecc_uncorrected").code == gpu.NOT_SUPPORTED
    assert card.error_code is None


def test_an_h100_tells_what_only_servers_have(machine):
    machine.say("remapped 2 1 1 0", "retired_pending 0", "mig 1", *H100)  # the first line wins
    [card] = read().gpus
    assert card.memory_total_bytes == 81559 << 20
    assert card.compute_capability == (9, 0)
    assert card.ecc_uncorrected == 0
    assert card.remapped_rows == (2, 1, True, False)
    assert card.is_retirement_pending is False
    assert card.has_mig is True
    assert card.has_persistence is True


def test_several_cards_keep_their_own_values(machine):
    machine.say("devices 3", "gpu1.name Tesla T4", "gpu1.total_mib 15360", "gpu2.capability 6.1")
    names = [(card.index, card.name, card.compute_capability) for card in read().gpus]
    assert names == [
        (0, "NVIDIA GeForce RTX 4090", (8, 9)),
        (1, "Tesla T4", (8, 9)),
        (2, "NVIDIA GeForce RTX 4090", (6, 1)),
    ]


@pytest.mark.parametrize(
    "function", ["*", "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetMemoryInfo"]
)
def test_a_lost_card_does_not_hide_the_others(machine, function):
    machine.say("devices 2", f"gpu0.fail.{function} 15", *RTX_3060)
    answer = read()
    assert [card.error_code for card in answer.gpus] == [15, None]
    assert [card.index for card in answer.usable] == [1]
    assert answer.usable[0].memory_total_bytes == 12 * GIB


def test_an_old_driver_is_asked_by_the_old_names(tmp_path, monkeypatch):
    folder = gpu_support.build_library(tmp_path / "old", "-DOLD_DRIVER")
    machine = gpu_support.install(monkeypatch, folder, tmp_path / "machine")
    machine.say("throttle 0x40")
    [card] = read().gpus
    assert card.throttle_reasons == 0x40
    assert card.remapped_rows is None
    assert card.why_unknown("remapped_rows").code == 13


def test_processes_are_listed_once_with_their_program(machine, tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
    )
    try:
        machine.say(f"compute {child.pid}:8192,77:-", f"graphics {child.pid}:9000,4194300:512")
        facts = make_facts(tmp_path)
        [card] = facts.get(gpu.read_gpus).gpus
        is_container = facts.get(driver.read_driver).is_container
    finally:
        child.communicate()
    mine, desktop, hidden = card.holders
    assert (mine.pid, mine.used_bytes, mine.is_compute) == (child.pid, 9000 << 20, True)
    assert (desktop.pid, desktop.used_bytes, desktop.is_compute) == (4194300, 512 << 20, False)
    assert (hidden.pid, hidden.used_bytes) == (77, None)
    assert desktop.program is None  # no such process
    assert is_container or "python" in mine.program


def test_inside_a_container_pids_are_not_taken_for_ours(machine, tmp_path, monkeypatch):
    machine.say(f"compute {os.getpid()}:100")
    monkeypatch.setattr(driver, "is_container", lambda: True)
    [card] = make_facts(tmp_path).get(gpu.read_gpus).gpus
    assert [(holder.pid, holder.program) for holder in card.holders] == [(os.getpid(), None)]


def test_outside_a_container_the_program_is_named(machine, tmp_path, monkeypatch):
    machine.say(f"compute {os.getpid()}:100")
    monkeypatch.setattr(driver, "is_container", lambda: False)
    [card] = make_facts(tmp_path).get(gpu.read_gpus).gpus
    assert card.holders[0].program


def test_a_hostile_name_is_shown_escaped_and_kept(machine):
    machine.say("name \x1b[31m<script>alert(1)</script>\xff")
    [card] = read().gpus
    assert card.name is not None
    assert card.label.startswith("GPU 0 (\\x1b[31m<script>alert(1)</script>")
    assert "\x1b" not in card.label


def test_a_name_the_binding_cannot_decode_costs_only_the_name(machine):
    machine.file.write_bytes(b"name bad\xff\n")
    [card] = read().gpus
    assert card.name is None
    assert "UnicodeDecodeError" in card.why_unknown("name").detail
    assert card.label == "GPU 0"
    assert card.compute_capability == (8, 9)


def test_a_library_that_prints_does_not_spoil_the_answer(machine):
    machine.say('noise {"schema": unfinished')
    assert read().gpus[0].compute_capability == (8, 9)


# --- the driver's refusals


@pytest.mark.parametrize("code", [4, 9, 15, 16, 18, 999])
def test_a_refusal_at_the_start_keeps_its_code(machine, code):
    machine.say(f"fail.nvmlInitWithFlags {code}")
    answer = read()
    assert answer.gpus == ()
    assert (answer.problem.kind, answer.problem.code) == ("nvml", code)


def test_a_refused_count_is_a_problem_too(machine):
    machine.say("fail.nvmlDeviceGetCount_v2 999")
    assert read().problem.code == 999


def test_a_driver_without_cards_answers_with_none(machine):
    machine.say("devices 0")
    answer = read()
    assert (answer.problem, answer.gpus) == (None, ())


def test_a_missing_library_is_told_apart(monkeypatch, tmp_path):
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    problem = gpu.ask_nvml(deadline_seconds=20).problem
    if problem is None or problem.kind == "nvml":
        pytest.skip("this machine has a driver library of its own")
    assert (problem.kind, problem.code) == ("no-library", 12)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"not a library", "file too short"), (b"x" * 4096, "invalid ELF header")],
)
def test_a_library_that_cannot_be_loaded_says_why(monkeypatch, tmp_path, content, says):
    (tmp_path / gpu_support.LIBRARY).write_bytes(content)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    problem = read().problem
    assert problem.kind == "unloadable"
    assert says in problem.detail


def test_a_library_that_misses_another_one_cannot_be_loaded(monkeypatch, tmp_path):
    needed, folder = tmp_path / "libneeded.so", tmp_path / "lib"
    folder.mkdir()
    build = [gpu_support.compiler(), "-shared", "-fPIC", "-x", "c", "-"]
    subprocess.run(
        [*build, "-o", str(needed), "-Wl,-soname,libneeded.so"], input=b"", check=True, timeout=60
    )
    subprocess.run(
        [*build[:3], "-Wl,--no-as-needed", "-o", str(folder / gpu_support.LIBRARY),
         str(gpu_support.SOURCE), "-D_GNU_SOURCE", str(needed)],
        check=True, timeout=60,
    )  # fmt: skip
    monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))
    monkeypatch.setenv("PATH", str(tmp_path))
    problem = read().problem
    assert problem.kind == "unloadable"
    assert "libneeded.so" in problem.detail


def test_a_hanging_driver_is_given_up_at_the_deadline(machine):
    machine.say("delay.nvmlInitWithFlags 60")
    started = time.monotonic()
    with pytest.raises(CannotTell, match="did not answer within 1 s") as caught:
        read(1)
    assert isinstance(caught.value.__cause__, subprocess.TimeoutExpired)
    assert time.monotonic() - started < 30


def test_a_hanging_driver_is_not_asked_again_by_nvidia_smi(machine, tmp_path):
    write_smi(tmp_path, f"touch {tmp_path}/asked")
    machine.say("delay.nvmlInitWithFlags 60")
    with pytest.raises(CannotTell):
        read(1)
    assert not (tmp_path / "asked").exists()


def test_a_crash_in_the_library_is_ours_to_survive(machine):
    machine.say("crash 1")
    with pytest.raises(CannotTell, match="crashed"):
        read()


def test_an_environment_without_the_binding_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(gpu, "BINDING", "nvidia-ml-py-that-is-not-there")
    with pytest.raises(CannotTell, match="pip install nvidia-ml-py"):
        gpu.binding_path()


def test_the_binding_is_found_without_importing_it():
    code = (
        "import sys; from modelmedic.facts import gpu; print(gpu.binding_path());"
        "print('pynvml' in sys.modules)"
    )
    source = Path(gpu.__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(source)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True
    )
    path, was_imported = done.stdout.split("\n")[:2]
    assert Path(path).name == "pynvml.py"
    assert was_imported == "False"


def test_nobody_is_asked_where_there_is_neither_card_nor_library(tmp_path, monkeypatch):
    monkeypatch.setattr(pci, "SYSFS_DEVICES", tmp_path)
    monkeypatch.setattr(driver, "find_library", lambda env: None)
    monkeypatch.setattr(driver, "PROC_VERSION", tmp_path / "none")
    monkeypatch.setattr(gpu, "ask", lambda **_: pytest.fail("a child was started"))
    answer = make_facts(tmp_path).get(gpu.read_gpus)
    assert answer.problem.kind == "not-asked"
    assert answer.source == ""


def test_a_card_on_the_bus_is_reason_enough_to_ask(tmp_path, monkeypatch):
    add_card(tmp_path / "bus", "0000:01:00.0")
    monkeypatch.setattr(pci, "SYSFS_DEVICES", tmp_path / "bus")
    monkeypatch.setattr(driver, "find_library", lambda env: None)
    asked = gpu.Gpus(source="nvml")
    monkeypatch.setattr(gpu, "ask", lambda **_: asked)
    assert make_facts(tmp_path).get(gpu.read_gpus) == asked


def test_an_answer_in_pieces_is_no_answer():
    assert gpu._answer_of(f'{{"schema": "{nvml_reader.ANSWER_SCHEMA}", "gpus": [') is None
    assert gpu._answer_of("hello\n") is None
