"""What a GPU fact means, in words: what happened, most likely why, what to do next.

For a person at home first: nothing here is done by us. Drivers, resets and reboots are never
ours to apply, so a next step names them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from modelmedic.facts.driver import Driver
from modelmedic.facts.driver_words import (
    GET_DRIVER,
    Words,
    of_lost_devices,
    of_missing_library,
)
from modelmedic.facts.gpu import Gpu, Holder, Problem
from modelmedic.text import counted, printable, size

# Bits of nvmlClocksEventReasons. Source: nvml.h, NVML_CLOCKS_EVENT_REASON_*. Idle (0x1), clock
# settings (0x2, 0x100), the power cap (0x4) and sync boost (0x10) are normal working states.
HARDWARE_SLOWDOWNS: Mapping[int, str] = MappingProxyType(
    {
        0x40: "the card is too hot and has halved its clocks or more",
        0x80: "the power supply has told the card to slow down",
        0x8: "the card's own protection has halved its clocks or more (heat or power)",
    }
)
_LOST_GPU = "The container has lost its GPU"
SOFTWARE_HEAT = 0x20  # the driver lowers clocks to stay below the temperature target

# Cause and cure of each way NVML can refuse to start, by nvmlReturn_t.
# Source: nvml.h for the codes; NVIDIA's driver and container-toolkit documents for the causes.
NVML_CODES: Mapping[int, Words] = MappingProxyType(
    {
        4: Words(
            "This user may not use the NVIDIA driver (NVML code 4, no permission).",
            "The device files /dev/nvidia* are closed to this user, or a container or job system "
            "keeps them away.",
            "look at `ls -l /dev/nvidia*`, ask for membership in the group that owns them (most "
            "often `video` or `render`), and log in again.",
        ),
        8: Words(
            "The NVIDIA driver says that a card gets too little power (NVML code 8).",
            "Most often a power cable of the card is not plugged in.",
            "switch the computer off and plug in every power cable of the card.",
        ),
        9: Words(
            "The NVIDIA driver is installed but not running (NVML code 9, driver not loaded).",
            "Its kernel module is not loaded: most often it was not built for the running kernel, "
            "or Secure Boot refused it.",
            "restart the computer; if that does not help, install the driver again.",
        ),
        13: Words(
            "The NVIDIA driver is too old to be asked (NVML code 13, function not found).",
            "Its library lacks the function that everything begins with.",
            f"install a newer driver ({GET_DRIVER}) and restart.",
            "driver-too-old",
        ),
        14: Words(
            "A card's configuration memory is damaged (NVML code 14, corrupted infoROM).",
            "It is stored on the card itself.",
            "ask the maker of the card for its firmware tool or a replacement.",
        ),
        15: Words(
            "The graphics card has fallen off the bus (NVML code 15, GPU is lost).",
            "Most often power, heat, a riser cable or a loose card (Xid 79 in the kernel log).",
            "switch the computer off, let it cool, reseat the card and its power cables.",
            "gpu-fell-off-bus",
        ),
        16: Words(
            "The graphics card must be reset after a fault (NVML code 16, reset required).",
            "Most often an uncorrectable memory error of the card.",
            "restart the computer; on a server an admin can use `nvidia-smi --gpu-reset`.",
        ),
        17: Words(
            "The operating system blocked the NVIDIA driver (NVML code 17).",
            "Most often a container or cgroup rule that keeps /dev/nvidia* away.",
            "start the container again with `--gpus all`.",
        ),
        18: Words(
            "The running NVIDIA driver and its libraries are of different versions (NVML code 18).",
            "Most often the driver was updated and the old one is still running.",
            "restart the computer.",
            "nvml-version-mismatch",
        ),
        999: Words(
            "The NVIDIA driver answers with an unknown error (NVML code 999).",
            "Most often a driver that failed while starting.",
            "restart the computer; the kernel log (`journalctl -k -g NVRM`) says more.",
        ),
    }
)


def of_problem(problem: Problem, driver: Driver) -> Words:
    """Return what it means that NVML gave no GPUs."""
    library = printable(driver.library) if driver.library else "its library"
    if problem.kind == "unloadable":
        return Words(
            f"NVIDIA's driver library {library} cannot be loaded: {printable(problem.detail)}.",
            "It is damaged, made for another kind of processor, or one it needs is missing.",
            "install the NVIDIA driver again.",
        )
    if problem.kind in {"no-library", "not-asked"}:
        return of_missing_library(driver)
    if driver.is_container and problem.code == 999:  # noqa: PLR2004 - NVML_ERROR_UNKNOWN
        return replace(of_lost_devices(), what=f"{_LOST_GPU} (NVML code 999, unknown error).")
    known = NVML_CODES.get(problem.code or -1)
    return known or Words(
        f"The NVIDIA driver did not start: {printable(problem.detail)} (code {problem.code}).",
        next_step="restart the computer; if it stays, install the driver again.",
    )


def of_lost(gpus: Sequence[Gpu]) -> Words:
    """Return what it means that these GPUs are listed and do not answer."""
    code = gpus[0].error_code or 0
    known = NVML_CODES.get(code, NVML_CODES[999])
    names = ", ".join(gpu.label for gpu in gpus)
    codes = ", ".join(str(gpu.error_code) for gpu in gpus)
    verb = "does" if len(gpus) == 1 else "do"
    what = f"{names} {verb} not answer (NVML code {codes})."
    return Words(what, known.why, known.next_step, known.failure_id)


def of_no_gpus(driver: Driver) -> Words:
    """Return what it means that the driver answers and lists no GPU."""
    if driver.is_container:
        return Words(
            "The driver answers but lists no GPU in this container.",
            f"NVIDIA_VISIBLE_DEVICES is {driver.container_devices!r} here.",
            "start the container again with `--gpus all`.",
            "container-without-gpu",
        )
    return Words(
        "The NVIDIA driver answers but lists no GPU.",
        "Most often the card failed to start, or this driver does not know it.",
        f"restart the computer; install the newest driver ({GET_DRIVER}).",
    )


def slowdowns(reasons: int) -> list[str]:
    """Return why the hardware slows a card down; empty when it does not."""
    return [words for bit, words in HARDWARE_SLOWDOWNS.items() if reasons & bit]


def memory_faults(entry: Gpu) -> list[str]:
    """Return what is wrong with a card's memory; empty when nothing is known to be."""
    _good, _bad, is_pending, has_failed = entry.remapped_rows or (0, 0, False, False)
    faults = {
        f"{entry.ecc_uncorrected} uncorrectable errors since start": bool(entry.ecc_uncorrected),
        "a row remapping waits for a restart": is_pending,
        "a row could not be remapped, no spare is left": has_failed,
        "a page retirement waits for a restart": bool(entry.is_retirement_pending),
    }
    return [words for words, is_so in faults.items() if is_so]


def holders_of(gpu: Gpu) -> str:
    """Return who holds the memory of a GPU, as a sentence."""
    if gpu.holders is None:
        return "Who holds it is not told."
    if not gpu.holders:
        return "No process is listed as holding it."
    shown = "; ".join(_holder(holder) for holder in gpu.holders[:5])
    rest = len(gpu.holders) - 5
    more = f"; and {counted(rest, 'more process', 'more processes')}" if rest > 0 else ""
    return f"Held by {shown}{more}."


def _holder(holder: Holder) -> str:
    program = printable(holder.program) if holder.program else "a program not ours to see"
    held = "an unknown amount" if holder.used_bytes is None else size(holder.used_bytes)
    return f"{program} (pid {holder.pid}, {held})"
