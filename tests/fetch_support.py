"""A server that answers with whatever bytes a test writes, sensible or not."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

PACE_SECONDS = 0.02


class RawServer:
    """Hands each connection to ``answer(server, connection, head)``, then closes it.

    ``heads`` are the requests as they came, in order. ``drip`` ends when the client goes away or
    the server stops.
    """

    def __init__(
        self,
        answer: Callable[[RawServer, socket.socket, str], None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.heads: list[str] = []
        self.stopped = threading.Event()
        self._answer = answer
        self._tls = tls
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}/file"
        self._loop = threading.Thread(target=self._run, daemon=True)
        self._loop.start()

    def drip(self, connection: socket.socket, pieces: Iterator[bytes]) -> None:
        for piece in pieces:
            if self.stopped.wait(PACE_SECONDS):
                return
            connection.sendall(piece)

    def close(self) -> None:
        self.stopped.set()
        self._loop.join()
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _run(self) -> None:
        while not self.stopped.is_set():
            try:
                connection, _peer = self._listener.accept()
            except TimeoutError:
                continue
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        with contextlib.ExitStack() as opened, contextlib.suppress(OSError):
            opened.enter_context(connection)
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
                opened.enter_context(connection)
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(65536)
                if not piece:
                    return
                head += piece
            self.heads.append(head.decode("latin-1"))
            self._answer(self, connection, self.heads[-1])
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)  # until the client has closed: a reset would take bytes back


@contextlib.contextmanager
def raw(
    answer: bytes | Callable[[RawServer, socket.socket, str], None],
    tls: ssl.SSLContext | None = None,
) -> Iterator[RawServer]:
    """Serve the same bytes to everyone, or what a function sends."""

    def same(_server: RawServer, connection: socket.socket, _head: str) -> None:
        assert isinstance(answer, bytes)
        connection.sendall(answer)

    server = RawServer(answer if callable(answer) else same, tls)
    try:
        yield server
    finally:
        server.close()


def reply(status: str, *headers: str | bytes, body: bytes = b"", length: bool = True) -> bytes:
    """Return an HTTP/1.1 answer; ``length`` adds a Content-Length that is right."""
    lines = [f"HTTP/1.1 {status}", "Connection: close", *headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    encoded = [line if isinstance(line, bytes) else line.encode("latin-1") for line in lines]
    return b"\r\n".join([*encoded, b"", body])


def asked_from(head: str) -> int | None:
    """Return the offset a request asks from; None when it asks for the whole file."""
    match = re.search(r"(?im)^range: bytes=(\d+)-\r?$", head)
    return int(match[1]) if match else None


def authorization(head: str) -> str | None:
    """Return the Authorization header of a request; None without one."""
    match = re.search(r"(?im)^authorization: (.*?)\r?$", head)
    return match[1] if match else None
