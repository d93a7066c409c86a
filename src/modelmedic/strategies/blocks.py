"""Repairs inside a model file: its damaged blocks, its missing tail, or whatever differs in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from modelmedic.context import Context
from modelmedic.errors import NotItsCase, RecoveryRefused
from modelmedic.facts import damage, hub_cache, safe_open, weights
from modelmedic.facts.book import FactBook
from modelmedic.facts.weights import Kind
from modelmedic.operations.aside import Was
from modelmedic.operations.write_blocks import WriteBlocks
from modelmedic.strategies import sources
from modelmedic.strategies.weights import expected
from modelmedic.text import printable

# Of a larger file of which more than this is damaged, a fresh copy costs as much and keeps more.
_MOST_DAMAGED = 0.5
_SMALL_BYTES = 64 << 20
# What a file that broke off, or has bytes too many, does not begin with.
_FOREIGN = frozenset({Kind.LFS_POINTER, Kind.HTML, Kind.EMPTY, Kind.ZEROS})


@dataclass(frozen=True, slots=True)
class _Target:
    """The real file behind a subject, and what it should be."""

    subject: str
    path: str
    was: Was
    size_bytes: int
    sha256: str
    sources: tuple[str, ...]


def plan_damaged(facts: FactBook, subject: str) -> WriteBlocks:
    """Return what writes the blocks that are damaged, as digests, CRCs or zeros tell.

    Raises:
        RecoveryRefused: Nothing tells which blocks are damaged, or most of them are.
    """
    target = _target(facts.context, subject, needs_source=True)
    found = facts.get(damage.read_damage, subject, target.size_bytes, target.sha256)
    if not found.blocks:
        known = found.how == "digests"
        raise RecoveryRefused(
            f"{printable(subject)} was not repaired by blocks: "
            + ("each of its blocks is as expected." if known else
               "nothing tells which of its bytes are damaged."),
            "" if known else "No digests of its blocks are known; they are kept when a file "
            "proves right with --deep.",
        )  # fmt: skip
    operation = _operation(target, found.blocks, found.block_bytes, found.algorithm, found.digests)
    is_most = operation.fetch_bytes > target.size_bytes * _MOST_DAMAGED
    if is_most and target.size_bytes > _SMALL_BYTES:
        raise RecoveryRefused(
            f"{printable(subject)} was not repaired by blocks: more than half of it is damaged.",
            "Most often it is another version of the file.",
        )
    return operation


def plan_size(facts: FactBook, subject: str) -> WriteBlocks:
    """Return what fetches the missing tail of a file, or cuts off what is too much.

    Raises:
        RecoveryRefused: Its size is right, or what is there is nothing of the wanted file.
    """
    context = facts.context
    target = _target(context, subject, needs_source=False)
    have = target.was[0]
    if have == target.size_bytes:
        raise NotItsCase(f"{printable(subject)} has the right size.")
    content = facts.get(weights.read_content, subject)
    promised = content.header.promised_bytes if content.header else None
    if content.kind in _FOREIGN or promised not in {None, target.size_bytes}:
        raise NotItsCase(
            f"{printable(subject)} was not completed: what is there is no part of the file "
            "that belongs there."
        )
    block_bytes = damage.small_block_bytes(target.size_bytes)
    if have > target.size_bytes:
        return _operation(target, (), block_bytes)
    _need_source(context, target)
    tail = damage.blocks_of([(have, target.size_bytes)], block_bytes)
    return _operation(target, tail, block_bytes)


def plan_differing(facts: FactBook, subject: str) -> WriteBlocks:
    """Return what fetches the whole file and writes only what differs.

    Raises:
        RecoveryRefused: What is there is nothing of the wanted file: then a copy beside it is
            fetched as well, and needs no more space.
    """
    target = _target(facts.context, subject, needs_source=True)
    content = facts.get(weights.read_content, subject)
    if content.kind in _FOREIGN or target.was[0] * 2 < target.size_bytes:
        raise RecoveryRefused(
            f"{printable(subject)} was not compared with its source: too little of it is there."
        )
    return _operation(target, None, damage.small_block_bytes(target.size_bytes))


def _operation(
    target: _Target,
    blocks: tuple[int, ...] | None,
    block_bytes: int,
    algorithm: str = "",
    digests: tuple[str, ...] = (),
) -> WriteBlocks:
    return WriteBlocks(
        path=target.path,
        size_bytes=target.size_bytes,
        sha256=target.sha256,
        sources=() if blocks == () else target.sources,
        was=target.was,
        blocks=blocks,
        block_bytes=block_bytes,
        algorithm=algorithm,
        digests=digests,
    )


def _target(context: Context, subject: str, *, needs_source: bool) -> _Target:
    """Return the file to write into.

    Raises:
        RecoveryRefused: Its hash or size is not known, it is not there, others share it, or (with
            ``needs_source``) nothing can be fetched.
    """
    wanted = expected(context, subject)
    file = wanted.file
    if not file.sha256 or file.size_bytes is None or not file.is_certain or not file.size_bytes:
        raise RecoveryRefused(
            f"{printable(subject)} was not repaired in place: its exact size and sha256 are not "
            "both known.",
            "Without them, nobody could tell when it is right.",
        )
    state = safe_open.look(context.place, subject)
    if not state.is_present or state.resolved is None:
        raise RecoveryRefused(state.sentence())
    _refuse_shared(context, state, file.sha256)
    target = _Target(
        subject,
        _inside(context, state.resolved, subject),
        (state.size_bytes or 0, state.mtime_ns or 0),
        file.size_bytes,
        file.sha256,
        () if context.offline else sources.urls(context, wanted),
    )
    if needs_source:
        _need_source(context, target)
    return target


def _need_source(context: Context, target: _Target) -> None:
    if context.offline:
        raise RecoveryRefused(f"{printable(target.subject)} was not fetched: --offline was given.")
    if not target.sources:
        raise RecoveryRefused(f"{printable(target.subject)} was not fetched: no source is known.")


def _inside(context: Context, resolved: Path, subject: str) -> str:
    """Return the real path of a file relative to the install.

    Raises:
        RecoveryRefused: It lies outside.
    """
    try:
        return resolved.relative_to(os.path.realpath(context.place)).as_posix()
    except ValueError:
        raise RecoveryRefused(
            f"{printable(subject)} was not repaired in place: its bytes lie at "
            f"{printable(resolved)}, outside the install.",
            "Others may use them.",
        ) from None


def _refuse_shared(context: Context, state: safe_open.FileState, sha256: str) -> None:
    """Refuse bytes that other names, models or programs may use as well."""
    why = ""
    if (state.link_count or 1) > 1:
        why = "it has other names (hard links), whose bytes would change with it"
    elif context.store == "hub":
        why = hub_cache.real_subject(context, state.subject)[1]
    elif state.is_link and state.resolved is not None:
        folder = state.resolved.parent
        is_split = len(folder.name) == 2 and folder.parent.name == "blobs"  # noqa: PLR2004
        if is_split or "store" in folder.parts[-2:]:
            why = "it lies in a store that several models share"
        elif folder.name == "blobs" and state.resolved.name != sha256:
            why = f"its blob is {printable(state.resolved.name)}, another file of the cache"
    if why:
        raise RecoveryRefused(f"{printable(state.subject)} was not repaired in place: {why}.")
