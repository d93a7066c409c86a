"""The graphics card: there, driven, large enough, healthy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import driver, driver_words, gpu, gpu_words, pci
from modelmedic.facts.book import FactBook
from modelmedic.forecast import DESKTOP_SHARE_BYTES
from modelmedic.profile.model import Profile
from modelmedic.text import size

Degraded = Callable[..., None]

FLASH_ATTENTION_FLOOR = (8, 0)  # flash-attn 2: "only supports Ampere GPUs or newer"


def warm(facts: FactBook) -> None:
    """Begin asking the driver: a card without persistence mode needs seconds to wake."""
    if facts.profile.hardware.needs_gpu:
        facts.start(pci.read_bus)
        facts.start(gpu.read_gpus)


@pytest.mark.check("hardware.gpu", area="hardware", severity="blocker")
@pytest.mark.guidance("docs/checks.md#hardware-gpu")
def test_nvidia_card_is_there(facts: FactBook, profile: Profile) -> None:
    """The computer has an NVIDIA graphics card."""
    _asked(profile)
    bus = facts.get(pci.read_bus)
    # WSL mounts the library only from a Windows that has NVIDIA's driver.
    has_wsl_card = bus.has_wsl_device and facts.get(driver.read_driver).library is not None
    if bus.nvidia_cards or has_wsl_card:
        return
    if _lists_gpus(facts, is_decisive=not bus.is_conclusive):
        return
    if not bus.is_conclusive and bus.platform != "wsl":
        raise CannotTell(
            "Whether there is an NVIDIA card cannot be told.",
            bus.reason,
            "look at `lspci -nn` or, on a Jetson, at its own tools.",
        )
    _fail(driver_words.of_no_card(bus), cards=len(bus.cards), platform=bus.platform)


@pytest.mark.check("hardware.driver", area="hardware", needs=["hardware.gpu"], severity="blocker")
@pytest.mark.guidance("docs/checks.md#hardware-driver")
def test_driver_runs_and_is_new_enough(facts: FactBook, profile: Profile) -> None:
    """The NVIDIA driver runs, matches its libraries, and is new enough for the model."""
    _asked(profile)
    bus, files = facts.get(pci.read_bus), facts.get(driver.read_driver)
    answer = _answer_or_none(facts)
    is_proven = answer is not None and answer.problem is None  # it answers: nothing is missing
    words = None if is_proven else driver_words.of_driver(bus, files)
    if words:
        _fail(words, module=files.module_version, libraries=files.library_version)
    floor = (
        profile.hardware.min_driver_windows
        if bus.platform in {"windows", "wsl"}  # inside WSL the driver is the one of Windows
        else profile.hardware.min_driver_linux
    )
    on_windows = next((card.driver_version for card in bus.nvidia_cards), None)
    version = (answer.driver_version if answer else None) or files.module_version or on_windows
    if floor:
        _judge_driver_version(version, floor)


def _judge_driver_version(version: str | None, floor: str) -> None:
    from packaging.version import InvalidVersion, Version

    try:
        is_too_old = Version(version or "") < Version(floor)
    except InvalidVersion as error:
        found = f"{version!r} is no version" if version else "nothing tells it"
        raise CannotTell(
            f"The version of the NVIDIA driver is not known: {found}.",
            next_step="`nvidia-smi` prints it in its first lines.",
        ) from error
    if is_too_old:
        _fail(
            driver_words.Words(
                f"The NVIDIA driver is {version}; the model needs {floor} or newer.",
                "The CUDA inside PyTorch refuses an older driver.",
                f"install a newer driver ({driver_words.GET_DRIVER}) and restart.",
                "driver-too-old",
            ),
            driver_version=version,
            min_driver_version=floor,
        )


@pytest.mark.check("hardware.nvml", area="hardware", needs=["hardware.driver"], severity="blocker")
@pytest.mark.guidance("docs/checks.md#hardware-nvml")
def test_driver_answers_for_every_card(
    facts: FactBook, profile: Profile, degraded: Degraded
) -> None:
    """The driver answers and lists every NVIDIA card."""
    _asked(profile)
    answer = facts.get(gpu.read_gpus)
    files = facts.get(driver.read_driver)
    if answer.problem is not None:
        _fail(gpu_words.of_problem(answer.problem, files), nvml_code=answer.problem.code)
    if not answer.gpus:
        _fail(gpu_words.of_no_gpus(files))
    lost = [entry for entry in answer.gpus if entry.error_code is not None]
    if lost and not answer.usable:
        _fail(gpu_words.of_lost(lost), nvml_code=lost[0].error_code, gpus=len(lost))
    if lost:
        _state(degraded, gpu_words.of_lost(lost))
    unlisted = [] if files.is_container else _unlisted(facts, answer)
    if unlisted:
        degraded(
            f"The driver does not list the NVIDIA card at {', '.join(unlisted)}.",
            "Most often it has fallen off the bus: power, heat or a riser cable.",
            "switch the computer off, reseat the card and its power cables, start again.",
            "gpu-fell-off-bus",
        )


def _unlisted(facts: FactBook, answer: gpu.Gpus) -> list[str]:
    """Return the bus addresses of cards that NVIDIA's module holds and NVML does not list."""
    listed = {entry.bus_address for entry in answer.gpus}
    if "" in listed:  # a card that does not even tell its address: of_lost has spoken
        return []
    cards = facts.get(pci.read_bus).nvidia_cards
    return [c.address for c in cards if c.driver == "nvidia" and c.address.lower() not in listed]


