"""What this process saw of the network lately: whoever connects or fetches notes it here."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

_RECENT_SECONDS = 60.0  # transfers that count for the bandwidth in use
_KEPT = 32


@dataclass(frozen=True, slots=True)
class _Transfer:
    at: float
    size_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Seen:
    """The network as it was seen last; NaN for what was not measured yet.

    ``age_seconds`` is infinite before any observation, and the rest is then as in good times.
    """

    is_connected: bool
    has_names: bool
    latency_ms: float
    mbps: float
    age_seconds: float


class Observations:
    """The last connection, the last name lookup and the last transfers; safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_connected = True
        self._has_names = True
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
            self._is_connected, self._at = ok, time.monotonic()
            if not math.isnan(latency_ms):
                self._latency_ms = latency_ms
            if dns_ok is not None or ok:
                self._has_names = dns_ok is not False

    def note_transfer(self, size_bytes: int, seconds: float) -> None:
        """Take note of bytes that arrived within ``seconds``."""
        if size_bytes <= 0 or seconds <= 0:
            return  # nothing was carried: that says nothing of the line's width
        with self._lock:
            self._at = time.monotonic()
            self._transfers.append(_Transfer(self._at, size_bytes, seconds))
            self._is_connected = True

    @contextlib.contextmanager
    def connecting(self) -> Iterator[None]:
        """Note how long the connection took that is made inside, or that it was not made."""
        began = time.monotonic()
        try:
            yield
        except Exception as error:
            is_name = type(error).__name__ == "NameResolutionError"  # urllib3's, not imported yet
            self.note_connection(False, dns_ok=False if is_name else None)
            raise
        self.note_connection(True, (time.monotonic() - began) * 1000, dns_ok=True)

    @contextlib.contextmanager
    def arriving(self) -> Iterator[list[int]]:
        """Yield a list of one number, to which is added what arrives inside; note it at the end."""
        began, arrived_bytes = time.monotonic(), [0]
        try:
            yield arrived_bytes
        finally:
            self.note_transfer(arrived_bytes[0], time.monotonic() - began)

    def last(self) -> Seen:
        """Return what was seen last."""
        with self._lock:
            transfer = self._transfers[-1] if self._transfers else None
            return Seen(
                is_connected=self._is_connected,
                has_names=self._has_names,
                latency_ms=self._latency_ms,
                mbps=_mbps([transfer]) if transfer else math.nan,
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


# Of the process, as its connections are: all that is in it sees the same network.
SEEN = Observations()
