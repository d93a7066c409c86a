"""One at a time: who sweeps what killed runs left, and who registers something new."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from modelmedic.operations.durable import make_private_folders

SWEEP_SECONDS = 5.0  # what is not swept now is swept by the next run
REGISTER_SECONDS = 60.0  # a sweep of another run may have a large folder to remove
_CANNOT_LOCK = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK})


@contextlib.contextmanager
def sweeping(state_dir: Path) -> Iterator[None]:
    """Hold the lock of the records; a killed holder frees it, because the kernel does.

    Raises:
        OSError: Another process holds it, or it cannot be locked: then nothing may be swept.
    """
    with _held(state_dir, SWEEP_SECONDS):
        yield


@contextlib.contextmanager
def registering(state_dir: Path) -> Iterator[None]:
    """Hold it where there are locks; where there are none, nobody sweeps.

    Raises:
        OSError: Another process holds it too long: then nothing may be made.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_held(state_dir, REGISTER_SECONDS))
        except OSError as error:
            if error.errno not in _CANNOT_LOCK:
                raise
        yield


@contextlib.contextmanager
def _held(state_dir: Path, wait_seconds: float) -> Iterator[None]:
    import filelock

    from modelmedic.healing.lock import file_lock

    folder = state_dir / "locks"
    make_private_folders(folder)
    lock = file_lock(folder / "temporary.lock")
    try:
        lock.acquire(timeout=wait_seconds)
    except filelock.Timeout as error:
        text = f"another process has held the lock of the records for {wait_seconds:.0f} s"
        raise TimeoutError(errno.ETIMEDOUT, text, str(folder)) from error
    try:
        yield
    finally:
        lock.release()
