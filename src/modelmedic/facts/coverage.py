"""Which server of the profile has the same models as one that is lost."""

from __future__ import annotations

from modelmedic.errors import CannotTell
from modelmedic.facts import network, network_words
from modelmedic.facts.answers import HttpFact
from modelmedic.facts.book import FactBook
from modelmedic.profile.model import Endpoint, Profile


def covering(profile: Profile, lost: Endpoint) -> tuple[Endpoint, ...]:
    """Return the other servers that the profile names for every model it has at ``lost``."""
    models = [m for m in profile.models if any(s.endpoint == lost.name for s in m.sources)]
    return tuple(
        each
        for each in profile.endpoints
        if models
        and each.name != lost.name
        and all(any(s.endpoint == each.name for s in m.sources) for m in models)
    )


def stand_in(facts: FactBook, lost: Endpoint) -> Endpoint | None:
    """Return the ModelScope that has all models of a lost Hub and answers; None without one.

    Repairs take it by themselves, as any source of the profile. Another Hub is none of these: the
    app's own Hub client has to be pointed to it, which is a repair.
    """
    for each in covering(facts.profile, lost):
        if each.kind == "modelscope" and lost.kind == "hub" and is_well(facts, each):
            return each
    return None


def is_well(facts: FactBook, endpoint: Endpoint) -> bool:
    """Return whether a server answers as itself."""
    try:
        fact = network.reach(facts, endpoint, network.read_http)
    except CannotTell:
        return False
    if not isinstance(fact, HttpFact) or fact.failure is not None:
        return False
    return fact.status == 200 and network_words.of_answer(endpoint, fact) is None  # noqa: PLR2004
