"""The way to the servers: proxies, names, connections, TLS, answers, the Hub, the index."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from modelmedic.context import Context
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import (
    access_words,
    answers,
    clock,
    coverage,
    hub_access,
    local_proof,
    network,
    network_words,
    offline_cause,
    package_index,
    proxy,
)
from modelmedic.facts.book import FactBook
from modelmedic.profile.model import Endpoint, Profile
from modelmedic.text import printable

Degraded = Callable[..., None]

# A connection that takes longer than the first retransmission timer lost packets on the way.
# Source: RFC 6298 section 2.1, initial RTO of 1 s.
SLOW_CONNECTION_SECONDS = 1.0
# Hub clients give up on an answer after 10 s (HF_HUB_ETAG_TIMEOUT); half of that is a warning.
SLOW_ANSWER_SECONDS = 5.0
TOO_MANY_REQUESTS = 429


def warm(facts: FactBook) -> None:
    """Begin everything that waits for servers."""
    if not facts.context.offline:
        network.start_all(facts)
        hub_access.start_all(facts)
        if facts.profile.python.is_required:
            facts.start(package_index.read_index)


@pytest.mark.check("network.proxy", area="network", severity="major")
@pytest.mark.recover("network_failure", using=["configure_proxy", "work_offline"])
def test_proxy_settings_work(
    facts: FactBook, context: Context, profile: Profile, degraded: Degraded
) -> None:
    """The proxy settings are well formed, the proxy answers, and loopback stays out of it."""
    _online(context)
    proxies = facts.get(network.read_proxies)
    if not proxies.settings:
        return
    used = network.settings_in_use(profile)
    for setting in proxies.settings:
        words = access_words.of_setting(setting) or _of_dead_proxy(facts, setting)
        if words is None:
            continue
        if setting.name in used and not _works_offline(facts):
            raise Unhealthy(
                words.what,
                words.why,
                words.next_step,
                subject=setting.variable,
                evidence={"proxy": setting.shown, "variable": setting.variable},
            )
        _say(degraded, words)
    for words in access_words.losses_in(proxies):
        _say(degraded, words)


def _of_dead_proxy(facts: FactBook, setting: proxy.ProxySetting) -> network_words.Words | None:
    reach = facts.get(network.read_proxy_reach, setting.host, setting.port)
    if reach.failure is None:
        return None
    name = f"The proxy {setting.shown} (set by {setting.variable})"
    return network_words.of_connection(name, reach, reach.failure)


@pytest.mark.check("network.dns", area="network", severity="major")
@pytest.mark.recover(
    "network_failure",
    using=["wait_and_ask_again", "configure_proxy", "use_alternative_endpoint", "work_offline"],
)
def test_name_of_the_server_is_found(
    facts: FactBook, context: Context, endpoint: Endpoint, degraded: Degraded
) -> None:
    """The server's name is found."""
    _online(context)
    if cause := offline_cause.of_other_name(facts, endpoint):
        pytest.skip(f"No name server answers, as {cause} says.")
    _stage(facts, endpoint, network.read_dns, degraded)


@pytest.mark.check(
    "network.tcp", area="network", needs=["network.proxy", "network.dns"], severity="major"
)
@pytest.mark.recover(
    "network_failure",
    using=["wait_and_ask_again", "configure_proxy", "use_alternative_endpoint", "work_offline"],
)
def test_server_takes_connections(
    facts: FactBook, context: Context, endpoint: Endpoint, degraded: Degraded
) -> None:
    """The server, or the proxy before it, takes connections."""
    _online(context)
    _stage(facts, endpoint, network.read_tcp, degraded)


@pytest.mark.check("network.tls", area="network", needs=["network.tcp"], severity="major")
@pytest.mark.recover(
    "network_failure",
    using=[
        "wait_and_ask_again",
        "trust_by_system_store",
        "use_alternative_endpoint",
        "work_offline",
    ],
)
def test_server_proves_who_it_is(
    facts: FactBook, context: Context, endpoint: Endpoint, degraded: Degraded
) -> None:
    """The server proves who it is over TLS, to the trust store Python programs take."""
    _online(context)
    _stage(facts, endpoint, network.read_tls, degraded)


@pytest.mark.check("network.http", area="network", needs=["network.tls"], severity="major")
@pytest.mark.recover(
    "network_failure",
    using=["wait_and_ask_again", "configure_proxy", "use_alternative_endpoint", "work_offline"],
)
def test_server_answers_as_itself(
    facts: FactBook, context: Context, endpoint: Endpoint, degraded: Degraded
) -> None:
    """The server answers as itself, and no login page, filter or error in its place."""
    _online(context)
    fact = _stage(facts, endpoint, network.read_http, degraded)
    words = network_words.of_answer(endpoint, fact) if fact else None
    if words:
        endpoint = coverage.spared(facts, endpoint)
        words = coverage.with_stand_in(facts, endpoint, words)
        _lost(facts, endpoint, words, degraded, status=fact.status, redirect=fact.redirect)