@pytest.mark.check("hardware.vram", area="hardware", needs=["hardware.nvml"], severity="blocker")
@pytest.mark.guidance("docs/checks.md#hardware-vram")
def test_gpu_memory_is_enough(facts: FactBook, profile: Profile) -> None:
    """One card has the memory the model needs."""
    _asked(profile)
    need = _asked_memory(profile)
    best = max(_whole_cards(facts), key=lambda entry: entry.memory_total_bytes or 0)
    have = best.memory_total_bytes or 0
    if have < need:
        flags = profile.hardware.flags
        run_with = f" when run with {flags}" if flags else ""
        _fail(
            driver_words.Words(
                f"{best.label} has {size(have)} of memory; the model needs {size(need)}{run_with}.",
                "The memory of several cards does not add up for one run.",
                "use a card with more memory, or a smaller variant of the model.",
                "vram-insufficient",
            ),
            total_bytes=have,
            needed_bytes=need,
        )


@pytest.mark.check("hardware.vram-free", area="hardware", needs=["hardware.vram"], severity="major")
@pytest.mark.guidance("docs/checks.md#hardware-vram-free")
def test_gpu_memory_is_free(facts: FactBook, profile: Profile, degraded: Degraded) -> None:
    """The memory the model needs is free, and nobody else holds it."""
    _asked(profile)
    need = _asked_memory(profile)
    best = max(_whole_cards(facts), key=lambda entry: entry.memory_free_bytes or 0)
    free = best.memory_free_bytes or 0
    if free >= need:
        return
    words = driver_words.Words(
        f"{best.label} has {size(free)} of its {size(best.memory_total_bytes or 0)} free; the "
        f"model needs {size(need)}.",
        gpu_words.holders_of(best),
        "close these programs before a run; if none is listed, restart the computer.",
        "vram-held-or-fragmented",
    )
    if need - free <= DESKTOP_SHARE_BYTES:
        _state(degraded, words)
    else:
        _fail(words, free_bytes=free, needed_bytes=need)


def _asked_memory(profile: Profile) -> int:
    need = profile.hardware.min_vram_bytes
    if need is None and profile.fits:
        pytest.skip("The profile states GPU memory for each way to run it: hardware.fit judges.")
    if need is None:
        pytest.skip("The profile states no least GPU memory.")
    return need


def _whole_cards(facts: FactBook) -> Sequence[gpu.Gpu]:
    """Return the cards whose memory is known and undivided.

    Raises:
        CannotTell: There is none.
    """
    usable = _usable(facts)
    whole = [g for g in usable if g.memory_total_bytes is not None and not g.has_mig]
    if whole:
        return whole
    if any(entry.has_mig for entry in usable):
        raise CannotTell(
            "How much memory a run gets cannot be told.",
            "The card is divided (MIG is on) and a run sees one slice of it.",
            "`nvidia-smi -L` lists the slices and their sizes.",
        )
    raise _not_told(usable, "memory_bytes", "the memory")


