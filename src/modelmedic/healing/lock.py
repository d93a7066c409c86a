"""One repair at a time per install, whoever runs it: the lock lies on the install itself."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from modelmedic.context import OWN_FOLDER
from modelmedic.errors import RecoveryRefused
from modelmedic.operations.tree import Tree
from modelmedic.text import printable

WAIT_SECONDS = 3600.0  # a repair of another run may fetch a 10 GB shard


@contextlib.contextmanager
def held(state_dir: Path, install: Path, *, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold the lock of an install; a killed holder frees it, because the kernel does.

    Before the install folder exists, a lock in the state folder stands in for it.

    Raises:
        RecoveryRefused: Somebody else holds it too long, or the file system cannot lock.
    """
    import filelock

    with contextlib.ExitStack() as stack:
        for path in _found(state_dir, install):
            lock = filelock.FileLock(path, timeout=wait_seconds, mode=0o600)
            try:
                stack.enter_context(lock)
            except filelock.Timeout as error:
                raise RecoveryRefused(
                    f"Another repair of {printable(install)} has not ended within "
                    f"{wait_seconds:.0f} s; nothing was touched.",
                    "",
                    "Wait for it, or end it, then start again.",
                ) from error
            except (OSError, NotImplementedError) as error:
                raise RecoveryRefused(
                    f"{printable(install)} cannot be locked, so nothing was touched: {error}.",
                    "Without a lock two repairs could work on one file at the same time.",
                    "Move the install to a local disk.",
                ) from error
        yield


def _found(state_dir: Path, install: Path) -> list[Path]:
    """Return the lock files, their folders made if missing.

    Raises:
        RecoveryRefused: One cannot be made: no permission, a full or read-only disk.
    """
    try:
        return list(_lock_files(state_dir, install))
    except OSError as error:
        raise RecoveryRefused(
            f"{printable(install)} cannot be locked, so nothing was touched: "
            f"{error.strerror or error}.",
            "The lock lies in the install and in modelmedic's state folder; both must be writable.",
            "Make them writable, or name another state folder with MODELMEDIC_STATE_DIR.",
        ) from error


def _lock_files(state_dir: Path, install: Path) -> Iterator[Path]:
    locks = state_dir / "locks"
    locks.mkdir(parents=True, exist_ok=True, mode=0o700)
    yield locks / f"{hashlib.sha256(os.fsencode(install)).hexdigest()[:16]}.lock"
    if install.is_dir():
        tree = Tree(install)
        tree.make_own_folder(OWN_FOLDER)
        own = tree.identity(OWN_FOLDER)
        if own is None or not own.is_folder:  # a link planted there would lead the lock elsewhere
            raise RecoveryRefused(
                f"{printable(install / OWN_FOLDER)} is not a folder; nothing was touched.",
                "modelmedic keeps its lock and replaced files there, and follows no link.",
                "Look what it is and move it away yourself.",
            )
        yield install / OWN_FOLDER / "lock"
