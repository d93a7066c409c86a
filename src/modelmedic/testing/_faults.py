"""Faults a loopback Hub can be told to have, and the book that hands them out."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

_PORTAL = b"""<!DOCTYPE html>
<html><head><title>Sign in to the network</title></head>
<body><h1>Welcome</h1><form action="/login"><input name="room"></form></body></html>
"""
_TICK_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong with one answer; fields combine, such as no Range and a close.

    Args:
        status: Answer with this status, ``headers`` and ``body`` instead.
        headers: Only with ``status``, such as ``{"Retry-After": "3"}``.
        body: Only with ``status``.
        pointer: Send the LFS pointer's text where the file should be (files in LFS only).
        reset: End with a TCP reset: before the header, or after ``cut_after_bytes``.
        cut_after_bytes: End the connection after this many bytes of body, cleanly unless
            ``reset``. What a reset leaves unread in the client's buffer depends on its system.
        short_body_bytes: Send only so much of the body, and say so in Content-Length.
        flip_byte_at: Send the byte at this offset of the file with its lowest bit turned over.
        stall_seconds: Send nothing for so long: before the header, or after
            ``stall_after_bytes`` bytes of body. Ends at once when the hub is stopped.
        stall_after_bytes: Only with ``stall_seconds``.
        bytes_per_second: Let the body trickle.
        ignore_range: Behave as a server without Range support: 200 and the whole file.

    Raises:
        ValueError: A number is negative, or a field is given without the one it belongs to.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    pointer: bool = False
    reset: bool = False
    cut_after_bytes: int | None = None
    short_body_bytes: int | None = None
    flip_byte_at: int | None = None
    stall_seconds: float = 0.0
    stall_after_bytes: int | None = None
    bytes_per_second: int | None = None
    ignore_range: bool = False

    def __post_init__(self) -> None:
        for name in _NUMBERS:
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} must not be negative")
        if self.bytes_per_second == 0:
            raise ValueError("bytes_per_second must be above 0; use stall_seconds for silence")
        if self.status is None and (self.headers or self.body):
            raise ValueError("headers and body need a status")
        if self.stall_after_bytes is not None and not self.stall_seconds:
            raise ValueError("stall_after_bytes needs stall_seconds")

    @classmethod
    def unauthorized(cls) -> Fault:
        """Return the answer of a Hub that does not know the token: 401."""
        return cls(
            status=401, headers={"X-Error-Message": "Invalid credentials in Authorization header"}
        )

    @classmethod
    def gated(cls) -> Fault:
        """Return the answer of a Hub whose owner has not admitted the token: 403."""
        return cls(
            status=403,
            headers={
                "X-Error-Code": "GatedRepo",
                "X-Error-Message": "Access to this model is restricted.",
            },
        )

    @classmethod
    def html_page(cls) -> Fault:
        """Return the page of a captive portal: 200, and HTML whatever was asked for."""
        return cls(status=200, headers={"Content-Type": "text/html"}, body=_PORTAL)

    @property
    def needs_body(self) -> bool:
        """Whether only an answer with content can have it: not HEAD, a redirect or an error."""
        if self.status is not None or self.pointer:
            return False  # it brings its own body
        of_the_body = (
            self.cut_after_bytes,
            self.short_body_bytes,
            self.flip_byte_at,
            self.stall_after_bytes,
            self.bytes_per_second,
        )
        return self.ignore_range or any(value is not None for value in of_the_body)

    def room(self, sent_bytes: int) -> int | None:
        """Return how many bytes may follow ``sent_bytes`` in one piece; None means any."""
        stops = [
            stop - sent_bytes
            for stop in (self.cut_after_bytes, self.stall_after_bytes)
            if stop is not None and stop > sent_bytes
        ]
        if self.bytes_per_second:
            stops.append(max(1, int(self.bytes_per_second * _TICK_SECONDS)))
        return min(stops, default=None)

    def spoil(self, piece: bytes, offset: int) -> bytes:
        """Return ``piece``, which starts at ``offset`` of the file, with the byte turned over."""
        if self.flip_byte_at is None or not 0 <= self.flip_byte_at - offset < len(piece):
            return piece
        spoiled = bytearray(piece)
        spoiled[self.flip_byte_at - offset] ^= 1
        return bytes(spoiled)


_NUMBERS = (
    "cut_after_bytes",
    "short_body_bytes",
    "flip_byte_at",
    "stall_seconds",
    "stall_after_bytes",
    "bytes_per_second",
)
HEALTHY = Fault()


@dataclass(slots=True)
class _Entry:
    pattern: re.Pattern[str]
    fault: Fault
    left: int | None


class FaultBook:
    """Which requests go wrong, how, and how often still; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[_Entry] = []

    def add(self, match: str, fault: Fault, *, times: int | None) -> None:
        """Let the next ``times`` requests that fit ``match`` have ``fault``; None means all."""
        with self._lock:
            self._entries.append(_Entry(re.compile(match), fault, times))

    def take(self, line: str, has_body: bool) -> Fault:
        """Return the first fault for a request, counted as used; ``HEALTHY`` if there is none.

        Args:
            line: ``SIDE METHOD PATH``, the path as it was sent.
            has_body: Whether the answer carries content that a fault could hit.
        """
        with self._lock:
            for entry in self._entries:
                if entry.left != 0 and entry.pattern.search(line):
                    if entry.fault.needs_body and not has_body:
                        continue
                    if entry.left is not None:
                        entry.left -= 1
                    return entry.fault
        return HEALTHY

    def clear(self) -> None:
        """Forget every fault."""
        with self._lock:
            self._entries.clear()
