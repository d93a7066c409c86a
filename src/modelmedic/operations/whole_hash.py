"""The SHA-256 of a whole file, also of one that is not written yet: old bytes with new blocks."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from modelmedic.facts.buffers import read_buffer
from modelmedic.facts.damage import read_into
from modelmedic.operations.new_blocks import NewBlocks

_PIECE_BYTES = 4 << 20  # enough that handing a piece over is nothing beside hashing it

Fill = Callable[[memoryview, int], int]


def of_file(handle: int, size_bytes: int, progress: Callable[[int], None]) -> str:
    """Return the SHA-256 of an open file, hexadecimal; "" when it has another size.

    One thread reads while the other hashes: neither holds the interpreter.
    """
    return _hashed(lambda view, at: read_into(handle, view, at), size_bytes, progress)


def of_patched(handle: int, new: NewBlocks, progress: Callable[[int], None]) -> str:
    """Return the SHA-256 that an open file would have with its new blocks in place.

    "" when it would have another size: a block beyond its end is missing.
    """
    changed = new.changed

    def fill(view: memoryview, at: int) -> int:
        end = at + len(view)
        count = read_into(handle, view, at)
        reached = at + count
        for index in changed[bisect_left(changed, at // new.block_bytes) :]:
            low, high = new.span(index)
            if low >= end or low > reached:
                break
            data = new.data(index)
            first, last = max(low, at), min(high, end)
            view[first - at : last - at] = data[first - low : last - low]
            reached = max(reached, last)
        return reached - at

    return _hashed(fill, new.size_bytes, progress)


def _hashed(fill: Fill, size_bytes: int, progress: Callable[[int], None]) -> str:
    hasher = hashlib.sha256()
    buffers = [read_buffer(min(_PIECE_BYTES, size_bytes)) for _ in range(2)]
    waiting: Future[None] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="hash") as pool:
        for number, at in enumerate(range(0, size_bytes, _PIECE_BYTES)):
            view = buffers[number % 2][: min(_PIECE_BYTES, size_bytes - at)]
            count = fill(view, at)
            if waiting is not None:
                waiting.result()
            if count < len(view):
                return ""
            waiting = pool.submit(hasher.update, view)
            progress(at)
        if waiting is not None:
            waiting.result()
    return hasher.hexdigest()
