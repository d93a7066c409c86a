"""Ask one URL for a file: redirects, tokens, proxies, and a watch over every wait.

requests does the asking. What it would decide by itself is decided here: ``~/.netrc`` is never
used, a token goes to its own origin only, a redirect leads to http or https only.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from modelmedic import addresses, proxying
from modelmedic.http_answer import TransferFailed, TryAgain, chain, listed_sha256, told_words
from modelmedic.observations import SEEN
from modelmedic.patience import Deadline
from modelmedic.text import printable

if TYPE_CHECKING:
    import requests
    from typing_extensions import Self

CONNECT_SECONDS = 10.0
READ_SECONDS = 20.0  # silence, in a header or inside a body
CALL_SECONDS = 60.0  # one header, or one read that brings something; drips never fall silent
MAX_REDIRECTS = 10  # a Hub needs one or two
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CLOSED = frozenset({401, 403})
_READ_BYTES = 1 << 18
# urllib3 before 2 reads until this much is there: 16 s at the slowest rate that is let through.
_FULL_READ_BYTES = 1 << 14
_USUAL_PORTS = {"http": 80, "https": 443}
_TICK_SECONDS = 1.0


class Watch:
    """Ends a wait on the network that goes on too long, by shutting its socket down.

    Timeouts of a socket count from the last byte, so a header or a chunk's length that comes
    byte by byte would hold us for hours. Use it as a context manager; it runs a thread.

    Args:
        deadline: No wait goes on beyond it.
    """

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.connection: Any = None  # the one in use, an http.client.HTTPConnection
        self.socket: Any = None  # of the response; a connection may have given it away by then
        self.response: http.client.HTTPResponse | None = None
        self.reason = ""
        self._began: float | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="transfer-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def begin(self) -> float:
        """Note that a wait begins, and return when."""
        self._began = time.monotonic()
        return self._began

    def end(self) -> None:
        """Note that the wait is over.

        Raises:
            TransferFailed: It was ended by the watch.
        """
        self._began = None
        if self.reason:
            raise TransferFailed(self.reason)

    def follow(self, pool: Any) -> None:
        """Let the connections of a urllib3 pool tell which of them is in use."""
        kind, watch = pool.ConnectionCls, self
        if getattr(kind, "is_watched", False):
            return

        def connect(connection: Any) -> None:
            watch.connection = connection
            with SEEN.connecting():
                host, port = connection.host, connection.port
                found = addresses.look_up(host, port, CONNECT_SECONDS)
                connection.answering = addresses.answering(found, port, CONNECT_SECONDS)
                kind.connect(connection)

        def new_conn(connection: Any) -> Any:
            named = connection._dns_host  # noqa: SLF001 - urllib3's name for where TCP leads
            connection._dns_host = getattr(connection, "answering", "") or named  # noqa: SLF001
            try:
                return kind._new_conn(connection)  # noqa: SLF001
            finally:
                connection._dns_host = named  # noqa: SLF001 - the name that TLS has to prove

        def putrequest(connection: Any, *args: Any, **options: Any) -> Any:
            watch.connection = connection  # a kept connection is not made anew
            return kind.putrequest(connection, *args, **options)

        def response_class(held: Any, *args: Any, **options: Any) -> http.client.HTTPResponse:
            watch.socket = held
            watch.response = http.client.HTTPResponse(held, *args, **options)
            return watch.response

        added = {
            "connect": connect,
            **({"_new_conn": new_conn} if _leads_there_itself(kind) else {}),
            "putrequest": putrequest,
            "response_class": staticmethod(response_class),
            "is_watched": True,
        }
        pool.ConnectionCls = type(f"Watched{kind.__name__}", (kind,), added)

    def close(self) -> None:
        """Close an answer whose header urllib3 refused: it leaves the socket open."""
        if self.response is not None:
            self.response.close()

    def _run(self) -> None:
        while not self._stopped.wait(min(_TICK_SECONDS, CALL_SECONDS / 4)):
            began = self._began
            if began is None:
                continue
            if self.deadline.is_over:
                self.reason = self.reason or "The time allowed for this file is over."
            elif time.monotonic() - began > CALL_SECONDS:
                self.reason = self.reason or "The server sends less than 1 KiB a second."
            if self.reason:
                self._shut_down()

    def _shut_down(self) -> None:
        """End the connection in use; done again at each tick, for a handshake changes sockets."""
        for held in (getattr(self.connection, "sock", None), self.socket):
            if isinstance(held, socket.socket):
                with contextlib.suppress(OSError):
                    # Not the method of SSLSocket: that one takes the decryption off as well.
                    socket.socket.shutdown(held, socket.SHUT_RDWR)


def _leads_there_itself(kind: type[Any]) -> bool:
    """Return whether a connection of this kind looks its address up here: through SOCKS none do."""
    return "SOCKS" not in kind.__name__ and hasattr(kind, "_new_conn")


class Exchange:
    """Asks for files in one session. Use it as a context manager.

    Args:
        tokens: Bearer token by origin.
        deadline: Every wait ends by it.
        sha256: Of the file that is asked for; a source that lists another one is refused before
            a byte of its body is read. Empty when it is not known.
    """

    def __init__(self, tokens: Mapping[str, str], deadline: Deadline, sha256: str = "") -> None:
        self.is_listed = False  # whether the last answer's source lists the wanted sha256
        self._sha256 = sha256
        self._arrived = [0]  # bytes of the answer that is read
        self._tokens = dict(tokens)
        self._watch = Watch(deadline)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._session = self._stack.enter_context(_session(self._watch))
        self._stack.enter_context(self._watch)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def ask(self, url: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        """Yield the answer that redirects lead to; its body was not read.

        Raises:
            TransferFailed: No try will bring an answer.
            TryAgain: The network failed; the next try may not.
        """
        refuse_address(url)
        first, hops = origin(url), 0
        headers = {"Accept-Encoding": "identity", "User-Agent": "modelmedic", **headers}
        self.is_listed = False
        while hops <= MAX_REDIRECTS:
            with self._ask_once(url, headers) as answer:
                is_closed = answer.status_code == HTTPStatus.UNAUTHORIZED
                if is_closed and self._tokens.pop(origin(url), None) is not None:
                    # An expired token closes even public repositories; without one they are open.
                    continue
                if listed := listed_sha256(answer):
                    self.is_listed = self._refuse_other(listed)
                if answer.status_code in _CLOSED and origin(url) != first:
                    # The signed address of a content network has run out: ask for a new one.
                    raise TryAgain(f"{origin(url)} answers HTTP {answer.status_code}")
                if answer.status_code not in _REDIRECTS or "Location" not in answer.headers:
                    with SEEN.arriving() as self._arrived:
                        yield answer
                    return
                url = _target(url, answer.headers["Location"])
                hops += 1
        raise TransferFailed(
            f"The server redirects more than {MAX_REDIRECTS} times; most often in a circle."
        )

    def read(self, answer: requests.Response) -> tuple[bytes, float]:
        """Return what has arrived of a body, b"" at its end, and the seconds waited for it.

        Raises:
            TransferFailed: It came too slowly, or the time is over.
            TryAgain: The connection broke.
        """
        began = self._watch.begin()
        try:
            # Bytes as they were sent, as soon as some are there.
            if hasattr(answer.raw, "read1"):
                block = answer.raw.read1(_READ_BYTES, decode_content=False)
            else:
                block = answer.raw.read(_FULL_READ_BYTES, decode_content=False)
        except Exception as error:
            self._watch.end()
            raise _judged(error) from error
        seconds = time.monotonic() - began
        self._watch.end()
        self._arrived[0] += len(block or b"")
        return block or b"", seconds

    def _refuse_other(self, listed: str) -> bool:
        """Refuse a source that holds another content; return whether it lists ours."""
        if self._sha256 and listed != self._sha256:
            raise TransferFailed(
                f"The server lists sha256 {listed[:12]}; {self._sha256[:12]} is expected.",
                "It holds another version of this file.",
            )
        return listed == self._sha256

    def _ask_once(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        refuse_address(url)
        proxying.refuse_unquoted(url)
        token = self._tokens.get(origin(url), "")
        if not re.fullmatch(r"[!-~]*", token):
            raise TransferFailed(f"The token for {origin(url)} has characters no token has.")

        def sign(request: Any) -> Any:
            if token:
                request.headers["Authorization"] = f"Bearer {token}"
            return request

        self._watch.begin()
        try:
            answer = self._session.get(
                url,
                headers=dict(headers),
                auth=sign,  # in place of ~/.netrc, also without a token
                stream=True,
                allow_redirects=False,
                timeout=(CONNECT_SECONDS, READ_SECONDS),
                proxies=proxying.none() if proxying.is_loopback(url) else None,
            )
        except Exception as error:
            self._watch.close()
            self._watch.end()
            if proxying.is_unreadable(error, url):
                raise proxying.unreadable(url) from None  # its text repeats the address
            raise _judged(error, url) from error
        self._watch.end()
        return answer


def origin(url: str) -> str:
    """Return scheme, host and port of a URL without credentials; a usual port is left out."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port and parts.port != _USUAL_PORTS.get(parts.scheme) else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}"


