"""Sockets and threads of a loopback Hub: take a request, have its fault, send the answer."""

from __future__ import annotations

import contextlib
import http.server
import io
import socket
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from modelmedic.testing._faults import HEALTHY, Fault
from modelmedic.testing._protocol import Answer, Request, pointer_answer
from modelmedic.testing._repos import HubFile

_PIECE_BYTES = 256 << 10
_MAX_REQUEST_BODY_BYTES = 1 << 20
_MAX_CONNECTIONS = 128
_IDLE_SECONDS = 60.0
_JOIN_SECONDS = 5.0
_POLL_SECONDS = 0.02
_DRAIN_SECONDS = 2.0
_DRAIN_STEP_SECONDS = 0.01
_BLIND_DRAIN_SECONDS = 0.2  # where the system does not say what it still holds


@dataclass(slots=True)
class Entry:
    """One request as it is being answered; the hub hands out frozen copies."""

    side: str
    method: str
    path: str
    range: str | None
    authorization: bool
    status: int | None = None
    bytes_sent: int = 0


@dataclass(frozen=True, slots=True)
class Desk:
    """What a handler needs from its hub.

    Args:
        side: ``hub`` or ``cdn``.
        answer: From a request to the healthy answer.
        take_fault: From ``SIDE METHOD PATH`` and "has a body" to a fault.
        note: Keeps an entry for the record.
        stopped: Set when the hub stops; every wait looks at it.
    """

    side: str
    answer: Callable[[Request], Answer]
    take_fault: Callable[[str, bool], Fault]
    note: Callable[[Entry], None]
    stopped: threading.Event


