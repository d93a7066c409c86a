"""Fetch byte ranges of one content from the sources that have it, in turn.

What comes is handed on, not judged: who asked proves it, by block digests or by the whole file's
hash. What is refused here is what cannot be spliced: another range, another size, another file.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from modelmedic.exchange import Exchange, shown
from modelmedic.http_answer import Body, TransferFailed, TryAgain, body_of
from modelmedic.patience import Deadline, Meter, meter_of, seconds_for, tries_of

if TYPE_CHECKING:
    import requests

_READ_BYTES = 1 << 20


@dataclass(slots=True)
class _Order:
    """What is still wanted of one content, and who takes it.

    Args:
        left: Ranges [start, end), ascending and apart; the first one shrinks as its bytes come.
        size_bytes: Of the whole content.
        take: Gets the offset and bytes.
    """

    left: list[tuple[int, int]]
    size_bytes: int
    take: Callable[[int, bytes], None]
    handed: int = 0
    refusal: BaseException | None = field(default=None)

    @property
    def end(self) -> int:
        """Return the offset behind the last byte that is wanted; 0 when nothing is."""
        return self.left[-1][1] if self.left else 0

    def offer(self, offset: int, block: bytes) -> None:
        """Hand on what of ``block``, which lies at ``offset``, is wanted; drop the rest."""
        behind = offset + len(block)
        while self.left and self.left[0][0] < behind:
            start, end = self.left[0]
            if start < offset:
                return  # an earlier byte must come first; a server that skips is no use
            upto = min(end, behind)
            try:
                self.take(start, block[start - offset : upto - offset])
            except BaseException as error:
                self.refusal = error  # of who takes, not of the source
                raise
            self.handed += upto - start
            if upto == end:
                self.left.pop(0)
            else:
                self.left[0] = (upto, end)


def fetch_ranges(
    sources: Sequence[str],
    ranges: Sequence[tuple[int, int]],
    size_bytes: int,
    take: Callable[[int, bytes], None],
    *,
    sha256: str,
    progress: Callable[[int], None] = lambda _total: None,
    extras: Mapping[str, Any] | None = None,
    budget_bytes: int | None = None,
) -> int:
    """Fetch byte ranges of one content and return how many bytes came over the wire.

    Where a source fails, the next one goes on; what was taken stays taken. Ranges that touch are
    one request. A server that knows no ranges is read up to the last wanted byte.

    Args:
        sources: URLs in the order they are tried; a ``file:`` URL is a file on this machine.
        ranges: [start, end) each, in ascending order.
        size_bytes: Of the whole content; a source of another size is refused.
        take: Gets each range's bytes in order, with their offset in the content. What it raises
            ends the fetch.
        sha256: Of the whole content; a source that lists another one is refused before a byte.
        progress: Called with the bytes handed on.
        extras: As of `transfer.fetch`.
        budget_bytes: Give up above this many over the wire; None is unlimited.

    Raises:
        TransferFailed: No source gave them all; says what each one did.
        ValueError: The ranges do not lie inside the content in ascending order.
    """
    order = _Order(_joined(ranges, size_bytes), size_bytes, take)
    extras = extras or {}
    wanted = sum(end - start for start, end in order.left)
    deadline = Deadline(seconds_for(wanted))
    meter = meter_of(extras, deadline, progress, budget_bytes)
    problems: list[TransferFailed] = []
    for url in sources:
        if not order.left:
            break
        deadline.renew()
        try:
            _from(url, order, meter, sha256, extras)
        except TransferFailed as error:
            if order.refusal is not None:
                raise
            problems.append(error)
            if budget_bytes is not None and meter.fetched > budget_bytes:
                break
    if order.left:
        raise TransferFailed(
            " ".join(f"{error.what}" for error in problems) or "No source is known.",
            " ".join(dict.fromkeys(error.why for error in problems if error.why)),
            fetched_bytes=meter.fetched,
            status=problems[-1].status if problems else None,
        )
    return meter.fetched


def _joined(ranges: Sequence[tuple[int, int]], size_bytes: int) -> list[tuple[int, int]]:
    """Return the ranges without empty ones, those that touch made one."""
    joined: list[tuple[int, int]] = []
    at = 0
    for start, end in ranges:
        if not at <= start <= end <= size_bytes:
            raise ValueError(f"[{start}, {end}) is not behind {at} inside {size_bytes} bytes")
        at = end
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        elif start < end:
            joined.append((start, end))
    return [each for each in joined if each[0] < each[1]]


def _from(url: str, order: _Order, meter: Meter, sha256: str, extras: Mapping[str, Any]) -> None:
    """Take from one source what it has of the order.

    Raises:
        TransferFailed: It did not give all of it.
    """
    if urlsplit(url).scheme == "file":
        _copy_local(url, order, meter)
        return
    try:
        with Exchange(extras.get("tokens", {}), meter.deadline, sha256) as exchange:
            tries = tries_of(meter, url, extras)
            tries.begin()
            while order.left:
                before = order.handed
                try:
                    _ask_once(url, order, meter, exchange)
                except TryAgain as error:
                    if order.refusal is not None:
                        raise
                    tries.again(error, order.handed - before)
                else:
                    tries.in_vain = 0
    except TransferFailed as error:
        if order.refusal is not None:
            raise
        raise TransferFailed(
            f"{shown(url)}: {error.what}", error.why, status=error.status
        ) from error


def _ask_once(url: str, order: _Order, meter: Meter, exchange: Exchange) -> None:
    """Ask for the first range and hand on what comes.

    Raises:
        TryAgain: It brought less than was asked for.
        TransferFailed: The source is of no use.
    """
    start, end = order.left[0]
    with exchange.ask(url, {"Range": f"bytes={start}-{end - 1}"}) as answer:
        body = body_of(answer, start)
        _refuse_other(body, answer, end, order.size_bytes)
        meter.start_window()
        is_whole = answer.status_code == HTTPStatus.OK
        at, upto = body.start, order.end if is_whole else end
        for block, waited_seconds in _blocks(exchange, answer):
            if at + len(block) > (body.end or order.size_bytes):
                raise TransferFailed("The server sent more bytes than it announced.")
            order.offer(at, block)
            at += len(block)
            meter.add(len(block), waited_seconds, order.handed)
            if is_whole and at >= upto:
                return  # the rest of the file is not wanted
    if at < upto:
        is_piece = body.end is not None and at >= body.end
        wait = 0.0 if is_piece else None
        raise TryAgain(
            "The server sends only pieces of what is asked"
            if is_piece
            else f"the connection ended after {at - body.start:,} of {upto - body.start:,} bytes",
            wait,
        )


def _blocks(exchange: Exchange, answer: requests.Response) -> Iterator[tuple[bytes, float]]:
    """Give what arrives with the seconds waited for it. The end is read too: it frees the line."""
    while True:
        block, waited_seconds = exchange.read(answer)
        if not block:
            return
        yield block, waited_seconds


def _refuse_other(body: Body, answer: requests.Response, end: int, size_bytes: int) -> None:
    """Refuse an answer that cannot be a part of the wanted content."""
    if body.is_beyond or (body.total is not None and body.total != size_bytes):
        total = "fewer" if body.total is None else f"{body.total:,}"
        raise TransferFailed(
            f"The server has {total} bytes; {size_bytes:,} are expected.",
            "It holds another version of this file.",
        )
    if answer.status_code == HTTPStatus.OK:
        return
    if body.total is None:
        raise TransferFailed("The server does not say what it sends a part of.")
    if body.end is None or body.end > end:
        raise TransferFailed("The server answered with another range than was asked.")


def _copy_local(url: str, order: _Order, meter: Meter) -> None:
    """Take the ranges from a file of this machine; nothing of that goes over the wire."""
    path = Path(url2pathname(urlsplit(url).path))
    with contextlib.ExitStack() as opened:
        try:
            handle = os.open(path, os.O_RDONLY | _FLAGS)
            opened.callback(os.close, handle)
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode) or found.st_size != order.size_bytes:
                raise TransferFailed(f"{shown(url)}: it is no file of {order.size_bytes:,} bytes.")
            while order.left:
                start, end = order.left[0]
                os.lseek(handle, start, os.SEEK_SET)
                block = os.read(handle, min(_READ_BYTES, end - start))
                if not block:
                    raise TransferFailed(f"{shown(url)}: it became shorter while it was read.")
                order.offer(start, block)
                meter.progress(order.handed)
        except OSError as error:
            if order.refusal is not None:
                raise
            raise TransferFailed(
                f"{shown(url)}: it cannot be read: {error.strerror or error}."
            ) from error


_FLAGS = getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
