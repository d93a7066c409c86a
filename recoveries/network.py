"""Ways round a network that does not lead to the servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from modelmedic.facts.book import FactBook
from modelmedic.healing.registry import recovery
from modelmedic.healing.repair import Repair
from modelmedic.strategies import network, offline


@recovery("network_failure", order=60, limit="network_test")
def wait_and_ask_again(repair: Repair, facts: FactBook) -> Iterator[None]:
    """Wait and ask a server again that broke off, fell silent, is overloaded, or limits us.

    Changes: nothing; the check is healed when the same server answers.
    Undo: there is nothing to put back.
    Needs: a failure that passes: a reset, a silence, HTTP 429 or 5xx; the seconds it waits.
    """
    for operation in network.plan_wait(facts, repair.subject):
        repair.step(operation)
    yield


@recovery("network_failure", order=70, limit="validation")
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


@recovery("network_failure", order=90, limit="model_repair")
def work_offline(repair: Repair, facts: FactBook) -> Iterator[None]:
    """Keep this run's Hub clients offline, where everything that is needed is proven here.

    Changes: HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE of this run and its children; nothing on disk.
    Undo: puts the variables back; they end with the run.
    Needs: every file of the profile proven by its hash (sealed, or read in this run), every
        package it needs installed, and no way to the server.
    """
    for operation in offline.plan_offline(facts, repair.subject):
        repair.step(operation)
    yield