class Server(http.server.ThreadingHTTPServer):
    """One port of the hub; ``close()`` ends its connections and its threads.

    Args:
        desk: What its handlers need.
        port: On 127.0.0.1; 0 takes a free one.

    Raises:
        OSError: The port is taken.
    """

    daemon_threads = True
    request_queue_size = 64
    allow_reuse_address = sys.platform != "win32"  # there it would let two servers share a port

    def __init__(self, desk: Desk, port: int) -> None:
        self.desk = desk
        self._open: dict[threading.Thread, socket.socket] = {}
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), Handler)
        self._loop = threading.Thread(
            target=self.serve_forever,
            args=(_POLL_SECONDS,),
            name=f"loopback-{desk.side}",
            daemon=True,
        )
        self._loop.start()

    def server_bind(self) -> None:
        """Bind without asking DNS for our name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def process_request(self, request: object, client_address: object) -> None:
        """Answer on a thread of its own that ``close()`` can find; refuse the 129th client."""
        assert isinstance(request, socket.socket)
        thread = threading.Thread(
            target=self._answer_one,
            args=(request, client_address),
            name=f"loopback-{self.desk.side}-answer",
            daemon=True,
        )
        with self._lock:
            if len(self._open) < _MAX_CONNECTIONS and not self.desk.stopped.is_set():
                with contextlib.suppress(RuntimeError):  # no more threads: refused like the 129th
                    thread.start()  # it waits for the lock before it forgets itself
                    self._open[thread] = request
                    return
        self.shutdown_request(request)

    def _answer_one(self, request: socket.socket, client_address: object) -> None:
        try:
            self.process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._open.pop(threading.current_thread(), None)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that went away; let a fault of ours be seen."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def close(self) -> None:
        """Stop listening, end every connection and wait for the threads, five seconds at most."""
        self.shutdown()
        self.server_close()
        with self._lock:
            left = dict(self._open)
        for connection in left.values():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + _JOIN_SECONDS
        for thread in (self._loop, *left):
            thread.join(max(0.0, deadline - time.monotonic()))


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True  # header and body are two writes: 40 ms with it
    server: Server

    def version_string(self) -> str:
        """Return the Server header: which Python runs us is nobody's business."""
        return "modelmedic-loopback"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - stdlib's name
        """Print nothing; requests are recorded."""

    def _serve(self) -> None:
        desk = self.server.desk
        self._entry = Entry(
            desk.side,
            self.command,
            self.path,
            self.headers.get("Range"),
            "Authorization" in self.headers,
        )
        desk.note(self._entry)
        request = self._request()
        if request is None:
            return
        answer = desk.answer(request)
        line = f"{desk.side} {self.command} {self.path}"
        fault = desk.take_fault(line, answer.is_content and self.command != "HEAD")
        if fault.ignore_range:
            headers = {name: value for name, value in request.headers.items() if name != "range"}
            answer = desk.answer(Request(request.method, request.target, headers, request.body))
        if not self._is_gone(fault):
            self._send(_changed(answer, fault), fault)

    do_GET = do_HEAD = do_POST = _serve  # noqa: N815 - names that http.server looks up

    def _request(self) -> Request | None:
        """Return the request with its body; None if the body is too large, which is answered."""
        text = self.headers.get("Content-Length") or "0"
        size_bytes = int(text) if text.isdecimal() else _MAX_REQUEST_BODY_BYTES + 1
        if size_bytes > _MAX_REQUEST_BODY_BYTES:
            self.close_connection = True
            self._send(Answer(413), HEALTHY)
            return None
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request(self.command, self.path, headers, self.rfile.read(size_bytes))

    def _is_gone(self, fault: Fault) -> bool:
        """Wait or reset before the header as the fault says; return whether that was the end."""
        if (
            fault.stall_seconds
            and fault.stall_after_bytes is None
            and self._stops_within(fault.stall_seconds)
        ):
            return True
        if fault.reset and fault.cut_after_bytes is None:
            self._reset()
            return True
        return False

    def _send(self, answer: Answer, fault: Fault) -> None:
        length = answer.size_bytes
        if fault.short_body_bytes is not None:
            length = min(length, fault.short_body_bytes)
        with contextlib.ExitStack() as opened:
            try:
                stream = opened.enter_context(_opened(answer.content))
            except OSError:  # a file on disk that went away after it was listed
                self._send(Answer(500, {"X-Error-Message": "The file went away."}), HEALTHY)
                return
            self._entry.status = answer.status
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(length), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                stream.seek(answer.start)
                self._stream(stream, answer.start, length, fault)

    def _stream(self, stream: BinaryIO, start: int, length: int, fault: Fault) -> None:
        sent = 0
        while sent < length and not self._is_cut(fault, sent):
            room = fault.room(sent) or _PIECE_BYTES
            piece = stream.read(min(_PIECE_BYTES, length - sent, room))
            if not piece:  # the file on disk became shorter: an honest server hangs up
                self.close_connection = True
                return
            self._entry.bytes_sent += len(piece)
            self.wfile.write(fault.spoil(piece, start + sent))
            sent += len(piece)
            pause_seconds = len(piece) / fault.bytes_per_second if fault.bytes_per_second else 0
            if pause_seconds and self._stops_within(pause_seconds):
                return

    def _is_cut(self, fault: Fault, sent: int) -> bool:
        """Stall, close or reset after ``sent`` bytes of body; return whether that was the end."""
        if fault.stall_after_bytes == sent and self._stops_within(fault.stall_seconds):
            return True
        if fault.cut_after_bytes != sent:
            return False
        self.close_connection = True
        if fault.reset:
            self._drain()
            self._reset()
        return True

    def _stops_within(self, seconds: float) -> bool:
        """Wait; return whether the hub was stopped meanwhile, which ends this connection."""
        if self.server.desk.stopped.wait(seconds):
            self.close_connection = True
            return True
        return False

    def _drain(self) -> None:
        """Wait until the client has what was sent: a reset takes back what it has not."""
        if sys.platform != "linux":
            self._stops_within(_BLIND_DRAIN_SECONDS)
            return
        import fcntl
        import termios

        deadline = time.monotonic() + _DRAIN_SECONDS
        while any(fcntl.ioctl(self.connection, termios.TIOCOUTQ, bytes(4))):
            if time.monotonic() > deadline or self._stops_within(_DRAIN_STEP_SECONDS):
                return

    def _reset(self) -> None:
        """Close at once, without a goodbye: the client sees a reset."""
        self.close_connection = True
        linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()  # for good once its reader closes, before the server's goodbye


def _changed(answer: Answer, fault: Fault) -> Answer:
    if fault.pointer:
        answer = pointer_answer(answer)
    if fault.status is not None:
        answer = Answer(fault.status, fault.headers, fault.body)
    return answer


def _opened(content: bytes | HubFile) -> BinaryIO:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open()
