"""What a repair refuses before it changes anything: as root elsewhere, or under a running app."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from modelmedic.errors import RecoveryRefused
from modelmedic.facts import file_users
from modelmedic.healing import trouble
from modelmedic.operations import mounts
from modelmedic.operations.base import Operation
from modelmedic.operations.tree import Tree
from modelmedic.text import counted, printable, size

_SHOWN = 3


class RefusedAsRoot(RecoveryRefused):
    """Root was asked to work in a folder that is not root's alone; nothing was touched."""


def refuse_as_root(install: Path, operations: Iterable[Operation] = ()) -> None:
    """Refuse to work as root in a folder of another user: what we write would not be theirs.

    Args:
        install: The install folder; its parent counts while it does not exist.
        operations: The folders on the way to their files count too.

    Raises:
        RefusedAsRoot: One of them belongs to another user, or others can write it.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return
    try:
        _refuse_foreign(install if install.is_dir() else install.parent)
        for operation in operations:
            for name in ("path", "target"):
                for folder in _folders_above(install, getattr(operation, name, "")):
                    _refuse_foreign(folder)
    except OSError as error:
        raise RefusedAsRoot(
            f"Whose {printable(install)} is cannot be told: {trouble.reason(error)}; as root, "
            "nothing was touched."
        ) from error


def _folders_above(install: Path, subject: str) -> Iterable[Path]:
    parts = subject.split("/")  # the subject too, if it is a folder
    folders = [install.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    return [folder for folder in folders if folder.is_dir()]


def _refuse_foreign(folder: Path) -> None:
    found = folder.stat()
    others_may_write = stat.S_IMODE(found.st_mode) & 0o022 and not found.st_mode & stat.S_ISVTX
    if found.st_uid != 0 or others_may_write:
        raise RefusedAsRoot(
            f"{printable(folder)} belongs to another user, or others can write it; as root, "
            "nothing was touched.",
            "What root writes there its owner could not use, and a link planted there could "
            "lead root elsewhere.",
            "Start again as the user the install belongs to.",
        )


def refuse_without_space(install: Path, operations: Sequence[Operation]) -> None:
    """Refuse to begin a set of fetches that the disk cannot hold as a whole.

    One that cannot hold a single file refuses that itself.

    Raises:
        RecoveryRefused: Says what is needed and what is free.
        OSError: It could not be looked at.
    """
    tree = Tree(install)
    if not any(operation.cost().fetch_bytes for operation in operations):
        return
    needs = [need for each in operations if (need := each.space_bytes(tree))]
    if len(needs) <= 1:
        return
    free = mounts.free_bytes(tree)
    if sum(needs) > free:
        raise RecoveryRefused(
            f"Nothing was fetched: {counted(len(needs), 'file')} together need "
            f"{size(sum(needs))} more on this disk and {size(free)} are free.",
            "The old files stay until the new ones are proven.",
            mounts.space_step(tree),
        )


def refuse_in_use(install: Path, operations: Iterable[Operation]) -> None:
    """Refuse to change a file that another process has open, has mapped or runs.

    What this user may not see (processes of others, other machines) refuses nothing.

    Raises:
        RecoveryRefused: Names the file, and each process with its program.
    """
    tree = Tree(install)
    if tree.identity(".") is None:
        return
    paths = {path for operation in operations for path in operation.touched(tree)}
    there = [path for path in sorted(paths) if tree.identity(path) is not None]
    users = file_users.read_users(install, there)
    if not users:
        return
    shown = ", ".join(
        f"process {user.pid} ({printable(user.program) or 'unknown'}) {user.way}"
        for user in users[:_SHOWN]
    )
    more = f", and {counted(len(users) - _SHOWN, 'more')}" if len(users) > _SHOWN else ""
    raise RecoveryRefused(
        f"{printable(users[0].subject)} was not touched: {shown}{more}.",
        "A program that has read a part of the old file must not meet the rest of another one.",
        "End it, then start again.",
    )
