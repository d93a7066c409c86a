"""Fetch bytes over HTTP: the one retry, resume and deadline policy of modelmedic.

Rules, each from a failure seen in other clients (docs/healing): a 206 must say exactly the range
that was asked; a 200 restarts from zero; a body that ends early is a fault, not an end; a server
that only trickles is given up; every fetch is proven by its hash before anyone hears "done".
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelmedic.exchange import Exchange, origin, shown
from modelmedic.http_answer import Body, TransferFailed, TryAgain, body_of
from modelmedic.patience import Deadline, Meter, meter_of, seconds_for, tries_of
from modelmedic.ranges import fetch_ranges
from modelmedic.received import LISTED, Received

if TYPE_CHECKING:
    import requests

    from modelmedic.facts.digests import Blocks

__all__ = ["TransferFailed", "Wanted", "fetch", "fetch_ranges", "origin"]

_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """The bytes asked for, and one hash of them, SHA-256 or Git blob.

    Args:
        size_bytes: Their exact number; None when it is not known.
        sha256: Their SHA-256, or empty if ``git_blob`` is given.
        git_blob: Git's SHA-1 of a small file.
        expected_bytes: About how many there will be, when the exact number is not known.
        most_bytes: How many are taken at most, when the exact number is not known.
        blocks: Their block digests, where they are known: each block is proven as it arrives.
    """

    size_bytes: int | None
    sha256: str
    git_blob: str = ""
    expected_bytes: int | None = None
    most_bytes: int | None = None
    blocks: Blocks | None = None

    @property
    def limit_bytes(self) -> int | None:
        """Return how many bytes may come; None when there is no limit."""
        return self.most_bytes if self.size_bytes is None else self.size_bytes

    def is_met_by(self, handle: int) -> bool:
        """Return whether an open file holds exactly these bytes; reads all of it."""
        length = os.fstat(handle).st_size
        if self.size_bytes is not None and length != self.size_bytes:
            return False
        digest = hashlib.sha256() if self.sha256 else hashlib.sha1(usedforsecurity=False)
        if not self.sha256:
            digest.update(b"blob %d\0" % length)
        os.lseek(handle, 0, os.SEEK_SET)
        while block := os.read(handle, _READ_BYTES):
            digest.update(block)
        return digest.hexdigest() == (self.sha256 or self.git_blob)

    def refuse_size(self, total: int | None) -> None:
        """Refuse a file of another size than is asked for; None, not told, is let through.

        Raises:
            TransferFailed: Says both sizes.
        """
        if total is None:
            return
        if self.size_bytes is not None and total != self.size_bytes:
            raise TransferFailed(
                f"The server has {total:,} bytes; {self.size_bytes:,} are expected.",
                "It holds another version of this file.",
            )
        if self.most_bytes is not None and total > self.most_bytes:
            raise self.too_much(f"The server has {total:,} bytes")

    def too_much(self, what: str) -> TransferFailed:
        """Return the error of a file of unknown size that is too large to be the one."""
        about = f", and about {self.expected_bytes:,} are expected" if self.expected_bytes else ""
        return TransferFailed(f"{what}; at most {self.most_bytes or 0:,} are taken{about}.")


@dataclass(slots=True)
class _Fetch:
    """One file from one source."""

    url: str
    wanted: Wanted
    received: Received
    meter: Meter
    exchange: Exchange
    extras: Mapping[str, Any]


def fetch(
    url: str,
    handle: int,
    wanted: Wanted,
    *,
    progress: Callable[[int], None] = lambda _total: None,
    extras: Mapping[str, Any] | None = None,
    budget_bytes: int | None = None,
    record: int | None = None,
    stranger: int | None = None,
) -> int:
    """Make the open file hold the wanted bytes and return how many came over the wire.

    Bytes already in the file are gone on from as far as ``record`` or known block digests prove
    them; without either they are taken for the beginning of it. If the whole then does not match
    its hash, it is fetched once more from zero.

    Bytes of another source are gone on from only if both list the wanted SHA-256, or block digests
    are known.

    Args:
        url: Where from; redirects are followed, a token never goes to another origin.
        handle: Descriptor open for reading and writing, ours alone.
        wanted: What must come out.
        progress: Called with the bytes present.
        extras: ``tokens``: bearer token by origin ("https://host[:port]"); ``bandwidth``: a
            `patience.Bandwidth`; ``failed``: when sources failed, see `patience.Tries`;
            ``spending``: a `pace.Spending`, shared by the run; ``turns``: a `patience.Turns`, too;
            ``told``: hears that a server asks to wait; ``sleep``: replaces `time.sleep` in
            tests.
        budget_bytes: Give up above this many; None is unlimited.
        record: Descriptor of a file beside it, open for reading and writing, that keeps what a
            later resume needs; see `modelmedic.received`.
        stranger: Descriptor of another program's unfinished download of it; used as far as known
            block digests prove it.

    Raises:
        TransferFailed: The source did not give these bytes.
        OSError: The file cannot be written.
    """
    extras = extras or {}
    received = Received(handle, wanted, record, progress)
    if stranger is not None:
        received.adopt(stranger)
    if received.is_met:
        return 0
    meter = meter_of(extras, Deadline(_seconds_for(wanted)), progress, budget_bytes)
    try:
        with Exchange(extras.get("tokens", {}), meter.deadline, wanted.sha256) as exchange:
            if _is_fetched(_Fetch(url, wanted, received, meter, exchange, extras)):
                os.fsync(handle)
                return meter.fetched
    except TransferFailed as error:
        os.fsync(handle)
        raise TransferFailed(
            f"{shown(url)}: {error.what}",
            error.why,
            fetched_bytes=meter.fetched,
            status=error.status,
        ) from error
    finally:
        received.close()  # no more: Ctrl-C does not wait for the disk
    raise TransferFailed(
        f"{shown(url)}: the bytes that came do not match the expected hash.",
        "The server holds another version of this file, or something on the way changed it.",
        fetched_bytes=meter.fetched,
    )


def _seconds_for(wanted: Wanted) -> float:
    """Return how long a source may bring nothing."""
    amount = wanted.size_bytes or wanted.expected_bytes or 0
    return seconds_for(amount)


def _is_fetched(job: _Fetch) -> bool:
    """Fetch the rest of the file, and if that proves wrong, the whole; return if it proved."""
    _drop_impossible(job)
    for _once in (1, 2):
        resumed = job.received.at
        _fetch_all(job)
        if job.received.is_met:
            return True
        job.received.restart()
        if not resumed:
            break
    return False


def _drop_impossible(job: _Fetch) -> None:
    """Empty a file that is as long as all of it, and yet did not prove."""
    size, most, have = job.wanted.size_bytes, job.wanted.most_bytes, job.received.at
    if (size is not None and have >= size) or (most is not None and have > most):
        job.received.restart()


def _fetch_all(job: _Fetch) -> None:
    """Ask for the rest until there is no more."""
    tries = tries_of(job.meter, job.url, job.extras)
    tries.begin()
    best = job.received.at
    while True:
        try:
            if _fetch_once(job):
                return
            error = TryAgain("The server sends only pieces of what is asked", 0.0)
        except TryAgain as found:
            error = found
        gain = job.received.at - best
        best = max(best, job.received.at)
        tries.again(error, gain)


def _fetch_once(job: _Fetch) -> bool:
    """Ask once for the rest; return whether that was all of the file."""
    have = job.received.at
    headers = {"Range": f"bytes={have}-"} if have else {}
    with job.exchange.ask(job.url, headers) as answer:
        body = body_of(answer, have)
        job.wanted.refuse_size(body.total)
        if body.is_beyond:
            return True
        _begin(job)
        at = _copy(job, answer, body)
    if body.end is not None and at < body.end:
        raise TryAgain(f"the connection ended after {at:,} of {body.end:,} bytes")
    total = job.wanted.size_bytes if job.wanted.size_bytes is not None else body.total
    if body.end is None and total is not None and at < total:
        raise TryAgain(f"the connection ended after {at:,} of {total:,} bytes")
    # A range may be shorter than what was asked for; a 200 without a length ends where it ends.
    return at == total or (total is None and body.start == 0 and body.end is None)


def _begin(job: _Fetch) -> None:
    """Note whose bytes follow; start over where they may not follow those that are there.

    Raises:
        TryAgain: The file is to be asked for from its beginning.
    """
    source = LISTED if job.exchange.is_listed else _name_of(job.url)
    if not job.received.may_go_on(source):
        job.received.restart()
        raise TryAgain("only one of two sources lists the expected hash", 0.0)
    job.received.begin(source)


def _name_of(url: str) -> str:
    """Return what tells a source that lists no hash from others, without what it may hold."""
    return f"url:{hashlib.sha256(shown(url).encode('utf-8', 'replace')).hexdigest()[:16]}"


def _copy(job: _Fetch, answer: requests.Response, body: Body) -> int:
    """Take the body, except what is there already, and return the offset behind its last byte."""
    limits = [limit for limit in (body.end, job.wanted.limit_bytes) if limit is not None]
    limit = min(limits, default=None)
    job.meter.start_window()
    at = body.start
    while True:
        block, waited_seconds = job.exchange.read(answer)
        if not block:
            return at
        if limit is not None and at + len(block) > limit:
            if body.end is None and job.wanted.size_bytes is None:
                raise job.wanted.too_much("The server sends a file without end or size")
            raise TransferFailed("The server sent more bytes than the file has.")
        # A server that knows no ranges sends again what is there: that much is passed over.
        job.received.write(block[max(0, job.received.at - at) :])
        at += len(block)
        job.meter.add(len(block), waited_seconds, job.received.at)
