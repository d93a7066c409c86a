"""What a run could be given right now: GPU memory, RAM and disk, each under every cap."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from modelmedic.errors import CannotTell
from modelmedic.facts import disk, memory, system, visible
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.gpu import read_gpus


@dataclass(frozen=True, slots=True)
class Means:
    """What one run could be given. None: not limited, or not asked.

    Args:
        place: The GPU or slice with the most free memory among those a program is given.
        ram_bytes: RAM plus swap under the caps of cgroup, WSL and commit limit.
        ram_limit: What lays the narrowest cap, in words; "" when it is the machine itself.
        disk_short_bytes: What the disks lack for the files still missing; 0: they have the room.
    """

    place: visible.Place
    ram_bytes: int
    ram_limit: str = ""
    disk_short_bytes: int = 0


@probe("gpu_query")
def read_means(facts: FactBook) -> Means:
    """Return what a run started from this shell could be given now.

    Raises:
        CannotTell: The driver, or the system, does not tell; or a program is given no GPU.
    """
    seen = facts.get(visible.read_visible)
    ram, limit = _ram(facts)
    return Means(_best(seen), ram, limit, _disk_short(facts))


def _best(seen: visible.Visible) -> visible.Place:
    """Return the place with the most free memory.

    Raises:
        CannotTell: There is none, or none tells its memory.
    """
    known = [place for place in seen.places if place.free_bytes is not None]
    if known:
        return max(known, key=lambda place: place.free_bytes or 0)
    if seen.places:
        why = seen.places[0].gpu.why_unknown("memory_bytes").detail
        raise CannotTell("The driver does not tell the memory of any GPU.", f"It says: {why}.")
    raise CannotTell(
        "How much GPU memory a run gets cannot be told: it is given no GPU.",
        "A card is divided (MIG) and its slices are not told, or CUDA_VISIBLE_DEVICES hides all.",
        "`nvidia-smi -L` lists cards and slices.",
    )


def _ram(facts: FactBook) -> tuple[int, str]:
    found, commit = facts.get(memory.read_memory), facts.get(memory.read_commit)
    whole = found.ram_bytes + found.swap_bytes
    if commit.is_limited and commit.free_bytes < found.usable_bytes:
        name = "the page file" if sys.platform == "win32" else "vm.overcommit_memory"
        return commit.free_bytes, name
    if found.usable_bytes < whole:
        return found.usable_bytes, f"the control group {found.cap.where}"
    is_wsl = facts.get(system.read_system).wsl is not None
    return found.usable_bytes, "WSL" if is_wsl else ""


def _disk_short(facts: FactBook) -> int:
    return sum(
        max(0, missing.certain_bytes - missing.volume.free_bytes)
        for missing in facts.get(disk.read_missing)
    )


@probe("gpu_query")
def read_roomiest(facts: FactBook) -> visible.Place:
    """Return the place with the most memory of all cards, also those hidden from programs.

    Raises:
        CannotTell: None tells its memory.
    """
    gpus = facts.get(read_gpus).usable
    places = [place for gpu in gpus for place in visible.places_of(gpu)]
    known = [place for place in places if place.total_bytes is not None]
    if not known:
        raise CannotTell("The driver does not tell the memory of any GPU.")
    return max(known, key=lambda place: place.total_bytes or 0)
