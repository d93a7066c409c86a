"""Which kept files repairs still need, read from the journals, and letting go of the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from modelmedic.context import Context
from modelmedic.errors import RecoveryFailed
from modelmedic.healing import journal as journals
from modelmedic.healing import trouble
from modelmedic.healing.journal import Repair
from modelmedic.operations import expiry
from modelmedic.operations.aside import ASIDE, PARTS
from modelmedic.operations.base import Workshop


def expire(context: Context, shop: Workshop, told: Callable[[str], None]) -> int:
    """Delete what is kept beyond the cap in bytes and age; return the freed bytes.

    Raises:
        CannotTell: The journals cannot be listed; then nothing is known to be needless.
        RecoveryFailed: The kept files cannot be listed.
        RecoveryRefused: A journal cannot be read, or the kept files lie behind a link.
    """
    names = frozenset(name for text in _needed(context) for name in _kept_as(text))
    runs = frozenset(_on_record(context))
    try:
        return expiry.expire(
            shop,
            now_seconds=time.time(),
            # The record of a part, NAME.blocks, stays with it.
            is_needed=lambda path: not names.isdisjoint(_names_of(path)),
            is_on_record=lambda path: path.removeprefix(f"{ASIDE}/").partition("/")[0] in runs,
            told=told,
        )
    except OSError as error:
        raise RecoveryFailed(
            f"Kept files could not be let go: {trouble.reason(error)}.",
            "",
            trouble.next_step(error),
        ) from error


def _names_of(path: str) -> Iterator[str]:
    """Give what a note may call what is kept as one: its path, or its hash as a name."""
    yield path
    yield path.rpartition("/")[2].removesuffix(".blocks")


def _kept_as(text: str) -> Iterator[str]:
    """Give a text of a note and, where it is a path in a folder that is kept as one, that one."""
    yield text
    for folder, depth in ((ASIDE, 4), (PARTS, 3)):
        if text.startswith(f"{folder}/"):
            yield "/".join(text.split("/")[:depth])


def _on_record(context: Context) -> Iterator[str]:
    """Give each run that has a journal here, whichever machine wrote it."""
    state_dir, place = context.state_dir, context.place
    for journal in journals.all_of(state_dir, place) + journals.of_other_hosts(state_dir, place):
        yield journal.run_id


def _needed(context: Context) -> Iterator[str]:
    """Give each text in the notes of repairs whose files must stay: paths, and hashes as names.

    These are this run's repairs, those of the newest run that has any to undo, and all without a
    verdict, on whichever machine.
    """
    state_dir, place = context.state_dir, context.place
    is_newest = True
    for journal in reversed(journals.all_of(state_dir, place)):
        repairs = journal.repairs()
        is_this = is_newest or journal.run_id == context.run_id
        yield from _texts_of([r for r in repairs if is_this or not r.verdict])
        if any(repair.steps and repair.verdict != "undone" for repair in repairs):
            is_newest = False
    for journal in journals.of_other_hosts(state_dir, place):
        yield from _texts_of([r for r in journal.repairs() if not r.verdict])


def _texts_of(repairs: list[Repair]) -> Iterator[str]:
    for repair in repairs:
        for step in repair.steps:
            yield from _texts(step.operation)
            yield from _texts(step.note)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)
