"""Ways to servers that are refused or out of reach, for this run's own environment only."""

from __future__ import annotations

from collections.abc import Iterator

from modelmedic.facts.book import FactBook
from modelmedic.healing.registry import recovery
from modelmedic.healing.repair import Repair
from modelmedic.strategies import other_endpoint, trust_choice


@recovery("network_failure", order=75, limit="validation")
def trust_by_system_store(repair: Repair, facts: FactBook) -> Iterator[None]:
    """Verify servers by a trust store of this machine that knows the company's or scanner's root.

    Changes: the variables of this run and its children that name the trusted certificates; nothing
        on disk. Verification is never off, and what a server sends along is never trusted.
    Undo: puts the variables back; they end with the run.
    Needs: the system's store, or one a setting names, to trust this server and the others.
    """
    for operation in trust_choice.plan_trust(facts, repair.need_subject()):
        repair.step(operation)
    yield


@recovery("network_failure", order=80, limit="validation")
def use_alternative_endpoint(repair: Repair, facts: FactBook) -> Iterator[None]:
    """Point Hub clients of this run to another Hub of the profile that has the same models.

    Changes: HF_ENDPOINT, HF_HUB_DISABLE_XET and HF_HUB_DISABLE_IMPLICIT_TOKEN of this run and its
        children; nothing on disk. The saved token is not sent to the other Hub.
    Undo: puts the variables back; they end with the run.
    Needs: another Hub in the profile that gives out every model of the lost one, or an HF_ENDPOINT
        that leads astray while the profile's own Hub is well.
    """
    for operation in other_endpoint.plan_other_endpoint(facts, repair.need_subject()):
        repair.step(operation)
    yield
