"""A kernel lock on a file: shared while pytest runs, exclusive while the environment changes.

The kernel lets go of it when its last holder ends, however that happens: there is no stale lock
to detect. Windows knows no shared form; there a file in use cannot be removed anyway.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from modelmedic.errors import ModelmedicError

WAIT_SECONDS = 1800.0  # longer than any first start on a slow line; shorter than a night
_POLL_SECONDS = 0.2
_NO_LOCKS_HERE = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # some network file systems


def open_file(path: Path) -> int:
    """Open (and make) the lock file; for reading when this folder is not ours to write."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:
        if not path.exists():
            raise
        return os.open(path, os.O_RDONLY)


def take(lock: int, *, exclusive: bool, tell: Callable[[str], None]) -> None:
    """Wait for the lock, telling once that we do.

    Raises:
        ModelmedicError: It was not free within ``WAIT_SECONDS``.
    """
    if _try(lock, exclusive=exclusive):
        return
    tell("another start is using or preparing the same environment; waiting for it.")
    deadline = time.monotonic() + WAIT_SECONDS
    while not _try(lock, exclusive=exclusive):
        if time.monotonic() > deadline:
            raise ModelmedicError(
                f"Another start has held the environment for {WAIT_SECONDS / 60:.0f} minutes.",
                "Two starts never change one environment at once.",
                "end the other one, or wait for it, and start again.",
            )
        time.sleep(_POLL_SECONDS)


if sys.platform == "win32":
    import msvcrt

    def _try(lock: int, *, exclusive: bool) -> bool:
        try:
            msvcrt.locking(lock, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        if not exclusive:
            release(lock)
        return True

    def release(lock: int) -> None:
        """Let go of the exclusive lock."""
        os.lseek(lock, 0, os.SEEK_SET)
        msvcrt.locking(lock, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try(lock: int, *, exclusive: bool) -> bool:
        try:
            fcntl.flock(lock, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _NO_LOCKS_HERE:
                raise
        return True

    def release(lock: int) -> None:
        """Let go of the lock, whichever it is."""
        fcntl.flock(lock, fcntl.LOCK_UN)
