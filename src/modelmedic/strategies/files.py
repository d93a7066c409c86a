"""Repairs of folders and locks."""

from __future__ import annotations

from collections.abc import Iterator

from modelmedic.context import Context
from modelmedic.errors import RecoveryRefused
from modelmedic.operations.aside import seen
from modelmedic.operations.base import Operation
from modelmedic.operations.kinds import MakeDir, SetAside
from modelmedic.operations.tree import Tree
from modelmedic.text import printable


def plan_missing_folder(context: Context, subject: str) -> Iterator[Operation]:
    """Yield what creates a folder of the install with its missing parents ("." = the install).

    Raises:
        RecoveryRefused: Something other than a folder lies there, or the install's own parent
            folder is missing.
    """
    tree = Tree(context.place)
    if tree.identity(".") is None:
        if not context.place.parent.is_dir():
            raise RecoveryRefused(
                f"{printable(context.place)} was not created: the folder above it is missing.",
                "A mistyped --install-dir looks just like this.",
                "Create the folder above it, or correct the path.",
            )
        yield MakeDir(".")
    if subject == ".":
        return
    parts = subject.split("/")
    for depth in range(1, len(parts) + 1):
        path = "/".join(parts[:depth])
        found = tree.identity(path) if tree.identity(".") else None
        if found is None:
            yield MakeDir(path)
        elif not found.is_folder:
            raise RecoveryRefused(
                f"{printable(path)} was not created: something that is no folder lies there."
            )


def plan_parents(context: Context, subject: str) -> Iterator[Operation]:
    """Yield what creates the missing folders above a file of the install; often nothing."""
    parent = subject.rpartition("/")[0]
    yield from plan_missing_folder(context, parent or ".")


def plan_remove_lock(context: Context, subject: str) -> Iterator[Operation]:
    """Yield what takes a lock file away that nobody holds.

    Raises:
        RecoveryRefused: A process holds it, or it is gone or no plain file.
    """
    from modelmedic.facts import locks

    tree = Tree(context.place)
    found = tree.identity(subject)
    if found is None or not found.is_file:
        raise RecoveryRefused(f"{printable(subject)} is not a lock file any more.")
    with tree.open_read(subject) as handle:
        holder = locks.holder_of(handle)
    if holder:
        raise RecoveryRefused(
            f"{printable(subject)} was left alone: {holder}.",
            "A download may be at work.",
            "Wait for it, or end it.",
        )
    was = seen(found)
    if was is not None:
        yield SetAside(subject, was)
