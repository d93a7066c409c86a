"""Repairs of the records of a Hub cache: refs that name no commit, listings that omit files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from modelmedic.context import Context
from modelmedic.errors import RecoveryRefused
from modelmedic.operations.aside import seen
from modelmedic.operations.base import Operation
from modelmedic.operations.kinds import ReplaceFile, SetAside
from modelmedic.operations.tree import Tree
from modelmedic.text import counted, printable

_COMMIT = re.compile(r"[0-9a-f]{40}")


def plan_restore_ref(context: Context, subject: str) -> Iterator[Operation]:
    """Yield what writes the one commit of which the cache has a snapshot into a broken ref.

    Raises:
        RecoveryRefused: It is no ref of a Hub cache, or the cache has not exactly one snapshot.
    """
    parts = PurePosixPath(subject).parts
    if context.store != "hub" or len(parts) < 3 or parts[1] != "refs":  # noqa: PLR2004 - repo/refs/name
        raise RecoveryRefused(f"{printable(subject)} is no ref of a Hub cache.")
    commits = _snapshots(context, parts[0])
    if len(commits) != 1:
        count = counted(len(commits), "snapshot")
        raise RecoveryRefused(
            f"{printable(subject)} was not written: the cache has {count}.",
            "Which commit it named is not known.",
            "Start the download once with network: the client writes it anew.",
        )
    was = seen(Tree(context.place).identity(subject))
    yield ReplaceFile(subject, commits[0], was, "with the commit of the only snapshot")


def plan_set_listing_aside(context: Context, subject: str) -> Iterator[Operation]:
    """Yield what takes a listing out of the way that omits files; the client asks for a new one.

    Raises:
        RecoveryRefused: It is no listing of a Hub cache, or it is gone.
    """
    found = Tree(context.place).identity(subject)
    was = seen(found)
    is_listing = context.store == "hub" and PurePosixPath(subject).parent.name == "trees"
    if not is_listing or found is None or was is None or not found.is_file:
        raise RecoveryRefused(f"{printable(subject)} is no listing that the Hub's client wrote.")
    yield SetAside(subject, was)


def _snapshots(context: Context, repo: str) -> list[str]:
    try:
        names = [each.name for each in (context.place / repo / "snapshots").iterdir()]
    except OSError:
        return []
    return sorted(name for name in names if _COMMIT.fullmatch(name))
