"""Which build of torch a new environment gets: one that the driver and the card can run."""

from __future__ import annotations

from collections.abc import Mapping

from modelmedic.compat import advice, oracle
from modelmedic.compat.stack import Machine, machine_here
from modelmedic.errors import CannotTell
from modelmedic.facts import gpu
from modelmedic.facts.book import FactBook
from modelmedic.facts.makers import Maker
from modelmedic.profile.model import Profile

FAMILY = frozenset({"torch", "torchvision", "torchaudio"})


def read_choice(
    facts: FactBook, maker: Maker, asked: Mapping[str, str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the pins of torch and what is built for it, and the pages of the index that has them.

    Both are empty where the app needs no card, or no driver says which one there is: then pip
    takes what the app asks for.

    Args:
        facts: The fact book.
        maker: The Python that the environment is made with.
        asked: What the profile requires, by name.
    """
    if "torch" not in asked or not facts.profile.hardware.needs_gpu:
        return {}, ()
    try:
        gpus = facts.get(gpu.read_gpus)
    except CannotTell:
        return {}, ()
    machine = machine_here(maker.version, gpus)
    return choose(machine, asked, facts.profile) if machine.cards else ({}, ())


def choose(
    machine: Machine, asked: Mapping[str, str], profile: Profile
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the same for a machine, from the table of what goes together."""
    best = next(iter(oracle.consistent(machine, list(asked.values()))), None)
    if best is None:
        return {}, ()
    names = sorted(FAMILY & asked.keys() & best.versions.keys())
    pins = {name: f"{name}=={best.versions[name]}" for name in names}
    index = advice.wheel_index(profile, best.cuda_tag) if best.cuda_tag else ""
    return pins, tuple(f"{index}/{name}/" for name in names) if index else ()
