"""Ask a server one thing, the way Python programs on this machine would reach it."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin

from modelmedic import __version__
from modelmedic.errors import CannotTell
from modelmedic.facts import proxy, trust, wire
from modelmedic.facts.endpoint import Address, parse, split
from modelmedic.facts.proxy import Route
from modelmedic.facts.wire import Answer, Deadline
from modelmedic.facts.wire_errors import WireError

if TYPE_CHECKING:
    import ssl

SMALL_BODY_BYTES = 64 << 10
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_HOPS = 3


@dataclass(frozen=True, slots=True)
class Path:
    """How one address is reached: directly or through a proxy, and to which IP address."""

    address: Address
    route: Route | None
    ip: str = ""  # of the server or of the proxy; "" = look it up

    @property
    def via(self) -> str:
        """Return the proxy with masked credentials; "" when there is none."""
        return self.route.setting.shown if self.route else ""

    @property
    def peer(self) -> tuple[str, int]:
        """Return host and port that TCP connects to.

        Raises:
            WireError: "proxy-setting": the proxy's address cannot be used.
        """
        if self.route is None:
            return self.address.host, self.address.port
        setting = self.route.setting
        if not setting.is_usable or setting.port is None:
            raise WireError("proxy-setting", f"{setting.variable}: {setting.fault}")
        return setting.host, setting.port


@dataclass(frozen=True, slots=True)
class Request:
    """One request. ``headers`` may carry credentials and never reach a fact."""

    method: str = "HEAD"
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    max_body_bytes: int = SMALL_BODY_BYTES


def path_to(address: Address, ip: str = "") -> Path:
    """Return how programs here reach an address."""
    return Path(address, proxy.route_to(address), ip)


def ask(
    path: Path,
    request: Request,
    *,
    deadline: Deadline,
    store: trust.TrustStore | None = None,
    ignores_dates: bool = False,
) -> Answer:
    """Send one request over a new connection and return the answer, whatever its status.

    Args:
        path: How the server is reached.
        request: What is asked.
        deadline: For everything together, name lookup included.
        store: Trusted authorities; None takes the first of `trust.stores`.
        ignores_dates: Only to ask for the time; see `trust.context`.

    Raises:
        WireError: No answer; its failure says at what stage and why.
        CannotTell: The way leads through a SOCKS proxy, which we do not speak.
    """
    sock = open_path(path, deadline, store)
    try:
        if path.address.is_tls:
            context = _context(store, ignores_dates=ignores_dates)
            sock = wire.start_tls(sock, path.address.host, context, deadline)
        return wire.exchange(
            sock,
            request.method,
            _target(path, request),
            _headers(path, request),
            deadline,
            request.max_body_bytes,
        )
    finally:
        sock.close()


def ask_onward(
    path: Path,
    request: Request,
    *,
    deadline: Deadline,
    store: trust.TrustStore | None = None,
    may_leave: bool = False,
) -> tuple[Path, Answer]:
    """Ask and follow redirects, a few; return where the last answer came from, and it.

    Headers, credentials among them, go along on the same origin only. Another origin is asked
    only if ``may_leave``, only over TLS, and without them.

    Raises:
        WireError: As `ask`.
        CannotTell: As `ask`.
    """
    answer = ask(path, request, deadline=deadline, store=store)
    for _hop in range(_MAX_HOPS):
        onward = _onward(path, request, answer)
        if onward is None:
            break
        address, target = onward
        if address.origin == path.address.origin:
            path, request = replace(path, address=address), replace(request, path=target)
        elif may_leave and address.is_tls:
            path = path_to(address)
            kept = {"Accept": request.headers.get("Accept", "*/*")}
            request = replace(request, path=target, headers=kept)
        else:
            break
        answer = ask(path, request, deadline=deadline, store=store)
    return path, answer


def _onward(path: Path, request: Request, answer: Answer) -> tuple[Address, str] | None:
    """Return the server and request target a redirect leads to; None without a usable one."""
    location = answer.headers.get("location", "")
    if answer.status not in REDIRECTS or not location:
        return None
    try:
        url = urljoin(f"{path.address.origin}{path.address.path}{request.path}", location)
        parts = split(url)
        address = replace(parse(url), path="")
    except ValueError:
        return None
    query = f"?{parts.query}" if parts.query else ""
    return address, quote(f"{parts.path or '/'}{query}", safe="%/:@!$&'()*+,;=~?")


def open_path(
    path: Path, deadline: Deadline, store: trust.TrustStore | None = None
) -> socket.socket:
    """Return a connection over which TLS or HTTP with the server can begin.

    Raises:
        WireError: It was not made.
        CannotTell: A SOCKS proxy is in the way.
    """
    if path.route and path.route.setting.is_socks:
        raise CannotTell(
            f"{path.address.origin} is reached through the SOCKS proxy {path.via}.",
            "modelmedic itself does not speak SOCKS, so nothing beyond the proxy was judged.",
            "most SOCKS proxies also take HTTP: set HTTPS_PROXY=http://... to that port.",
        )
    host, port = path.peer
    ip = path.ip or wire.connect_any(wire.resolve(host, port, deadline), port, deadline).address
    sock = wire.open_to(ip, port, deadline)
    try:
        if path.route:
            sock = _through_proxy(sock, path, path.route, deadline, store)
    except BaseException:
        sock.close()
        raise
    return sock


def _through_proxy(
    sock: socket.socket,
    path: Path,
    route: Route,
    deadline: Deadline,
    store: trust.TrustStore | None,
) -> socket.socket:
    if route.setting.scheme == "https":
        if path.address.is_tls:
            raise CannotTell(
                f"{path.address.origin} is reached through the TLS proxy {path.via}.",
                "modelmedic itself does not speak TLS inside TLS: nothing beyond was judged.",
            )
        return wire.start_tls(sock, route.setting.host, _context(store), deadline)
    if path.address.is_tls:
        wire.tunnel(sock, path.address, route, deadline)
    return sock


def _context(store: trust.TrustStore | None, *, ignores_dates: bool = False) -> ssl.SSLContext:
    try:
        return trust.context(store or trust.stores()[0], ignores_dates=ignores_dates)
    except trust.BadTrustStore as error:
        raise WireError("bad-trust-store", str(error)) from error


def _target(path: Path, request: Request) -> str:
    """Return the request target: the whole URL when an HTTP proxy has to read it."""
    target = f"{path.address.path}{request.path}" or "/"
    return path.address.origin + target if path.route and not path.address.is_tls else target


def _headers(path: Path, request: Request) -> dict[str, str]:
    address = path.address
    headers = {
        "Host": address.origin.partition("://")[2],
        "User-Agent": f"modelmedic/{__version__}",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
        **request.headers,
    }
    if path.route and path.route.authorization and not address.is_tls:
        headers["Proxy-Authorization"] = path.route.authorization
    return headers
