"""What nvidia-smi tells where the driver's library cannot be asked."""

from __future__ import annotations

import os

import gpu_support
import pytest
from gpu_support import read, recorded_smi, write_smi

from modelmedic.errors import CannotTell
from modelmedic.facts import gpu, smi

library = gpu_support.library
machine = gpu_support.machine


@pytest.fixture
def unloadable(tmp_path, monkeypatch):
    (tmp_path / gpu_support.LIBRARY).write_bytes(b"x" * 4096)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def test_nvidia_smi_answers_where_the_library_cannot_be_loaded(unloadable):
    recorded_smi(
        unloadable,
        driver_version="0, 525.60.13\n1, 525.60.13",
        uuid="0, GPU-aaaa, 00000000:01:00.0, Strange, Card\n1, GPU-bbbb, 00000000:02:00.0, Tesla T4",
        memory__total="0, 24564, 786, 23778\n1, 15360, 0, 15360",
        compute_cap="0, 8.9\n1, 7.5",
        clocks_throttle_reasons__active="0, 0x0000000000000001\n1, 0x0000000000000048",
        pcie__link="0, 16, 16\n1, 8, 16",
        ecc__errors="0, [N/A]\n1, 3",
        retired_pages="0, [N/A]\n1, No",
        mig="0, [N/A]\n1, [Not Supported]",
    )
    answer = read()
    assert (answer.source, answer.problem) == ("nvidia-smi", None)
    assert "invalid ELF header" in answer.fallback_reason
    assert answer.driver_version == "525.60.13"
    first, second = answer.gpus
    assert (first.name, first.bus_address) == ("Strange, Card", "0000:01:00.0")
    assert first.memory_total_bytes == 24564 << 20
    assert first.compute_capability == (8, 9)
    assert first.why_unknown("ecc_uncorrected").code == gpu.NOT_SUPPORTED
    assert (second.throttle_reasons, second.ecc_uncorrected) == (0x48, 3)
    assert (second.pcie_width, second.pcie_width_max) == (8, 16)
    assert second.is_retirement_pending is False
    assert second.has_mig is None


def test_nvidia_smi_answers_after_a_crash_of_the_library(machine, tmp_path):
    machine.say("crash 1")
    recorded_smi(tmp_path, driver_version="0, 525.60.13", compute_cap="0, 8.6")
    answer = read()
    assert answer.source == "nvidia-smi"
    assert "crashed" in answer.fallback_reason
    assert answer.gpus[0].compute_capability == (8, 6)
    assert "not a valid field" in answer.gpus[0].why_unknown("memory_bytes").detail


def test_a_lost_card_of_nvidia_smi_is_lost(unloadable):
    recorded_smi(
        unloadable,
        driver_version="0, 535.1\n1, 535.1",
        memory__total="0, [GPU is lost], [GPU is lost], [GPU is lost]\n1, 24564, 0, 24564",
    )
    answer = read()
    assert [card.error_code for card in answer.gpus] == [15, None]


def test_an_exit_code_of_nvidia_smi_is_the_drivers(unloadable):
    write_smi(unloadable, 'echo "NVIDIA-SMI has failed because it could not communicate"; exit 9')
    answer = read()
    assert (answer.problem.kind, answer.problem.code) == ("nvml", 9)


@pytest.mark.parametrize("script", ["echo '<html>'", "sleep 60", "exit 0"])
def test_an_nvidia_smi_that_is_no_help_leaves_the_first_answer(unloadable, script):
    write_smi(unloadable, script)
    answer = read(1.5)
    if script == "exit 0":
        assert (answer.source, answer.gpus) == ("nvidia-smi", ())
    else:
        assert answer.problem.kind == "unloadable"


def test_rows_of_nvidia_smi_are_parsed_and_anything_else_is_refused():
    assert smi.parse_rows("0, a, b, c\n", 0, 3).rows == {0: ["a", "b, c"]}
    assert smi.parse_rows("No devices were found\n", 0, 3).rows == {}
    assert smi.parse_rows("Field is not valid\n", 2, 3).error["code"] is None
    assert smi.parse_rows("lost\n", 15, 3).error["code"] == 15
    # One lost card among others: rows are printed and the exit code is 15.
    assert smi.parse_rows("0, [GPU is lost], x\n1, 5, 6\n", 15, 3).rows[1] == ["5", "6"]
    with pytest.raises(CannotTell, match="where a row of values"):
        smi.parse_rows("Segmentation fault\n", 0, 3)


def test_values_nvidia_smi_never_printed_before_are_unknown_not_a_crash():
    entry = {"index": 0, "error": None, "unknown": {}}
    smi._merge(entry, smi.GROUPS[2], smi.Rows({0: ["eight"]}), 0)
    assert "eight" in entry["unknown"]["compute_capability"]["detail"]
    assert gpu._gpu(entry).compute_capability is None
