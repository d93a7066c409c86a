"""The graphics card as it was last read: by the installer, or by a child after a first failure."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from modelmedic.limits import TimeoutManager
from modelmedic.reliability.error_context import GPUInfo
from modelmedic.reliability.readings import Reading

if TYPE_CHECKING:
    from modelmedic.facts.gpu import Gpus

_FRESH_SECONDS = 60.0  # what a card holds changes in seconds; a child for each failure would not do
_MIB = 1 << 20


class GpuNotes:
    """The last reading of the first card. To take it waits for nobody."""

    def __init__(self) -> None:
        self._reading: Reading[GPUInfo | None] = Reading(
            "graphics card", ask, fresh_seconds=_FRESH_SECONDS
        )

    def note(self, gpu: GPUInfo | None) -> None:
        """Take what somebody else has read; None when there is no card."""
        self._reading.note(gpu)

    def latest(self) -> GPUInfo | None:
        """Return the last reading with its age; None when there is no card, or none was read."""
        gpu = self._reading.value
        if gpu is None:
            return None
        return replace(gpu, age_seconds=max(gpu.age_seconds, self._reading.age_seconds))

    def refresh(self) -> None:
        """Begin to read it for a later failure, in a child process; returns at once."""
        if self._reading.value is None and self._reading.age_seconds != float("inf"):
            return  # there is none, and none will grow
        self._reading.start()

    def wait(self, seconds: float) -> bool:
        """Wait for a reading under way; return whether it ended. No capture does."""
        return self._reading.wait(time.monotonic() + seconds)


def ask() -> GPUInfo | None:
    """Return what the driver says of the first card, asked in a child with a deadline.

    Raises:
        CannotTell: The driver gave no answer.
    """
    from modelmedic.facts import driver, gpu, pci

    if driver.find_library(os.environ) is None and not pci.text_of(driver.PROC_VERSION):
        return None
    limit = TimeoutManager().get_timeout("gpu_query")
    return first_card(gpu.ask(deadline_seconds=limit))


def first_card(answer: Gpus) -> GPUInfo | None:
    """Return the first card of the driver's answer as the context has it; None without one."""
    if not answer.usable:
        return None
    card = answer.usable[0]
    total, used = card.memory_total_bytes, card.memory_used_bytes
    return GPUInfo(
        name=card.name or "",
        memory_total_mb=-1 if total is None else total // _MIB,
        memory_used_mb=-1 if used is None else used // _MIB,
        driver_version=answer.driver_version or "",
        count=len(answer.gpus),
    )


# Of the machine, so of the process: every manager in it sees the same card.
KNOWN = GpuNotes()
note_gpu = KNOWN.note
