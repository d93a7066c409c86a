"""A TCP proxy on 127.0.0.1 that makes a network bad: latency, resets, trickle, silence.

It reads nothing of what passes, so it stands before any server: a Hub, TLS, another proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_PIECE_BYTES = 1 << 16
_TICKS_PER_SECOND = 20


@dataclass(frozen=True)
class Toxic:
    """What one connection suffers on the way from the server to the client.

    Args:
        latency_seconds: Before each piece.
        reset_after_bytes: The connection is reset once this many have passed; None: never.
        bytes_per_second: Trickled at this rate; None: as fast as it comes.
        is_silent: Nothing of the server comes through, and nothing ends either.
    """

    latency_seconds: float = 0.0
    reset_after_bytes: int | None = None
    bytes_per_second: int | None = None
    is_silent: bool = False


HEALTHY = Toxic()


class ToxicProxy:
    """Passes each connection on to ``target_port``; ``toxic(n)`` says what the n-th suffers.

    ``connections`` is how many there were, ``passed_bytes`` what clients were given.
    """

    def __init__(
        self,
        target_port: int,
        toxic: Toxic | Callable[[int], Toxic],
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.target_port = target_port
        self.connections = 0
        self.passed_bytes = 0
        self._toxic = toxic if callable(toxic) else lambda _number: toxic
        self._host, self._tls = host, tls
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="toxic-proxy", daemon=True)
        self._thread.start()
        self._ready.wait(10)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._accept, self._host, 0, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopped.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        toxic = self._toxic(self.connections)
        self.connections += 1
        try:
            with contextlib.suppress(OSError):
                await self._join(reader, writer, toxic)
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _join(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, toxic: Toxic
    ) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        up = asyncio.ensure_future(_pump(reader, up_writer))
        try:
            await self._down(up_reader, writer, toxic)
        finally:
            up.cancel()
            up_writer.close()

    async def _down(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, toxic: Toxic
    ) -> None:
        passed = 0
        if toxic.is_silent:
            await self._stopped.wait()
        while piece := await reader.read(_piece_bytes(toxic)):
            await asyncio.sleep(toxic.latency_seconds)
            if toxic.bytes_per_second is not None:
                await asyncio.sleep(len(piece) / toxic.bytes_per_second)
            limit = toxic.reset_after_bytes
            if limit is not None and passed + len(piece) > limit:
                writer.write(piece[: max(0, limit - passed)])
                await writer.drain()
                self.passed_bytes += max(0, limit - passed)
                _reset(writer)
                return
            writer.write(piece)
            await writer.drain()
            passed += len(piece)
            self.passed_bytes += len(piece)


def _piece_bytes(toxic: Toxic) -> int:
    if toxic.bytes_per_second is None:
        return _PIECE_BYTES
    return max(1, toxic.bytes_per_second // _TICKS_PER_SECOND)


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST, as a broken middle box does: no orderly goodbye."""
    held = writer.get_extra_info("socket")
    held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(_PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()


@contextlib.contextmanager
def toxic_proxy(
    target_port: int,
    toxic: Toxic | Callable[[int], Toxic] = HEALTHY,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
) -> Iterator[ToxicProxy]:
    """Run a proxy before a server of 127.0.0.1 and stop it again; ``tls``: clients speak TLS."""
    proxy = ToxicProxy(target_port, toxic, host, tls)
    try:
        yield proxy
    finally:
        proxy.close()
