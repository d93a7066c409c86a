"""Each endpoint's name, connection, TLS and answer: one probe a stage, each with its deadline.

A later stage uses what an earlier one found. A stage that did not succeed is a fact with a
``failure``; a probe that could not look raises `CannotTell`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from modelmedic.errors import CannotTell
from modelmedic.facts import answers, handshakes, talk, trust, wire
from modelmedic.facts.answers import HttpFact
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.endpoint import Address, address_of, question
from modelmedic.facts.handshakes import TlsFact
from modelmedic.facts.proxy import ProxyEnvironment, read_environment, route_to
from modelmedic.facts.wire import Deadline
from modelmedic.facts.wire_errors import Failure, WireError
from modelmedic.limits import TimeoutManager
from modelmedic.profile.model import Endpoint, ModelSource, Profile
from modelmedic.text import printable

# The probe ends before its reader gives up on it, so that a silent server is a fact with a
# reason and not an unknown.
_OWN_SHARE_RATIO = 0.9
_SAMPLES = 3  # connections timed for the median
# The JSON of a repo with many files; one that is longer is judged by its beginning.
REPO_BODY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class DnsFact:
    """A name and its addresses; through a proxy the name is the proxy's business (``via``).

    ``is_routeless``: the name has no address here and this machine knows no way out: it is offline.
    """

    host: str
    addresses: tuple[str, ...] = ()
    seconds: float = 0.0
    via: str = ""
    setting: str = ""
    failure: Failure | None = None
    is_routeless: bool = False


@dataclass(frozen=True, slots=True)
class TcpFact:
    """A connection to ``peer`` (the proxy, when ``via`` names one).

    Without one, ``address`` is the first that was tried.
    """

    peer: str
    address: str = ""
    connect_seconds: tuple[float, ...] = ()
    silent: tuple[str, ...] = ()  # addresses that took no connection while another did
    via: str = ""
    failure: Failure | None = None

    @property
    def latency_seconds(self) -> float:
        """Return the median time of a TCP connection; 0.0 when there was none."""
        times = sorted(self.connect_seconds)
        return times[len(times) // 2] if times else 0.0


@probe("local_read")
def read_proxies(facts: FactBook) -> ProxyEnvironment:
    """Return the proxy settings that programs on this machine follow."""
    del facts
    return read_environment(os.environ)


@probe("http_request", connects="network")
def read_proxy_reach(facts: FactBook, host: str, port: int) -> TcpFact:
    """Return whether a proxy takes connections: its name is looked up, then TCP."""
    del facts
    peer = f"{host}:{port}"
    try:
        addresses = wire.resolve(host, port, own_deadline("dns_lookup"))
        return _connect(peer, addresses, port)
    except WireError as error:
        return TcpFact(peer, failure=error.failure)


@probe("dns_lookup", connects="network")
def read_dns(facts: FactBook, endpoint: Endpoint) -> DnsFact:
    """Return the addresses of an endpoint's name; none when a proxy looks it up.

    Raises:
        CannotTell: The endpoint is the embedded Hub and it does not run.
    """
    del facts
    try:
        path = _path(endpoint)
    except WireError as error:
        return DnsFact(printable(endpoint.url), failure=error.failure)
    address = path.address
    if path.route:
        return DnsFact(address.host, via=path.via, setting=address.setting)
    started = time.monotonic()
    try:
        found = wire.resolve(address.host, address.port, own_deadline("dns_lookup"))
    except WireError as error:
        return DnsFact(
            address.host,
            setting=address.setting,
            failure=error.failure,
            is_routeless=not (address.is_loopback or wire.has_route()),
        )
    nowhere = Failure("no-real-address", ", ".join(found)) if _is_nowhere(found) else None
    seconds = time.monotonic() - started
    return DnsFact(address.host, found, seconds, setting=address.setting, failure=nowhere)


def _is_nowhere(addresses: tuple[str, ...]) -> bool:
    """Return whether a name server gives only 0.0.0.0 or ::, as one does that blocks a name."""
    return set(addresses) <= {"0.0.0.0", "::"}  # noqa: S104 - nobody listens there


@probe("tcp_connect", connects="network")
def read_tcp(facts: FactBook, endpoint: Endpoint) -> TcpFact:
    """Return the connection to an endpoint, or to the proxy that leads to it.

    Raises:
        CannotTell: Its name was not resolved.
    """
    dns = _succeeded(facts.get(read_dns, endpoint))
    path = _path(endpoint)
    try:
        host, port = path.peer
        if path.route:
            reach = facts.get(read_proxy_reach, host, port)
            return TcpFact(
                reach.peer,
                reach.address,
                reach.connect_seconds,
                reach.silent,
                path.via,
                reach.failure,
            )
        return _connect(f"{host}:{port}", dns.addresses, port)
    except WireError as error:
        first = next(iter(dns.addresses), "")
        return TcpFact(path.address.origin, first, via=path.via, failure=error.failure)


@probe("tls_handshake", connects="network")
def read_tls(facts: FactBook, endpoint: Endpoint) -> TlsFact:
    """Return the TLS session of an endpoint, verified against this machine's trust stores.

    Raises:
        CannotTell: There was no connection, or a SOCKS proxy is in the way.
    """
    tcp = _succeeded(facts.get(read_tcp, endpoint))
    path = _path(endpoint, tcp.address)
    if not path.address.is_tls:
        return TlsFact(False, path.address.is_loopback, via=path.via)
    deadline = own_deadline("tls_handshake")
    known = trust.stores()
    fact = replace(handshakes.shake(path, known[0], deadline), address=tcp.address)
    kind = fact.failure.kind if fact.failure else ""
    if kind in {"untrusted", "self-signed"}:
        return handshakes.with_other_store(fact, path, known[1:], deadline)
    if kind in {"expired", "not-yet-valid"}:
        return handshakes.with_its_clock(fact, path, known[0], deadline)
    return fact


@probe("tls_handshake", connects="network")
def read_tls_by(facts: FactBook, endpoint: Endpoint, label: str) -> TlsFact:
    """Return the TLS session of an endpoint, verified against one store of `trust.stores`.

    Raises:
        CannotTell: There was no connection, a SOCKS proxy is in the way, or there is no such store.
    """
    tcp = _succeeded(facts.get(read_tcp, endpoint))
    path = _path(endpoint, tcp.address)
    if not path.address.is_tls:
        return TlsFact(False, path.address.is_loopback, via=path.via)
    for store in trust.stores():
        if store.label == label:
            return handshakes.shake(path, store, own_deadline("tls_handshake"))
    raise CannotTell(f"There is no trust store {printable(label)} any more.")


@probe("http_request", connects="network")
def read_http(facts: FactBook, endpoint: Endpoint) -> HttpFact:
    """Return the answer to the cheapest question that shows the endpoint does its job.

    Raises:
        CannotTell: An earlier stage did not succeed, or a SOCKS proxy is in the way.
    """
    _succeeded(facts.get(read_dns, endpoint))
    tcp = _succeeded(facts.get(read_tcp, endpoint))
    _succeeded(facts.get(read_tls, endpoint))
    path = _path(endpoint, tcp.address)
    method, target = question(endpoint, facts.profile)
    size = REPO_BODY_BYTES if endpoint.kind == "hub" else talk.SMALL_BODY_BYTES
    deadline = own_deadline("http_request")
    try:
        request = talk.Request(method, target, max_body_bytes=size)
        answer = talk.ask(path, request, deadline=deadline)
        if method == "HEAD" and answer.status in {405, 501}:  # some servers only know GET
            method, request = "GET", talk.Request("GET", target)
            answer = talk.ask(path, request, deadline=deadline)
    except WireError as error:
        return HttpFact(path.address.origin, method, via=path.via, failure=error.failure)
    return answers.judge(path, method, answer)


Stage = DnsFact | TcpFact | TlsFact | HttpFact
STAGES: tuple[Callable[..., Any], ...] = (read_dns, read_tcp, read_tls, read_http)


def reach(facts: FactBook, endpoint: Endpoint, last: Callable[..., Any]) -> Any:
    """Return the fact of stage ``last``, or of the first stage before it that failed.

    The stages are asked for in their order, so each one's deadline begins when its turn comes.

    Raises:
        CannotTell: A stage could not be looked at.
    """
    fact: Any = None
    for stage in STAGES:
        fact = facts.get(stage, endpoint)
        if fact.failure is not None or stage is last:
            break
    return fact


def samples(endpoint: Endpoint, profile: Profile) -> tuple[tuple[ModelSource, str], ...]:
    """Return for each repo at a Hub the file to ask for: its biggest, as it lies in storage."""
    found: dict[ModelSource, str] = {}
    for model in profile.models:
        files = sorted(model.files, key=lambda file: file.size_bytes or 0)
        for source in model.sources:
            if source.endpoint == endpoint.name and source.kind == "hub" and files:
                found.setdefault(source, files[-1].path)
    return tuple(found.items())


def settings_in_use(profile: Profile) -> frozenset[str]:
    """Return the names of the proxy settings that lead to servers of the profile."""
    routes = []
    for endpoint in profile.endpoints:
        with contextlib.suppress(ValueError, CannotTell):
            routes.append(route_to(address_of(endpoint)))
    return frozenset(route.setting.name for route in routes if route)


def is_of(stage: Callable[..., Any], fact: Stage) -> bool:
    """Return whether a fact is the one of this stage, and not of an earlier one."""
    kinds = {read_dns: DnsFact, read_tcp: TcpFact, read_tls: TlsFact, read_http: HttpFact}
    return isinstance(fact, kinds[stage])


def start_all(facts: FactBook) -> None:
    """Begin every endpoint's stages, so that their waiting overlaps."""
    for endpoint in facts.profile.endpoints:
        facts.start(read_http, endpoint)
    for setting in read_environment(os.environ).settings:
        if setting.is_usable:
            facts.start(read_proxy_reach, setting.host, setting.port)


def own_deadline(limit: str) -> Deadline:
    """Return a deadline that ends shortly before the fact book gives up on a probe."""
    return Deadline(TimeoutManager().get_timeout(limit) * _OWN_SHARE_RATIO)


def _path(endpoint: Endpoint, ip: str = "") -> talk.Path:
    try:
        address: Address = address_of(endpoint)
    except ValueError as error:
        raise WireError("bad-address", str(error)) from error
    return talk.path_to(address, ip)


def _succeeded(fact: Any) -> Any:
    if fact.failure is not None:
        raise CannotTell(f"An earlier stage did not succeed ({fact.failure.kind}).")
    return fact


def _connect(peer: str, addresses: tuple[str, ...], port: int) -> TcpFact:
    deadline = own_deadline("tcp_connect")
    first = wire.connect_any(addresses, port, deadline)
    times = [first.seconds]
    while len(times) < _SAMPLES:
        started = time.monotonic()
        try:
            wire.open_to(first.address, port, deadline).close()
        except WireError:  # the first one did succeed; fewer samples are enough
            break
        times.append(time.monotonic() - started)
    return TcpFact(peer, first.address, tuple(times), first.silent)
