"""Repairs of a cache of the Hub's client: links of a snapshot, parts that nobody goes on with."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

from modelmedic.context import Context, ExpectedFile
from modelmedic.errors import CannotTell, NotItsCase, RecoveryRefused
from modelmedic.facts import hub_cache, install_scan, partials, safe_open
from modelmedic.operations.aside import seen
from modelmedic.operations.base import Operation
from modelmedic.operations.kinds import SetAside
from modelmedic.operations.links import MakeLink
from modelmedic.operations.tree import Tree
from modelmedic.strategies import files
from modelmedic.text import printable

_BLOCK_BYTES = 1 << 20


def plan_relink(context: Context, subject: str) -> Iterator[Operation]:
    """Yield what links a name of a snapshot to the blob that has its bytes.

    Raises:
        RecoveryRefused: It lies in no snapshot of a Hub cache, its hash is not known, there is
            something else at its place, or no blob of the repo has its bytes.
    """
    wanted = next((e for e in context.expected_files() if e.subject == subject), None)
    place = hub_cache.blobs_of(subject) if context.store == "hub" else None
    if wanted is None or place is None:
        raise NotItsCase(f"{printable(subject)} lies in no snapshot of a Hub cache.")
    tree = Tree(context.place)
    old = tree.identity(subject)
    if old is not None and tree.link_text(subject) is None:
        raise RecoveryRefused(f"{printable(subject)} is no link; it was not touched.")
    if old is not None and hub_cache.follow(context.place, subject).is_there:
        raise NotItsCase(f"{printable(subject)} leads to a file already.")
    blobs, way = place
    etag = _proven(context, wanted, blobs)
    yield from files.plan_parents(context, subject)
    yield MakeLink(subject, f"{way}/{etag}", seen(old))


def plan_set_partials_aside(context: Context) -> Iterator[Operation]:
    """Yield what takes the orphaned parts of the Hub client's downloads out of the way.

    Raises:
        RecoveryRefused: None is left, a download began, or a part was written to just now.
    """
    scan = install_scan.scan(context.place, folders=install_scan.own_folders(context))
    parts = [each for each in scan.leftovers if partials.lock_folder(each.subject)]
    orphans = partials.orphans(context.place, parts)
    if not orphans:
        holder = next(filter(None, (_holder(context, each.subject) for each in parts)), "")
        raise RecoveryRefused(
            "No part of a download was set aside: none is orphaned.",
            f"A download may be at work: {holder}." if holder else "They were written to lately.",
            "Let it finish, or end it.",
        )
    tree = Tree(context.place)
    for each in orphans:
        was = seen(tree.identity(each.subject))
        if was is not None:
            yield SetAside(each.subject, was)


def _holder(context: Context, subject: str) -> str:
    return partials.held_lock(context.place, partials.lock_folder(subject))


def _proven(context: Context, wanted: ExpectedFile, blobs: str) -> str:
    """Return the name of the blob whose bytes, read whole, are those of the file."""
    file = wanted.file
    known = [("sha256", file.sha256), ("git_blob", file.git_blob)]
    etags = [(algorithm, etag.lower()) for algorithm, etag in known if etag]
    if not etags:
        raise RecoveryRefused(
            f"{printable(wanted.subject)} was not linked: nothing says which blob is its own.",
            "Neither the profile nor the Hub client's records know its hash.",
        )
    damaged = ""
    for algorithm, etag in etags:
        subject = f"{blobs}/{etag}"
        try:
            found = _hash(context, subject, algorithm)
        except CannotTell as error:
            raise RecoveryRefused(f"{printable(subject)} cannot be read: {error.what}") from error
        if found == etag:
            return etag
        damaged = damaged or (subject if found else "")
    if damaged:
        raise RecoveryRefused(
            f"{printable(wanted.subject)} was not linked: {printable(damaged)} has other bytes "
            "than its name says.",
            "The blob itself is damaged.",
        )
    raise RecoveryRefused(f"The cache has no blob with the bytes of {printable(wanted.subject)}.")


def _hash(context: Context, subject: str, algorithm: str) -> str:
    """Return the hash of a file of the install, links inside it followed; "" if it is missing."""
    with safe_open.opened(context.place, subject) as (state, file):
        if file is None:
            if state.state in {safe_open.State.MISSING, safe_open.State.DANGLING}:
                return ""
            raise CannotTell(state.sentence())
        digest = hashlib.sha256()
        if algorithm == "git_blob":
            digest = hashlib.sha1(b"blob %d\0" % file.size_bytes, usedforsecurity=False)
        os.lseek(file.descriptor, 0, os.SEEK_SET)
        while block := os.read(file.descriptor, _BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
