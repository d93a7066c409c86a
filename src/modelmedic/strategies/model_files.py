"""Repairs of model files beyond one file and one source: twins, leavings, whole models."""

from __future__ import annotations

from collections.abc import Iterator

from modelmedic.context import Context, ExpectedFile
from modelmedic.errors import CannotTell, NotItsCase, RecoveryRefused
from modelmedic.facts import identical
from modelmedic.facts import weights as contents
from modelmedic.facts.book import FactBook
from modelmedic.facts.weights import Kind
from modelmedic.operations import mounts
from modelmedic.operations.base import Operation
from modelmedic.operations.fetch_file import FetchFile
from modelmedic.operations.import_file import ImportFile
from modelmedic.operations.kinds import MakeDir, Rename
from modelmedic.operations.tree import Tree
from modelmedic.strategies import landing, weights
from modelmedic.text import counted, printable, size

# What a failed download leaves in place of a file: nothing of it is worth a comparison.
_LEAVINGS = frozenset({Kind.LFS_POINTER, Kind.HTML, Kind.JSON, Kind.ZEROS, Kind.EMPTY})


def plan_copy(facts: FactBook, context: Context, subject: str) -> Iterator[Operation]:
    """Yield what copies a file of the same bytes from elsewhere on this machine.

    Raises:
        RecoveryRefused: No size or hash is known, or there is no such file.
    """
    wanted = weights.expected(context, subject)
    if wanted.file.size_bytes is None or not wanted.file.sha256:
        raise RecoveryRefused(f"{printable(subject)} cannot be recognised: no hash is known.")
    found = _imported(facts, context, wanted)
    if found is None:
        raise RecoveryRefused(
            f"No file elsewhere on this machine was found with the bytes of {printable(subject)}.",
            "Looked in were the caches of the Hub and of ModelScope, other installs, and the "
            "folders the profile names in also_in.",
        )
    operation, link = found
    mounts.refuse_apart(Tree(context.place), operation.path)
    yield from landing.land(context, subject, link, operation)


def plan_replace(facts: FactBook, context: Context, subject: str) -> Iterator[Operation]:
    """Yield what fetches a file in whose place a pointer, a page or nothing but zeros lies.

    Raises:
        RecoveryRefused: Something else lies there, or it cannot be fetched.
    """
    wanted = weights.expected(context, subject)
    try:
        content = facts.get(contents.read_content, subject)
    except CannotTell as error:
        raise RecoveryRefused(f"{printable(subject)} was not replaced. {error.what}") from error
    is_json = contents.expected_format(subject) == "json" and content.kind is Kind.JSON
    if content.kind not in _LEAVINGS or is_json:
        raise NotItsCase(
            f"{printable(subject)} is no pointer, page or empty space: {content.kind.value}."
        )
    pointer = content.pointer
    if pointer and wanted.file.sha256 and wanted.file.sha256.lower() != pointer.oid:
        pointer = None  # of another version; the profile decides
    fetch, link = weights.fetching(context, wanted, pointer)
    yield from landing.land(context, subject, link, fetch)


def plan_bring_up(facts: FactBook, context: Context, subject: str) -> Iterator[Operation]:
    """Yield what brings all missing files of a model: moved, copied, or fetched.

    Raises:
        RecoveryRefused: Only one is missing, one cannot be had, or the disk is too small for all.
    """
    model = weights.expected(context, subject).model
    missing = weights.missing(context, weights.expected(context, subject))
    if len(missing) < 2 or subject not in {entry.subject for entry in missing}:  # noqa: PLR2004
        raise NotItsCase(
            f"The model {printable(model.name)} was not brought up: fewer than two of its files "
            "are missing whose hash is known."
        )
    operations: list[Operation] = []
    taken: set[str] = set()
    for entry in missing:
        operations += _had(facts, context, entry, taken)
    need = sum(operation.cost().disk_bytes for operation in operations)
    free = mounts.free_bytes(Tree(context.place))
    if free < need:
        raise RecoveryRefused(
            f"The model {printable(model.name)} was not brought up: its "
            f"{counted(len(missing), 'missing file')} need {size(need)} on this disk and "
            f"{size(free)} are free.",
            "None was begun, because not all would fit.",
            "Free that space, then start again.",
        )
    made: set[str] = set()
    for operation in operations:
        if isinstance(operation, MakeDir):
            if operation.path in made:
                continue
            made.add(operation.path)
        yield operation


def _had(
    facts: FactBook, context: Context, entry: ExpectedFile, taken: set[str]
) -> list[Operation]:
    """Return the cheapest way to a missing file; ``taken`` are strays another file has."""
    try:
        moved = list(weights.plan_move(context, entry.subject))
        strays = {each.path for each in moved if isinstance(each, Rename)}
        if not strays & taken:
            taken |= strays
            return moved
    except RecoveryRefused:
        pass  # there is none in the install
    mounts.refuse_apart(Tree(context.place), entry.subject)
    operation, link = _imported(facts, context, entry) or weights.fetching(context, entry)
    return list(landing.land(context, entry.subject, link, operation))


def _imported(
    facts: FactBook, context: Context, wanted: ExpectedFile
) -> tuple[ImportFile | FetchFile, str] | None:
    """Return the copy of a file elsewhere with these bytes, and the link to it; None: none."""
    try:
        twin = facts.get(identical.read_twin, wanted.subject)
    except CannotTell:
        return None  # too slow a disk to be of use
    if twin is None:
        return None
    sha256 = (wanted.file.sha256 or "").lower()
    target = landing.landing_of(context, wanted.subject, sha256)
    copy = ImportFile(
        path=target.path,
        source=str(twin.path),
        size_bytes=twin.size_bytes,
        sha256=sha256,
        source_was=(twin.size_bytes, twin.mtime_ns),
        source_inode=twin.inode,
        was=weights.was_of(context, target.path),
    )
    return copy, target.link
