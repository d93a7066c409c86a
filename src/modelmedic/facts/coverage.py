"""Whether a server gives out the models, and which other one has the same when it is lost."""

from __future__ import annotations

from dataclasses import replace

from modelmedic.errors import CannotTell
from modelmedic.facts import access_words, network, network_words
from modelmedic.facts.answers import HttpFact
from modelmedic.facts.book import FactBook
from modelmedic.facts.hub_access import RepoFact
from modelmedic.facts.network_words import Words
from modelmedic.profile.model import Endpoint, Profile
from modelmedic.text import printable


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


def spared(facts: FactBook, lost: Endpoint) -> Endpoint:
    """Return a lost server, no longer required when another one stands in for it."""
    is_spared = lost.is_required and stand_in(facts, lost) is not None
    return replace(lost, is_required=False) if is_spared else lost


def with_stand_in(facts: FactBook, lost: Endpoint, words: Words) -> Words:
    """Return what is said of a lost server, with what stands in for it, if anything does."""
    other = stand_in(facts, lost)
    return network_words.of_stand_in(words, other, facts.profile) if other else words


def is_well(facts: FactBook, endpoint: Endpoint) -> bool:
    """Return whether a server answers as itself."""
    try:
        fact = network.reach(facts, endpoint, network.read_http)
    except CannotTell:
        return False
    if not isinstance(fact, HttpFact) or fact.failure is not None:
        return False
    return fact.status == 200 and network_words.of_answer(endpoint, fact) is None  # noqa: PLR2004


def of_lost_storage(facts: FactBook, hub: Endpoint, repo: RepoFact) -> Words | None:
    """Return why the server that holds a repo's bytes is out of reach; None when it is not."""
    if not repo.storage:
        return None
    storage = Endpoint(f"storage of {hub.name}", repo.storage, "other")
    fact = network.reach(facts, storage, network.read_tls)
    if fact.failure is None:
        return None
    words = network_words.of_failure(storage, fact)
    is_mirrored = bool(facts.get(network.read_dns, hub).setting)
    return Words(
        f"The Hub answers, and sends downloads of {printable(repo.repo)} on to {repo.storage}. "
        f"{words.what}",
        words.why,
        words.next_step,
        access_words.DATA_PLANE_ID if is_mirrored else words.failure_id,
    )
