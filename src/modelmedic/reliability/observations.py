"""What this process saw of the network lately: an error's context asks nobody."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from modelmedic.reliability.error_context import NetworkStatus

_RECENT_SECONDS = 60.0  # transfers that count for the bandwidth in use
_KEPT = 32
_NAME_ERRORS = frozenset({"NameResolutionError", "ClientConnectorDNSError"})  # urllib3, aiohttp


@dataclass(frozen=True, slots=True)
class _Transfer:
    at: float
    size_bytes: int
    seconds: float


class Observations:
    """The last connection, the last name lookup and the last transfers; safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connectivity = True
        self._dns = True
        self._latency_ms = math.nan
        self._at = -math.inf
        self._transfers: deque[_Transfer] = deque(maxlen=_KEPT)

    def note_connection(
        self, ok: bool, latency_ms: float = math.nan, dns_ok: bool | None = None
    ) -> None:
        """Take note of one try to reach a server.

        Args:
            ok: Whether it answered.
            latency_ms: How long the connection took to be made; NaN when that was not measured.
            dns_ok: Whether its name was found; None when no name was looked up.
        """
        with self._lock:
            self._connectivity, self._at = ok, time.monotonic()
            if not math.isnan(latency_ms):
                self._latency_ms = latency_ms
            if dns_ok is not None or ok:
                self._dns = dns_ok is not False

    def note_transfer(self, size_bytes: int, seconds: float) -> None:
        """Take note of bytes that arrived within ``seconds``."""
        if size_bytes <= 0 or seconds <= 0:
            return  # nothing was carried: that says nothing of the line's width
        with self._lock:
            self._at = time.monotonic()
            self._transfers.append(_Transfer(self._at, size_bytes, seconds))
            self._connectivity = True

    def note_errors(self, errors: Iterable[BaseException]) -> None:
        """Take note of what an error and its causes show: a name not found, a server not there."""
        kinds = [type(error) for error in errors]
        names = {kind.__name__ for entry in kinds for kind in entry.__mro__}
        if names & _NAME_ERRORS or any(issubclass(kind, socket.gaierror) for kind in kinds):
            self.note_connection(False, dns_ok=False)
        elif any(issubclass(kind, ConnectionError) for kind in kinds):
            self.note_connection(False)

    def status(self, *, proxy_configured: bool) -> NetworkStatus:
        """Return the network as it was seen lately."""
        with self._lock:
            last = self._transfers[-1] if self._transfers else None
            return NetworkStatus(
                connectivity=self._connectivity,
                latency_ms=self._latency_ms,
                bandwidth_mbps=_mbps([last]) if last else math.nan,
                proxy_configured=proxy_configured,
                dns_resolution=self._dns,
                age_seconds=time.monotonic() - self._at,
            )

    def recent_mbps(self) -> float:
        """Return megabits a second over the transfers of the last minute; NaN without any."""
        since = time.monotonic() - _RECENT_SECONDS
        with self._lock:
            recent = [entry for entry in self._transfers if entry.at >= since]
        return _mbps(recent) if recent else math.nan


def _mbps(transfers: list[_Transfer]) -> float:
    return sum(t.size_bytes for t in transfers) * 8e-6 / sum(t.seconds for t in transfers)


# Of the process, as its connections are: every manager in it sees the same network.
SEEN = Observations()
note_connection = SEEN.note_connection
note_transfer = SEEN.note_transfer
