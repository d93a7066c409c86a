"""One repair at a time per install, whoever runs it: the lock lies on the install itself."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from modelmedic.context import OWN_FOLDER
from modelmedic.errors import RecoveryRefused
from modelmedic.healing import guards, holder, trouble
from modelmedic.operations.durable import make_private_folders
from modelmedic.operations.tree import Tree
from modelmedic.text import duration, printable

if TYPE_CHECKING:
    import filelock

WAIT_SECONDS = 3600.0  # a repair of another run may fetch a 10 GB shard
QUIET_SECONDS = 1.0  # most repairs of another worker end sooner; then nobody needs to hear of it


@contextlib.contextmanager
def held(
    state_dir: Path,
    install: Path,
    *,
    wait_seconds: float = WAIT_SECONDS,
    told: Callable[[str], None] = lambda _sentence: None,
) -> Iterator[None]:
    """Hold the lock of an install; a killed holder frees it, because the kernel does.

    Before the install folder exists, a lock in the state folder stands in for it.

    Args:
        state_dir: The state folder.
        install: The install folder.
        wait_seconds: How long to wait for somebody else's repair to end.
        told: Hears who holds it, before the waiting begins.

    Raises:
        RecoveryRefused: Somebody else holds it too long, the file system cannot lock, or root
            would work in another user's folder.
    """
    guards.refuse_as_root(install)
    with contextlib.ExitStack() as stack:
        try:
            for path in _lock_files(state_dir, install):
                _take(stack, path, install, wait_seconds, told)
        except OSError as error:
            raise RecoveryRefused(
                f"{printable(install)} cannot be locked, so nothing was touched: "
                f"{trouble.reason(error)}.",
                "Without a lock two repairs could work on one file at the same time.",
                trouble.next_step(error) or "Move the install to a local disk.",
            ) from error
        yield


def _take(
    stack: contextlib.ExitStack,
    path: Path,
    install: Path,
    wait_seconds: float,
    told: Callable[[str], None],
) -> None:
    """Take one lock, at once or after saying who holds it."""
    import filelock

    lock = file_lock(path)
    try:
        try:
            lock.acquire(timeout=min(QUIET_SECONDS, max(0.0, wait_seconds)))
        except filelock.Timeout:
            if wait_seconds <= 0:
                raise
            told(
                f"{holder.words(path)} is repairing {printable(install)}. Waiting for it, "
                f"up to {duration(wait_seconds)}; Ctrl-C ends the waiting and changes nothing."
            )
            lock.acquire(timeout=wait_seconds)
    except filelock.Timeout as error:
        raise RecoveryRefused(
            f"Another repair of {printable(install)} has not ended within {wait_seconds:.0f} s; "
            "nothing was touched.",
            f"By its own word it is {holder.words(path)}.",
            "Wait for it, or end it, then start again.",
        ) from error
    stack.callback(lock.release)
    holder.write(path)
    stack.callback(holder.clear, path)


def file_lock(path: Path) -> filelock.BaseFileLock:
    """Return the lock of a file, that the kernel frees with its holder; not taken yet."""
    import filelock

    # Where a file system has no locks, it would take the mere existence of a file for one: a killed
    # run would then block every later one.
    return filelock.FileLock(path, mode=0o600, fallback_to_soft=False)


def _lock_files(state_dir: Path, install: Path) -> Iterator[Path]:
    locks = state_dir / "locks"
    make_private_folders(locks)
    real = os.fsencode(os.path.realpath(install))  # as the journals: it is one by any path
    yield locks / f"{hashlib.sha256(real).hexdigest()[:16]}.lock"
    if install.is_dir():
        tree = Tree(install)
        with contextlib.suppress(NotADirectoryError):  # said below, with what lies there
            tree.make_own_folder(OWN_FOLDER)
        own = tree.identity(OWN_FOLDER)
        if own is None or not own.is_folder:  # a link planted there would lead the lock elsewhere
            raise RecoveryRefused(
                f"{printable(install / OWN_FOLDER)} is not a folder; nothing was touched.",
                "modelmedic keeps its lock and replaced files there, and follows no link.",
                "Look what it is and move it away yourself.",
            )
        lock = tree.identity(f"{OWN_FOLDER}/lock")
        if lock is not None and not lock.is_file:
            raise RecoveryRefused(
                f"{printable(install / OWN_FOLDER / 'lock')} is not a plain file; nothing was "
                "touched.",
                "It is modelmedic's lock, which follows no link.",
                "Look what it is and move it away yourself.",
            )
        yield install / OWN_FOLDER / "lock"