@pytest.mark.check(
    "hardware.compute-capability", area="hardware", needs=["hardware.nvml"], severity="blocker"
)
@pytest.mark.guidance("docs/checks.md#hardware-compute-capability")
def test_card_is_new_enough(facts: FactBook, profile: Profile) -> None:
    """The card is of a generation the model can run on."""
    _asked(profile)
    text = profile.hardware.min_compute_capability
    if text is None:
        pytest.skip("The profile states no least compute capability.")
    major, minor = (int(part) for part in text.split("."))
    cards = _large_enough(_usable(facts), _least_memory(profile))
    known = [entry for entry in cards if entry.compute_capability is not None]
    if any(entry.compute_capability >= (major, minor) for entry in known):  # type: ignore[operator]
        return
    if len(known) < len(cards):
        raise _not_told(cards, "compute_capability", "the compute capability")
    found = ", ".join(f"{entry.label} has {_dotted(entry)}" for entry in known)
    is_flash = (major, minor) == FLASH_ATTENTION_FLOOR
    _fail(
        driver_words.Words(
            f"{found}; the model needs compute capability {text} or newer.",
            "The programs the model is run with hold no code for older cards"
            + (": flash-attention needs Ampere (RTX 30, A10) or newer." if is_flash else "."),
            "use a newer card.",
            "flash-attn-pre-ampere" if is_flash else "gpu-arch-not-in-torch",
        ),
        compute_capability=_dotted(known[0]),
        min_compute_capability=text,
    )


def _dotted(entry: gpu.Gpu) -> str:
    return ".".join(str(part) for part in entry.compute_capability or ())


def _least_memory(profile: Profile) -> int | None:
    stated = [fit.min_vram_bytes for fit in profile.fits if fit.min_vram_bytes is not None]
    return profile.hardware.min_vram_bytes or min(stated, default=None)


def _large_enough(cards: Sequence[gpu.Gpu], need: int | None) -> Sequence[gpu.Gpu]:
    """Return the cards the model fits on, all when it fits on none: that is judged elsewhere."""
    fitting = [entry for entry in cards if (entry.memory_total_bytes or 0) >= (need or 0)]
    return fitting or cards


@pytest.mark.check(
    "hardware.throttling", area="hardware", needs=["hardware.nvml"], severity="major"
)
@pytest.mark.guidance("docs/checks.md#hardware-throttling")
def test_card_runs_at_full_speed(facts: FactBook, profile: Profile, degraded: Degraded) -> None:
    """No card is slowed down by heat or by its power supply."""
    _asked(profile)
    cards = _usable(facts)
    for entry in cards:
        reasons = entry.throttle_reasons or 0
        heat = f" at {entry.temperature_celsius} °C" if entry.temperature_celsius else ""
        if causes := gpu_words.slowdowns(reasons):
            _fail(
                driver_words.Words(
                    f"{entry.label} is slowed down{heat}: {'; '.join(causes)}.",
                    "Most often dust or blocked air, or a power supply or cable that is too weak.",
                    "clean the card, give it air, check its power cables; then run this again.",
                ),
                throttle_reasons=reasons,
                temperature_celsius=entry.temperature_celsius,
            )
        if reasons & gpu_words.SOFTWARE_HEAT:
            degraded(
                f"{entry.label} lowers its clocks to stay cool{heat}.",
                "It has reached its temperature target.",
                "clean the card and give it air; runs take longer until then.",
            )
    _all_told(cards, "throttle_reasons", "why clocks are lowered")


@pytest.mark.check(
    "hardware.pcie-width", area="hardware", needs=["hardware.nvml"], severity="minor"
)
@pytest.mark.guidance("docs/checks.md#hardware-pcie-width")
def test_card_uses_all_its_lanes(facts: FactBook, profile: Profile, degraded: Degraded) -> None:
    """Every card is connected with all the PCIe lanes that card and slot have."""
    _asked(profile)
    cards = [_with_lanes(facts, entry) for entry in _usable(facts)]
    for entry in cards:
        now, most = entry.pcie_width, entry.pcie_width_max
        if now is not None and most is not None and now < most:
            degraded(
                f"{entry.label} is connected with {now} of {most} PCIe lanes.",
                "Most often the card is not fully seated, a riser cable is damaged, or another "
                "slot shares the lanes. Loading and offloading weights is slower.",
                "switch the computer off and reseat the card, without a riser if there is one.",
            )
    _all_told(cards, "pcie_width", "the PCIe width")


