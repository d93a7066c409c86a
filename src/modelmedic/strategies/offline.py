"""Work without a network, where all that is needed is proven to lie here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from modelmedic.errors import CannotTell, RecoveryRefused
from modelmedic.facts import local_proof
from modelmedic.facts.book import FactBook
from modelmedic.facts.local_proof import OFFLINE_VARIABLES, READ_BYTES, LocalProof
from modelmedic.operations.base import Operation
from modelmedic.operations.run_environment import SetRunEnvironment
from modelmedic.strategies import network
from modelmedic.text import counted, size


def plan_offline(facts: FactBook, subject: str | None) -> Iterator[Operation]:
    """Yield what keeps the clients of this run from asking a network.

    Raises:
        RecoveryRefused: Something is missing, or is not proven to be what it should be: names it;
            or a way to the server is there.
        CannotTell: A file cannot be read.
    """
    proof = local_proof.prove(facts)
    if not proof.is_complete:
        raise _refused(facts, proof)
    if way := _way_to(facts, subject):
        raise RecoveryRefused(f"The server can be reached: {way}.")
    yield SetRunEnvironment.of(
        dict.fromkeys(OFFLINE_VARIABLES, "1"),
        f"{counted(proof.files, 'file')} of {size(proof.total_bytes)} are proven here",
    )


def _way_to(facts: FactBook, subject: str | None) -> str:
    """Return how the server can be reached, where offline more would be lost; "" otherwise."""
    with contextlib.suppress(RecoveryRefused, CannotTell):
        return "; ".join(way.describe() for way in network.plan_proxy(facts, subject))
    return ""


def _refused(facts: FactBook, proof: LocalProof) -> RecoveryRefused:
    amount = sum(count for _subject, count in proof.unproven)
    next_step = ""
    if not (proof.missing or proof.packages) and amount > READ_BYTES:
        next_step = f"to read the {size(amount)}: {facts.context.run_command('--heal', '--deep')}"
    return RecoveryRefused(
        f"Not everything that is needed is proven to lie here: {proof.lacking()}.",
        "Without the network the app would end at what is missing.",
        next_step,
    )