def shown(url: str) -> str:
    """Return an address fit for a message: without credentials, query or signature."""
    try:
        return printable(origin(url) + urlsplit(url).path)
    except ValueError:
        return "The source"


def refuse_address(url: str) -> None:
    """Refuse what is no http or https address.

    Raises:
        TransferFailed: Names what is wrong with it.
    """
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
        parts = urlsplit("")
    if not is_whole or parts.scheme not in _USUAL_PORTS:
        start = printable(re.split(r"[?#]", url, maxsplit=1)[0])[:120]
        raise TransferFailed(f"{start} is no http or https address.")


def _target(url: str, location: str) -> str:
    """Return where a redirect leads.

    Raises:
        TransferFailed: Nowhere a file could be fetched from.
    """
    try:
        # http.client reads headers as Latin-1; addresses are sent in UTF-8.
        target = urljoin(url, location.encode("latin-1").decode("utf-8").strip())
        refuse_address(target)
    except ValueError as error:
        raise TransferFailed("The server redirects to an address that cannot be read.") from error
    except TransferFailed as error:
        raise TransferFailed(f"The server redirects elsewhere: {error.what}") from error
    return target


def _session(watch: Watch) -> requests.Session:
    import requests
    from requests.adapters import HTTPAdapter

    class Adapter(HTTPAdapter):
        def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
            pool = super().get_connection_with_tls_context(*args, **options)
            watch.follow(pool)
            return pool

    class Session(requests.Session):
        def get_redirect_target(self, resp: requests.Response) -> str | None:
            """Say that there is none: requests would read the whole body to follow it."""
            del resp
            return None

    session = Session()
    session.mount("http://", Adapter())
    session.mount("https://", Adapter())
    return session


def _judged(error: Exception, url: str = "") -> Exception:
    """Return what an error of the network means: the next try may help, or none will."""
    import requests
    import urllib3

    network = (requests.RequestException, urllib3.exceptions.HTTPError)
    is_odd = isinstance(error, ValueError) or not isinstance(error, network)
    words = told_words(error) + proxying.words(url)
    if is_odd or any(isinstance(each, ssl.SSLCertVerificationError) for each in chain(error)):
        return TransferFailed(f"The server cannot be asked: {words}.")
    return TryAgain(words)
