"""New blocks of a file while they wait: a private log that a killed repair goes on with.

Each entry is a header and the bytes of one block, or no bytes where the file's own were found to
be the right ones. The digest in the header is of these bytes: an entry that a kill or a power cut
tore, or that the disk does not give back, is dropped with all behind it.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Iterator

from modelmedic.facts.damage import read_into
from modelmedic.facts.digests import block_count
from modelmedic.operations.aside import Was
from modelmedic.operations.durable import write_all

_HEAD = struct.Struct("<8sQQQq")  # name and version; size of a block, of the file; what it was
_NAME = b"mmblock1"
_ENTRY = struct.Struct("<QQ32s")  # number of the block, bytes that follow, their digest
ENTRY_BYTES = _ENTRY.size

Range = tuple[int, int]


class NewBlocks:
    """The log of one file's new blocks.

    Args:
        handle: The log, open for reading and writing, ours alone.
        block_bytes: Size of a block.
        size_bytes: What the file will have.
        was: The file that the entries without bytes speak of.
    """

    def __init__(self, handle: int, block_bytes: int, size_bytes: int, was: Was) -> None:
        self.handle = handle
        self.block_bytes = block_bytes
        self.size_bytes = size_bytes
        self._head = _HEAD.pack(_NAME, block_bytes, size_bytes, *was)
        self._places: dict[int, Range] = {}
        self._end = len(self._head)
        if os.fstat(handle).st_size < len(self._head) or self._read(0, _HEAD.size) != self._head:
            self.clear()
        else:
            self._recall()

    @property
    def known(self) -> frozenset[int]:
        """Return the blocks about which nothing has to be asked any more."""
        return frozenset(self._places)

    @property
    def changed(self) -> list[int]:
        """Return the blocks that have new bytes, ascending."""
        return sorted(index for index, (start, end) in self._places.items() if end > start)

    @property
    def data_bytes(self) -> int:
        """Return the bytes of the blocks that are kept here."""
        return sum(end - start for start, end in self._places.values())

    def span(self, index: int) -> Range:
        """Return where a block lies in the file."""
        start = index * self.block_bytes
        return start, min(start + self.block_bytes, self.size_bytes)

    def add(self, index: int, data: bytes) -> None:
        """Take the new bytes of a block; b"" when the file's own are the right ones.

        Raises:
            OSError: The disk does not take them.
        """
        entry = _ENTRY.pack(index, len(data), _digest(index, data))
        os.lseek(self.handle, self._end, os.SEEK_SET)
        write_all(self.handle, entry + data)
        start = self._end + _ENTRY.size
        self._places[index] = (start, start + len(data))
        self._end = start + len(data)

    def data(self, index: int) -> bytes:
        """Return the new bytes of a block."""
        start, end = self._places[index]
        return self._read(start, end - start)

    def drop(self, index: int) -> None:
        """Forget a block: it has to be asked for again."""
        self._places.pop(index, None)

    def clear(self) -> None:
        """Forget all."""
        self._places = {}
        self._end = len(self._head)
        os.ftruncate(self.handle, 0)
        os.lseek(self.handle, 0, os.SEEK_SET)
        write_all(self.handle, self._head)

    def _recall(self) -> None:
        at, length = self._end, os.fstat(self.handle).st_size
        count = block_count(self.size_bytes, self.block_bytes)
        while at + _ENTRY.size <= length:
            index, data_bytes, digest = _ENTRY.unpack(self._read(at, _ENTRY.size))
            start = at + _ENTRY.size
            if index >= count or start + data_bytes > length:
                break
            low, high = self.span(index)
            if data_bytes not in {0, high - low}:
                break
            if _digest(index, self._read(start, data_bytes)) != digest:
                break
            self._places[index] = (start, start + data_bytes)
            at = start + data_bytes
        self._end = at
        os.ftruncate(self.handle, at)

    def _read(self, start: int, count: int) -> bytes:
        view = memoryview(bytearray(count))
        return bytes(view[: read_into(self.handle, view, start)])


class Blocks:
    """Puts whole blocks together from bytes that come in order, a range after the other.

    Args:
        log: Says where the blocks lie.
        done: Gets each whole block.
    """

    def __init__(self, log: NewBlocks, done: Callable[[int, bytes], None]) -> None:
        self._log = log
        self._done = done
        self._pieces: list[bytes] = []
        self._at = -1  # where the next byte belongs; -1: not in a block
        self.taken_bytes = 0

    def take(self, offset_bytes: int, data: bytes) -> None:
        """Take bytes of the file. Those of a block whose beginning did not come are passed by."""
        if offset_bytes != self._at:
            self._pieces = []
        view, at = memoryview(data), offset_bytes
        while view:
            low, high = self._log.span(at // self._log.block_bytes)
            piece = view[: high - at]
            if self._pieces or at == low:
                self._pieces.append(bytes(piece))
            at += len(piece)
            self.taken_bytes += len(piece)
            if at == high and self._pieces:
                block = b"".join(self._pieces)
                self._pieces = []
                self._done(low // self._log.block_bytes, block)
            view = view[len(piece) :]
        self._at = at


def merged(ranges: Iterator[Range]) -> list[Range]:
    """Return ranges that come in order, those that touch as one."""
    found: list[Range] = []
    for start, end in ranges:
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def _digest(index: int, data: bytes) -> bytes:
    hasher = hashlib.sha256(index.to_bytes(8, "little"))
    hasher.update(data)
    return hasher.digest()