@pytest.mark.check("network.latency", area="network", needs=["network.tcp"], severity="minor")
@pytest.mark.guidance("docs/checks.md#network-latency")
def test_server_is_near_enough(
    facts: FactBook, context: Context, endpoint: Endpoint, degraded: Degraded
) -> None:
    """Connections to the server are made before the first retransmission."""
    _online(context)
    fact = network.reach(facts, endpoint, network.read_tcp)
    if fact.failure is not None:
        pytest.skip("There is no connection to time.")
    if fact.latency_seconds >= SLOW_CONNECTION_SECONDS:
        degraded(
            f"A connection to {fact.peer} takes {fact.latency_seconds:.1f} s (median of "
            f"{len(fact.connect_seconds)}).",
            "Most often packets are lost on the way: weak Wi-Fi, an overloaded line or VPN.",
            "expect slow downloads; use a cable or another network if there is one.",
        )
    answer = network.reach(facts, endpoint, network.read_http)
    if isinstance(answer, answers.HttpFact) and answer.seconds >= SLOW_ANSWER_SECONDS:
        degraded(
            f"An answer of {answer.origin} takes {answer.seconds:.1f} s.",
            "Hub clients give up on an answer after 10 s.",
            "set HF_HUB_ETAG_TIMEOUT=60 and HF_HUB_DOWNLOAD_TIMEOUT=60 for slow lines.",
        )


def _online(context: Context) -> None:
    if context.offline:
        pytest.skip("--offline was given.")


def _stage(
    facts: FactBook, endpoint: Endpoint, stage: Callable[..., Any], degraded: Degraded
) -> Any:
    """Return the fact of a stage that succeeded; None when an optional server's did not."""
    fact = network.reach(facts, endpoint, stage)
    if fact.failure is not None:
        endpoint = coverage.spared(facts, endpoint)
        if not network.is_of(stage, fact) and (not endpoint.is_required or _works_offline(facts)):
            pytest.skip("This server is not needed, and was lost at an earlier stage.")
        words = network_words.of_failure(endpoint, fact)
        if getattr(fact, "is_clock_off", False):
            words = replace(words, next_step=clock.cure(facts))
        words = coverage.with_stand_in(facts, endpoint, words)
        _lost(facts, endpoint, words, degraded, kind=fact.failure.kind, detail=fact.failure.detail)
        return None
    if loss := network_words.loss_in(endpoint, fact):
        _say(degraded, loss)
    return fact


def _lost(
    facts: FactBook,
    endpoint: Endpoint,
    words: network_words.Words,
    degraded: Degraded,
    **evidence: str | float | bool | None,
) -> None:
    """Fail for a required server; state the loss of an optional one, or of one not needed now."""
    if not endpoint.is_required:
        _say(degraded, words)
        return
    if _works_offline(facts):
        _say(degraded, access_words.of_offline(words, facts.get(local_proof.read_local_proof)))
        return
    raise Unhealthy(
        words.what,
        words.why,
        words.next_step,
        failure_id=words.failure_id,
        subject=endpoint.name,
        evidence=evidence,
    )


@pytest.mark.check("network.hub-token", area="network", needs=["network.http"], severity="major")
@pytest.mark.guidance("docs/checks.md#network-hub-token")
def test_saved_hub_token_is_accepted(
    facts: FactBook, context: Context, endpoint: Endpoint, degraded: Degraded
) -> None:
    """The saved Hub token is accepted by the Hub it belongs to."""
    _online(context)
    if endpoint.kind != "hub" or not hub_access.is_at_home(endpoint):
        pytest.skip("A saved Hub token does not belong to this server.")
    _skip_unneeded(facts, endpoint)
    token = facts.get(hub_access.read_token)
    if token.verdict == "absent":
        pytest.skip("No Hub token is saved; public models need none.")
    if token.verdict == "unused":
        pytest.skip("HF_HUB_DISABLE_IMPLICIT_TOKEN is set: clients do not send the saved token.")
    if token.verdict == "refused" and _is_open_without(facts, endpoint):
        _say(degraded, access_words.of_token_worked_around(token))
    elif words := access_words.of_token(token):
        _lost(facts, endpoint, words, degraded, status=token.status, home=token.home)
    if token.verdict == "not-sent":
        degraded(
            f"The saved token was not sent: {token.home} is plain HTTP.",
            "Anyone on the way could read it. Hub clients do send it there.",
            "use an https address in HF_ENDPOINT.",
        )
    if token.verdict == "unclear":
        said = token.failure.kind if token.failure else f"HTTP {token.status}"
        raise CannotTell(f"The Hub at {token.home} did not say whether it takes the token: {said}.")


def _is_open_without(facts: FactBook, endpoint: Endpoint) -> bool:
    """Return whether the profile's models come from this Hub, and it gives them to anybody.

    A refused token is never sent along (`hub_access.read_repo`), so these answers say so.
    """
    asked = network.samples(endpoint, facts.profile)
    try:
        repos = [facts.get(hub_access.read_repo, endpoint, *each) for each in asked]
    except CannotTell:
        return False
    return bool(repos) and not any(access_words.of_repo(repo, "") for repo in repos)


