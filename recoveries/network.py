"""Ways round a network that does not lead to the servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from modelmedic.facts.book import FactBook
from modelmedic.healing.registry import recovery
from modelmedic.healing.repair import Repair
from modelmedic.strategies import network


@recovery("network_failure", order=20, limit="validation")
def configure_proxy(
    repair: Repair,
    facts: FactBook,
    ask_login: Callable[[str], tuple[str, str] | None],
) -> Iterator[None]:
    """Lead this run through the proxy that works, or past one that does not.

    Changes: the proxy variables of this run and its children; nothing on disk.
    Undo: puts the variables back; they end with the run.
    Needs: a proxy set in the environment, the system, pip or git, or a way without one, that
        really leads to every server that has to be reached.
    """
    for operation in network.plan_proxy(facts, repair.subject, ask_login):
        repair.step(operation)
    yield
