"""What is judged: the machine, and the versions that are installed in the target's Python."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from modelmedic.compat import rows, versions
from modelmedic.compat.table import Table
from modelmedic.facts.gpu import Gpus
from modelmedic.facts.interpreter import Interpreter

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# platform_system, os_name, and what platform_machine says there for our names of processors.
_MARKERS: Mapping[str, tuple[str, str, Mapping[str, str]]] = {
    "linux": ("Linux", "posix", {}),
    "win32": ("Windows", "nt", {"x86_64": "AMD64", "aarch64": "ARM64"}),
    "darwin": ("Darwin", "posix", {"aarch64": "arm64"}),
}
# The distributions that carry the CUDA runtime which torch from the index was built with.
_RUNTIME = re.compile(r"nvidia-cuda-runtime(-cu\d+)?|cuda-toolkit")
_EXACT = re.compile(r"(?P<name>[\w.-]+)\s*(\[[^\]]*\])?\s*\(?==\s*(?P<version>[\w.]+)")
_FLASH_BUILD = re.compile(
    r"cu(?P<cuda>\d+)torch(?P<torch>\d+\.\d+)[\d.]*cxx11abi(?P<abi>true|false)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Card:
    """One NVIDIA card that answers."""

    name: str
    compute_capability: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Machine:
    """What a stack must run on. ``driver`` is NVIDIA's, None when there is none or it is mute."""

    system: str  # "linux", "win32", "darwin"
    machine: str = "x86_64"  # or "aarch64"
    python: str = "3.12.4"
    driver: str | None = None
    cards: tuple[Card, ...] = ()
    glibc: str | None = None
    is_wsl: bool = False  # the driver is then the one of Windows

    @property
    def python_minor(self) -> str:
        """Return "3.12"."""
        return rows.dotted(versions.minor(self.python))

    @property
    def markers(self) -> dict[str, str]:
        """Return the values that dependency markers are judged with (PEP 508)."""
        system, os_name, machines = _MARKERS.get(self.system, (self.system, "posix", {}))
        return {
            "implementation_name": "cpython",
            "os_name": os_name,
            "platform_machine": machines.get(self.machine, self.machine),
            "platform_python_implementation": "CPython",
            "platform_system": system,
            "python_full_version": self.python,
            "python_version": self.python_minor,
            "sys_platform": self.system,
        }

    @property
    def has_windows_driver(self) -> bool:
        """Return whether the driver's version is one of Windows drivers."""
        return self.system == "win32" or self.is_wsl


@dataclass(frozen=True, slots=True)
class Build:
    """What a torch was built for, and who says so.

    ``tag``: "cu128", "cpu", another local version such as "rocm6.2"; "" when nothing tells it.
    """

    tag: str = ""
    rows: tuple[str, ...] = ()
    is_certain: bool = True

    @property
    def cuda(self) -> tuple[int, int] | None:
        """Return (12, 8), None when it has no CUDA or nothing tells it."""
        return rows.cuda_of(self.tag)


@dataclass(frozen=True, slots=True)
class FlashBuild:
    """What the name of a flash-attn wheel says it was built for."""

    torch: tuple[int, int]
    cuda_major: int
    abi: str  # "TRUE" or "FALSE"


