"""What an HTTP answer to a request for a file means: its bytes, another try, or a final no.

Headers are a stranger's text: one that cannot be read is a fault of the server, said in words.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from modelmedic.errors import ModelmedicError
from modelmedic.text import printable

if TYPE_CHECKING:
    import requests

# What passes. Source: RFC 9110 (408, 500 to 504), RFC 8470 (425), RFC 6585 (429); 520 to 524 are a
# CDN's (Cloudflare): the server behind it did not answer.
RETRY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, *range(520, 525)})
# Codings that change the bytes. Others (S3's stored "aws-chunked") do not; the hash decides then.
_COMPRESSED = frozenset({"gzip", "x-gzip", "deflate", "compress", "x-compress", "br", "zstd"})
_NUMBER = r"[0-9]{1,19}"  # not \d: int() refuses some of what it matches


class TransferFailed(ModelmedicError):  # noqa: N818
    """One source did not give the bytes; says which and why. ``fetched_bytes`` went over the wire.

    ``status`` is the HTTP status when there was one.
    """

    def __init__(
        self, what: str, why: str = "", *, fetched_bytes: int = 0, status: int | None = None
    ) -> None:
        super().__init__(what, why)
        self.fetched_bytes = fetched_bytes
        self.status = status


class TryAgain(Exception):  # noqa: N818 - control flow between the modules of a transfer
    """The next try may bring the bytes; says why this one did not.

    ``wait_seconds`` is what the server asks for, None when it asks for nothing.
    """

    def __init__(self, reason: str, wait_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


@dataclass(frozen=True, slots=True)
class Body:
    """Which bytes of the file an answer brings.

    Args:
        start: Offset of its first byte in the file.
        end: Offset behind its last byte; None when the server does not say.
        total: Size of the whole file; None when the server does not say.
        is_beyond: There is nothing at ``start``; the answer's own text is no part of the file.
    """

    start: int
    end: int | None
    total: int | None
    is_beyond: bool = False


def body_of(answer: requests.Response, have: int) -> Body:
    """Return what an answer brings to who has the first ``have`` bytes and asked for the rest.

    Raises:
        TransferFailed: The answer is final.
        TryAgain: The answer may be another one next time.
    """
    status = answer.status_code
    if status in RETRY_STATUSES:
        raise TryAgain(_status_line(answer), asked_seconds(answer.headers))
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
        match = _content_range(rf"bytes \*/({_NUMBER})", answer)
        return Body(have, have, int(match[1]) if match else None, is_beyond=True)
    if status not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
        raise TransferFailed(f"{_status_line(answer)}.", _meaning(answer), status=status)
    _refuse_other_content(answer)
    length = _length(answer)
    if status == HTTPStatus.OK:  # the whole file, whatever was asked
        return Body(0, length, length)
    match = _content_range(rf"bytes ({_NUMBER})-({_NUMBER})/({_NUMBER}|\*)", answer)
    if not match or int(match[1]) != have:
        raise TransferFailed("The server answered with another range than was asked.")
    body = Body(have, int(match[2]) + 1, None if match[3] == "*" else int(match[3]))
    told = body.end if body.end is not None else have
    if told <= have or (body.total is not None and told > body.total):
        raise TransferFailed("The server answered with a range that cannot be.")
    if length is not None and length != told - have:
        raise TransferFailed(
            f"The server announces {length:,} bytes for a range of {told - have:,}."
        )
    return body


def listed_sha256(answer: requests.Response) -> str:
    """Return the SHA-256 a Hub lists for the file, sent with a redirect too; "" without one.

    Source: ``X-Linked-Etag`` of the Hub, ``X-Linked-ETag`` of ModelScope (header names have no
    case). Of a file that is not in LFS it is Git's own hash, which is shorter.
    """
    told = answer.headers.get("X-Linked-Etag", "").strip().removeprefix("W/").strip('"').lower()
    return told if re.fullmatch(r"[0-9a-f]{64}", told) else ""


def asked_seconds(headers: Mapping[str, str]) -> float | None:
    """Return how long a server asks to wait before the next request; None when it does not.

    Args:
        headers: Of its answer; names in any case if the mapping knows none.

    Source: RFC 9110 10.2.3 (Retry-After, seconds or a date); draft-ietf-httpapi-ratelimit-headers
    (``RateLimit: "api";r=0;t=55``), which the Hub sends with 429.
    """
    told = headers.get("Retry-After", "").strip()
    if re.fullmatch(_NUMBER, told):
        return float(told)
    until = _seconds_of(told)
    if until is not None:
        now = _seconds_of(headers.get("Date", ""))  # the server's own clock, ours may be wrong
        return max(0.0, until - (time.time() if now is None else now))
    limit = re.search(rf";\s*r\s*=\s*0\s*;\s*t\s*=\s*({_NUMBER})", headers.get("RateLimit", ""))
    if limit or headers.get("RateLimit-Remaining", "").strip() != "0":
        return float(limit[1]) if limit else None
    reset = headers.get("RateLimit-Reset", "").strip()  # as up to version 07 of that draft
    return float(reset) if re.fullmatch(_NUMBER, reset) else None


def told_words(error: BaseException) -> str:
    """Return the innermost reason of a network error in a few words."""
    inner = chain(error)[-1]
    if isinstance(inner, ConnectionRefusedError):
        return "the connection was refused"
    text = str(inner).strip() or type(inner).__name__
    return printable(f"{type(inner).__name__}: {text}"[:200])


def chain(error: BaseException) -> list[BaseException]:
    """Return an error and what it came from, the innermost last; at most nine."""
    found = [error]
    for _depth in range(8):
        last = found[-1]
        below = last.__cause__ or last.__context__ or getattr(last, "reason", None)
        if not isinstance(below, BaseException):
            break
        found.append(below)
    return found


def _refuse_other_content(answer: requests.Response) -> None:
    if "text/html" in answer.headers.get("Content-Type", ""):
        raise TransferFailed(
            "The server sent a web page instead of the file.",
            "Most often a login page of the network (captive portal) or of a proxy.",
            status=answer.status_code,
        )
    told = answer.headers.get("Content-Encoding", "").lower()
    codings = _COMPRESSED.intersection(part.strip() for part in told.split(","))
    if codings:
        raise TransferFailed(
            f"The server sent the file compressed ({', '.join(sorted(codings))}), though it was "
            "asked not to.",
            "Most often a proxy or cache in between does that.",
            status=answer.status_code,
        )


def _length(answer: requests.Response) -> int | None:
    """Return the announced bytes of the body; None when they are not announced."""
    if "chunked" in answer.headers.get("Transfer-Encoding", "").lower():
        return None  # RFC 9112: a length beside it does not count
    told = answer.headers.get("Content-Length")
    if told is None:
        return None
    values = {part.strip() for part in told.split(",")}  # RFC 9110: may be repeated, if equal
    value = values.pop()
    if values or not re.fullmatch(_NUMBER, value):
        raise TransferFailed(f"The server's Content-Length is no number: {printable(told)[:80]}.")
    return int(value)


def _content_range(pattern: str, answer: requests.Response) -> re.Match[str] | None:
    told = answer.headers.get("Content-Range", "")
    return re.fullmatch(pattern, told.strip(), re.IGNORECASE)


def _seconds_of(date: str) -> float | None:
    try:
        moment = email.utils.parsedate_to_datetime(date)
        if moment.tzinfo is None:  # "-0000": UTC of an unknown zone
            moment = moment.replace(tzinfo=dt.timezone.utc)
        return moment.timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _status_line(answer: requests.Response) -> str:
    return f"HTTP {answer.status_code} {printable(answer.reason or '')}".rstrip()


def _meaning(answer: requests.Response) -> str:
    """Return what a final status means on a Hub, from its error code header."""
    code = answer.headers.get("X-Error-Code", "")
    known = {
        "GatedRepo": "The model is gated: accept its terms on its page, then give a token.",
        "RepoNotFound": "The repository does not exist, or a token is needed to see it.",
        "EntryNotFound": "The repository has no such file at this revision.",
        "RevisionNotFound": "The repository has no such revision.",
    }
    by_status = {
        401: "A token is needed, or the one given is not accepted.",
        511: "The network asks for a login first (captive portal): open a browser and log in.",
        403: "The server refuses access.",
        404: "There is no such file.",
    }
    return known.get(code) or by_status.get(answer.status_code, "")
