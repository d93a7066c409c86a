"""The bytes that a repair replaces inside a file, kept in one file of ours until undo expires.

A line of JSON says whose they are and which; then they follow, one range after the other.
"""

from __future__ import annotations

import json
import os
from typing import Any

from modelmedic.errors import RecoveryRefused
from modelmedic.facts.buffers import PIECE_BYTES, read_buffer
from modelmedic.facts.damage import read_into
from modelmedic.operations.durable import write_all

_VERSION = 1
_MAX_HEAD_BYTES = 16 << 20

Range = tuple[int, int]


def keep(source: int, target: int, path: str, ranges: list[Range]) -> None:
    """Write the bytes of some ranges of a file, as far as it reaches, and flush them to disk.

    Raises:
        OSError: The disk does not take them, or the file cannot be read.
    """
    length = os.fstat(source).st_size
    kept = [(start, min(end, length)) for start, end in ranges if start < length]
    head = {"version": _VERSION, "path": path, "size_bytes": length, "ranges": kept}
    os.ftruncate(target, 0)
    os.lseek(target, 0, os.SEEK_SET)
    write_all(target, json.dumps(head).encode() + b"\n")
    buffer = read_buffer()
    for start, end in kept:
        at = start
        while at < end:
            count = read_into(source, buffer[: min(PIECE_BYTES, end - at)], at)
            if count == 0:
                raise OSError(f"the file ended at byte {at:,} while it was read")
            write_all(target, bytes(buffer[:count]))
            at += count
    os.fsync(target)


def put_back(kept: int, target: int) -> None:
    """Write the kept bytes to where they were, give the file its old size, and flush it.

    Raises:
        RecoveryRefused: The kept file is not whole; nothing was written.
        OSError: The disk does not take them.
    """
    head, at = _head(kept)
    ranges = [(int(start), int(end)) for start, end in head["ranges"]]
    if os.fstat(kept).st_size != at + sum(end - start for start, end in ranges):
        raise _unreadable()
    buffer = read_buffer()
    for start, end in ranges:
        place = start
        while place < end:
            count = read_into(kept, buffer[: min(PIECE_BYTES, end - place)], at)
            if count == 0:
                raise _unreadable()
            write_at(target, bytes(buffer[:count]), place)
            at, place = at + count, place + count
    os.ftruncate(target, int(head["size_bytes"]))
    os.fsync(target)


def write_at(handle: int, data: bytes, offset_bytes: int) -> None:
    """Write every byte from an offset on.

    Raises:
        OSError: Not all of it could be written.
    """
    os.lseek(handle, offset_bytes, os.SEEK_SET)
    write_all(handle, data)


def _head(kept: int) -> tuple[dict[str, Any], int]:
    view = memoryview(bytearray(min(_MAX_HEAD_BYTES, os.fstat(kept).st_size)))
    line, found, _rest = bytes(view[: read_into(kept, view, 0)]).partition(b"\n")
    try:
        head = json.loads(line) if found else {}
        if head["version"] == _VERSION:
            return head, len(line) + 1
    except (ValueError, RecursionError, TypeError, KeyError):
        pass
    raise _unreadable()


def _unreadable() -> RecoveryRefused:
    return RecoveryRefused(
        "The kept bytes of a repaired file are not whole, so they were not put back.",
        "They were written by another version of modelmedic, or changed by somebody.",
    )
