"""Copy the bytes of one open file to another, as cheaply as the file system can."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

_STEP_BYTES = 64 << 20  # one call of the kernel; progress is told between two
_BLOCK_BYTES = 1 << 20
# What a hard disk writes: a copy fetches nothing, so its time must not put it behind a download.
BYTES_PER_SECOND = 100_000_000
_FICLONE = 0x40049409  # linux/fs.h, _IOW(0x94, 9, int)


def copy_all(source: int, target: int, progress: Callable[[int], None]) -> None:
    """Copy from the offsets of both to the end of the source, in the kernel if it can.

    ``target`` is empty. Blocks are shared where the file system can.
    """
    if _share_blocks(source, target):
        progress(os.fstat(target).st_size)
        return
    done = 0
    if hasattr(os, "copy_file_range"):
        try:
            while count := os.copy_file_range(source, target, _STEP_BYTES):
                done += count
                progress(done)
        except OSError:
            pass  # not on this file system or between these two: the loop below goes on from here
    while block := os.read(source, _BLOCK_BYTES):
        view = memoryview(block)
        while view:
            view = view[os.write(target, view) :]
        done += len(block)
        progress(done)


def _share_blocks(source: int, target: int) -> bool:
    """Let ``target`` share all blocks of ``source``, copied on write; False where that is not."""
    if not sys.platform.startswith("linux"):
        return False
    import fcntl

    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True
