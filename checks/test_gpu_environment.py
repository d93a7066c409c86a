"""What stands between the app and the card: variables, libraries, and what the kernel noted."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import pytest

from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import cuda_libraries, gpu, kernel_log, visible
from modelmedic.facts.book import FactBook
from modelmedic.profile.model import Profile
from modelmedic.text import counted, printable

Degraded = Callable[..., None]
_MISMATCH = "visible-devices-or-flags-mismatch"


@pytest.mark.check(
    "hardware.visible-devices", area="hardware", needs=["hardware.nvml"], severity="blocker"
)
@pytest.mark.guidance("docs/checks.md#hardware-visible-devices")
def test_programs_are_given_the_cards(
    facts: FactBook, profile: Profile, degraded: Degraded
) -> None:
    """The variables of this shell name cards that exist, and as many as the app's options."""
    _asked(profile)
    seen = facts.get(visible.read_visible)
    _judge_names(facts, seen)
    _judge_numbers(profile, seen)
    names = {entry.name for entry in facts.get(gpu.read_gpus).usable}
    if seen.is_by_index and len(names) > 1 and seen.order != visible.BY_BUS:
        degraded(
            f"{visible.VISIBLE}={printable(seen.setting)} counts cards of several kinds by number.",
            f"CUDA's own order is by speed, `nvidia-smi` orders by slot; {visible.ORDER} is "
            f"{printable(seen.order) or 'not set'}, so the number may mean another card.",
            f"Set {visible.ORDER}={visible.BY_BUS} in the shell that starts the app.",
            _MISMATCH,
        )


def _judge_names(facts: FactBook, seen: visible.Visible) -> None:
    cards = facts.get(gpu.read_gpus).usable
    if not seen.places and any(card.has_mig and card.slices == () for card in cards):
        raise Unhealthy(
            f"{cards[0].label} is divided (MIG is on) and has no slices.",
            "A program then finds no CUDA device at all.",
            "An administrator makes slices (`sudo nvidia-smi mig -cgi 0 -C`) or switches MIG off "
            "(`sudo nvidia-smi -mig 0`).",
            failure_id=_MISMATCH,
        )
    if not seen.places and any(card.has_mig and card.slices is None for card in cards):
        raise CannotTell("Which slices the divided cards have is not told.")
    if seen.setting is None or (seen.places and seen.unknown is None):
        return
    have = ", ".join(f"{card.index} ({card.uuid})" for card in cards)
    later = counted(seen.hidden, "later entry is", "later entries are")
    after = f" {later} not read." if seen.hidden else ""
    names = f"names {printable(seen.unknown)!r}, which is no card" if seen.unknown else "hides all"
    raise Unhealthy(
        f"{visible.VISIBLE}={printable(seen.setting)} {names}; a program is given "
        f"{counted(len(seen.places), 'card')}.",
        f"CUDA stops reading at the first entry that it does not know.{after} There are: "
        f"{printable(have)}.",
        _unset(visible.VISIBLE),
        failure_id=_MISMATCH,
        evidence={"setting": printable(seen.setting), "cards_given": len(seen.places)},
    )


def _judge_numbers(profile: Profile, seen: visible.Visible) -> None:
    """Judge WORLD_SIZE and --ulysses_size.

    Source: generate.py, "The number of ulysses_size should be equal to the world size"; one card
    for each process of the world.
    """
    world = seen.world_size
    if world is not None and world > len(seen.places):
        raise Unhealthy(
            f"WORLD_SIZE is {world} in this shell; a program is given "
            f"{counted(len(seen.places), 'card')}.",
            "generate.py then waits for processes that never come, or two share one card.",
            _unset("WORLD_SIZE"),
            failure_id=_MISMATCH,
            evidence={"world_size": world, "cards_given": len(seen.places)},
        )
    flags = " ".join([profile.hardware.flags, *(each.flags for each in profile.fits)])
    for number in {int(found) for found in re.findall(r"--ulysses_size[ =](\d+)", flags)}:
        if number > len(seen.places) or number not in {1, world or number}:
            raise Unhealthy(
                f"The profile's options say --ulysses_size {number}; a program is given "
                f"{counted(len(seen.places), 'card')} and WORLD_SIZE is {world or 'not set'}.",
                "Both must be the number of processes, one for each card.",
                f"Start it with `torchrun --nproc_per_node={len(seen.places)} generate.py "
                f"--ulysses_size {len(seen.places)}`, or leave --ulysses_size out.",
                failure_id=_MISMATCH,
            )


