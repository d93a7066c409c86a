"""The fake driver library: built once from C, found by the real binding in the child."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelmedic.facts import gpu

SOURCE = Path(__file__).parent / "native" / "fake_nvml.c"
LIBRARY = "libnvidia-ml.so.1"


def compiler() -> str:
    """Return the C compiler; skip the test where there is none."""
    found = shutil.which("gcc") or shutil.which("cc")
    if found is None:
        if os.environ.get("MODELMEDIC_TOOLS_REQUIRED") == "1":
            pytest.fail("no C compiler (gcc), and MODELMEDIC_TOOLS_REQUIRED=1")
        pytest.skip("no C compiler: the fake driver library cannot be built")
    return found


def build_library(folder: Path, *flags: str) -> Path:
    """Compile the library into ``folder`` and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    options = ["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden"]
    output = ["-D_GNU_SOURCE", f"-Wl,-soname,{LIBRARY}", "-o", str(folder / LIBRARY)]
    subprocess.run([compiler(), *options, *flags, *output, str(SOURCE)], check=True, timeout=60)
    return folder


@dataclass
class FakeDriver:
    """A machine as the library describes it; ``say`` writes the description."""

    file: Path

    def say(self, *lines: str) -> None:
        self.file.write_bytes("".join(f"{line}\n" for line in lines).encode())


def install(monkeypatch, library_folder: Path, file: Path) -> FakeDriver:
    """Let children find the library in ``library_folder`` and its description in ``file``."""
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library_folder))
    monkeypatch.setenv("FAKE_NVML_FILE", str(file))
    driver = FakeDriver(file)
    driver.say("devices 1")
    return driver


# What real cards report. Sizes: nvidia-smi listings of these cards.
RTX_3060 = (
    "name NVIDIA GeForce RTX 3060",
    "total_mib 12288",
    "capability 8.6",
)
RTX_5090 = (
    "name NVIDIA GeForce RTX 5090",
    "driver 570.86.16",
    "cuda 12080",
    "total_mib 32607",
    "capability 12.0",
    "generation_max 5",
)
A100 = (
    "name NVIDIA A100-SXM4-80GB",
    "total_mib 81920",
    "used_mib 4",
    "capability 8.0",
    "ecc_uncorrected 0",
    "remapped 0 0 0 0",
    "mig 0",
    "persistence 1",
    "display 0",
)
B200 = (
    "name NVIDIA B200",
    "driver 570.124.06",
    "cuda 12080",
    "total_mib 183359",
    "used_mib 4",
    "capability 10.0",
    "generation_max 6",
    "ecc_uncorrected 0",
    "remapped 0 0 0 0",
    "mig 0",
    "persistence 1",
    "display 0",
)
H100 = (
    "name NVIDIA H100 80GB HBM3",
    "total_mib 81559",
    "used_mib 4",
    "capability 9.0",
    "generation_max 5",
    "ecc_uncorrected 0",
    "remapped 0 0 0 0",
    "mig 0",
    "persistence 1",
    "display 0",
)


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    return build_library(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def machine(library, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # no nvidia-smi of this machine
    return install(monkeypatch, library, tmp_path / "machine")


def read(seconds: float = 20) -> gpu.Gpus:
    return gpu.ask(deadline_seconds=seconds)


def write_smi(folder: Path, script: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def recorded_smi(folder: Path, **answers: str) -> None:
    """Write an nvidia-smi that answers each query as recorded; the rest as an unknown field."""
    cases = "".join(
        f"    --query-gpu=index,{column.replace('__', '.')}*) printf '%s\\n' '{text}';;\n"
        for column, text in answers.items()
    )
    write_smi(
        folder,
        f"case $1 in\n{cases}"
        '    *) echo "Field \\"x\\" is not a valid field to query."; exit 2;;\nesac',
    )


def add_card(
    root: Path, address: str, vendor: str = "0x10de", kind: str = "0x030000", driver: str = ""
) -> Path:
    folder = root / address
    folder.mkdir(parents=True)
    values = {"vendor": vendor, "device": "0x2684", "class": kind}
    for name, value in values.items():
        (folder / name).write_text(f"{value}\n")
    if driver:
        target = root.parent / "drivers" / driver
        target.mkdir(parents=True, exist_ok=True)
        (folder / "driver").symlink_to(target)
    return folder
