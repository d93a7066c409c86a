"""Where a model file is damaged: which of its blocks are not the wanted ones, or cannot be.

Block digests, and the CRC-32 of a checkpoint's records, say it for certain. Zero bytes are only
suspicious: tensors of zeros exist. Whatever is found, the SHA-256 of the whole file has the last
word.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from modelmedic.errors import CannotTell
from modelmedic.facts import checkpoint_zip, known_digests, safe_open
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.buffers import PIECE_BYTES, read_buffer
from modelmedic.facts.digests import Blocks, block_count, new_hasher
from modelmedic.facts.safe_open import SafeFile
from modelmedic.facts.weights import Kind, kind_of
from modelmedic.text import printable

Range = tuple[int, int]  # from the first byte to behind the last one

PAGE_BYTES = 4096  # file systems lose and clear whole pages
MIN_RUN_BYTES = 64 << 10  # a shorter run of zeros is common in good weights
# Blocks where nobody took digests of a block: small, so that little is fetched; a file with very
# many of them gets larger ones, so that the plan of a repair stays short.
SMALL_BLOCK_BYTES = 64 << 10
_MOST_BLOCK_BYTES = 4 << 20
_MOST_BLOCKS = 4096
# Any run of MIN_RUN_BYTES covers a whole window of this size, wherever it begins.
_WINDOW_BYTES = MIN_RUN_BYTES // 2
_ZEROS = bytes(_WINDOW_BYTES)
_LOOK_BYTES = 16
_LOCAL = 30  # bytes of a zip's local header before the name


@dataclass(frozen=True, slots=True)
class Damage:
    """The blocks of a file to be written anew.

    Args:
        how: "digests", "records" (CRC-32 of a checkpoint) or "zeros"; "" when nothing tells.
        block_bytes: Size of a block.
        blocks: Their numbers, counted from 0, ascending.
        algorithm: Of ``digests``; "" without them.
        digests: Of the wanted bytes of these blocks, hexadecimal; empty when they are not known.
    """

    how: str
    block_bytes: int
    blocks: tuple[int, ...] = ()
    algorithm: str = ""
    digests: tuple[str, ...] = ()


def _limits(_facts: FactBook, _subject: str, size_bytes: int, *_: object) -> dict[str, Any]:
    return {"file_size_gb": size_bytes / 1e9}


@probe("file_hash", _limits)
def read_damage(facts: FactBook, subject: str, size_bytes: int, sha256: str) -> Damage:
    """Return what is damaged in a file that should have this size and SHA-256.

    Read once per identity of the file. A file whose damage nothing tells has the ``how`` "".

    Raises:
        CannotTell: It is not a readable file inside the install, or was written to meanwhile.
    """
    with safe_open.opened(facts.context.place, subject) as (state, file):
        if file is None:
            raise CannotTell(state.sentence())
        key = ("damage", sha256, size_bytes, *state.identity)
        known: Damage | None = facts.memo.get(key)
        if known is None:
            listed = known_digests.known(facts.context, sha256)
            blocks = listed.blocks if listed and listed.size_bytes == size_bytes else None
            known = facts.memo[key] = locate(file, size_bytes, blocks)
            if file.has_changed():
                raise CannotTell(f"{printable(subject)} was written to while it was read.")
        return known


def locate(file: SafeFile, size_bytes: int, blocks: Blocks | None) -> Damage:
    """Return what is damaged in an open file that should have ``size_bytes`` bytes."""
    if blocks is not None and blocks.fits(size_bytes) and _is_known(blocks):
        bad = differing_blocks(file.descriptor, size_bytes, blocks)
        digests = tuple(blocks.digest(index).hex() for index in bad)
        return Damage("digests", blocks.block_bytes, bad, blocks.algorithm, digests)
    block_bytes = small_block_bytes(size_bytes)
    if file.size_bytes > size_bytes:
        return Damage("", block_bytes)
    ranges: list[Range] | None = None
    how = "records"
    if kind_of(file.read_at(0, PAGE_BYTES)) is Kind.ZIP and file.size_bytes == size_bytes:
        ranges = damaged_records(file)
    if not ranges:
        how, ranges = "zeros", list(zero_runs(file.descriptor, file.size_bytes))
    if not ranges:
        return Damage("", block_bytes)
    if file.size_bytes < size_bytes:
        ranges.append((file.size_bytes, size_bytes))
    return Damage(how, block_bytes, blocks_of(ranges, block_bytes))


def small_block_bytes(size_bytes: int) -> int:
    """Return the size of blocks for a file of which no block digests are known."""
    block_bytes = SMALL_BLOCK_BYTES
    while block_bytes < _MOST_BLOCK_BYTES and block_count(size_bytes, block_bytes) > _MOST_BLOCKS:
        block_bytes *= 2
    return block_bytes


def blocks_of(ranges: Iterable[Range], block_bytes: int) -> tuple[int, ...]:
    """Return the numbers of the blocks that ranges of bytes touch, ascending."""
    found: set[int] = set()
    for start, end in ranges:
        found.update(range(start // block_bytes, -(-end // block_bytes)))
    return tuple(sorted(found))


def differing_blocks(descriptor: int, size_bytes: int, blocks: Blocks) -> tuple[int, ...]:
    """Return the blocks whose bytes are not the wanted ones; those beyond the end are among them.

    Two threads take every other block: reading and hashing both leave the interpreter free.
    """
    workers = 2 if hasattr(os, "pread") else 1  # elsewhere both would move one offset

    def look(first: int) -> list[int]:
        buffer = read_buffer(min(PIECE_BYTES, blocks.block_bytes))
        return [
            index
            for index in range(first, blocks.count, workers)
            if _digest(descriptor, index, size_bytes, blocks, buffer) != blocks.digest(index)
        ]

    with ThreadPoolExecutor(workers, thread_name_prefix="locate") as pool:
        found = [index for part in pool.map(look, range(workers)) for index in part]
    return tuple(sorted(found))


def zero_runs(descriptor: int, size_bytes: int) -> Iterator[Range]:
    """Give the ranges of whole pages that hold nothing but zeros, `MIN_RUN_BYTES` or longer."""
    buffer = read_buffer()
    start: int | None = None
    for at in range(0, size_bytes, PIECE_BYTES):
        count = read_into(descriptor, buffer[: min(PIECE_BYTES, size_bytes - at)], at)
        for low, high, is_zero in _stretches(buffer[:count]):
            if is_zero:
                start = at + low if start is None else start
            elif start is not None:
                if at + low - start >= MIN_RUN_BYTES:
                    yield start, at + low
                start = None
            del high
        if count < min(PIECE_BYTES, size_bytes - at):
            break
    if start is not None and size_bytes - start >= MIN_RUN_BYTES:
        yield start, size_bytes


def damaged_records(file: SafeFile) -> list[Range] | None:
    """Return where the stored records of a checkpoint do not have their CRC-32.

    None when that tells nothing: the directory is damaged, or the writer took no CRCs (then none
    of them agrees).
    """
    archive = checkpoint_zip.read_archive(file.read_at, file.size_bytes)
    if archive.flaw is not None or archive.directory_at_bytes is None:
        return None
    records = sorted(archive.records, key=lambda record: record.start_bytes)
    ends = [record.start_bytes for record in records[1:]] + [archive.directory_at_bytes]
    told = [
        (record.start_bytes, end, _has_crc(file, record, end))
        for record, end in zip(records, ends, strict=True)
        if record.is_stored and record.stored_bytes
    ]
    if not any(is_good for _start, _end, is_good in told):
        return None
    return [(start, end) for start, end, is_good in told if not is_good]


def read_into(descriptor: int, view: memoryview, offset_bytes: int) -> int:
    """Fill a buffer from an offset on; return how many bytes there were, fewer only at the end."""
    done = 0
    while done < len(view):
        count = _read_once(descriptor, view[done:], offset_bytes + done)
        if count == 0:
            break
        done += count
    return done


_one_offset = threading.Lock()


def _read_once(descriptor: int, view: memoryview, offset_bytes: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [view], offset_bytes)
    with _one_offset:
        os.lseek(descriptor, offset_bytes, os.SEEK_SET)
        data = os.read(descriptor, len(view))
    view[: len(data)] = data
    return len(data)


def _is_known(blocks: Blocks) -> bool:
    try:
        new_hasher(blocks.algorithm)
    except CannotTell:
        return False
    return True


def _digest(
    descriptor: int, index: int, size_bytes: int, blocks: Blocks, buffer: memoryview
) -> bytes:
    hasher = new_hasher(blocks.algorithm)
    at, end = index * blocks.block_bytes, min((index + 1) * blocks.block_bytes, size_bytes)
    while at < end:
        count = read_into(descriptor, buffer[: min(len(buffer), end - at)], at)
        if count == 0:
            return b""
        hasher.update(buffer[:count])
        at += count
    return hasher.digest()


def _stretches(view: memoryview) -> Iterator[tuple[int, int, bool]]:
    """Give stretches of a buffer, in order: from, to, and whether it is all zeros.

    A window that does not begin with zeros is passed as a whole if its last page is not zero
    either: a long run that crosses it fills the window beside it, which is looked at by pages.
    """
    previous_ended_zero = True  # a run may come from the buffer before
    for low in range(0, len(view), _WINDOW_BYTES):
        window = view[low : low + _WINDOW_BYTES]
        if window[:_LOOK_BYTES] == _ZEROS[: len(window[:_LOOK_BYTES])] and _is_zero(window):
            previous_ended_zero = True
            yield low, low + len(window), True
            continue
        has_zero_end = _is_zero(window[-_LOOK_BYTES:])
        if not previous_ended_zero and not has_zero_end:
            yield low, low + len(window), False
        else:
            for page in range(0, len(window), PAGE_BYTES):
                part = window[page : page + PAGE_BYTES]
                yield low + page, low + page + len(part), _is_zero(part)
        previous_ended_zero = has_zero_end


def _is_zero(view: memoryview) -> bool:
    return view == _ZEROS[: len(view)]


def _has_crc(file: SafeFile, record: checkpoint_zip.Record, end: int) -> bool:
    local = file.read_at(record.start_bytes, _LOCAL)
    if len(local) < _LOCAL or not local.startswith(b"PK\3\4"):
        return False
    lengths = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    at = record.start_bytes + _LOCAL + lengths
    if at + record.stored_bytes > end:
        return False
    buffer = read_buffer()
    left, crc = record.stored_bytes, 0
    while left:
        count = read_into(file.descriptor, buffer[: min(PIECE_BYTES, left)], at)
        if count == 0:
            return False
        crc = zlib.crc32(buffer[:count], crc)
        at, left = at + count, left - count
    return crc == record.crc32
