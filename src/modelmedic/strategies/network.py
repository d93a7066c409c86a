"""Ways round a network that does not lead to the servers: for this run's own environment only."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from urllib.parse import quote

from modelmedic.errors import CannotTell, NotItsCase, RecoveryRefused
from modelmedic.facts import hub_access, network, proxy, setting_source
from modelmedic.facts import proxy_candidates as candidates
from modelmedic.facts.answers import HttpFact
from modelmedic.facts.book import FactBook
from modelmedic.facts.endpoint import Address, address_of, question
from modelmedic.facts.network import Stage
from modelmedic.facts.proxy_candidates import DIRECT, Candidate
from modelmedic.facts.setting_source import FROM_VARIABLE, UNSET, VALUE
from modelmedic.facts.wire_errors import Failure
from modelmedic.operations.base import Operation
from modelmedic.operations.run_environment import SetRunEnvironment
from modelmedic.operations.wait_for_server import WaitForServer
from modelmedic.pace import Pace, settled
from modelmedic.patience import PACE
from modelmedic.profile.model import Endpoint
from modelmedic.text import duration, printable

# Asks a person for user and password of what is named; None: there is nobody to ask.
Ask = Callable[[str], tuple[str, str] | None]

# Without "resolver-down": that is what a machine without any network says, for as long as it is.
_PASSING = frozenset({"reset", "closed", "timeout"})
_SERVER_ERROR, _TOO_MANY = 500, 429
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_FAULTS = {
    "unknown-scheme": "is no kind of proxy",
    "no-host": "names no host",
    "bad-port": "has no port from 1 to 65535",
    "unquoted": "has a user or password that is not percent-encoded",
}


def nobody(_what: str) -> tuple[str, str] | None:
    """Answer as where there is nobody to ask."""
    return None


@dataclass(frozen=True, slots=True)
class _Loss:
    """A candidate that does not lead to a server, and why."""

    candidate: Candidate
    endpoint: Endpoint | None
    failure: Failure

    @property
    def words(self) -> str:
        failure = self.failure
        if self.endpoint is None:
            return f"{self.candidate.shown}: {failure.detail}"
        where = f"to '{printable(self.endpoint.name)}'"
        if failure.kind == "proxy-auth":
            return f"{self.candidate.shown}: asks for a login by {failure.detail or 'no scheme'}"
        return f"{self.candidate.shown}, {where}: {failure.detail or failure.kind}"


def plan_proxy(facts: FactBook, subject: str | None, ask: Ask = nobody) -> Iterator[Operation]:
    """Yield what leads this run through the proxy that works, or past one that does not.

    Each is tried by really asking every server that has to be reached.

    Args:
        facts: Of the run.
        subject: The endpoint that is lost, or the variable of a proxy that is.
        ask: Asks a person for the credentials of a proxy; what is typed stays in memory.

    Raises:
        RecoveryRefused: None leads there; says what each one said.
        CannotTell: The settings could not be read.
    """
    wanted = _wanted(facts, subject)
    known = facts.get(candidates.read_candidates)
    in_use = _in_use(wanted)
    losses: list[_Loss] = []
    tried = [each for each in known if _key(each) not in in_use] + [DIRECT] * bool(in_use)
    for each in tried:
        _start(facts, each, wanted)  # what waits for servers waits at the same time
    for each in tried:
        loss = _loss_of(facts, each, wanted)
        if loss is None:
            yield _through(each, wanted)
            return
        losses.append(loss)
    current = [each for each in known if _key(each) in in_use]
    losses += [loss for each in current if (loss := _loss_of(facts, each, wanted))]
    for loss in losses:
        if typed := _with_login(facts, loss, wanted, ask):
            yield _through(typed, wanted)
            return
    raise _none_leads_there(wanted, losses)


def plan_wait(facts: FactBook, subject: str | None) -> Iterator[Operation]:
    """Yield the waits after which a server is asked again.

    Raises:
        NotItsCase: What is lost does not come back by waiting.
        RecoveryRefused: The server asks for more time than a run waits.
        CannotTell: It could not be looked at.
    """
    endpoint = next((each for each in facts.profile.endpoints if each.name == subject), None)
    if endpoint is None:
        raise NotItsCase("No server is lost that could be asked again.")
    fact = _worst_of(facts, endpoint)
    wait = fact.limits.wait_seconds if isinstance(fact, HttpFact) else None
    is_over = isinstance(fact, HttpFact) and candidates.loss_through(endpoint, fact) is None
    is_limited = isinstance(fact, HttpFact) and fact.status == _TOO_MANY
    if not is_over and not _is_passing(fact):
        raise NotItsCase(f"What '{printable(endpoint.name)}' lacks does not come by waiting.")
    if wait is not None and wait > PACE.asked_seconds:
        raise RecoveryRefused(
            f"'{printable(endpoint.name)}' asks to wait {duration(wait)}; a run waits at most "
            f"{duration(PACE.asked_seconds)}.",
            "",
            f"start again in {duration(wait)}.",
        )
    address = address_of(endpoint)
    method, path = question(endpoint, facts.profile)
    came_back = is_over and not is_limited  # while we planned: one short wait is enough
    yield WaitForServer(
        endpoint.name,
        f"{address.origin}{address.path}",
        f"{method} {path}",
        (1,) if came_back else _waits_seconds(facts),
        math.ceil(wait or 0),
    )


def _waits_seconds(facts: FactBook) -> tuple[int, ...]:
    """Return the longest each wait may be, by the one pace of trying again: 2, 4, 8 s."""
    pace = settled(Pace(), environ=os.environ, profile=facts.profile)
    return tuple(math.ceil(pace.cap_seconds(number)) for number in range(1, pace.tries + 1))


def _worst_of(facts: FactBook, endpoint: Endpoint) -> Stage:
    """Return what a server said last, or what it says of a repo when it limits or fails there."""
    fact: Stage = network.reach(facts, endpoint, network.read_http)
    if fact.failure is None and not _is_passing(fact):
        for source, file in network.samples(endpoint, facts.profile):
            answer: HttpFact = facts.get(hub_access.read_repo, endpoint, source, file).answer
            if _is_passing(answer):
                return answer
    return fact


def _is_passing(fact: Stage) -> bool:
    """Return whether a loss is of a kind that passes: cut, silent, overloaded, limited."""
    if fact.failure is not None:
        status = fact.failure.status or 0
        return fact.failure.kind in _PASSING or status >= _SERVER_ERROR
    return isinstance(fact, HttpFact) and (fact.status >= _SERVER_ERROR or fact.status == _TOO_MANY)


def _wanted(facts: FactBook, subject: str | None) -> list[Endpoint]:
    """Return the servers to be reached: what is lost, and what is reached now and must stay so.

    Raises:
        NotItsCase: No proxy is on the way to any.
    """
    outside = [each for each in facts.profile.endpoints if _is_outside(each)]
    lost = [each for each in outside if subject in {each.name, _variable_to(each)}]
    if not lost:
        raise NotItsCase("No server beyond this machine is lost, so no proxy can be the cause.")
    lost = [each for each in lost if each.is_required] or lost
    others = [each for each in outside if each.is_required and each not in lost]
    return lost + [each for each in others if _is_reached(facts, each)]


def _is_outside(endpoint: Endpoint) -> bool:
    try:
        return not address_of(endpoint).is_loopback
    except (ValueError, CannotTell):
        return False


def _variable_to(endpoint: Endpoint) -> str:
    route = proxy.route_to(address_of(endpoint))
    return route.setting.variable if route else ""


def _is_reached(facts: FactBook, endpoint: Endpoint) -> bool:
    try:
        fact = network.reach(facts, endpoint, network.read_http)
    except CannotTell:
        return False
    return fact.failure is None and candidates.loss_through(endpoint, fact) is None


def _in_use(wanted: Iterable[Endpoint]) -> set[tuple[str, int | None]]:
    """Return host and port of the proxies that are in use on the way to these servers."""
    routes = (proxy.route_to(address_of(each)) for each in wanted)
    return {(route.setting.host, route.setting.port) for route in routes if route}


def _key(candidate: Candidate) -> tuple[str, int | None]:
    setting = candidate.setting
    return (setting.host, setting.port) if setting else ("", None)


def _start(facts: FactBook, candidate: Candidate, wanted: Iterable[Endpoint]) -> None:
    setting = candidate.setting
    if setting is None or setting.is_usable:
        shown = setting.shown if setting else ""
        for endpoint in wanted:
            facts.start(candidates.read_through, candidate.source, shown, endpoint)


def _loss_of(facts: FactBook, candidate: Candidate, wanted: Iterable[Endpoint]) -> _Loss | None:
    """Return the first server a candidate does not lead to; None when it leads to all."""
    setting = candidate.setting
    if setting is not None and not setting.is_usable:
        reason = _FAULTS.get(setting.fault, setting.fault)
        return _Loss(candidate, None, Failure("malformed", f"it {reason}"))
    shown = setting.shown if setting else ""
    for endpoint in wanted:
        try:
            fact = facts.get(candidates.read_through, candidate.source, shown, endpoint)
        except CannotTell as error:
            return _Loss(candidate, endpoint, Failure("unknown", error.what))
        if failure := candidates.loss_through(endpoint, fact):
            return _Loss(candidate, endpoint, failure)
    return None


def _with_login(facts: FactBook, loss: _Loss, wanted: list[Endpoint], ask: Ask) -> Candidate | None:
    """Return a proxy with the user and password a person typed; None without, or if refused."""
    setting = loss.candidate.setting
    is_basic = "basic" in loss.failure.detail.lower()
    if setting is None or loss.failure.kind != "proxy-auth" or not is_basic:
        return None
    given = ask(f"{loss.candidate.where}: the proxy {setting.host}:{setting.port}")
    if given is None:
        return None
    user, password = (quote(part, safe="") for part in given)
    host = f"[{setting.host}]" if ":" in setting.host else setting.host
    value = f"{setting.scheme}://{user}:{password}@{host}:{setting.port}"
    shown = proxy.masked_proxy(value)
    typed = Candidate(
        setting_source.keep_typed(value), "with what was typed", replace(setting, shown=shown)
    )
    return typed if _loss_of(facts, typed, wanted) is None else None


def _through(chosen: Candidate, wanted: list[Endpoint]) -> SetRunEnvironment:
    """Return the change that leads through ``chosen``, with loopback kept out of it."""
    addresses = [address_of(each) for each in wanted]
    names = [spelled for name in ("https_proxy", "http_proxy") for spelled in _spellings(name)]
    dropped = [name for name in _spellings("all_proxy") if name in os.environ]
    if chosen.setting is None:
        names, dropped = [], [name for name in [*names, *dropped] if name in os.environ]
    value = (chosen.source, _with_scheme(chosen))
    own = chosen.source.removeprefix(FROM_VARIABLE)
    settings = [(name, *value) for name in names if name != own]
    settings += [(name, UNSET, "") for name in dropped]
    settings += [(name, VALUE, _no_proxy(chosen, addresses)) for name in _spellings("no_proxy")]
    where = f"through {chosen.shown}" if chosen.setting else chosen.where
    return SetRunEnvironment(tuple(settings), where)


def _with_scheme(chosen: Candidate) -> str:
    """Return the value as it is shown; one that is written whole gets the scheme it lacks."""
    setting = chosen.setting
    if setting is None:
        return ""
    lacks = chosen.source == VALUE and setting.fault == "no-scheme"
    return f"http://{setting.shown}" if lacks else setting.shown


def _spellings(name: str) -> tuple[str, ...]:
    return (name.upper(),) if sys.platform == "win32" else (name, name.upper())


def _no_proxy(chosen: Candidate, addresses: Iterable[Address]) -> str:
    """Return what stays out of the proxy: as before, and loopback, but not the wanted servers."""
    if chosen.setting is None and proxy.has_system_settings():
        return "*"  # without any variable programs would take the system's settings again
    before = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    kept = [entry for part in before.split(",") if (entry := part.strip())]
    if chosen.setting is not None:
        kept = [
            entry
            for entry in kept
            if not any(proxy.is_bypassed(each.host, each.port, entry) for each in addresses)
        ]
    return ",".join(dict.fromkeys([*kept, *LOOPBACK]))


def _none_leads_there(wanted: list[Endpoint], losses: list[_Loss]) -> RecoveryRefused:
    names = ", ".join(f"'{printable(each.name)}'" for each in wanted)
    if not losses:
        return RecoveryRefused(
            f"No proxy is set on this machine that could lead to {names}.",
            "The environment, the system's settings, pip's and git's were looked at.",
            "ask who runs the network for its proxy, and set HTTPS_PROXY=http://HOST:PORT.",
        )
    told = "; ".join(dict.fromkeys(loss.words for loss in losses))
    asks = [loss for loss in losses if loss.failure.kind == "proxy-auth"]
    next_step = "ask who runs the network which proxy leads there."
    if asks and "basic" in asks[0].failure.detail.lower():
        next_step = (
            "start again with --heal on a terminal to be asked for user and password, or set "
            "HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT yourself."
        )
    elif asks:
        next_step = (
            f"its login ({asks[0].failure.detail}) is none that Python programs do by themselves: "
            "a local helper such as px or cntlm does it."
        )
    return RecoveryRefused(f"Nothing leads to {names}. Tried: {told}.", "", next_step)
