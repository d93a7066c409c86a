"""Whether the model fits: which of the profile's ways to run it this machine holds now."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelmedic import forecast
from modelmedic.context import Context
from modelmedic.errors import Unhealthy
from modelmedic.facts import fit, gpu_words, visible
from modelmedic.facts.book import FactBook
from modelmedic.forecast import Forecast, Way
from modelmedic.profile.model import Profile
from modelmedic.text import printable, size

Degraded = Callable[..., None]
Stated = Callable[[str], None]


@pytest.mark.check("hardware.fit", area="hardware", needs=["hardware.nvml"], severity="blocker")
@pytest.mark.guidance("docs/checks.md#hardware-fit")
def test_a_way_to_run_the_model_fits(
    facts: FactBook, context: Context, profile: Profile, degraded: Degraded, stated: Stated
) -> None:
    """The free memory of the card and of the machine holds a way to run the model."""
    if not profile.fits:
        pytest.skip("The profile states no ways to run the model and what they take.")
    means = facts.get(fit.read_means)
    found = forecast.forecast(profile.fits, means)
    if found.best is None:
        _judge_no_fit(facts, profile, means, found, degraded)
        return
    device = _device(facts, means, found.best)
    command = f"`{forecast.command(found.best.fit, _folder(context), device)}`"
    if not found.losses:
        stated(f"It fits {means.place.label}: {command}.")
        return
    degraded(
        f"{printable(profile.title)} fits {means.place.label} with "
        f"{printable(found.best.fit.flags) or 'no options'}, at a loss.",
        " ".join(found.losses),
        f"In the app's folder: {command}.",
        _loss_id(found.best),
    )


def _device(facts: FactBook, means: fit.Means, best: Way) -> str:
    """Return the UUID of the card to choose, "" when every card that the app may take will do.

    The app takes the first one, and which that is CUDA decides. Source: generate.py, device 0.
    """
    others = [p for p in facts.get(visible.read_visible).places if p != means.place]
    need = best.fit.min_vram_bytes or 0
    if all((other.free_bytes or 0) >= need for other in others):
        return ""
    chosen = means.place.slice.uuid if means.place.slice else means.place.gpu.uuid
    return chosen or str(means.place.gpu.index)


def _loss_id(best: Way) -> str:
    if best.ram_short_bytes:
        return "host-ram-oom-killed"
    if best.vram_short_bytes:
        return "vram-held-or-fragmented"
    if best.fit.loses or best.fit.vram_how == "computed":
        return "vram-insufficient"
    return "no-space-on-model-disk"  # the loss that is left


def _judge_no_fit(
    facts: FactBook, profile: Profile, means: fit.Means, found: Forecast, degraded: Degraded
) -> None:
    """Fail, or degrade where no source states a number."""
    verdict = (
        _hidden(facts, profile, means) or _held(means, found) or _too_small(profile, means, found)
    )
    if found.is_provable:
        raise verdict
    degraded(verdict.what, verdict.why, verdict.next_step, verdict.failure_id)


def _hidden(facts: FactBook, profile: Profile, means: fit.Means) -> Unhealthy | None:
    """Return the verdict when a card that would do is kept from programs; None if not."""
    seen = facts.get(visible.read_visible)
    if seen.setting is None:
        return None
    roomiest = facts.get(fit.read_roomiest)
    whole = fit.Means(roomiest, means.ram_bytes)
    if roomiest in seen.places or forecast.forecast(profile.fits, whole).best is None:
        return None
    return Unhealthy(
        f"{means.place.label} has {size(means.place.total_bytes or 0)}, too little for every way "
        f"to run the model; {roomiest.label} would do and is hidden.",
        f"{visible.VISIBLE} is {printable(seen.setting)} in this shell.",
        f"Choose the larger card: {visible.VISIBLE}={roomiest.gpu.uuid or roomiest.gpu.index}.",
        failure_id="visible-devices-or-flags-mismatch",
        evidence=_numbers(means),
    )


def _held(means: fit.Means, found: Forecast) -> Unhealthy | None:
    """Return the verdict when the card is large enough and other programs hold it."""
    fitting = [way for way in found.ways if not way.total_short_bytes]
    if not fitting:
        return None
    least = min(fitting, key=lambda way: way.fit.min_vram_bytes or 0)
    free, total = means.place.free_bytes or 0, means.place.total_bytes or 0
    return Unhealthy(
        f"{means.place.label} has {size(free)} of its {size(total)} free; with "
        f"{printable(least.fit.flags) or 'no options'} the model needs "
        f"{size(least.fit.min_vram_bytes or 0)}.",
        gpu_words.holders_of(means.place.gpu),
        "Close these programs before a run; if none is listed, restart the computer.",
        failure_id="vram-held-or-fragmented",
        evidence=_numbers(means),
    )


def _too_small(profile: Profile, means: fit.Means, found: Forecast) -> Unhealthy:
    others = forecast.others_that_fit(means, but=profile.name)
    smaller = f"a smaller variant that fits: {', '.join(others)}" if others else "a smaller variant"
    return Unhealthy(
        f"{means.place.label} has {size(means.place.total_bytes or 0)} of memory; no way to run "
        f"{printable(profile.title)} fits.",
        f"What each way takes: {forecast.table(found)}",
        f"Use a card with more memory, or {smaller}.",
        failure_id="vram-insufficient",
        evidence=_numbers(means) | {"needed_bytes": found.least.fit.min_vram_bytes},
    )


def _folder(context: Context) -> str:
    """Return the folder of the first model as the app is told it; "" when it is the app's own."""
    first = next(iter(context.model_folders), ".")
    return "" if first == "." else f"./{first}"


def _numbers(means: fit.Means) -> dict[str, str | int | float | bool | None]:
    return {
        "total_bytes": means.place.total_bytes,
        "free_bytes": means.place.free_bytes,
        "ram_bytes": means.ram_bytes,
        "ram_limit": printable(means.ram_limit),
        "disk_short_bytes": means.disk_short_bytes,
    }
