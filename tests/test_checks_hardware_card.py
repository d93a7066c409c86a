"""What a card can do: its memory, generation, speed, lanes and errors."""

from __future__ import annotations

from dataclasses import replace

import hardware_support
import pytest
from hardware_support import (
    CAPABILITY,
    CARD,
    GIB,
    MEMORY,
    PCIE,
    RTX_4090,
    THROTTLING,
    VRAM,
    VRAM_FREE,
    WANTS,
    checks,
)

from modelmedic.facts import gpu_words
from modelmedic.facts.gpu import Gpu, Holder, Unknown
from modelmedic.facts.pci import Bus
from modelmedic.profile.model import Hardware

world = hardware_support.world
seen = hardware_support.seen


# --- memory


def test_the_largest_card_counts(seen):
    small = replace(RTX_4090, index=0, memory_total_bytes=8 * GIB)
    seen(small, replace(RTX_4090, index=1)).judge(VRAM)


def test_the_memory_of_two_cards_does_not_add_up(seen):
    small = replace(RTX_4090, memory_total_bytes=16 * GIB)
    failure = seen(small, replace(small, index=1)).failure(VRAM)
    assert "does not add up" in failure.why or "do not add up" in failure.why


@pytest.mark.parametrize("mib", [24564, 24576, 23034])
def test_every_card_sold_with_24_gb_is_enough(seen, mib):
    seen(replace(RTX_4090, memory_total_bytes=mib << 20)).judge(VRAM)


def test_a_divided_card_is_not_judged_by_its_whole(seen):
    here = seen(replace(RTX_4090, has_mig=True))
    assert "MIG" in here.unknown(VRAM).why


def test_a_card_that_hides_its_memory_is_unknown(seen):
    hidden = replace(
        RTX_4090, memory_total_bytes=None, unknown=(Unknown("memory_bytes", 3, "Not Supported"),)
    )
    assert "Not Supported" in seen(hidden).unknown(VRAM).why


def test_without_a_need_memory_is_not_judged(seen):
    here = seen(RTX_4090, hardware=Hardware(needs_gpu=True))
    for name in (VRAM, VRAM_FREE, CAPABILITY):
        assert "states no least" in here.skipped(name)


def holding(used_gib: int, *holders: Holder) -> Gpu:
    total = RTX_4090.memory_total_bytes
    return replace(RTX_4090, memory_free_bytes=total - used_gib * GIB, holders=holders)


def test_a_program_that_holds_the_memory_is_named(seen):
    game = Holder(4242, 9 * GIB, is_compute=False, program="ga\x1b[31mme")
    ghost = Holder(77, None, is_compute=True)
    failure = seen(holding(9, game, ghost)).failure(VRAM_FREE)
    assert "15.0 GiB of its 24.0 GiB free" in failure.what
    assert "ga\\x1b[31mme (pid 4242, 9.0 GiB)" in failure.why
    assert "a program not ours to see (pid 77, an unknown amount)" in failure.why
    assert failure.failure_id == "vram-held-or-fragmented"
    assert failure.evidence["needed_bytes"] == 24_000_000_000


def test_a_desktops_share_is_a_stated_loss(seen):
    here = seen(holding(2, Holder(1, 2 * GIB, is_compute=False, program="Xorg")))
    here.judge(VRAM_FREE)
    [(what, why, _next, _id)] = here.losses
    assert "22.0 GiB of its 24.0 GiB free" in what
    assert "Xorg (pid 1, 2.0 GiB)" in why


def test_the_desktops_share_ends_where_its_source_ends(seen):
    least = WANTS.min_vram_bytes - checks.DESKTOP_SHARE_BYTES
    seen(replace(RTX_4090, memory_free_bytes=least)).judge(VRAM_FREE)
    seen(replace(RTX_4090, memory_free_bytes=least - 1)).failure(VRAM_FREE)


def test_memory_that_nobody_seems_to_hold_is_said_so(seen):
    assert "No process is listed" in seen(holding(9)).failure(VRAM_FREE).why
    hidden = replace(holding(9), holders=None)
    assert "not told" in seen(hidden).failure(VRAM_FREE).why


def test_a_long_list_of_holders_is_cut():
    many = [Holder(pid, GIB, is_compute=True, program="python") for pid in range(8)]
    assert gpu_words.holders_of(holding(8, *many)).endswith("; and 3 more processes.")


# --- generation, speed, lanes, errors