def _with_lanes(facts: FactBook, entry: gpu.Gpu) -> gpu.Gpu:
    """Return the GPU with the widths of the bus where the driver does not tell them."""
    if entry.pcie_width is not None and entry.pcie_width_max is not None:
        return entry
    for card in facts.get(pci.read_bus).nvidia_cards:
        if card.address.lower() == entry.bus_address and card.link_width is not None:
            return replace(entry, pcie_width=card.link_width, pcie_width_max=card.link_width_max)
    return entry


@pytest.mark.check(
    "hardware.memory-errors", area="hardware", needs=["hardware.nvml"], severity="major"
)
@pytest.mark.guidance("docs/checks.md#hardware-memory-errors")
def test_card_memory_is_sound(facts: FactBook, profile: Profile) -> None:
    """No card has uncorrectable memory errors or repairs of its memory pending."""
    _asked(profile)
    cards = _usable(facts)
    for entry in cards:
        if faults := gpu_words.memory_faults(entry):
            _fail(
                driver_words.Words(
                    f"{entry.label} has faulty memory: {'; '.join(faults)}.",
                    "A run on it can stop with a CUDA error or give wrong results.",
                    "restart the computer, which applies pending repairs; if it comes back, have "
                    "the card replaced.",
                    "ecc-uncorrectable",
                ),
                uncorrected_errors=entry.ecc_uncorrected,
                is_retirement_pending=entry.is_retirement_pending,
            )
    _all_told(cards, "ecc_uncorrected", "memory errors (the card has no ECC memory)")


def _asked(profile: Profile) -> None:
    if not profile.hardware.needs_gpu:
        pytest.skip("The profile does not ask for a graphics card.")


def _answer_or_none(facts: FactBook) -> gpu.Gpus | None:
    try:
        return facts.get(gpu.read_gpus)
    except CannotTell:
        return None  # hardware.nvml says why


def _lists_gpus(facts: FactBook, *, is_decisive: bool) -> bool:
    """Return whether the driver lists a GPU; it decides where the bus cannot.

    Raises:
        CannotTell: It had to decide and gave no answer.
    """
    answer = facts.get(gpu.read_gpus) if is_decisive else _answer_or_none(facts)
    return bool(answer and answer.gpus)


def _usable(facts: FactBook) -> Sequence[gpu.Gpu]:
    """Return the GPUs that answer; at least one.

    Raises:
        CannotTell: None does; hardware.nvml says why.
    """
    usable = facts.get(gpu.read_gpus).usable
    if not usable:
        raise CannotTell("No GPU answers.", "hardware.nvml says why.")
    return usable


def _all_told(cards: Sequence[gpu.Gpu], field: str, words: str) -> None:
    """End as skipped when no card has such a thing, as unknown when one could not be asked."""
    unknown = [entry for entry in cards if getattr(entry, field) is None]
    if any(entry.why_unknown(field).code != gpu.NOT_SUPPORTED for entry in unknown):
        raise _not_told(unknown, field, words)
    if len(unknown) == len(cards):
        pytest.skip(f"The driver does not report {words} for {unknown[0].label}: not supported.")


def _not_told(cards: Sequence[gpu.Gpu], field: str, words: str) -> CannotTell:
    reasons = "; ".join(f"{entry.label}: {entry.why_unknown(field).detail}" for entry in cards)
    return CannotTell(
        f"The driver does not tell {words}.", f"{reasons}.", "a newer NVIDIA driver may tell it."
    )


def _state(degraded: Degraded, words: driver_words.Words) -> None:
    degraded(words.what, words.why, words.next_step, words.failure_id)


def _fail(words: driver_words.Words, **evidence: str | float | bool | None) -> None:
    raise Unhealthy(
        words.what,
        words.why,
        words.next_step,
        failure_id=words.failure_id,
        evidence=dict(evidence),
    )
