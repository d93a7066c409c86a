"""What NVIDIA's driver says of its GPUs: one child process, one init, one deadline.

Asked in this order: `nvml_reader` in a child of our own interpreter; ``nvidia-smi`` where that
child cannot give an answer (a 32-bit Python, a crash in the library). Neither is started when
the bus shows no NVIDIA card and no library of the driver lies anywhere.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelmedic.commands import run
from modelmedic.errors import CannotTell
from modelmedic.facts import nvml_reader, smi
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.driver import read_driver
from modelmedic.facts.pci import read_bus
from modelmedic.purity import OWN_PYTHON
from modelmedic.text import printable

NOT_SUPPORTED = 3  # nvmlReturn_t: this card or this platform has no such thing
FUNCTION_NOT_FOUND = 13  # the driver is older than what the binding asks for
BINDING = "nvidia-ml-py"  # the distribution that owns pynvml.py
_MARGIN_SECONDS = 2.0  # of the probe's limit, so that the child's deadline speaks first
_CRASH_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why one value is not known."""

    field: str
    code: int | None  # nvmlReturn_t; None when NVML was not the one who said so
    detail: str


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds memory of a GPU."""

    pid: int
    used_bytes: int | None  # None: Windows keeps it to itself (WDDM)
    is_compute: bool
    program: str | None = None  # None: ended, not ours to see, or a pid of outside a container


@dataclass(frozen=True, slots=True)
class MigSlice:
    """One slice of a card that is divided by MIG."""

    uuid: str  # "MIG-..."
    memory_total_bytes: int | None = None
    memory_free_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU. A value that is None has its reason in ``unknown``."""

    index: int
    name: str | None = None
    uuid: str | None = None
    pci_address: str | None = None  # "00000000:01:00.0"
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None  # with what the driver reserves
    memory_free_bytes: int | None = None
    compute_capability: tuple[int, int] | None = None
    throttle_reasons: int | None = None  # bits of nvmlClocksEventReasons
    temperature_celsius: int | None = None
    pcie_width: int | None = None
    pcie_width_max: int | None = None  # of card and slot together
    pcie_generation: int | None = None
    pcie_generation_max: int | None = None
    ecc_uncorrected: int | None = None  # since the driver was loaded
    remapped_rows: tuple[int, int, bool, bool] | None = None  # correctable, not, pending, failed
    is_retirement_pending: bool | None = None
    has_mig: bool | None = None
    slices: tuple[MigSlice, ...] | None = None  # None: not told; empty: divided into nothing
    has_persistence: bool | None = None
    has_display: bool | None = None
    holders: tuple[Holder, ...] | None = None
    error_code: int | None = None  # 15 lost, 16 needs a reset; the other values are then few
    unknown: tuple[Unknown, ...] = ()

    @property
    def label(self) -> str:
        """Return "GPU 0 (NVIDIA GeForce RTX 4090)", safe to print."""
        return f"GPU {self.index} ({printable(self.name)})" if self.name else f"GPU {self.index}"

    @property
    def bus_address(self) -> str:
        """Return the PCI address as sysfs writes it, with four digits of domain."""
        return (self.pci_address or "")[-len("0000:00:00.0") :].lower()

    def why_unknown(self, field: str) -> Unknown:
        """Return the reason why ``field`` is None."""
        found = next((u for u in self.unknown if u.field == field), None)
        return found or Unknown(field, None, "it was not reported")


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the driver gave no GPUs."""

    kind: str  # "not-asked", "no-library", "unloadable", "nvml"
    code: int | None  # nvmlReturn_t, also the exit code of nvidia-smi
    detail: str


@dataclass(frozen=True, slots=True)
class Gpus:
    """The driver's answer. ``problem`` is None when it gave one; ``gpus`` may still be empty."""

    source: str = ""  # "nvml", "nvidia-smi"; empty when nobody was asked
    driver_version: str | None = None
    nvml_version: str | None = None
    cuda_version: str | None = None  # newest CUDA the driver speaks: "12.2"
    gpus: tuple[Gpu, ...] = ()
    problem: Problem | None = None
    fallback_reason: str = ""  # why nvidia-smi was asked instead

    @property
    def usable(self) -> tuple[Gpu, ...]:
        """Return the GPUs that answer."""
        return tuple(gpu for gpu in self.gpus if gpu.error_code is None)


