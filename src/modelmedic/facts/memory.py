"""RAM, swap and commit limit, and what of them is left under every cap."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from modelmedic.errors import CannotTell
from modelmedic.facts import cgroup
from modelmedic.facts.book import FactBook, probe

_MEMINFO = Path("/proc/meminfo")
_OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")
_STRICT = 2  # vm.overcommit_memory: never promise more than CommitLimit


@dataclass(frozen=True, slots=True)
class Memory:
    """The machine's memory; ``usable_bytes`` is RAM plus swap under the caps of its cgroup.

    ``available_bytes`` is the RAM that new programs can get without pushing others to swap.
    """

    ram_bytes: int
    swap_bytes: int
    available_bytes: int
    free_swap_bytes: int
    usable_ram_bytes: int
    usable_bytes: int
    cap: cgroup.MemoryCap


@dataclass(frozen=True, slots=True)
class Commit:
    """How much memory the system promises to programs; ``is_limited`` False: it promises any."""

    is_limited: bool
    limit_bytes: int = 0
    promised_bytes: int = 0

    @property
    def free_bytes(self) -> int:
        """Return what may still be promised."""
        return max(0, self.limit_bytes - self.promised_bytes)


@probe("local_read")
def read_memory(facts: FactBook) -> Memory:
    """Return RAM and swap, as the machine has them and as this process may use them.

    Raises:
        CannotTell: They, or the limits of a container, cannot be read.
    """
    numbers = _machine()
    return under_cap(*numbers, facts.get(cgroup.read_memory_cap))


def own_memory() -> Memory:
    """Return the same without a fact book, for who cannot wait: it reads /proc and /sys only.

    Raises:
        CannotTell: As `read_memory`.
    """
    return under_cap(*_machine(), cgroup.own_memory_cap())


def under_cap(ram: int, swap: int, available: int, free_swap: int, cap: cgroup.MemoryCap) -> Memory:
    """Return the memory in bytes with a cap laid over it."""
    usable_ram = ram if cap.ram_bytes is None else min(ram, cap.ram_bytes)
    usable_swap = swap if cap.swap_bytes is None else min(swap, cap.swap_bytes)
    usable = usable_ram + usable_swap
    if cap.ram_and_swap_bytes is not None:
        usable = min(usable, cap.ram_and_swap_bytes)
    return Memory(
        ram_bytes=ram,
        swap_bytes=swap,
        available_bytes=available,
        free_swap_bytes=free_swap,
        usable_ram_bytes=usable_ram,
        usable_bytes=usable,
        cap=cap,
    )


@probe("local_read")
def read_commit(facts: FactBook) -> Commit:  # noqa: ARG001 - a probe's signature
    """Return the commit limit: Linux under strict overcommit, Windows always, macOS never.

    Raises:
        CannotTell: It cannot be read.
    """
    if sys.platform == "win32":
        return _windows_commit()
    if sys.platform == "darwin":
        return Commit(is_limited=False)  # it grows its swap files by itself
    try:
        mode = int(_OVERCOMMIT.read_text(encoding="ascii"))
        numbers = parse_meminfo(_MEMINFO.read_text(encoding="ascii", errors="replace"))
    except (OSError, ValueError) as error:
        raise CannotTell(f"The commit limit cannot be read: {error}.") from error
    return commit_of(mode, numbers)


def commit_of(mode: int, meminfo: dict[str, int]) -> Commit:
    """Return the commit limit for a vm.overcommit_memory mode and the numbers of meminfo.

    Raises:
        CannotTell: The mode is strict and the numbers are missing.

    Source: Documentation/mm/overcommit-accounting.rst: only mode 2 holds to CommitLimit.
    """
    if mode != _STRICT:
        return Commit(is_limited=False)
    if not {"CommitLimit", "Committed_AS"} <= meminfo.keys():
        raise CannotTell("/proc/meminfo does not name CommitLimit and Committed_AS.")
    return Commit(True, meminfo["CommitLimit"], meminfo["Committed_AS"])


def parse_meminfo(text: str) -> dict[str, int]:
    """Return the amounts of a /proc/meminfo text in bytes, by name."""
    lines = re.findall(r"^([^\s:]+):\s+(\d+) kB$", text, re.MULTILINE)
    return {name: int(kib) * 1024 for name, kib in lines}


def _machine() -> tuple[int, int, int, int]:
    """Return RAM, swap, available RAM and free swap in bytes."""
    if not sys.platform.startswith("linux"):
        import psutil

        ram, swap = psutil.virtual_memory(), psutil.swap_memory()
        return ram.total, swap.total, ram.available, swap.free
    try:
        numbers = parse_meminfo(_MEMINFO.read_text(encoding="ascii", errors="replace"))
    except OSError as error:
        raise CannotTell(f"{_MEMINFO} cannot be read: {error.strerror}.") from error
    if "MemTotal" not in numbers:
        raise CannotTell(f"{_MEMINFO} does not say how much memory there is.")
    # MemAvailable is missing before kernel 3.14 and in some sandboxes; MemFree is then the floor.
    available = numbers.get("MemAvailable", numbers.get("MemFree", 0))
    free_swap = numbers.get("SwapFree", 0)
    return numbers["MemTotal"], numbers.get("SwapTotal", 0), available, free_swap


def _windows_commit() -> Commit:
    """Return what GlobalMemoryStatusEx says: "page file" there means the commit limit."""
    import ctypes

    class MemoryStatus(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_uint32),
            ("load", ctypes.c_uint32),
            ("total_ram", ctypes.c_uint64),
            ("free_ram", ctypes.c_uint64),
            ("total_commit", ctypes.c_uint64),
            ("free_commit", ctypes.c_uint64),
            ("total_virtual", ctypes.c_uint64),
            ("free_virtual", ctypes.c_uint64),
            ("free_extended", ctypes.c_uint64),
        )

    status = MemoryStatus(length=ctypes.sizeof(MemoryStatus))
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined,unused-ignore]
    if not kernel.GlobalMemoryStatusEx(ctypes.byref(status)):
        raise CannotTell("Windows would not say how much memory may be promised.")
    return Commit(True, status.total_commit, status.total_commit - status.free_commit)
