"""Which GPUs a program started from this shell is given: CUDA_VISIBLE_DEVICES and its kin.

CUDA reads the list from the left and stops at the first entry that names no device; what stands
after it is not seen either. Source: CUDA C++ Programming Guide, "CUDA Environment Variables".
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.gpu import Gpu, MigSlice, read_gpus

VISIBLE, ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
BY_BUS = "PCI_BUS_ID"  # the order of NVML; CUDA's own default is "fastest first"
_OLD_MIG = re.compile(r"MIG-(GPU-[0-9a-fA-F-]+)/\d+/\d+")  # drivers before 470


@dataclass(frozen=True, slots=True)
class Place:
    """Something a program can run on: a whole GPU, or one slice of a divided one."""

    gpu: Gpu
    slice: MigSlice | None = None

    @property
    def label(self) -> str:
        """Return how a person calls it."""
        return f"slice {self.slice.uuid} of {self.gpu.label}" if self.slice else self.gpu.label

    @property
    def total_bytes(self) -> int | None:
        """Return its memory."""
        return self.slice.memory_total_bytes if self.slice else self.gpu.memory_total_bytes

    @property
    def free_bytes(self) -> int | None:
        """Return what is free of it."""
        return self.slice.memory_free_bytes if self.slice else self.gpu.memory_free_bytes


@dataclass(frozen=True, slots=True)
class Visible:
    """What the variables leave of the GPUs. ``setting`` None: the variable is not set.

    ``unknown`` is the first entry that names nothing; ``hidden`` counts the entries after it.
    ``is_by_index`` says that a number decides which card is meant.
    """

    places: tuple[Place, ...]
    setting: str | None = None
    unknown: str | None = None
    hidden: int = 0
    is_by_index: bool = False
    order: str = ""  # CUDA_DEVICE_ORDER
    world_size: int | None = None  # WORLD_SIZE, which torchrun sets


@probe("gpu_query")
def read_visible(facts: FactBook) -> Visible:
    """Return what a program started from this shell would be given.

    Raises:
        CannotTell: The driver gave no answer.
    """
    return visible_of(facts.get(read_gpus).usable, os.environ)


def visible_of(gpus: tuple[Gpu, ...], env: Mapping[str, str]) -> Visible:
    """Return what ``env`` leaves of ``gpus``, in the order in which CUDA counts them."""
    setting = env.get(VISIBLE)
    size = env.get("WORLD_SIZE", "")
    known: dict[str, object] = {
        "order": env.get(ORDER, ""),
        "world_size": int(size) if size.isdecimal() else None,
    }
    every = [place for gpu in gpus for place in places_of(gpu)]
    if setting is None:
        return Visible(tuple(every), **known)  # type: ignore[arg-type]
    entries = [entry.strip() for entry in setting.split(",")]
    chosen: list[Place] = []
    for position, entry in enumerate(entries):
        found = _named(entry, gpus, every)
        if found is None or found in chosen:
            is_none = setting.strip() in {"", "-1"}  # the usual way to hide every card
            return Visible(
                tuple(chosen),
                setting,
                None if is_none else entry,
                len(entries) - position - 1,
                _has_index(entries[:position]),
                **known,  # type: ignore[arg-type]
            )
        chosen.append(found)
    return Visible(tuple(chosen), setting, is_by_index=_has_index(entries), **known)  # type: ignore[arg-type]


def places_of(gpu: Gpu) -> tuple[Place, ...]:
    """Return a GPU as programs see it: whole, or as its slices; empty when it has none."""
    if not gpu.has_mig:
        return (Place(gpu),)
    return tuple(Place(gpu, each) for each in gpu.slices or ())


def _has_index(entries: list[str]) -> bool:
    return any(entry.isdecimal() for entry in entries)


def _named(entry: str, gpus: tuple[Gpu, ...], every: list[Place]) -> Place | None:
    """Return what an entry names; a GPU's UUID may be cut short as long as it is unique."""
    if entry.isdecimal():
        places = next((places_of(gpu) for gpu in gpus if gpu.index == int(entry)), ())
        return next(iter(places), None)
    if old := _OLD_MIG.fullmatch(entry):
        return next((p for p in every if p.slice and p.gpu.uuid == old[1]), None)
    if entry.startswith("MIG-"):
        return next((p for p in every if p.slice and p.slice.uuid == entry), None)
    if not entry.startswith("GPU-"):
        return None
    found = [place for place in every if (place.gpu.uuid or "").startswith(entry)]
    return found[0] if len({place.gpu.index for place in found}) == 1 else None
