"""Whether there is a card, and a driver that runs and answers for every card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import hardware_support
import pytest
from hardware_support import ALL, BARE, BUS, CARD, DRIVER, FILES, GPU, NVML, RTX_4090

from modelmedic.errors import CannotTell
from modelmedic.facts import driver_words, pci
from modelmedic.facts.driver import Driver
from modelmedic.facts.gpu import Gpus, Problem
from modelmedic.facts.pci import Bus, Card
from modelmedic.profile.model import Hardware

world = hardware_support.world
seen = hardware_support.seen


# --- a card on the bus


def test_a_profile_that_asks_for_no_gpu_skips_every_check(world):
    here = world(hardware=Hardware())
    for name in ALL:
        assert "does not ask" in here.skipped(name)


NO_ANSWER = Gpus(problem=Problem("not-asked", None, "nothing there"))


@pytest.mark.parametrize(
    ("bus", "says", "failure_id"),
    [
        (Bus("linux"), "has no NVIDIA graphics card", None),
        (Bus("windows"), "has no NVIDIA graphics card", None),
        (Bus("linux", (Card("0", 0x1002, 1), Card("1", 0x8086, 1))), "AMD and Intel", "non-cuda-platform"),
        (Bus("linux", (Card("0", 0x1D0F, 1),)), "vendor 1d0f", "non-cuda-platform"),
        (Bus("macos"), "This Mac", "non-cuda-platform"),
        (Bus("wsl", (), False, "WSL"), "/dev/dxg is not there", None),
        (Bus("wsl", (), False, "WSL", True), "no NVIDIA library", None),
    ],
)  # fmt: skip
def test_no_card_is_a_clear_failure(world, bus, says, failure_id):
    failure = world(bus=bus, files=BARE, gpus=NO_ANSWER).failure(GPU)
    assert says in failure.what
    assert failure.failure_id == failure_id
    assert failure.why


def test_no_card_and_a_driver_that_hangs_is_still_no_card(world):
    hung = CannotTell("NVIDIA's driver did not answer within 18 s.")
    world(bus=Bus("linux"), gpus=hung).failure(GPU)


def test_a_card_the_driver_lists_needs_no_bus(seen):
    seen(RTX_4090, bus=Bus("linux", (), False, "no sysfs")).judge(GPU)
    seen(RTX_4090, bus=Bus("linux")).judge(GPU)


def test_a_machine_that_does_not_show_its_bus_is_unknown(world):
    bus = Bus("linux", (), False, "On a Jetson the GPU is part of the chip, not on a bus.")
    assert "Jetson" in world(bus=bus, files=BARE, gpus=NO_ANSWER).unknown(GPU).why


def test_in_wsl_the_library_from_windows_proves_the_card(world):
    bus = Bus("wsl", (), False, "WSL", has_wsl_device=True)
    files = Driver(library=Path("/usr/lib/wsl/lib/libnvidia-ml.so.1"))
    world(bus=bus, files=files, gpus=NO_ANSWER).judge(GPU)


# --- the driver


def bound_to(name: str) -> Bus:
    return Bus("linux", (replace(CARD, driver=name),))


WINDOWS_CARD = Card("PCI", pci.NVIDIA, 1, name="RTX\n4090", driver_version="560.94")
DLL = Driver(library=Path("C:/Windows/System32/nvml.dll"))


@pytest.mark.parametrize(
    ("bus", "files", "says", "next_says"),
    [
        (bound_to(""), BARE, "is not installed", "install"),
        (bound_to("nouveau"), BARE, "nouveau", "nouveau off"),
        (bound_to("vfio-pci"), FILES, None, None),
        (bound_to("vfio-pci"), BARE, "virtual machine", "give the card back"),
        (BUS, replace(FILES, module_version=None, has_secure_boot=True), "not running", "mokutil"),
        (BUS, replace(FILES, module_version=None), "not running", "restart"),
        (BUS, replace(FILES, module_version=None, is_module_on_disk=False), "no module for the running kernel 6.8.0-45", "dkms"),
        (BUS, replace(FILES, library=None), "libraries are missing", "nvidia-utils-535"),
        (BUS, replace(FILES, library_version="550.54.14"), "535.129.03, its libraries are 550.54.14", "restart"),
        (BUS, replace(BARE, is_container=True), "started without the GPU", "--gpus all"),
        (BUS, replace(FILES, library=None, is_container=True), "started without the GPU", "--gpus all"),
        (Bus("windows", (replace(WINDOWS_CARD, problem_code=28),)), DLL, "no NVIDIA driver", "install"),
        (Bus("windows", (replace(WINDOWS_CARD, problem_code=43),)), DLL, "reports problem 43 with 'RTX\\\\n4090'", "again"),
        (Bus("windows", (WINDOWS_CARD,)), Driver(), "no NVIDIA driver", "install"),
        (Bus("windows", (WINDOWS_CARD,)), DLL, None, None),
    ],
)  # fmt: skip
def test_what_the_files_say_of_a_broken_driver(world, bus, files, says, next_says):
    here = world(bus=bus, files=files, gpus=CannotTell("no answer"))
    if says is None:
        here.judge(DRIVER)
        return
    failure = here.failure(DRIVER)
    assert says in failure.what
    assert next_says in failure.next_step


def test_the_host_without_a_driver_is_named_to_a_container():
    words = driver_words.of_missing_library(replace(BARE, is_container=True))
    assert "host itself shows no running NVIDIA driver" in words.why
    assert words.failure_id == "container-without-gpu"


def test_a_driver_that_answers_proves_itself_whatever_files_say(seen):
    seen(RTX_4090, files=BARE).judge(DRIVER)


@pytest.mark.parametrize(
    ("version", "is_too_old"),
    [("525.60.13", False), ("525.60.9", True), ("99.1", True), ("1000.1", False)],
)
def test_the_drivers_version_is_compared_by_its_numbers(world, version, is_too_old):
    here = world(gpus=Gpus("nvml", version, gpus=(RTX_4090,)))
    if not is_too_old:
        here.judge(DRIVER)
        return
    failure = here.failure(DRIVER)
    assert failure.failure_id == "driver-too-old"
    assert failure.evidence == {"driver_version": version, "min_driver_version": "525.60.13"}


@pytest.mark.parametrize("platform", ["windows", "wsl"])
def test_the_floor_of_windows_holds_in_windows_and_in_wsl(world, platform):
    here = world(bus=Bus(platform, (CARD,)), gpus=Gpus("nvml", "527.0", gpus=(RTX_4090,)))
    assert "527.41 or newer" in here.failure(DRIVER).what


def test_the_version_of_windows_is_taken_where_nvml_is_silent(world):
    old = Bus("windows", (replace(WINDOWS_CARD, driver_version="471.11"),))
    assert "471.11" in world(bus=old, files=DLL, gpus=CannotTell("no")).failure(DRIVER).what


@pytest.mark.parametrize("version", [None, "not a version"])
def test_a_version_nobody_tells_is_unknown(world, version):
    here = world(files=replace(FILES, module_version=None), gpus=Gpus("nvml", version))
    assert "version of the NVIDIA driver" in here.unknown(DRIVER).what


def test_without_a_floor_no_version_is_asked_for(world):
    hardware = Hardware(needs_gpu=True)
    world(hardware=hardware, gpus=Gpus("nvml", None)).judge(DRIVER)


@pytest.mark.parametrize(
    ("problem", "files", "says"),
    [
        (Problem("unloadable", 12, "wrong ELF class: ELFCLASS32"), FILES, "ELFCLASS32"),
        (Problem("no-library", 12, "x"), FILES, "libraries are missing"),
        (Problem("not-asked", None, "x"), BARE, "is not installed"),
        (Problem("no-library", 12, "x"), replace(BARE, is_container=True), "without the GPU"),
        (Problem("nvml", None, "Field \x1b[31m"), FILES, "\\x1b[31m (code None)"),
    ],
)
def test_each_problem_of_the_library_has_its_words(world, problem, files, says):
    assert says in world(gpus=Gpus(problem=problem), files=files).failure(NVML).what


def test_a_driver_that_lists_nothing_fails(seen):
    assert "lists no GPU" in seen().failure(NVML).what
    inside = replace(FILES, is_container=True, container_devices="void")
    failure = seen(files=inside).failure(NVML)
    assert "'void'" in failure.why
    assert failure.failure_id == "container-without-gpu"


def test_a_card_of_the_bus_that_the_driver_leaves_out_is_a_loss(seen):
    second = replace(CARD, address="0000:41:00.0")
    here = seen(RTX_4090, bus=Bus("linux", (CARD, second)))
    here.judge(NVML)
    assert [(what, failure_id) for what, _, _, failure_id in here.losses] == [
        ("The driver does not list the NVIDIA card at 0000:41:00.0.", "gpu-fell-off-bus")
    ]


@pytest.mark.parametrize(
    ("second", "files"),
    [
        (replace(CARD, address="0000:41:00.0"), replace(FILES, is_container=True)),
        (replace(CARD, address="0000:41:00.0", driver="vfio-pci"), FILES),
    ],
)
def test_cards_that_are_not_handed_to_us_are_no_loss(seen, second, files):
    here = seen(RTX_4090, bus=Bus("linux", (CARD, second)), files=files)
    here.judge(NVML)
    assert here.losses == []
