"""Folders that an interrupted pip had moved aside, taken out of the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from modelmedic.context import Context
from modelmedic.errors import RecoveryRefused
from modelmedic.facts import processes
from modelmedic.facts.book import FactBook
from modelmedic.operations.aside import seen
from modelmedic.operations.kinds import SetAside
from modelmedic.operations.tree import Tree
from modelmedic.strategies.environment import target
from modelmedic.text import printable


def plan_set_aside(facts: FactBook, context: Context) -> Iterator[SetAside]:
    """Yield what sets each leftover in the environment's own folder of packages aside.

    Source: pip ``_internal/utils/temp_dir.py``, ``AdjacentTempDirectory``: a package that is
    replaced waits as "~" and the rest of its name, beside the new one, until pip ends.

    Raises:
        RecoveryRefused: The environment is not one to change, a program runs from it (that may be
            the very pip whose folders they are), or none is left.
    """
    place = target(facts, context)
    folder = context.place / place.folder
    for user in facts.get(processes.read_running).users:
        if "runs from it" in user.ways and Path(user.path).is_relative_to(folder):
            raise RecoveryRefused(
                f"Nothing was set aside: process {user.pid} ({printable(user.program)}) runs from "
                f"{printable(folder)}.",
                "If it is pip at work, these folders are how it goes back.",
                "Close it first.",
            )
    tree = Tree(context.place)
    found = False
    for path in place.found.leftovers:
        if Path(path).parent != Path(place.found.purelib):
            continue  # of the user or the system: other programs may go on with it
        subject = f"{place.folder}/{place.site}/{Path(path).name}"
        identity = tree.identity(subject)
        was = seen(identity)
        if identity is not None and was is not None:
            found = True
            yield SetAside(subject, was, is_folder=identity.is_folder)
    if not found:
        raise RecoveryRefused("No interrupted pip left anything in the environment's own folder.")