@probe("gpu_query", spawns=(OWN_PYTHON, "nvidia-smi"))
def read_gpus(facts: FactBook) -> Gpus:
    """Return what the driver says, or its typed problem.

    Raises:
        CannotTell: Neither NVML nor nvidia-smi gave an answer; a hang names the driver.
    """
    driver = facts.get(read_driver)
    if driver.library is None and driver.module_version is None and not _shows_card(facts):
        return Gpus(
            problem=Problem("not-asked", None, "no NVIDIA card on the bus, no driver library")
        )
    seconds = facts.seconds_for(read_gpus) - _MARGIN_SECONDS
    answer = ask(deadline_seconds=seconds)
    # A container gives NVML the pids of the host: the same numbers are other programs here.
    name = _no_program if driver.is_container else _program
    return replace(answer, gpus=tuple(_with_programs(entry, name) for entry in answer.gpus))


def _shows_card(facts: FactBook) -> bool:
    try:
        return bool(facts.get(read_bus).nvidia_cards)
    except CannotTell:
        return True  # the bus cannot tell: ask the driver


def ask(*, deadline_seconds: float) -> Gpus:
    """Ask NVML, and ``nvidia-smi`` with the time left when NVML could not be asked from here.

    Raises:
        CannotTell: Neither gave an answer. After a hang nvidia-smi is not tried: it would wait
            in the same driver.
    """
    ends = time.monotonic() + deadline_seconds
    program = smi.find_program()
    try:
        answer = ask_nvml(deadline_seconds=deadline_seconds)
    except CannotTell as error:
        if program is None or isinstance(error.__cause__, subprocess.TimeoutExpired):
            raise
        return _ask_smi(program, ends, error.what)
    problem = answer.problem
    if program is None or problem is None or not _is_beyond_nvml(problem):
        return answer
    try:
        return _ask_smi(program, ends, problem.detail)
    except CannotTell:
        return answer


def _is_beyond_nvml(problem: Problem) -> bool:
    """Return whether the driver may be well and only its library cannot be asked from here."""
    return problem.kind == "unloadable" or problem.code == FUNCTION_NOT_FOUND


def _ask_smi(program: str, ends: float, reason: str) -> Gpus:
    answer = smi.ask_smi(program, deadline_seconds=max(1.0, ends - time.monotonic()))
    return replace(gpus_from(answer, "nvidia-smi"), fallback_reason=reason)


def ask_nvml(*, deadline_seconds: float) -> Gpus:
    """Ask NVML in a child, with our environment (its LD_LIBRARY_PATH finds the library).

    Raises:
        CannotTell: No answer in time, the child crashed, or the binding is not installed.
    """
    reader = Path(nvml_reader.__file__)
    argv = [sys.executable, "-I", "-S", "-B", str(reader), str(binding_path())]
    try:
        done = run(argv, deadline_seconds=deadline_seconds)
    except CannotTell as error:
        if not isinstance(error.__cause__, subprocess.TimeoutExpired):
            raise
        raise CannotTell(
            f"NVIDIA's driver did not answer within {deadline_seconds:g} s.",
            "Most often the driver is wedged; a machine with many cards and persistence mode off "
            "is slow too, about 3 s a card.",
            "Close what uses the GPU and run again; if it stays, restart the computer.",
        ) from error.__cause__
    answer = _answer_of(done.stdout)
    if answer is None:
        raise CannotTell(
            f"Asking NVIDIA's library crashed (exit code {done.returncode}).",
            printable(done.stderr.strip()[-_CRASH_SHOWN:]),
            "Reinstall the NVIDIA driver if nvidia-smi crashes too.",
        )
    return gpus_from(answer, "nvml")


def binding_path() -> Path:
    """Return the file of NVIDIA's binding, found without importing it.

    Through its distribution, not by module name: other packages also own a ``pynvml``, and one
    of them warns whenever the name is looked up.

    Raises:
        CannotTell: It is not installed beside modelmedic.
    """
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        path = Path(str(distribution(BINDING).locate_file("pynvml.py")))
    except PackageNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise CannotTell(
            f"{BINDING} is not installed in modelmedic's own environment ({sys.prefix}).",
            "It is NVIDIA's reader of GPU facts and one of modelmedic's dependencies.",
            f'"{sys.executable}" -m pip install {BINDING}',
        )
    return path


