"""One machine as the hardware checks see it: facts given by a test, and what a check stated."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import make_context, make_profile

from modelmedic import rooms
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import driver, gpu, pci
from modelmedic.facts.book import FactBook
from modelmedic.facts.driver import Driver
from modelmedic.facts.gpu import Gpu, Gpus, Unknown
from modelmedic.facts.pci import Bus, Card
from modelmedic.profile.model import Hardware

GIB = 1 << 30
checks = rooms.load("checks", "test_hardware")

CARD = Card("0000:01:00.0", pci.NVIDIA, 0x2684, driver="nvidia")
BUS = Bus("linux", (CARD,))
FILES = Driver(
    module_version="535.129.03",
    loaded_modules=("nvidia",),
    is_module_on_disk=True,
    library=Path("/usr/lib/libnvidia-ml.so.1"),
    library_version="535.129.03",
    kernel="6.8.0-45-generic",
)
BARE = Driver(kernel="6.8.0-45-generic")
WANTS = Hardware(
    needs_gpu=True,
    min_vram_bytes=24_000_000_000,
    min_compute_capability="8.0",
    min_driver_linux="525.60.13",
    min_driver_windows="527.41",
    flags="--offload_model True",
)
RTX_4090 = Gpu(
    index=0,
    name="NVIDIA GeForce RTX 4090",
    pci_address="00000000:01:00.0",
    memory_total_bytes=24564 << 20,
    memory_used_bytes=786 << 20,
    memory_free_bytes=23778 << 20,
    compute_capability=(8, 9),
    throttle_reasons=1,
    temperature_celsius=45,
    pcie_width=16,
    pcie_width_max=16,
    holders=(),
    unknown=(Unknown("ecc_uncorrected", 3, "Not Supported"),),
)


class Given(FactBook):
    """A fact book in which some facts are what a test says; the rest is really read."""

    def __init__(self, context, given):
        super().__init__(context)
        self.given = given

    def get(self, probe, *args):
        if probe not in self.given:
            return super().get(probe, *args)
        value = self.given[probe]
        if isinstance(value, Exception):
            raise value
        return value


class Losses(list):
    def __call__(self, what, why="", next_step="", failure_id=None):
        self.append((what, why, next_step, failure_id))


class World:
    """One machine: facts given to a check, and what it stated."""

    def __init__(self, place, hardware=WANTS, **given):
        names = {"bus": pci.read_bus, "files": driver.read_driver, "gpus": gpu.read_gpus}
        values = {"bus": BUS, "files": FILES} | given
        self.profile = make_profile(hardware=hardware)
        self.facts = Given(
            make_context(place, self.profile), {names[key]: value for key, value in values.items()}
        )
        self.losses = Losses()

    def judge(self, name):
        check = getattr(checks, name)
        wanted = check.__code__.co_varnames[: check.__code__.co_argcount]
        known = {"facts": self.facts, "profile": self.profile, "degraded": self.losses}
        return check(**{key: known[key] for key in wanted})

    def failure(self, name) -> Unhealthy:
        with pytest.raises(Unhealthy) as caught:
            self.judge(name)
        assert caught.value.what
        assert caught.value.next_step
        return caught.value

    def unknown(self, name) -> CannotTell:
        with pytest.raises(CannotTell) as caught:
            self.judge(name)
        return caught.value

    def skipped(self, name) -> str:
        with pytest.raises(pytest.skip.Exception) as caught:
            self.judge(name)
        return str(caught.value)


@pytest.fixture
def world(tmp_path):
    def make(**given):
        return World(tmp_path, **given)

    return make


@pytest.fixture
def seen(world):
    """Make a world whose driver lists these GPUs."""

    def make(*gpus, **given):
        return world(gpus=Gpus("nvml", "535.129.03", "12.535", "12.2", gpus), **given)

    return make


GPU = "test_nvidia_card_is_there"
DRIVER = "test_driver_runs_and_is_new_enough"
NVML = "test_driver_answers_for_every_card"
VRAM = "test_gpu_memory_is_enough"
VRAM_FREE = "test_gpu_memory_is_free"
CAPABILITY = "test_card_is_new_enough"
THROTTLING = "test_card_runs_at_full_speed"
PCIE = "test_card_uses_all_its_lanes"
MEMORY = "test_card_memory_is_sound"
ALL = (GPU, DRIVER, NVML, VRAM, VRAM_FREE, CAPABILITY, THROTTLING, PCIE, MEMORY)
