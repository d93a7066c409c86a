"""Real servers on 127.0.0.1: HTTP, TLS, an HTTP proxy, a port that refuses, black holes."""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from modelmedic.profile.model import Endpoint

# What steers programs through a network; tests of the network begin without any of it.
VARIABLES = (
    *(
        case(name)
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
        for case in (str.lower, str.upper)
    ),
    "REQUEST_METHOD",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HF_ENDPOINT",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "HF_TOKEN_PATH",
    "HF_HOME",
    "XDG_CACHE_HOME",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN",
    "HF_HUB_DISABLE_XET",
)


def calm(monkeypatch) -> None:
    """Take every setting of this machine's network out of the environment."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def impatient(monkeypatch, **seconds: int) -> None:
    """Give every stage two seconds, so that a test of silence ends soon."""
    from modelmedic.limits import TimeoutManager

    stages = ("dns_lookup", "tcp_connect", "tls_handshake", "http_request")
    shorter = dict.fromkeys(stages, 2) | seconds
    monkeypatch.setattr(
        TimeoutManager, "DEFAULT_TIMEOUTS", {**TimeoutManager.DEFAULT_TIMEOUTS, **shorter}
    )


def endpoint(url: str, **overrides) -> Endpoint:
    return Endpoint(**{"name": "server", "url": url, "kind": "other"} | overrides)


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0


@dataclass(frozen=True)
class Seen:
    method: str
    target: str
    headers: Mapping[str, str]


class Server:
    """An HTTP server that answers what a function says and remembers what it was asked."""

    def __init__(self, reply: Reply | Callable[[Seen], Reply], tls: ssl.SSLContext | None) -> None:
        self.seen: list[Seen] = []
        self.stopped = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                seen = Seen(
                    self.command, self.path, {k.lower(): v for k, v in self.headers.items()}
                )
                outer.seen.append(seen)
                answer = reply(seen) if callable(reply) else reply
                if answer.delay_seconds and outer.stopped.wait(answer.delay_seconds):
                    return
                self.send_response(answer.status)
                for name, value in {
                    "Content-Length": str(len(answer.body)),
                    **answer.headers,
                }.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)

            do_HEAD = do_GET  # noqa: N815 - a name that http.server looks up

            def log_message(self, *_: object) -> None:
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            def handle_error(self, request, client_address) -> None:
                """A client that goes away is what these tests are about."""

            def finish_request(self, request, client_address) -> None:
                if tls is None:
                    super().finish_request(request, client_address)
                    return
                request.settimeout(10)
                with tls.wrap_socket(request, server_side=True) as secured:
                    super().finish_request(secured, client_address)

        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.port = self.http.server_port
        self.scheme = "https" if tls else "http"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def close(self) -> None:
        self.stopped.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@contextlib.contextmanager
def serving(
    reply: Reply | Callable[[Seen], Reply] = Reply(), tls: ssl.SSLContext | None = None
) -> Iterator[Server]:
    server = Server(reply, tls)
    try:
        yield server
    finally:
        server.close()


class Proxy:
    """An HTTP proxy: CONNECT and absolute URLs, for the hosts of ``known`` only.

    ``known`` maps "host:port" as clients ask for it to the loopback port that stands for it, so
    that no test ever looks up a name.
    """

    def __init__(self, known: Mapping[str, int], password: str = "", refusal: str = "") -> None:
        self.asked: list[str] = []
        self.known, self.password, self.refusal = known, password, refusal
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(0.05)
        self.port = self.listener.getsockname()[1]
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while not self.stopped.is_set():
            with contextlib.suppress(TimeoutError):
                client, _ = self.listener.accept()
                thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
                self.threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.settimeout(5)
            head = b""
            while b"\r\n\r\n" not in head:
                got = client.recv(4096)
                if not got:
                    return
                head += got
            line = head.split(b"\r\n")[0].decode()
            self.asked.append(line)
            client.sendall(self._answer(line, head.decode("latin-1"), client))

    def _answer(self, line: str, head: str, client: socket.socket) -> bytes:
        import base64

        method, target, _ = line.split(" ", 2)
        told = base64.b64encode(self.password.encode()).decode()
        if self.password and f"Proxy-Authorization: Basic {told}" not in head:
            return b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n'
        if self.refusal:
            return f"HTTP/1.1 {self.refusal}\r\nContent-Length: 0\r\n\r\n".encode()
        host = target if method == "CONNECT" else target.split("/")[2]
        if host not in self.known:
            return b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self.known[host]), timeout=5) as server:
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = "/" + "".join(target.split("/", 3)[3:])
                server.sendall(head.replace(target, path, 1).encode("latin-1"))
            self._pump(client, server)
        return b""

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        import select

        while not self.stopped.is_set():
            ready, _, _ = select.select([client, server], [], [], 0.05)
            for sock in ready:
                piece = sock.recv(65536)
                if not piece:
                    return
                (server if sock is client else client).sendall(piece)

    def close(self) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join(5)
        self.listener.close()


@contextlib.contextmanager
def proxying(known: Mapping[str, int], password: str = "", refusal: str = "") -> Iterator[Proxy]:
    proxy = Proxy(known, password, refusal)
    try:
        yield proxy
    finally:
        proxy.close()


def refusing_port() -> int:
    """Return a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def silent_after_connect() -> Iterator[int]:
    """A port whose connections are taken by the kernel and never answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        yield listener.getsockname()[1]


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """A port that takes no connection at all: its queue is full, so Linux drops what comes."""
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = listener.getsockname()[1]
        for _ in range(8):
            filler = opened.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        time.sleep(0.05)
        yield port


@contextlib.contextmanager
def saying(data: bytes, *, every_seconds: float = 0.0) -> Iterator[int]:
    """A port that says ``data`` to whoever connects: at once, or byte by byte for ever."""
    stopped = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)

    def say(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.settimeout(1)
            client.recv(4096)
            if not every_seconds:
                client.sendall(data)
                return
            while not stopped.wait(every_seconds):
                client.sendall(data)

    def accept() -> None:
        threads = []
        while not stopped.is_set():
            with contextlib.suppress(TimeoutError):
                client, _ = listener.accept()
                threads.append(threading.Thread(target=say, args=(client,), daemon=True))
                threads[-1].start()
        for thread in threads:
            thread.join(5)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stopped.set()
        thread.join(10)
        listener.close()


def server_context(certificate) -> ssl.SSLContext:
    """Return the TLS context of a server with a trustme certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context
