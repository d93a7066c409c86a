"""Which failures pass by themselves: the one table of what may be tried again unasked.

What `modelmedic.healing.classify` calls network or timeout passes, except what the rules below
name: there the next try would end the same way, and another way (a recovery) is needed.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from modelmedic.errors import ModelmedicError, OperationTimedOut, Unhealthy
from modelmedic.findings import EnhancedErrorCategory as Category
from modelmedic.http_answer import RETRY_STATUSES, asked_seconds

_PASSING = frozenset({Category.NETWORK, Category.TIMEOUT})
_LINKS = 20
_STATUSES = range(300, 600)
# Of a class, by package and name: nothing is imported to ask.
_FINAL_TYPES = {
    ("requests", "TooManyRedirects"): "redirects lead in a circle",
    ("httpx", "TooManyRedirects"): "redirects lead in a circle",
    ("requests", "RetryError"): "the library below has tried it again itself",
    ("requests", "ContentDecodingError"): "the server's answer cannot be read",
    ("requests", "JSONDecodeError"): "the server's answer is none that was asked for",
    ("huggingface_hub", "OfflineModeIsEnabled"): "a setting forbids the network",
    ("huggingface_hub", "LocalEntryNotFoundError"): "it is not there, and may not be fetched",
    ("huggingface_hub", "FileMetadataError"): "the server does not tell what a Hub tells",
}
# POSIX getaddrinfo: EAI_AGAIN may succeed later; the others are answers. glibc gives EAI_AGAIN when
# no server answered. Windows and macOS say "no such name" without a network too: a wait of seconds
# does not bring that back either.
_PASSING_NAMES = frozenset({socket.EAI_AGAIN, 11002})  # 11002: WSATRY_AGAIN


def why_final(error: BaseException) -> str:
    """Return why trying again is no use, as the end of a sentence; "" when it may be."""
    if not isinstance(error, Exception):
        return "somebody or something ended it"
    if isinstance(error, OperationTimedOut):
        return ""
    for link in links(error):
        for rule in _RULES:
            if reason := rule(link):
                return reason
    from modelmedic.healing.classify import classify

    category = classify(error)
    if category in _PASSING:
        return ""
    return f"it is a failure of the kind {category.value}" if category else "its kind is not known"


def is_transient(error: BaseException) -> bool:
    """Return whether a failure is of a kind that passes by itself."""
    return not why_final(error)


def asked_by_server(error: BaseException) -> float | None:
    """Return the wait that an error's answer asks for, in seconds; None when it asks for none."""
    for link in links(error):
        for holder in (getattr(link, "response", None), link):
            headers = _headers(holder)
            if headers and (seconds := asked_seconds(_AnyCase(headers))) is not None:
                return seconds
    return None


def links(error: BaseException) -> Iterator[BaseException]:
    """Give an error and what it came from, not what merely was being handled when it arose.

    urllib3 and requests put the cause into ``reason`` or the arguments.
    """
    seen: set[int] = set()
    waiting = [error]
    while waiting and len(seen) < _LINKS:
        link = waiting.pop(0)
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        inner = (link.__cause__, _field(link, "reason"), *getattr(link, "args", ())[:2])
        waiting += [each for each in inner if isinstance(each, BaseException)]


class _AnyCase(dict[str, str]):
    """Headers whose names have no case, also where they came as a plain dict."""

    def __init__(self, headers: Mapping[str, Any]) -> None:
        super().__init__({str(name).lower(): str(value) for name, value in headers.items()})

    def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
        return super().get(name.lower(), default)


def _headers(holder: object) -> Mapping[str, Any] | None:
    found = _field(holder, "headers")
    return found if hasattr(found, "items") else None  # type: ignore[return-value]


def _of_certificate(error: BaseException) -> str:
    """RFC 5280: a certificate is judged by what it says; a second look says the same."""
    is_ours = isinstance(error, ssl.SSLCertVerificationError)
    return "the server's certificate was refused" if is_ours else ""


def _of_status(error: BaseException) -> str:
    """RFC 9110 15: an answer 4xx stays, but for 408, 425 and 429; 501, 505 and 511 say so too."""
    response = _field(error, "response")
    holders = ((response, "status_code"), (response, "status"), (error, "status"), (error, "code"))
    for holder, name in holders:
        status = _field(holder, name)
        if isinstance(status, int) and not isinstance(status, bool) and status in _STATUSES:
            return "" if status in RETRY_STATUSES else f"the server answered HTTP {status}"
    return ""


def _of_name(error: BaseException) -> str:
    if isinstance(error, socket.gaierror) and error.errno not in _PASSING_NAMES:
        return "there is no server of that name"
    return ""


def _of_our_own(error: BaseException) -> str:
    """What modelmedic gave up was tried again already; nothing is tried again twice."""
    if isinstance(error, Unhealthy):
        return "it is the verdict of a check"
    if isinstance(error, ModelmedicError) and not isinstance(error, OperationTimedOut):
        return "modelmedic has tried what it may"
    return ""


def _of_type(error: BaseException) -> str:
    for kind in type(error).__mro__:
        package = kind.__module__.partition(".")[0]
        if reason := _FINAL_TYPES.get((package, kind.__name__)):
            return reason
    return "it was cancelled" if isinstance(error, asyncio.CancelledError) else ""


def _field(holder: object, name: str) -> object:
    try:
        return getattr(holder, name, None)
    except Exception:  # noqa: BLE001 - a property of a foreign class; httpx has ones that raise
        return None


_RULES: tuple[Callable[[BaseException], str], ...] = (
    _of_our_own,
    _of_certificate,
    _of_status,
    _of_name,
    _of_type,
)