@pytest.mark.parametrize(
    ("capability", "holds"), [((8, 0), True), ((12, 0), True), ((7, 5), False), ((6, 1), False)]
)
def test_compute_capability_is_compared_by_its_numbers(seen, capability, holds):
    here = seen(replace(RTX_4090, compute_capability=capability))
    if holds:
        here.judge(CAPABILITY)
        return
    failure = here.failure(CAPABILITY)
    assert failure.failure_id == "flash-attn-pre-ampere"
    assert failure.evidence["compute_capability"] == ".".join(map(str, capability))


def test_another_floor_is_not_blamed_on_flash_attention(seen):
    here = seen(RTX_4090, hardware=replace(WANTS, min_compute_capability="9.0"))
    assert here.failure(CAPABILITY).failure_id == "gpu-arch-not-in-torch"


def test_a_new_but_small_card_does_not_stand_in_for_the_large_old_one(seen):
    large_and_old = replace(RTX_4090, index=0, compute_capability=(7, 0))
    small_and_new = replace(RTX_4090, index=1, memory_total_bytes=8 * GIB)
    assert "GPU 0" in seen(large_and_old, small_and_new).failure(CAPABILITY).what
    seen(large_and_old, replace(RTX_4090, index=1)).judge(CAPABILITY)


def test_a_capability_that_is_not_told_is_unknown(seen):
    hidden = replace(RTX_4090, compute_capability=None)
    assert "compute capability" in seen(hidden).unknown(CAPABILITY).what


@pytest.mark.parametrize("reasons", [0x0, 0x1, 0x4, 0x2 | 0x10 | 0x100])
def test_normal_clock_states_are_no_throttling(seen, reasons):
    here = seen(replace(RTX_4090, throttle_reasons=reasons))
    here.judge(THROTTLING)
    assert here.losses == []


@pytest.mark.parametrize(
    ("reasons", "says"), [(0x8, "own protection"), (0x48, "too hot"), (0x81, "power supply")]
)
def test_a_slowdown_by_the_hardware_fails(seen, reasons, says):
    failure = seen(replace(RTX_4090, throttle_reasons=reasons)).failure(THROTTLING)
    assert says in failure.what
    assert "at 45 °C" in failure.what
    assert failure.evidence["throttle_reasons"] == reasons


def test_a_slowdown_by_the_driver_is_a_stated_loss(seen):
    here = seen(replace(RTX_4090, throttle_reasons=0x20))
    here.judge(THROTTLING)
    assert "lowers its clocks to stay cool at 45 °C" in here.losses[0][0]


@pytest.mark.parametrize(("code", "verdict"), [(3, "skipped"), (13, "unknown"), (None, "unknown")])
@pytest.mark.parametrize(
    ("name", "field"),
    [(THROTTLING, "throttle_reasons"), (PCIE, "pcie_width"), (MEMORY, "ecc_uncorrected")],
)
def test_what_is_not_told_is_never_a_pass(seen, name, field, code, verdict):
    silent = replace(RTX_4090, unknown=(Unknown(field, code, "said so"),), **{field: None})
    here = seen(silent, bus=Bus("linux"))
    getattr(here, verdict)(name)


def test_one_silent_card_does_not_hide_behind_a_sound_one(seen):
    silent = replace(RTX_4090, throttle_reasons=None, unknown=())
    assert "GPU 0" in seen(silent, replace(RTX_4090, index=1)).unknown(THROTTLING).why


def test_fewer_lanes_are_a_stated_loss(seen):
    here = seen(replace(RTX_4090, pcie_width=4))
    here.judge(PCIE)
    assert "4 of 16 PCIe lanes" in here.losses[0][0]


def test_lanes_come_from_the_bus_where_the_driver_is_silent(seen):
    silent = replace(RTX_4090, pcie_width=None, pcie_width_max=None)
    here = seen(silent, bus=Bus("linux", (replace(CARD, link_width=8, link_width_max=16),)))
    here.judge(PCIE)
    assert "8 of 16 PCIe lanes" in here.losses[0][0]


@pytest.mark.parametrize(
    ("faults", "says"),
    [
        ({"ecc_uncorrected": 2}, "2 uncorrectable errors"),
        ({"ecc_uncorrected": 0, "remapped_rows": (1, 1, True, False)}, "remapping waits"),
        ({"ecc_uncorrected": 0, "remapped_rows": (0, 1, False, True)}, "could not be remapped"),
        ({"is_retirement_pending": True}, "retirement waits"),
    ],
)
def test_faulty_memory_fails(seen, faults, says):
    failure = seen(replace(RTX_4090, **faults)).failure(MEMORY)
    assert says in failure.what
    assert failure.failure_id == "ecc-uncorrectable"


def test_repaired_rows_are_no_fault(seen):
    seen(replace(RTX_4090, ecc_uncorrected=0, remapped_rows=(3, 1, False, False))).judge(MEMORY)
