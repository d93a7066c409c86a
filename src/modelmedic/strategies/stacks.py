"""What the table of what goes together says about an environment, as something to install."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelmedic.context import Context
from modelmedic.errors import CannotTell, RecoveryRefused
from modelmedic.facts import gpu
from modelmedic.facts.book import FactBook
from modelmedic.strategies import resolving
from modelmedic.strategies.environment import Target
from modelmedic.strategies.resolving import Ask, Found
from modelmedic.text import printable

if TYPE_CHECKING:
    from modelmedic.compat.oracle import Change


def change_of(facts: FactBook, context: Context, place: Target) -> Change | None:
    """Return the least change that mends what the table knows to be wrong; None when nothing is."""
    from modelmedic.compat import oracle
    from modelmedic.compat.stack import machine_of, stack_of

    needs = [n.spec for n in context.profile.python.requirements if not n.is_optional]
    machine = machine_of(place.found, _gpus(facts, context))
    return oracle.nearest(machine, stack_of(place.found), needs)


def without_loss(change: Change | None, *, is_needed: bool) -> Change | None:
    """Return a change that leaves nothing out; None for another one, if there is a way without it.

    Args:
        change: As the table tells it.
        is_needed: Whether nothing else mends.

    Raises:
        RecoveryRefused: It is needed, and the app would be able to do less by it.
    """
    if change is None or not change.removed:
        return change
    if not is_needed:
        return None
    raise RecoveryRefused(
        f"{printable(', '.join(change.removed))} was not removed: the app would be able to do "
        "less.",
        " ".join(map(printable, change.lost)),
        "The finding prints the commands for it.",
    )


def with_torch(
    facts: FactBook,
    context: Context,
    place: Target,
    change: Change | None,
    lines: tuple[str, ...],
) -> Found:
    """Return what the index has for requirements, and torch's own index for a change of torch.

    Raises:
        InstallerRefused: An index would not give it; says why.
        RecoveryRefused: This run may not use the network.
    """
    from modelmedic.compat import advice

    found = Found((), Ask(()))
    if lines:
        found = resolving.resolve(facts, context, place, lines)
    if change is None or not change.torch_pins:
        return found
    tag = change.wheels_endpoint_tag
    index = advice.wheel_index(context.profile, tag) if tag else ""
    torch = resolving.resolve(facts, context, place, change.torch_pins, index=index)
    items = {item.key: item for item in (*found.items, *torch.items)}
    return Found(tuple(items.values()), found.ask)


def _gpus(facts: FactBook, context: Context) -> gpu.Gpus:
    """Return the driver's answer; an empty one where it gives none or the app needs no card."""
    if not context.profile.hardware.needs_gpu:
        return gpu.Gpus()
    try:
        return facts.get(gpu.read_gpus)
    except CannotTell:
        return gpu.Gpus()
