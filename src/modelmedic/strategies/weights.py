"""Repairs of model files: bring a misplaced one home, or fetch one again and prove it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator

from modelmedic.context import Context, ExpectedFile
from modelmedic.errors import NotItsCase, RecoveryRefused, Unhealthy
from modelmedic.facts.weights import Pointer
from modelmedic.operations import mounts
from modelmedic.operations.aside import Was, seen
from modelmedic.operations.base import Operation
from modelmedic.operations.copy_file import CopyFile
from modelmedic.operations.fetch_file import FetchFile
from modelmedic.operations.kinds import Rename
from modelmedic.operations.tree import Tree
from modelmedic.strategies import files, landing, sources, strays
from modelmedic.strategies.strays import Candidate
from modelmedic.text import printable

_BLOCK_BYTES = 1 << 20


def expected(context: Context, subject: str) -> ExpectedFile:
    """Return the profile's entry for a file.

    Raises:
        RecoveryRefused: The profile has no such file.
    """
    for entry in context.expected_files():
        if entry.subject == subject:
            return entry
    raise RecoveryRefused(f"{printable(subject)} is no file of profile {context.profile.name}.")


def plan_refetch(context: Context, subject: str) -> Iterator[Operation]:
    """Yield what fetches one missing or damaged file from the source the profile prefers.

    Raises:
        RecoveryRefused: No hash or no source is known, or --offline was given; or it is missing
            together with others of its model, which `plan_bring_up` fetches as one.
    """
    wanted = expected(context, subject)
    _refuse_alone(context, wanted)
    fetch, link = fetching(context, wanted)
    first = dataclasses.replace(fetch, sources=fetch.sources[:1])
    yield from landing.land(context, subject, link, first)


def plan_alternative(context: Context, subject: str) -> Iterator[Operation]:
    """Yield what fetches one file from the profile's other sources, the preferred one last.

    Raises:
        RecoveryRefused: There is no other source; else as `plan_refetch`.
    """
    wanted = expected(context, subject)
    _refuse_alone(context, wanted)
    fetch, link = fetching(context, wanted)
    if len(fetch.sources) < 2:  # noqa: PLR2004 - the preferred one and another
        raise NotItsCase(
            f"{printable(subject)} has no other source: the profile names one.",
            "",
            "Name another in [[models.sources]] of a profile of your own.",
        )
    others = dataclasses.replace(fetch, sources=(*fetch.sources[1:], fetch.sources[0]))
    yield from landing.land(context, subject, link, others)


def _refuse_alone(context: Context, wanted: ExpectedFile) -> None:
    """Refuse to fetch one of several missing files, before there is room for all of them.

    Raises:
        RecoveryRefused: Other files of its model are missing, too.
    """
    if was_of(context, wanted.subject) is None and len(missing(context, wanted)) > 1:
        raise RecoveryRefused(
            f"{printable(wanted.subject)} was not fetched alone: other files of the model "
            f"{printable(wanted.model.name)} are missing, too.",
            "Whether there is room for all of them is looked at before the first is fetched.",
            "Let bring_up_model fetch them together; above 1 GB it needs --allow=costly.",
        )


def refuse_published(error: BaseException, subject: str) -> None:
    """Refuse to fetch what a check found to be the published bytes already.

    Raises:
        RecoveryRefused: It would only fetch the same bytes again.
    """
    if isinstance(error, Unhealthy) and error.evidence.get("is_published"):
        raise RecoveryRefused(
            f"{printable(subject)} was not fetched: its bytes are the published ones already.",
            "The same would come again.",
        )


def fetching(
    context: Context, wanted: ExpectedFile, pointer: Pointer | None = None
) -> tuple[FetchFile, str]:
    """Return the fetch of one file from all its sources; the old one stays until it is proven.

    With it comes what a link at the file's name must say afterwards; "" where none is needed.

    Args:
        context: The subject of the run.
        wanted: The file.
        pointer: The Git LFS pointer that lies in its place; it says what a profile may not.

    Raises:
        RecoveryRefused: No hash or no source is known, or --offline was given.
    """
    subject, file = wanted.subject, wanted.file
    if context.offline:
        raise RecoveryRefused(f"{printable(subject)} was not fetched: --offline was given.")
    addresses = sources.urls(context, wanted)
    if not (file.sha256 or file.git_blob) and pointer is not None:
        file = dataclasses.replace(
            file, sha256=pointer.oid, size_bytes=pointer.size_bytes, is_certain=True
        )
    if not (file.sha256 or file.git_blob):
        raise RecoveryRefused(
            f"{printable(subject)} was not fetched: the profile knows no hash of it.",
            "Without one, nobody could tell good bytes from bad ones.",
            "Fetch it with the Hub's own client.",
        )
    if not addresses:
        raise RecoveryRefused(f"{printable(subject)} was not fetched: no source is known.")
    target = landing.landing_of(context, subject, file.sha256 or file.git_blob or "")
    mounts.refuse_apart(Tree(context.place), target.path)
    fetch = FetchFile(
        path=target.path,
        size_bytes=file.size_bytes if file.is_certain else None,
        expected_bytes=None if file.is_certain else file.size_bytes,
        sha256=file.sha256 or "",
        git_blob=file.git_blob or "",
        sources=addresses,
        was=was_of(context, target.path),
        partial=landing.stranger_of(context, wanted),
    )
    return fetch, target.link


def missing(context: Context, wanted: ExpectedFile) -> list[ExpectedFile]:
    """Return the files of a model that are not there and whose hash is known."""
    return [
        entry
        for entry in context.expected_files()
        if entry.model.name == wanted.model.name
        and (entry.file.sha256 or entry.file.git_blob)
        and not entry.file.is_optional
        and was_of(context, entry.subject) is None
    ]


def plan_move(context: Context, subject: str) -> Iterator[Operation]:
    """Yield what brings a file with exactly these bytes from elsewhere in the install.

    A file on which nobody has a claim is moved. One that belongs to something else (the Hub's
    cache, another model's folder) is copied: moving it would break that.

    Raises:
        RecoveryRefused: There is something at the place already, its size or SHA-256 is not
            known, or no file in the install has these bytes.
    """
    wanted = expected(context, subject)
    file = wanted.file
    if file.size_bytes is None or not file.sha256:
        raise RecoveryRefused(f"{printable(subject)} cannot be recognised: no hash is known.")
    tree = Tree(context.place)
    if was_of(context, subject) is not None:
        raise RecoveryRefused(f"{printable(subject)} is there; nothing is moved over it.")
    for candidate in strays.find(context, file.size_bytes):
        was = seen(tree.identity(candidate.subject))
        if was is not None and _sha256(tree, candidate.subject) == file.sha256:
            operation = _bring(tree, candidate, was, subject, file.sha256)
            yield from files.plan_parents(context, subject)
            yield operation
            return
    raise RecoveryRefused(f"No other file in the install has the bytes of {printable(subject)}.")


def _bring(tree: Tree, candidate: Candidate, was: Was, subject: str, sha256: str) -> Operation:
    """Return the move of a true stray, or the copy of what belongs to something else.

    Raises:
        RecoveryRefused: Neither can be done from one mount to another; names the file.
    """
    owner = candidate.owner
    try:
        if not owner and mounts.are_together(tree, candidate.subject, subject):
            return Rename(candidate.subject, subject, was)
        if mounts.are_together(tree, subject):
            return CopyFile(subject, candidate.subject, was[0], sha256, was, None)
        why = "the place it belongs to is another disk or mount than the install"
    except OSError as error:
        why = f"a folder cannot be looked at ({error.strerror})"
    shown = printable(candidate.subject)
    raise RecoveryRefused(
        f"{shown} has the bytes of {printable(subject)} and was left where it is: "
        f"{owner or 'it lies on another disk or mount'}.",
        f"It was not copied either: {why}.",
        f"Copy {shown} to {printable(subject)} yourself, or let it be fetched.",
    )


def was_of(context: Context, subject: str) -> Was | None:
    """Return what a plan remembers of what lies at a place; None when nothing does."""
    tree = Tree(context.place)
    return seen(tree.identity(subject)) if tree.identity(".") else None


def _sha256(tree: Tree, subject: str) -> str:
    digest = hashlib.sha256()
    try:
        with tree.open_read(subject) as handle:
            while block := os.read(handle, _BLOCK_BYTES):
                digest.update(block)
    except (OSError, RecoveryRefused):
        return ""  # not readable: not ours to move
    return digest.hexdigest()
