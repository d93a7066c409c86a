"""One conversation with one server: connect, tunnel, TLS, HTTP; each with a deadline that holds.

Only the standard library, so that starting costs little. TLS is always verified. Redirects are
reported, never followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from modelmedic.facts.endpoint import Address
from modelmedic.facts.proxy import Route
from modelmedic.facts.wire_errors import MAX_DETAIL, WireError, kind_of, telling
from modelmedic.text import printable

if TYPE_CHECKING:
    import ssl
    from http.client import HTTPMessage

T = TypeVar("T")
MAX_ADDRESSES = 4  # two of each family: more would only find the same answer again
_STRAGGLER_SECONDS = 1.0  # after the first connection: time left to the other addresses
_MAX_TUNNEL_HEADER_BYTES = 16 << 10


@dataclass(frozen=True, slots=True)
class Connected:
    """Which of a name's addresses took a connection, and how fast."""

    address: str
    seconds: float
    silent: tuple[str, ...] = ()  # addresses tried that gave no answer at all


@dataclass(frozen=True, slots=True)
class Answer:
    """The head and the beginning of one HTTP answer."""

    status: int
    reason: str
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    body: bytes = b""
    is_whole: bool = True
    seconds: float = 0.0  # from the request to the answer's header


class Deadline:
    """A moment in the future; ``guard`` ends a socket's waiting when it comes."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds left.

        Raises:
            WireError: "timeout": there are none.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise WireError("timeout", f"no answer within {self.seconds:g} s")
        return left

    @contextlib.contextmanager
    def guard(self, sock: socket.socket) -> Iterator[None]:
        """Shut ``sock`` down at the deadline: a peer that trickles resets every socket timeout."""
        left = self.left()
        sock.settimeout(left)
        fired = threading.Event()

        def end() -> None:
            fired.set()
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # under TLS too: no goodbye

        timer = threading.Timer(left, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (OSError, ValueError, WireError) as error:
            if fired.is_set():
                raise WireError("timeout", f"no answer within {self.seconds:g} s") from error
            raise
        finally:
            timer.cancel()
        if fired.is_set():
            raise WireError("timeout", f"no answer within {self.seconds:g} s")


def resolve(host: str, port: int, deadline: Deadline) -> tuple[str, ...]:
    """Return a host's IP addresses in the order programs try them.

    Raises:
        WireError: "no-such-name", "resolver-down" or "timeout".
    """
    entries = _within(deadline, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in entries))


def has_route() -> bool:
    """Return whether the system knows a way beyond its own networks; nothing is sent.

    Connecting a datagram socket only looks up the route. The addresses are those that RFC 5737 and
    RFC 3849 keep for documentation: no machine has them.
    """
    for family, address in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((address, 9))
            return True
    return False


def _within(deadline: Deadline, work: Callable[[], T]) -> T:
    """Return what ``work`` returns; getaddrinfo cannot be interrupted, only left behind."""
    results: list[T] = []
    errors: list[BaseException] = []

    def go() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            errors.append(error)

    thread = threading.Thread(target=go, name="resolver", daemon=True)
    thread.start()
    thread.join(deadline.left())
    if errors:
        raise WireError(*kind_of(errors[0])) from errors[0]
    if not results:
        raise WireError("timeout", f"no answer within {deadline.seconds:g} s")
    return results[0]


def connect_any(
    addresses: tuple[str, ...],
    port: int,
    deadline: Deadline,
    *,
    straggler_seconds: float = _STRAGGLER_SECONDS,
) -> Connected:
    """Connect to the first few addresses at once and return which one answered first.

    Args:
        addresses: Of one name.
        port: Of the server.
        deadline: For all of them.
        straggler_seconds: Time left to the others to show that they are not silent.

    Raises:
        WireError: None did; the failure of the first address that gave a reason.
    """
    started = time.monotonic()
    end = started + deadline.left()
    waiting: dict[socket.socket, str] = {}
    failures: list[BaseException] = []
    winner: tuple[str, float] | None = None
    with contextlib.ExitStack() as opened:
        for address in addresses[:MAX_ADDRESSES]:
            _begin(address, port, opened, waiting, failures)
        while waiting and (ready := _decided(list(waiting), end - time.monotonic())):
            for sock in ready:
                address = waiting.pop(sock)
                if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    failures.append(OSError(code, os.strerror(code)))
                elif winner is None:
                    winner = (address, time.monotonic() - started)
                    end = min(end, time.monotonic() + straggler_seconds)
        silent = tuple(waiting.values())
    if winner:
        return Connected(*winner, silent)
    if failures and not silent:
        raise WireError(*kind_of(failures[0])) from failures[0]
    raise WireError("timeout", f"no answer within {deadline.seconds:g} s")


def _begin(
    address: str,
    port: int,
    opened: contextlib.ExitStack,
    waiting: dict[socket.socket, str],
    failures: list[BaseException],
) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        sock = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
        sock.setblocking(False)
        code = sock.connect_ex((address, port))
    except OSError as error:  # no IPv6 in this kernel
        failures.append(error)
        return
    if code in {0, errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", 0)}:
        waiting[sock] = address
    else:
        failures.append(OSError(code, os.strerror(code)))


def _decided(socks: list[socket.socket], seconds: float) -> list[socket.socket]:
    """Return the sockets whose connection succeeded or failed; none once the time is over."""
    _none, done, failed = select.select([], socks, socks, max(0.0, seconds))
    return list(dict.fromkeys([*done, *failed]))


def open_to(address: str, port: int, deadline: Deadline) -> socket.socket:
    """Return a connection to one IP address.

    Raises:
        WireError: It was not made.
    """
    try:
        return socket.create_connection((address, port), timeout=deadline.left())
    except OSError as error:
        raise WireError(*kind_of(error, deadline.seconds)) from error


def tunnel(sock: socket.socket, target: Address, route: Route, deadline: Deadline) -> None:
    """Ask an HTTP proxy for a connection to the target (CONNECT).

    Raises:
        WireError: "proxy-auth", "proxy-refused" (with status) or "proxy-not-http".
    """
    host = f"[{target.host}]" if ":" in target.host else target.host
    lines = [f"CONNECT {host}:{target.port} HTTP/1.1", f"Host: {host}:{target.port}"]
    if route.authorization:
        lines.append(f"Proxy-Authorization: {route.authorization}")
    with deadline.guard(sock), telling(deadline.seconds):
        sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
        head = _head(sock)
    match = re.match(rb"HTTP/1\.[01] (\d{3})", head)
    if not match:
        raise WireError("proxy-not-http", head.split(b"\r\n")[0].decode("latin-1"))
    status = int(match[1])
    if status == 407:  # noqa: PLR2004 - proxy authentication required
        schemes = re.findall(rb"(?im)^proxy-authenticate:\s*([\w-]+)", head)
        raise WireError("proxy-auth", ", ".join(s.decode("latin-1") for s in schemes), status)
    if status // 100 != 2:  # noqa: PLR2004 - the only class that opens a tunnel
        raise WireError("proxy-refused", head.split(b"\r\n")[0].decode("latin-1"), status)


def _head(sock: socket.socket) -> bytes:
    """Read an answer's head byte by byte: what follows it belongs to TLS."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte or len(head) > _MAX_TUNNEL_HEADER_BYTES:
            break
        head += byte
    if not head:
        raise WireError("closed", "the proxy closed the connection without an answer")
    return head