@dataclass(frozen=True, slots=True)
class Stack:
    """Installed distributions by normalised name, as their metadata tells them.

    Args:
        versions: With the local part ("2.8.0+cu128").
        requires: What each one requires (PEP 508 lines), where that is known.
        foreign: Names that no pip installed (conda): of these the index knows no build.
        tags: What each wheel was built for ("cp312-cp312-linux_x86_64"), where that is known.
    """

    versions: Mapping[str, str]
    requires: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    foreign: frozenset[str] = frozenset()
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def version(self, name: str) -> str:
        """Return an installed version, "" when it is not installed."""
        return self.versions.get(name, "")

    def changed(self, versions_: Mapping[str, str], removed: Iterable[str] = ()) -> Stack:
        """Return the stack after an install of some versions and the removal of others.

        What the changed ones require is no longer known, nor which CUDA runtime a new torch
        brings along.
        """
        gone = {*removed, *versions_}
        if "torch" in versions_:
            gone |= {name for name in self.versions if _RUNTIME.fullmatch(name)}
        kept = {name: version for name, version in self.versions.items() if name not in gone}
        requires = {name: lines for name, lines in self.requires.items() if name not in gone}
        tags = {name: told for name, told in self.tags.items() if name not in gone}
        return Stack(kept | dict(versions_), requires, self.foreign - gone, tags)

    def build_of_torch(self, machine: Machine, table: Table) -> Build:
        """Return what the installed torch was built for.

        Told by its local version, else by the CUDA runtime that it requires, else by the runtime
        that is installed, else by the table.
        """
        torch = self.version("torch")
        if told := versions.local(torch):
            return Build(told if rows.cuda_of(told) or told == "cpu" else _foreign_tag(told))
        if not torch or "torch" in self.foreign:
            return Build()
        default = next((row for row in table.pypi_build if row.system == machine.system), None)
        if default is not None:
            return Build(default.build, (default.cite,), default.is_certain)
        tag = self._required_runtime(machine) or self._installed_runtime()
        if tag or self.requires.get("torch"):
            return Build(tag)
        release = table.torch_release(torch)
        if release is None or machine.machine != "x86_64":
            return Build()
        return Build(release.pypi_cuda, (release.cite,), release.is_certain)

    def build_of_flash(self) -> FlashBuild | None:
        """Return what the installed flash-attn was built for; None when its version is mute."""
        found = _FLASH_BUILD.search(versions.local(self.version("flash-attn")))
        if found is None:
            return None
        digits = found["cuda"]  # "12", in older wheels "123": major and minor
        return FlashBuild(
            rows.pair(found["torch"]), int(digits[: max(2, len(digits) - 1)]), found["abi"].upper()
        )

    def _required_runtime(self, machine: Machine) -> str:
        for line in self.requires.get("torch", ()):
            found = _EXACT.match(line)
            asked = versions.requirement(line) if found else None
            if found and _RUNTIME.fullmatch(found["name"]) and asked is not None:
                return _tag(found["version"]) if versions.applies(asked, machine.markers) else ""
        return ""

    def _installed_runtime(self) -> str:
        found = [self.versions[name] for name in self.versions if _RUNTIME.fullmatch(name)]
        return _tag(found[0]) if len(found) == 1 else ""


def machine_of(interpreter: Interpreter, gpus: Gpus) -> Machine:
    """Return the machine that a target Python and the driver's answer describe."""
    name = interpreter.machine.lower()
    return Machine(
        system="linux" if interpreter.platform.startswith("linux") else interpreter.platform,
        machine=_MACHINES.get(name, name),
        python=interpreter.version,
        driver=gpus.driver_version,
        cards=cards_of(gpus),
        glibc=own_glibc(),
        is_wsl=own_kernel_is_wsl(),
    )


def machine_here(python: str, gpus: Gpus) -> Machine:
    """Return this machine with a Python that need not be installed: what a stack could run on."""
    name = platform.machine().lower()
    return Machine(
        system="linux" if sys.platform.startswith("linux") else sys.platform,
        machine=_MACHINES.get(name, name),
        python=python,
        driver=gpus.driver_version,
        cards=cards_of(gpus),
        glibc=own_glibc(),
        is_wsl=own_kernel_is_wsl(),
    )


def cards_of(gpus: Gpus) -> tuple[Card, ...]:
    """Return the cards that answer and tell their compute capability."""
    return tuple(
        Card(gpu.label, gpu.compute_capability)
        for gpu in gpus.usable
        if gpu.compute_capability is not None
    )


def stack_of(interpreter: Interpreter) -> Stack:
    """Return the installed distributions of a target Python, those of the user's site left out."""
    found = interpreter.installed
    return Stack(
        versions={name: item.version for name, item in found.items() if item.version},
        requires={name: item.requires for name, item in found.items() if item.requires},
        foreign=frozenset(n for n, item in found.items() if item.installer == "conda"),
        # Of the WHEEL file, where the report brings them.
        tags={name: tuple(getattr(item, "tags", ())) for name, item in found.items()},
    )


def own_glibc() -> str | None:
    """Return the version of this system's C library, None when it is not glibc.

    The target runs on the same system, so its own answer would be the same.
    """
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION") if hasattr(os, "confstr") else None
    except (ValueError, OSError):
        return None
    return text.rpartition(" ")[2] if text else None


def own_kernel_is_wsl() -> bool:
    """Return whether this system is Linux inside Windows (WSL 2)."""
    return hasattr(os, "uname") and "microsoft" in os.uname().release.lower()


def _tag(version: str) -> str:
    found = versions.parsed(version)
    return f"cu{found.major}{found.minor}" if found else ""


def _foreign_tag(told: str) -> str:
    """Return a local version that names another kind of build (ROCm, XPU), "" for any other."""
    return told if told.startswith(("rocm", "xpu")) else ""