@pytest.mark.check("network.hub-access", area="network", needs=["network.http"], severity="major")
@pytest.mark.recover("network_failure", using=["use_alternative_endpoint"])
def test_hub_gives_out_the_models(
    facts: FactBook, context: Context, endpoint: Endpoint, degraded: Degraded
) -> None:
    """The Hub gives the profile's models to this machine, and their storage is in reach."""
    _online(context)
    wanted = network.samples(endpoint, facts.profile) if endpoint.kind == "hub" else ()
    if not wanted:
        pytest.skip("No model of the profile comes from this server by the Hub's protocol.")
    _skip_unneeded(facts, endpoint)
    answer = network.reach(facts, endpoint, network.read_http)
    if answer.failure is not None or network_words.of_answer(endpoint, answer):
        raise CannotTell(
            f"'{printable(endpoint.name)}' was not asked for its models: no Hub answers there.",
            next_step=context.run_command(),
        )
    if hub_access.is_at_home(endpoint):
        facts.get(hub_access.read_token)  # its own deadline, before the repos' begins
    for source, file in wanted:
        repo = facts.get(hub_access.read_repo, endpoint, source, file)
        words = access_words.of_repo(repo, answer.origin) or coverage.of_lost_storage(
            facts, endpoint, repo
        )
        if words:
            _lost(facts, endpoint, words, degraded, repo=repo.repo, status=repo.answer.status)


@pytest.mark.check("network.rate-limit", area="network", severity="minor")
@pytest.mark.recover("network_failure", using=["wait_and_ask_again"])
def test_no_server_limits_this_machine(
    facts: FactBook, context: Context, profile: Profile, degraded: Degraded
) -> None:
    """No server turns this machine away for asking too often."""
    _online(context)
    answers = [
        (endpoint, fact)
        for endpoint in profile.endpoints
        if (fact := _answer(facts, endpoint)) is not None
    ]
    if not answers:
        pytest.skip("No server of the profile gave an answer.")
    for endpoint, fact in answers:
        if fact.status == TOO_MANY_REQUESTS:
            _lost(
                facts,
                endpoint,
                network_words.of_rate_limit(fact.origin, fact.limits),
                degraded,
                status=fact.status,
            )


def _answer(facts: FactBook, endpoint: Endpoint) -> answers.HttpFact | None:
    """Return the strictest answer of an endpoint; None when there is none to be had."""
    try:
        fact: answers.HttpFact = network.reach(facts, endpoint, network.read_http)
        if fact.failure is not None:
            return None
        for source, file in network.samples(endpoint, facts.profile):
            repo: hub_access.RepoFact = facts.get(hub_access.read_repo, endpoint, source, file)
            if repo.answer.status == TOO_MANY_REQUESTS:
                return repo.answer
    except CannotTell:
        return None
    return fact


@pytest.mark.check("network.index", area="network", severity="major")
@pytest.mark.guidance("docs/checks.md#network-index")
def test_package_index_answers(
    facts: FactBook, context: Context, profile: Profile, degraded: Degraded
) -> None:
    """The package index that the target's pip is configured with answers."""
    _online(context)
    if not profile.python.is_required:
        pytest.skip("The profile needs no Python packages.")
    fact = facts.get(package_index.read_index)
    if not fact.places:
        raise Unhealthy(
            f"pip of {fact.python} may not use any index (no-index) and has no find-links.",
            "It can install nothing.",
            f"{fact.python} -m pip config debug   shows where no-index is set.",
        )
    if cause := offline_cause.of_index(facts, fact):
        pytest.skip(f"No name server answers, as {cause} says.")
    lost = [
        (place, words) for place in fact.places if (words := access_words.of_place(place, fact))
    ]
    if lost and not access_words.can_install(fact, [place for place, _words in lost]):
        place, words = lost[0]
        raise Unhealthy(
            words.what,
            words.why,
            words.next_step,
            evidence={"place": place.shown, "status": place.status, "is_target": fact.is_target},
        )
    for _place, words in lost:
        _say(degraded, words)
    for words in access_words.losses_of_index(fact):
        _say(degraded, words)


def _works_offline(facts: FactBook) -> bool:
    """Return whether clients are told to stay offline, and all that is needed is proven here."""
    return local_proof.is_set() and facts.get(local_proof.read_local_proof).is_complete


def _skip_unneeded(facts: FactBook, endpoint: Endpoint) -> None:
    """Skip what only a server can say that is out of reach, and not needed now."""
    if _works_offline(facts):
        answer = network.reach(facts, endpoint, network.read_http)
        if answer.failure is not None or network_words.of_answer(endpoint, answer):
            pytest.skip("HF_HUB_OFFLINE is set, and this server is out of reach.")


def _say(degraded: Degraded, words: network_words.Words) -> None:
    degraded(words.what, words.why, words.next_step, words.failure_id)
