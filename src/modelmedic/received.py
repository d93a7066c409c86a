"""A file while it is received: its bytes, their digests, and a record that lets a resume be proven.

Beside the part lies a record of one digest for each block as it arrived. After a kill or a power
loss only blocks that read back the same are gone on from. The same read, and then every byte that
arrives, feeds the SHA-256, so that a file is never read a second time to prove it.

Record: ``modelmedic-blocks 1 ALGORITHM BLOCK_BYTES``, then a line for each block, its length and
digest. A short block is what there was when the transfer ended; a line after it replaces it.
``from SOURCE`` says whose bytes they are. A line without its end was being written, and is none.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelmedic.errors import CannotTell
from modelmedic.facts.digests import (
    BLOCK_BYTES,
    DIGEST_BYTES,
    Blocks,
    Hasher,
    block_algorithm,
    new_hasher,
)
from modelmedic.http_answer import TryAgain

if TYPE_CHECKING:
    from modelmedic.transfer import Wanted

LISTED = "listed"  # by every source that lists the wanted SHA-256
_READ_BYTES = 1 << 20
_MAX_RECORD_BYTES = 64 << 20
_HEAD = re.compile(r"modelmedic-blocks 1 (sha256|blake3) ([1-9][0-9]{0,9})")
_LINE = re.compile(rf"([1-9][0-9]{{0,9}}) ([0-9a-f]{{{2 * DIGEST_BYTES}}})")
_SOURCE = re.compile(r"from (\S{1,80})")


@dataclass(slots=True)
class _Record:
    """What a record file says: how blocks were hashed, (length, digest) of each, and the source."""

    algorithm: str
    block_bytes: int
    blocks: list[tuple[int, bytes]]
    source: str = ""


class Received:
    """The bytes that are there, in order from the first, and what is known of them.

    Args:
        handle: Descriptor of the part, open for reading and writing.
        wanted: What must come out; its block digests, if they are known, prove each block.
        record: Descriptor of the record; None keeps none.
        progress: Called with the bytes found proven, while they are read.

    Raises:
        OSError: The files cannot be read or written.
    """

    def __init__(
        self,
        handle: int,
        wanted: Wanted,
        record: int | None,
        progress: Callable[[int], None] = lambda _total: None,
    ) -> None:
        self.at = 0
        self.source = ""
        self._handle = handle
        self._wanted = wanted
        self._record = record
        self._progress = progress
        self.known = _usable(wanted)
        self._lines: list[tuple[int, bytes]] = []
        self._whole = hashlib.sha256()
        self._begin_blocks(block_algorithm(), BLOCK_BYTES)
        self._open()

    @property
    def is_met(self) -> bool:
        """Return whether these are exactly the wanted bytes."""
        wanted = self._wanted
        if wanted.size_bytes is not None and self.at != wanted.size_bytes:
            return False
        if wanted.sha256:
            return self._whole.hexdigest() == wanted.sha256
        return wanted.is_met_by(self._handle)

    def may_go_on(self, source: str) -> bool:
        """Return whether bytes of ``source`` may follow those that are there."""
        return not self.at or self.known is not None or self.source in {"", source}

    def begin(self, source: str) -> None:
        """Note whose bytes follow."""
        if self.source != source:
            self.source = source
            self._note(f"from {source}\n")

    def write(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            TryAgain: They make a block another one than is known; that block is gone again.
        """
        view = memoryview(data)
        while view:
            piece = view[: self._block_bytes - self._in_block]
            _write(self._handle, piece)
            self._feed(piece)
            view = view[len(piece) :]
            is_end = self.at == self._wanted.size_bytes
            if self._in_block == self._block_bytes or (self.known is not None and is_end):
                self._end_block()

    def adopt(self, stranger: int) -> int:
        """Take over what block digests prove of somebody else's unfinished file.

        Returns:
            The bytes taken over; 0 when no block digests are known.
        """
        if self.known is None or self._in_block:
            return 0
        before, size = self.at, self._wanted.size_bytes or 0
        while self.at < size:
            length = min(self._block_bytes, size - self.at)
            block = b"".join(_pieces(stranger, self.at, length))
            hasher = new_hasher(self._algorithm)
            hasher.update(block)
            if len(block) < length or hasher.digest() != self._expected(self.at):
                break
            os.lseek(self._handle, self.at, os.SEEK_SET)
            self.write(block)
        return self.at - before

    def restart(self) -> None:
        """Empty the file."""
        self._cut(0)
        self._lines = []
        self.source = ""
        self._whole = hashlib.sha256()
        self._begin_block()
        self._rewrite()

    def close(self) -> None:
        """Note the block that is not whole yet, so that the next transfer goes on inside it."""
        if self._in_block:
            self._note(_line(self._in_block, self._block.digest()))

    # -- blocks ----------------------------------------------------------------------------------

    def _begin_blocks(self, algorithm: str, block_bytes: int) -> None:
        if self.known is not None:
            algorithm, block_bytes = self.known.algorithm, self.known.block_bytes
        self._algorithm, self._block_bytes = algorithm, block_bytes
        self._begin_block()

    def _begin_block(self) -> None:
        self._block: Hasher = new_hasher(self._algorithm)
        self._in_block = 0
        self._whole_before = self._whole.copy()

    def _feed(self, piece: bytes | memoryview) -> None:
        self._whole.update(piece)
        self._block.update(piece)
        self._in_block += len(piece)
        self.at += len(piece)

    def _end_block(self) -> None:
        digest, start = self._block.digest(), self.at - self._in_block
        if self.known is not None and digest != self._expected(start):
            self._drop_block()
            raise TryAgain(f"the block at {start:,} came with other bytes than are known")
        self._lines.append((self._in_block, digest))
        self._note(_line(self._in_block, digest))
        self._begin_block()

    def _expected(self, start: int) -> bytes:
        assert self.known is not None
        return self.known.digest(start // self._block_bytes)

    def _drop_block(self) -> None:
        self._whole = self._whole_before
        self._cut(self.at - self._in_block)
        self._begin_block()

    def _cut(self, size: int) -> None:
        os.ftruncate(self._handle, size)
        os.lseek(self._handle, size, os.SEEK_SET)
        self.at = size

    # -- going on --------------------------------------------------------------------------------

    def _open(self) -> None:
        """Read what is there, as far as it is proven, and drop the rest."""
        length = os.fstat(self._handle).st_size
        record = self._read_record() if length else None
        if record is not None:
            self.source = record.source
            try:
                self._begin_blocks(record.algorithm, record.block_bytes)
            except CannotTell:  # hashed by what is not installed here
                record, length = None, 0
        # A part without a record is taken for the beginning of the file: the whole hash decides.
        is_blind = record is None and self.known is None
        while self.at < length:
            lines = record.blocks if record is not None and self._is_like(record) else []
            index = len(self._lines)
            if not self._is_taken(length, lines[index] if index < len(lines) else None, is_blind):
                break
        self._cut(self.at)
        if self.at or self._record is not None:
            self._rewrite()

    def _is_like(self, record: _Record) -> bool:
        told = (record.algorithm, record.block_bytes)
        return told == (self._algorithm, self._block_bytes)

    def _is_taken(self, length: int, line: tuple[int, bytes] | None, is_blind: bool) -> bool:
        """Read the next block; return whether it is proven and there may be more."""
        there = min(self._block_bytes, length - self.at)
        size = self._wanted.size_bytes
        is_whole = there == self._block_bytes or self.at + there == size
        if not (self.known is not None and is_whole) and not is_blind:
            if line is None:
                return False
            there = min(there, line[0])
        for piece in _pieces(self._handle, self.at, there):
            self._feed(piece)
        digest = self._block.digest()
        proofs = [line[1]] if line and line[0] == self._in_block else []
        if self.known is not None and is_whole:
            proofs = [self._expected(self.at - self._in_block)]
        if not is_blind and digest not in proofs:
            self._whole = self._whole_before
            self.at -= self._in_block
            self._begin_block()
            return False
        if self._in_block < self._block_bytes:
            return False
        self._lines.append((self._in_block, digest))
        self._begin_block()
        self._progress(self.at)
        return True

    # -- the record ------------------------------------------------------------------------------

    def _read_record(self) -> _Record | None:
        """Return what the record says; None when there is none that can be read."""
        if self._record is None:
            return None
        size = min(os.fstat(self._record).st_size, _MAX_RECORD_BYTES)
        text = b"".join(_pieces(self._record, 0, size)).decode("ascii", "replace")
        head, *lines = text.split("\n")[:-1] or [""]
        match = _HEAD.fullmatch(head)
        if match is None or int(match[2]) > BLOCK_BYTES * 64:
            return None
        record = _Record(match[1], int(match[2]), [])
        for line in lines:
            if source := _SOURCE.fullmatch(line):
                record.source = source[1]
            elif block := _LINE.fullmatch(line):
                if record.blocks and record.blocks[-1][0] < record.block_bytes:
                    record.blocks.pop()
                record.blocks.append((int(block[1]), bytes.fromhex(block[2])))
            else:
                break
        return record

    def _rewrite(self) -> None:
        """Make the record say what was found proven; written in one go."""
        if self._record is None:
            return
        lines = [f"modelmedic-blocks 1 {self._algorithm} {self._block_bytes}\n"]
        lines += [f"from {self.source}\n"] if self.source else []
        lines += [_line(length, digest) for length, digest in self._lines]
        if self._in_block:
            lines.append(_line(self._in_block, self._block.digest()))
        text = "".join(lines).encode("ascii")
        old = os.fstat(self._record).st_size
        if old != len(text) or b"".join(_pieces(self._record, 0, old)) != text:
            os.lseek(self._record, 0, os.SEEK_SET)
            _write(self._record, memoryview(text))
            os.ftruncate(self._record, len(text))
        os.lseek(self._record, 0, os.SEEK_END)

    def _note(self, line: str) -> None:
        if self._record is not None:
            _write(self._record, memoryview(line.encode("ascii")))


def _usable(wanted: Wanted) -> Blocks | None:
    """Return the known block digests if they fit the file and can be computed here."""
    blocks = wanted.blocks
    if blocks is None or wanted.size_bytes is None or not blocks.fits(wanted.size_bytes):
        return None
    try:
        new_hasher(blocks.algorithm)
    except CannotTell:
        return None
    return blocks


def _pieces(handle: int, start: int, count: int) -> Iterator[bytes]:
    """Give ``count`` bytes from ``start`` on, fewer where the file ends."""
    os.lseek(handle, start, os.SEEK_SET)
    while count > 0 and (piece := os.read(handle, min(count, _READ_BYTES))):
        yield piece
        count -= len(piece)


def _line(length: int, digest: bytes) -> str:
    return f"{length} {digest.hex()}\n"


def _write(handle: int, view: memoryview) -> None:
    while view:
        view = view[os.write(handle, view) :]