def _answer_of(stdout: str) -> dict[str, Any] | None:
    for line in stdout.splitlines():
        if line.startswith("{") and nvml_reader.ANSWER_SCHEMA in line:
            try:
                answer = json.loads(line)
            except ValueError:
                return None
            return answer if isinstance(answer, dict) else None
    return None


def gpus_from(answer: dict[str, Any], source: str) -> Gpus:
    """Return the facts in a reader's answer; both readers use the same keys."""
    error = answer.get("error")
    return Gpus(
        source=source,
        driver_version=answer.get("driver_version"),
        nvml_version=answer.get("nvml_version"),
        cuda_version=answer.get("cuda_version"),
        gpus=tuple(_gpu(entry) for entry in answer.get("gpus", ())),
        problem=_problem(error) if error else None,
    )


def _problem(error: dict[str, Any]) -> Problem:
    code = error["code"]
    if code != nvml_reader.LIBRARY_NOT_FOUND:
        return Problem("nvml", code, error["detail"])
    load_error = error.get("load_error", "")
    kind = "unloadable" if load_error else "no-library"
    return Problem(kind, code, load_error or error["detail"])


def _gpu(entry: dict[str, Any]) -> Gpu:
    total, used, free = entry.get("memory_bytes") or (None, None, None)
    capability = entry.get("compute_capability")
    rows = entry.get("remapped_rows")
    return Gpu(
        index=entry["index"],
        name=entry.get("name"),
        uuid=entry.get("uuid"),
        pci_address=entry.get("pci_address"),
        memory_total_bytes=total,
        memory_used_bytes=used,
        memory_free_bytes=free,
        compute_capability=(capability[0], capability[1]) if capability else None,
        throttle_reasons=entry.get("throttle_reasons"),
        temperature_celsius=entry.get("temperature_celsius"),
        pcie_width=entry.get("pcie_width"),
        pcie_width_max=entry.get("pcie_width_max"),
        pcie_generation=entry.get("pcie_generation"),
        pcie_generation_max=entry.get("pcie_generation_max"),
        ecc_uncorrected=entry.get("ecc_uncorrected"),
        remapped_rows=(rows[0], rows[1], bool(rows[2]), bool(rows[3])) if rows else None,
        is_retirement_pending=_switch(entry.get("is_retirement_pending")),
        has_mig=_switch(entry.get("mig_mode")),
        slices=_slices(entry.get("slices")),
        has_persistence=_switch(entry.get("persistence_mode")),
        has_display=_switch(entry.get("display_active")),
        holders=_holders(entry.get("processes")),
        error_code=entry["error"]["code"] if entry.get("error") else None,
        unknown=tuple(
            Unknown(field, why["code"], why["detail"])
            for field, why in entry.get("unknown", {}).items()
        ),
    )


def _switch(value: int | bool | None) -> bool | None:
    return None if value is None else bool(value)


def _slices(listed: list[dict[str, Any]] | None) -> tuple[MigSlice, ...] | None:
    if listed is None:
        return None
    return tuple(MigSlice(e["uuid"], *(e["memory_bytes"] or (None, None))) for e in listed)


def _holders(listed: list[dict[str, Any]] | None) -> tuple[Holder, ...] | None:
    if listed is None:
        return None
    return tuple(
        Holder(e["pid"], e["used_bytes"], e["is_compute"], e.get("program")) for e in listed
    )


def _with_programs(gpu: Gpu, name: Callable[[int], str | None]) -> Gpu:
    """Name the programs that hold memory, most memory first."""
    if not gpu.holders:
        return gpu
    named = [replace(held, program=held.program or name(held.pid)) for held in gpu.holders]
    return replace(gpu, holders=tuple(sorted(named, key=lambda held: -(held.used_bytes or 0))))


def _no_program(pid: int) -> str | None:  # noqa: ARG001 - stands where _program would
    return None


def _program(pid: int) -> str | None:
    import psutil

    try:
        return str(psutil.Process(pid).name()) or None
    except psutil.Error:
        return None
