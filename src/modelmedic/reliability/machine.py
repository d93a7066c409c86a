"""The machine and this process in numbers, as fast as they can be had and without a child."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from modelmedic.errors import CannotTell
from modelmedic.facts import disk, memory

_GIB = 1 << 30
_MIB = 1 << 20
_CPUINFO = Path("/proc/cpuinfo")
# The kernel makes /proc/cpuinfo while it is read, and asks each processor for its speed: the
# first block is enough for the name.
_BLOCK_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Unchanging:
    """What does not change while a process runs; memory in GiB."""

    os_version: str
    python_version: str
    cpu_model: str
    cpu_count: int
    memory_total_gb: float
    architecture: str


@dataclass(frozen=True, slots=True)
class Space:
    """The file system of a folder, in GiB."""

    free_gb: float
    used_gb: float


def unchanging() -> Unchanging:
    """Return what does not change while the process runs."""
    return Unchanging(
        os_version=os_version(),
        python_version=platform.python_version(),
        cpu_model=_cpu_model(),
        cpu_count=_cpu_count(),
        memory_total_gb=own_memory_gb()[0],
        architecture=_architecture(),
    )


def os_version() -> str:
    """Return name and release of the system: "Linux 6.1.0 (Debian GNU/Linux 12 (bookworm))"."""
    if sys.platform == "win32":  # not `platform`: from Python 3.12 it may wait for WMI
        version = sys.getwindowsversion()
        return f"Windows {version.major}.{version.minor}.{version.build}"
    name = os.uname()
    words = f"{name.sysname} {name.release}"
    with contextlib.suppress(OSError):
        return f"{words} ({platform.freedesktop_os_release()['PRETTY_NAME']})"
    return words


def own_memory_gb() -> tuple[float, float]:
    """Return the memory of this machine and what is available of it, in GiB; both under its cap.

    NaN for both when the system does not say.
    """
    try:
        own = memory.own_memory()
    except (CannotTell, OSError):
        return math.nan, math.nan
    used = own.cap.used_bytes or 0
    left = own.available_bytes
    if own.cap.ram_bytes is not None:
        left = min(left, max(0, own.cap.ram_bytes - used))
    return own.usable_ram_bytes / _GIB, left / _GIB


def own_process() -> tuple[int, int]:
    """Return the resident memory of this process in MiB, and how many files it holds open."""
    import psutil

    process = psutil.Process()
    name = "num_handles" if sys.platform == "win32" else "num_fds"  # each system has but one
    return process.memory_info().rss // _MIB, int(getattr(process, name)())


def space_of(folder: Path) -> Space:
    """Return the space where a folder lies, or would be made; it may hang on a dead mount.

    Raises:
        OSError: It cannot be looked at.
    """
    usage = shutil.disk_usage(disk.existing(folder))
    return Space(usage.free / _GIB, usage.used / _GIB)


def _cpu_count() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _architecture() -> str:
    if sys.platform == "win32":
        return os.environ.get("PROCESSOR_ARCHITECTURE", "").lower()
    return os.uname().machine


def _cpu_model() -> str:
    """Return the processor's name; not by `platform.processor`, which starts a child."""
    try:
        if sys.platform == "win32":
            return _windows_cpu_model()
        if sys.platform == "darwin":
            return _macos_cpu_model()
        with _CPUINFO.open(encoding="utf-8", errors="replace") as stream:
            return parse_cpu_model(stream.read(_BLOCK_BYTES))
    except (OSError, AttributeError):
        return ""


def parse_cpu_model(text: str) -> str:
    """Return the name in a ``/proc/cpuinfo`` text; some Arm boards have only "Model"."""
    match = re.search(r"(?im)^(?:model name|hardware|model)[ \t]*: *([^\d\s].*)$", text)
    return match[1].strip() if match else ""


def _windows_cpu_model() -> str:
    import winreg

    place = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
    with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, place) as key:  # type: ignore[attr-defined,unused-ignore]
        return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()  # type: ignore[attr-defined,unused-ignore]


def _macos_cpu_model() -> str:
    """Ask the system library what `sysctl machdep.cpu.brand_string` prints."""
    import ctypes

    text = ctypes.create_string_buffer(256)
    size = ctypes.c_size_t(len(text))
    library = ctypes.CDLL(None)
    library.sysctlbyname(b"machdep.cpu.brand_string", text, ctypes.byref(size), None, 0)
    return text.value.decode("utf-8", "replace")