def _unset(name: str) -> str:
    how = f"Remove-Item Env:{name}" if sys.platform == "win32" else f"unset {name}"
    return f"In the shell that starts the app: `{how}`."


@pytest.mark.check(
    "hardware.cuda-libraries", area="hardware", needs=["hardware.driver"], severity="blocker"
)
@pytest.mark.guidance("docs/checks.md#hardware-cuda-libraries")
def test_no_other_cuda_stands_before_the_drivers(
    facts: FactBook, profile: Profile, degraded: Degraded
) -> None:
    """LD_LIBRARY_PATH puts no stub and no other CUDA before the driver's and PyTorch's own."""
    _asked(profile)
    if not sys.platform.startswith("linux"):
        pytest.skip("Only Linux reads LD_LIBRARY_PATH.")
    folders = facts.get(cuda_libraries.read_library_path)
    first = next((folder for folder in folders if folder.driver), None)
    if first and first.is_stub:
        raise Unhealthy(
            f"LD_LIBRARY_PATH leads to a stub of the driver: {printable(first.path)}/"
            f"{first.driver}.",
            "It is there for linking only; a program that loads it finds no card (CUDA error 34 "
            "or 35, 'driver version is insufficient').",
            f"Take {printable(first.path)} out of LD_LIBRARY_PATH.",
            evidence={"folder": printable(first.path)},
        )
    if first and first.is_compat:
        degraded(
            f"LD_LIBRARY_PATH puts {printable(first.path)}/{first.driver} before the driver's own.",
            "The package cuda-compat works with data-centre cards only; on others CUDA ends with "
            "error 803 or 804.",
            f"If CUDA does not start, take {printable(first.path)} out of LD_LIBRARY_PATH.",
        )
    other = next((folder for folder in folders if folder.runtime), None)
    if other:
        degraded(
            f"LD_LIBRARY_PATH puts CUDA's {', '.join(other.runtime[:3])} of "
            f"{printable(other.path)} before those that PyTorch brings.",
            "PyTorch then runs with libraries it was not built for: undefined symbols, or cuDNN "
            "and cuBLAS errors in the middle of a run.",
            f"Take {printable(other.path)} out of LD_LIBRARY_PATH in the shell that starts the "
            "app.",
        )


@pytest.mark.check("hardware.kernel-log", area="hardware", needs=["hardware.gpu"], severity="major")
@pytest.mark.guidance("docs/checks.md#hardware-kernel-log")
def test_kernel_noted_no_fault_of_a_card(
    facts: FactBook, profile: Profile, degraded: Degraded
) -> None:
    """The kernel has noted no fault of a card since the computer started."""
    _asked(profile)
    try:
        found = facts.get(kernel_log.read_xids)
    except CannotTell as error:
        pytest.skip(f"{error.what} {error.next_step}".strip())
    faults = [xid for xid in found if xid.meaning]
    for xid in sorted(faults, key=lambda each: each.code != kernel_log.FELL_OFF):
        words = _words(xid)
        if xid.code in {kernel_log.FELL_OFF, 48, 64, 95}:
            raise words
        degraded(words.what, words.why, words.next_step, words.failure_id)


def _words(xid: kernel_log.Xid) -> Unhealthy:
    what = f"Xid {xid.code} of the card at {xid.address}, {counted(xid.count, 'time')}"
    is_lost = xid.code == kernel_log.FELL_OFF
    is_memory = xid.code in kernel_log.MEMORY
    return Unhealthy(
        f"The kernel noted since the start: {xid.meaning} ({what}).",
        f"Its last line: {printable(xid.line)}",
        "Switch the computer off, reseat the card and its power cables; a lower power limit "
        "(`sudo nvidia-smi -pl 300`) shows whether power is the cause."
        if is_lost
        else "Restart the computer; if it comes back, have the card replaced.",
        failure_id="gpu-fell-off-bus" if is_lost else "ecc-uncorrectable" if is_memory else None,
        evidence={"xid": xid.code, "count": xid.count, "address": xid.address},
    )


def _asked(profile: Profile) -> None:
    if not profile.hardware.needs_gpu:
        pytest.skip("The profile does not ask for a graphics card.")
