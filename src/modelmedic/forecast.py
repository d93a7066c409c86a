"""Whether a task fits: each way of a profile to run it, against what the machine can give now.

A number that a source states decides. One that was computed is a floor (weights without what a
run adds to them), so it may only degrade: meeting it is no proof that a run fits, and missing it
is no proof against the sources that state no number.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelmedic.errors import ModelmedicError
from modelmedic.facts import fit as fit_facts
from modelmedic.profile import loader
from modelmedic.profile.model import Fit
from modelmedic.text import printable, quoted, size

PROGRAM = "generate.py"
# What a desktop may take of a card on which a model is meant to run.
# Source: ComfyUI's model_management.py leaves 600 MiB, plus 100 MiB on cards above 15 GiB, to
# other programs (EXTRA_RESERVED_VRAM).
DESKTOP_SHARE_BYTES = 700 << 20


@dataclass(frozen=True, slots=True)
class Way:
    """One fit of the profile and what the machine lacks for it; 0: it has enough."""

    fit: Fit
    vram_short_bytes: int = 0  # of what is free now
    total_short_bytes: int = 0  # even with the GPU empty
    ram_short_bytes: int = 0

    @property
    def fits_card(self) -> bool:
        """Return whether the free GPU memory holds it, or would but for a desktop's share."""
        return self.total_short_bytes == 0 and self.vram_short_bytes <= DESKTOP_SHARE_BYTES


@dataclass(frozen=True, slots=True)
class Forecast:
    """All ways in the profile's order, and the best of those that fit; None: none does."""

    ways: tuple[Way, ...]
    best: Way | None
    losses: tuple[str, ...] = ()  # what is lost or not certain with the best, in sentences

    @property
    def is_provable(self) -> bool:
        """Return whether any way has a stated number, so that not fitting is certain."""
        return any(way.fit.vram_how == "stated" for way in self.ways)

    @property
    def least(self) -> Way:
        """Return the way that takes the least GPU memory."""
        return min(self.ways, key=lambda way: way.fit.min_vram_bytes or 0)


def forecast(fits: Sequence[Fit], means: fit_facts.Means) -> Forecast:
    """Return which of ``fits`` the machine can run now.

    The best is the first in the profile's order whose numbers all hold; else the first that the
    card holds and whose RAM, which is computed, does not suffice.
    """
    ways = tuple(_way(fit, means) for fit in fits)
    on_card = [way for way in ways if way.fits_card]
    best = next((way for way in on_card if not way.ram_short_bytes), next(iter(on_card), None))
    return Forecast(ways, best, _losses(best, ways, means) if best else ())


def _way(fit: Fit, means: fit_facts.Means) -> Way:
    vram, ram = fit.min_vram_bytes or 0, fit.min_ram_bytes or 0
    return Way(
        fit,
        vram_short_bytes=max(0, vram - (means.place.free_bytes or 0)),
        total_short_bytes=max(0, vram - (means.place.total_bytes or 0)),
        ram_short_bytes=max(0, ram - means.ram_bytes),
    )


def _losses(best: Way, ways: tuple[Way, ...], means: fit_facts.Means) -> tuple[str, ...]:
    found = []
    fit, first = best.fit, ways[0].fit
    if fit.loses:
        how = f"with {printable(first.flags)}" if first.flags else "without options"
        takes = f"{how} it takes {size(first.min_vram_bytes or 0)} of GPU memory"
        found.append(f"It loses {printable(fit.loses)} ({takes}).")
    if fit.vram_how == "computed":
        found.append(
            f"Its {size(fit.min_vram_bytes or 0)} of GPU memory are computed, not stated by the "
            "model's authors: a run may need more."
        )
    if best.vram_short_bytes:
        found.append(
            f"Other programs hold {size(best.vram_short_bytes)} of the GPU memory it needs: close "
            "them first."
        )
    if means.disk_short_bytes:
        found.append(
            f"The disk lacks {size(means.disk_short_bytes)} for the files that are still missing."
        )
    if best.ram_short_bytes:
        limit = f" ({printable(means.ram_limit)} sets this limit)" if means.ram_limit else ""
        found.append(
            f"It needs {size(fit.min_ram_bytes or 0)} of RAM and swap, {fit.ram_how}; there are "
            f"{size(means.ram_bytes)}{limit}."
        )
    return tuple(found)


def command(fit: Fit, folder: str = "", device: str = "") -> str:
    """Return the app's command for a fit, as typed in the app's folder.

    Args:
        fit: The way to run it.
        folder: The model's folder; "" leaves it out.
        device: UUID of the card to choose; "": the app's own choice, the first one.
    """
    words = ["python", PROGRAM, *(["--task", fit.task] if fit.task else [])]
    if fit.sizes:
        words += ["--size", quoted(fit.sizes[0])]  # a bare * is one for the shell
    if folder:
        words += ["--ckpt_dir", quoted(folder)]
    chosen = " ".join([*words, *fit.flags.split()])
    if device and sys.platform == "win32":
        return f"$env:CUDA_VISIBLE_DEVICES='{device}'; {chosen}"  # PowerShell
    return f"CUDA_VISIBLE_DEVICES={device} {chosen}" if device else chosen


def others_that_fit(means: fit_facts.Means, *, but: str) -> tuple[str, ...]:
    """Return the shipped profiles with a way that fits for certain.

    Args:
        means: What the machine can give.
        but: The profile that is left out.
    """
    found = []
    for name in loader.available():
        try:
            profile = loader.load_profile(name, cwd=Path.cwd())
        except ModelmedicError:
            continue  # not this run's profile
        best = forecast(profile.fits, means).best
        if name != but and best and best.fit.vram_how == "stated" and not best.ram_short_bytes:
            found.append(name)
    return tuple(found)


def table(found: Forecast) -> str:
    """Return every way with its numbers and what it lacks, as one sentence."""
    return "; ".join(_row(way) for way in found.ways) + "."


def _row(way: Way) -> str:
    fit = way.fit
    parts = [f"{size(fit.min_vram_bytes or 0)} of GPU memory {fit.vram_how}"]
    if fit.min_ram_bytes:
        parts.append(f"{size(fit.min_ram_bytes)} of RAM {fit.ram_how}")
    if way.vram_short_bytes:
        parts.append(f"{size(way.vram_short_bytes)} short on the card")
    if way.ram_short_bytes:
        parts.append(f"{size(way.ram_short_bytes)} short of RAM")
    return f"{printable(fit.flags) or 'without options'}: {', '.join(parts)}"
