"""Repairs of model files: move a misplaced one home, or fetch one again and prove it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from modelmedic.context import OWN_FOLDER, Context, ExpectedFile
from modelmedic.errors import RecoveryRefused
from modelmedic.operations.aside import Was, seen
from modelmedic.operations.base import Operation
from modelmedic.operations.fetch_file import FetchFile
from modelmedic.operations.kinds import Rename
from modelmedic.operations.tree import Tree
from modelmedic.strategies import files, sources
from modelmedic.text import printable

MAX_ENTRIES = 500_000  # names looked at in search of a misplaced file; bounds a huge folder
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
    """Yield what fetches one missing or damaged file; the old one stays until it is proven.

    Raises:
        RecoveryRefused: No hash or no source is known, or --offline was given.
    """
    wanted = expected(context, subject)
    if context.offline:
        raise RecoveryRefused(f"{printable(subject)} was not fetched: --offline was given.")
    addresses = sources.urls(context, wanted)
    file = wanted.file
    if not (file.sha256 or file.git_blob):
        raise RecoveryRefused(
            f"{printable(subject)} was not fetched: the profile knows no hash of it.",
            "Without one, nobody could tell good bytes from bad ones.",
            "Fetch it with the Hub's own client.",
        )
    if not addresses:
        raise RecoveryRefused(f"{printable(subject)} was not fetched: no source is known.")
    yield from files.plan_parents(context, subject)
    yield FetchFile(
        path=subject,
        size_bytes=file.size_bytes if file.is_certain else None,
        sha256=file.sha256 or "",
        git_blob=file.git_blob or "",
        sources=addresses,
        was=_was(context, subject),
    )


def plan_move(context: Context, subject: str) -> Iterator[Operation]:
    """Yield what moves a file with exactly these bytes from elsewhere in the install.

    A copy that lies where the profile wants another file is left where it is.

    Raises:
        RecoveryRefused: There is something at the place already, its size or SHA-256 is not
            known, or no file in the install has these bytes.
    """
    wanted = expected(context, subject)
    file = wanted.file
    if file.size_bytes is None or not file.sha256:
        raise RecoveryRefused(f"{printable(subject)} cannot be recognised: no hash is known.")
    tree = Tree(context.place)
    if _was(context, subject) is not None:
        raise RecoveryRefused(f"{printable(subject)} is there; nothing is moved over it.")
    for candidate in _of_size(context, file.size_bytes):
        if _sha256(tree, candidate) == file.sha256:
            was = seen(tree.identity(candidate))
            if was is not None:
                yield from files.plan_parents(context, subject)
                yield Rename(candidate, subject, was)
                return
    raise RecoveryRefused(f"No other file in the install has the bytes of {printable(subject)}.")


def _was(context: Context, subject: str) -> Was | None:
    tree = Tree(context.place)
    return seen(tree.identity(subject)) if tree.identity(".") else None


def _of_size(context: Context, size_bytes: int) -> Iterator[str]:
    """Yield regular files of exactly this size that no entry of the profile claims."""
    claimed = {entry.subject for entry in context.expected_files()}
    looked = 0
    folders: list[Path] = [context.place]
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except OSError:
            continue  # a folder that cannot be read holds nothing that could be moved
        for entry in entries:
            looked += 1
            if looked > MAX_ENTRIES:
                raise RecoveryRefused(f"The install has more than {MAX_ENTRIES:,} entries.")
            if entry.is_dir(follow_symlinks=False):
                if entry.name != OWN_FOLDER:
                    folders.append(Path(entry.path))
                continue
            subject = Path(entry.path).relative_to(context.place).as_posix()
            if subject not in claimed and _is_plain(entry, size_bytes):
                yield subject


def _is_plain(entry: os.DirEntry[str], size_bytes: int) -> bool:
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == size_bytes


def _sha256(tree: Tree, subject: str) -> str:
    digest = hashlib.sha256()
    try:
        with tree.open_read(subject) as handle:
            while block := os.read(handle, _BLOCK_BYTES):
                digest.update(block)
    except (OSError, RecoveryRefused):
        return ""  # not readable: not ours to move
    return digest.hexdigest()
