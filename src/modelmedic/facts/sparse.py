"""Stretches of a file that were never written, as the file system knows them; nothing is read.

They read as zeros. A download that reserved the space and died leaves them; so does a program that
writes around them. File systems that compress make them of true zeros too, so a small one proves
nothing: the file's hash does.
"""

from __future__ import annotations

import os

# Smaller ones are of no use: a model may have true zeros of some KB, and finding them costs calls.
MIN_HOLE_BYTES = 1 << 20
_MAX_HOLES = 1000

Range = tuple[int, int]  # first byte, and the one after the last


def holes(descriptor: int, size_bytes: int) -> tuple[Range, ...]:
    """Return the holes of at least `MIN_HOLE_BYTES` in an open file, in order.

    Empty where the system or the file system cannot tell (Windows, some network shares). Moves the
    offset of the descriptor.
    """
    if not hasattr(os, "SEEK_HOLE") or size_bytes < MIN_HOLE_BYTES:
        return ()
    found: list[Range] = []
    at = 0
    try:
        for _ in range(_MAX_HOLES):
            start = os.lseek(descriptor, at, os.SEEK_HOLE)
            if start >= size_bytes:
                break
            try:
                at = os.lseek(descriptor, start, os.SEEK_DATA)
            except OSError:  # ENXIO: nothing but the hole is left
                at = size_bytes
            if at - start >= MIN_HOLE_BYTES:
                found.append((start, at))
            if at >= size_bytes:
                break
    except OSError:
        return ()
    return tuple(found)


def overlap_bytes(ranges: tuple[Range, ...], start: int, end: int) -> int:
    """Return how many bytes of [start, end) lie in ``ranges``."""
    return sum(max(0, min(end, last) - max(start, first)) for first, last in ranges)