def start_tls(
    sock: socket.socket, host: str, context: ssl.SSLContext, deadline: Deadline
) -> ssl.SSLSocket:
    """Do the TLS handshake with a verified peer and return the secured socket.

    Raises:
        WireError: "untrusted", "self-signed", "expired", "not-yet-valid", "wrong-host",
            "not-tls", "closed", "timeout" or "tls-other".
    """
    with telling(deadline.seconds):
        sock.settimeout(deadline.left())
        secured = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    try:
        with deadline.guard(secured), telling(deadline.seconds):
            secured.do_handshake()
    except BaseException:
        secured.close()
        raise
    return secured


def exchange(
    sock: socket.socket,
    method: str,
    target: str,
    headers: Mapping[str, str],
    deadline: Deadline,
    max_body_bytes: int,
) -> Answer:
    """Send one request without a body and return head and beginning of the answer.

    Raises:
        WireError: "not-http", "closed", "reset" or "timeout".
    """
    import http.client

    connection = http.client.HTTPConnection("unused.invalid")  # Host is among the headers
    connection.sock = sock
    started = time.monotonic()
    with deadline.guard(sock), telling(deadline.seconds, http.client.HTTPException):
        connection.request(method, target, headers=dict(headers))
        answer = connection.getresponse()
        seconds = time.monotonic() - started
        try:
            body = answer.read(max_body_bytes + 1)
            is_whole = len(body) <= max_body_bytes
        except http.client.IncompleteRead as error:  # the head came: that is an answer
            body, is_whole = error.partial, False
    return Answer(
        status=answer.status,
        reason=printable(answer.reason)[:MAX_DETAIL],
        headers=_plain_headers(answer.headers),
        body=body[:max_body_bytes],
        is_whole=is_whole,
        seconds=seconds,
    )


def _plain_headers(headers: HTTPMessage) -> dict[str, str]:
    return {name.lower(): str(value) for name, value in headers.items()}
