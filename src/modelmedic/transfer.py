"""Fetch bytes over HTTP: the one retry, resume and deadline policy of modelmedic.

Rules, each from a failure seen in other clients (docs/healing): a 206 must say exactly the range
that was asked; a 200 restarts from zero; a body that ends early is a fault, not an end; a server
that only trickles is given up; every fetch is proven by its hash before anyone hears "done".
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from modelmedic.errors import ModelmedicError
from modelmedic.limits import TimeoutManager

if TYPE_CHECKING:
    import requests

ATTEMPTS = 5  # tries at one source that bring no new byte; progress sets the count back
MAX_ROUNDS = 50  # whatever the progress: an endless drop-and-resume ends here
RETRY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
FLOOR_BYTES_PER_SECOND = 1024  # ModelScope's own client gives up below this, over 60 s
FLOOR_WINDOW_SECONDS = 60.0
CONNECT_SECONDS = 10.0
READ_SECONDS = 20.0  # silence inside a body
SLOWEST_BYTES_PER_SECOND = 250_000  # 2 Mbit/s: what a slow home line still gives a whole file
MAX_WAIT_SECONDS = 120.0  # a Retry-After above this is reported, not waited for
_BLOCK_BYTES = 1 << 20


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


class _TryAgain(Exception):  # noqa: N818 - control flow inside this module
    def __init__(self, reason: str, wait_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


@dataclass(frozen=True, slots=True)
class Wanted:
    """The bytes asked for: exact size (None: unknown) and one hash, SHA-256 or Git blob."""

    size_bytes: int | None
    sha256: str
    git_blob: str = ""

    def is_met_by(self, handle: int) -> bool:
        """Return whether an open file holds exactly these bytes."""
        length = os.fstat(handle).st_size
        if self.size_bytes is not None and length != self.size_bytes:
            return False
        digest = hashlib.sha256() if self.sha256 else hashlib.sha1(usedforsecurity=False)
        if not self.sha256:
            digest.update(b"blob %d\0" % length)
        os.lseek(handle, 0, os.SEEK_SET)
        while block := os.read(handle, _BLOCK_BYTES):
            digest.update(block)
        return digest.hexdigest() == (self.sha256 or self.git_blob)


@dataclass(slots=True)
class _Meter:
    """Counts what came over the wire and when it is too little or too much."""

    budget_bytes: int | None
    deadline: float
    progress: Callable[[int], None]
    fetched: int = 0
    window_start: float = 0.0
    window_bytes: int = 0

    def add(self, count: int, total: int) -> None:
        self.fetched += count
        self.window_bytes += count
        self.progress(total)
        now = time.monotonic()
        if now > self.deadline:
            raise TransferFailed("The time allowed for this file is over.")
        if self.budget_bytes is not None and self.fetched > self.budget_bytes:
            raise TransferFailed("The byte budget of this run is used up.")
        if now - self.window_start >= FLOOR_WINDOW_SECONDS:
            if self.window_bytes < FLOOR_BYTES_PER_SECOND * FLOOR_WINDOW_SECONDS:
                raise TransferFailed("The server sends less than 1 KiB a second.")
            self.start_window()

    def start_window(self) -> None:
        self.window_start = time.monotonic()
        self.window_bytes = 0


def fetch(
    url: str,
    handle: int,
    wanted: Wanted,
    *,
    progress: Callable[[int], None] = lambda _total: None,
    extras: Mapping[str, Any] | None = None,
    budget_bytes: int | None = None,
) -> int:
    """Make the open file hold the wanted bytes and return how many came over the wire.

    Bytes already in the file are taken for the beginning of it; if the whole then does not match
    its hash, it is fetched once more from zero.

    Args:
        url: Where from; redirects are followed, a token never goes to another origin.
        handle: Descriptor open for reading and writing, ours alone.
        wanted: What must come out.
        progress: Called with the bytes present.
        extras: ``tokens``: bearer token by origin ("https://host[:port]"); ``sleep``: replaces
            `time.sleep` in tests.
        budget_bytes: Give up above this many; None is unlimited.

    Raises:
        TransferFailed: The source did not give these bytes.
    """
    if wanted.is_met_by(handle):
        return 0
    import requests

    amount = wanted.size_bytes or 0
    seconds = TimeoutManager().get_timeout("model_download", {"file_size_gb": amount / 1e9})
    seconds = max(seconds, amount // SLOWEST_BYTES_PER_SECOND)
    meter = _Meter(budget_bytes, time.monotonic() + seconds, progress)
    try:
        with requests.Session() as session:
            # A proxy cannot reach our loopback; requests asks it all the same without NO_PROXY.
            session.trust_env = not _is_loopback(url)
            for is_last in (False, True):
                resumed = _start_of(handle, wanted)
                _fetch_all(session, url, handle, wanted, meter, extras or {})
                if wanted.is_met_by(handle):
                    return meter.fetched
                os.ftruncate(handle, 0)
                if not resumed or is_last:
                    break
    except TransferFailed as error:
        error.fetched_bytes = meter.fetched
        os.fsync(handle)
        raise TransferFailed(
            f"{_shown(url)}: {error.what}",
            error.why,
            fetched_bytes=meter.fetched,
            status=error.status,
        ) from error
    raise TransferFailed(
        f"{_shown(url)}: the bytes that came do not match the expected hash.",
        "The server holds another version of this file, or something on the way changed it.",
        fetched_bytes=meter.fetched,
    )


def _start_of(handle: int, wanted: Wanted) -> int:
    """Return how many bytes are there to go on from; an impossible prefix is dropped."""
    have = os.fstat(handle).st_size
    if wanted.size_bytes is not None and have >= wanted.size_bytes:
        os.ftruncate(handle, 0)
        return 0
    return have


def _fetch_all(
    session: requests.Session,
    url: str,
    handle: int,
    wanted: Wanted,
    meter: _Meter,
    extras: Mapping[str, Any],
) -> None:
    import requests

    sleep = extras.get("sleep", time.sleep)
    tries = 0
    for _round in range(MAX_ROUNDS):
        before = os.fstat(handle).st_size
        try:
            _fetch_once(session, url, handle, wanted, meter, extras)
        except _TryAgain as error:
            reason, wait = str(error), error.wait_seconds
        except requests.RequestException as error:
            reason, wait = _words(error), None
        else:
            return
        tries = 1 if os.fstat(handle).st_size > before else tries + 1
        if tries >= ATTEMPTS:
            raise TransferFailed(f"{reason} ({tries} tries).")
        pause = wait if wait is not None else random.uniform(0.5, 1.0) * 2 ** (tries - 1)  # noqa: S311
        if pause > MAX_WAIT_SECONDS:
            raise TransferFailed(f"{reason}; the server asks to wait {pause:.0f} s.")
        sleep(pause)
    raise TransferFailed(f"The server broke off {MAX_ROUNDS} times.")


def _fetch_once(
    session: requests.Session,
    url: str,
    handle: int,
    wanted: Wanted,
    meter: _Meter,
    extras: Mapping[str, Any],
) -> None:
    have = os.fstat(handle).st_size
    headers = {"Accept-Encoding": "identity", "User-Agent": "modelmedic"}
    if have:
        headers["Range"] = f"bytes={have}-"
    if token := extras.get("tokens", {}).get(origin(url)):
        headers["Authorization"] = f"Bearer {token}"
    meter.start_window()
    with session.get(
        url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS)
    ) as answer:
        if token and answer.status_code == HTTPStatus.UNAUTHORIZED:
            # An expired token closes even public repositories; without one they are open.
            _fetch_once(session, url, handle, wanted, meter, {**extras, "tokens": {}})
            return
        start = _accept(answer, have, wanted)
        if start != have:
            os.ftruncate(handle, start)
        _copy(answer, handle, start, wanted, meter)


def _accept(answer: requests.Response, have: int, wanted: Wanted) -> int:
    """Return the offset the body begins at.

    Raises:
        TransferFailed: The answer is final.
        _TryAgain: The answer may be another one next time.
    """
    status = answer.status_code
    if status in RETRY_STATUSES:
        raise _TryAgain(f"HTTP {status} {answer.reason}", _retry_after(answer))
    if status == 416:  # noqa: PLR2004 - range not satisfiable: what we have is not a prefix of it
        return 0 if have == 0 else _refetch(answer)
    if status not in {200, 206}:
        raise TransferFailed(f"HTTP {status} {answer.reason}.", _meaning(answer), status=status)
    if "text/html" in answer.headers.get("Content-Type", ""):
        raise TransferFailed(
            "The server sent a web page instead of the file.",
            "Most often a login page of the network (captive portal) or of a proxy.",
            status=status,
        )
    if status == 200:  # noqa: PLR2004 - the whole file, whatever was asked
        _refuse_other_size(answer.headers.get("Content-Length"), wanted)
        return 0
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", answer.headers.get("Content-Range", ""))
    if not match or int(match[1]) != have:
        raise TransferFailed("The server answered with another range than was asked.")
    if match[3] != "*":
        _refuse_other_size(match[3], wanted)
    return have


def _refetch(answer: requests.Response) -> int:
    raise _TryAgain(f"HTTP {answer.status_code}: what was there is no beginning of the file")


def _refuse_other_size(told: str | None, wanted: Wanted) -> None:
    if told and wanted.size_bytes is not None and int(told) != wanted.size_bytes:
        raise TransferFailed(
            f"The server has {int(told):,} bytes; {wanted.size_bytes:,} are expected.",
            "It holds another version of this file.",
        )


def _copy(
    answer: requests.Response, handle: int, start: int, wanted: Wanted, meter: _Meter
) -> None:
    length = answer.headers.get("Content-Length")
    end = start + int(length) if length and length.isdigit() else wanted.size_bytes
    limit = wanted.size_bytes if wanted.size_bytes is not None else end
    os.lseek(handle, start, os.SEEK_SET)
    at = start
    for block in answer.iter_content(_BLOCK_BYTES):
        if limit is not None and at + len(block) > limit:
            raise TransferFailed("The server sent more bytes than the file has.")
        _write(handle, block)
        at += len(block)
        meter.add(len(block), at)
    os.fsync(handle)
    if end is not None and at < end:
        raise _TryAgain(f"the connection ended after {at:,} of {end:,} bytes")


def _write(handle: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(handle, view) :]


def _retry_after(answer: requests.Response) -> float | None:
    told = answer.headers.get("Retry-After", "").strip()
    return float(told) if told.isdigit() else None


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
        403: "The server refuses access.",
        404: "There is no such file.",
    }
    return known.get(code) or by_status.get(answer.status_code, "")


def _words(error: Exception) -> str:
    """Return the innermost reason of a requests error in a few words."""
    inner: BaseException = error
    for _depth in range(8):
        below = inner.__cause__ or inner.__context__ or getattr(inner, "reason", None)
        if not isinstance(below, BaseException):
            break
        inner = below
    if isinstance(inner, ConnectionRefusedError):
        return "the connection was refused"
    text = str(inner).strip() or type(inner).__name__
    return f"{type(inner).__name__}: {text}"[:200]


def origin(url: str) -> str:
    """Return scheme, host and port of a URL without credentials; a usual port is left out."""
    parts = urlsplit(url)
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    port = f":{parts.port}" if parts.port and parts.port != usual else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}"


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


def _shown(url: str) -> str:
    return origin(url) + urlsplit(url).path
