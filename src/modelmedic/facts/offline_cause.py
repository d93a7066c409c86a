"""One cause for many losses: which server's name stands for a machine without a network."""

from __future__ import annotations

from modelmedic.errors import CannotTell
from modelmedic.facts import network
from modelmedic.facts.book import FactBook
from modelmedic.facts.network import DnsFact
from modelmedic.facts.package_index import IndexFact
from modelmedic.profile.model import Endpoint

# No name server gave an answer at all; "no such name" is an answer.
_NO_ANSWER = frozenset({"resolver-down", "timeout"})


def told_by(facts: FactBook) -> Endpoint | None:
    """Return the first required server whose name no name server answers for; None without one."""
    for endpoint in facts.profile.endpoints:
        if endpoint.is_required and is_unanswered(facts, endpoint):
            return endpoint
    return None


def is_unanswered(facts: FactBook, endpoint: Endpoint) -> bool:
    """Return whether nobody answered for a server's name, as on a machine that is offline."""
    try:
        fact: DnsFact = facts.get(network.read_dns, endpoint)
    except CannotTell:
        return False
    kind = fact.failure.kind if fact.failure else ""
    return kind in _NO_ANSWER or fact.is_routeless


def of_other_name(facts: FactBook, endpoint: Endpoint) -> str:
    """Return the check that tells why this server's name is not found; "" when it is another."""
    cause = told_by(facts)
    is_same = cause is not None and cause.name != endpoint.name and is_unanswered(facts, endpoint)
    return f"network.dns[{cause.name}]" if cause and is_same else ""


def of_index(facts: FactBook, index: IndexFact) -> str:
    """Return the check that tells why no package index is reached; "" when it is another."""
    cause = told_by(facts)
    remote = [place for place in index.places if place.kind != "local"]
    is_same = all(place.failure and place.failure.kind in _NO_ANSWER for place in remote)
    return f"network.dns[{cause.name}]" if cause and remote and is_same else ""
