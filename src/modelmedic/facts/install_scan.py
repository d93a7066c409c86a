"""One walk over the install: unfinished downloads, lock files, files in the wrong place.

Iterative, breadth first (a cut walk has then seen the upper folders whole), bounded in entries
and seconds, never through a link. A walk that was cut says so.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from modelmedic.context import OWN_FOLDER, SCRATCH_PREFIX, Context
from modelmedic.errors import CannotTell
from modelmedic.facts import disk
from modelmedic.facts.book import FactBook, probe
from modelmedic.text import printable

# Measured here: 200,000 entries take 0.3 s. The limits are for a network share or a whole disk
# given as install folder.
MAX_ENTRIES = 1_000_000
MAX_SECONDS = 6.0
MAX_LISTED = 10_000  # findings of one kind that are kept; more are only counted
_CLOCK_EVERY = 512
# Hub clients, aria2, browsers; a ModelScope download is a folder (below).
LEFTOVER_SUFFIXES = (".incomplete", ".aria2", ".part", ".crdownload")
MODELSCOPE_UNFINISHED = "._____temp"  # modelscope/hub/snapshot_download.py, TEMPORARY_FOLDER_NAME
# Kept for undo, and half-fetched files that the next repair goes on with: bounded in bytes and age
# by the healing engine, and no trace of a download that broke.
_OURS = frozenset({f"{OWN_FOLDER}/aside", f"{OWN_FOLDER}/parts"})
# Thousands of files that no download of weights puts there.
_SKIPPED = frozenset({".git", "site-packages", "__pycache__", "node_modules"})


@dataclass(frozen=True, slots=True)
class Found:
    """One file of the walk. ``subject`` is relative to the install, in POSIX form."""

    subject: str
    size_bytes: int
    modified_at_seconds: float  # since the epoch


@dataclass(frozen=True, slots=True)
class Scan:
    """What the walk met. ``cut`` says why it ended early; "" when it saw everything.

    ``strays`` are files with the name of an expected model file in a place where none is
    expected. ``unreadable`` are folders that this user may not list.
    """

    entries: int
    leftovers: tuple[Found, ...] = ()
    locks: tuple[Found, ...] = ()
    strays: tuple[Found, ...] = ()
    unfinished_folders: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    cut: str = ""


@dataclass(slots=True)
class _Walk:
    place: Path
    expected: frozenset[str]
    names: frozenset[str]
    ends_at: float
    pending: deque[str]
    entries: int = 0
    leftovers: list[Found] = field(default_factory=list)
    locks: list[Found] = field(default_factory=list)
    strays: list[Found] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    cut: str = ""


@probe("folder_scan")
def read_scan(facts: FactBook) -> Scan:
    """Return what lies in the install besides what should; an empty scan if it does not exist.

    Raises:
        CannotTell: The install folder itself may not be listed.
    """
    expected = frozenset(each.subject for each in facts.context.expected_files())
    context = facts.context
    found = scan(context.place, expected, folders=own_folders(context))
    if context.store != "modelscope":
        return found
    return replace(found, unfinished_folders=(*found.unfinished_folders, *_modelscope(context)))


@probe("local_read")
def read_scratch_leftovers(facts: FactBook) -> tuple[Found, ...]:
    """Return scratch folders of other runs, newest last, where checks make theirs."""
    found: list[Found] = []
    folders = {disk.existing(facts.context.place), *disk.weight_folders(facts.context)}
    for folder in folders:
        found += _scratch_in(disk.existing(folder), facts.context.scratch_name)
    return tuple(sorted(set(found), key=lambda each: (each.modified_at_seconds, each.subject)))


def own_folders(context: Context) -> tuple[str, ...]:
    """Return the folders to walk, relative to the install: of a cache only the profile's own."""
    if context.store != "hub":
        return context.own_folders or ("",)
    return tuple(folder for repo in context.own_folders for folder in (repo, f".locks/{repo}"))


def scan(
    place: Path,
    expected: frozenset[str] = frozenset(),
    *,
    folders: tuple[str, ...] = ("",),
    max_entries: int = MAX_ENTRIES,
    max_seconds: float = MAX_SECONDS,
) -> Scan:
    """Return what a walk over ``place`` meets.

    Args:
        place: The install, absolute.
        expected: Where model files belong, relative to it, in POSIX form.
        folders: What is walked, relative to it; "" is all of it.
        max_entries: The walk ends after so many names.
        max_seconds: The walk ends after so many seconds.
    """
    names = frozenset(PurePosixPath(subject).name for subject in expected)
    ends_at = time.monotonic() + max_seconds
    pending = deque("" if folder == "." else folder for folder in folders)
    walk = _Walk(place, expected, names, ends_at, pending)
    while walk.pending and not walk.cut:
        _list_folder(walk, walk.pending.popleft(), max_entries)
    return Scan(
        entries=walk.entries,
        leftovers=tuple(walk.leftovers),
        locks=tuple(walk.locks),
        strays=tuple(walk.strays),
        unfinished_folders=tuple(walk.unfinished),
        unreadable=tuple(walk.unreadable),
        cut=walk.cut,
    )


def is_download_lock(subject: str) -> bool:
    """Return whether a path is that of a lock of the Hub's client.

    Source: huggingface_hub ``_local_folder.py`` and ``file_download.py``.
    """
    if not subject.endswith(".lock"):
        return False
    folder = f"/{subject.rpartition('/')[0]}/"
    return "/.locks/" in folder or "/.cache/huggingface/" in folder


def _modelscope(context: Context) -> Iterator[str]:
    """Give the unfinished folders of this profile's models, which lie beside all owners' folders.

    Source: modelscope ``snapshot_download.py``, create_temporary_directory_and_cache.
    """
    for path in map(PurePosixPath, context.own_folders):
        if path.name:
            for spelt in dict.fromkeys((path.name, path.name.replace("___", "."))):
                folder = path.parent.parent / MODELSCOPE_UNFINISHED / path.parent.name / spelt
                if (context.place / folder).is_dir():
                    yield folder.as_posix()


def _list_folder(walk: _Walk, folder: str, max_entries: int) -> None:
    try:
        entries = os.scandir(walk.place / folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    except PermissionError as error:
        if not folder:
            raise CannotTell(
                f"{printable(walk.place)} may not be listed by this user ({error.strerror})."
            ) from error
        walk.unreadable.append(folder)
        return
    with entries:
        for entry in _bounded(walk, entries, max_entries):
            _take(walk, entry, f"{folder}/{entry.name}" if folder else entry.name)


def _bounded(
    walk: _Walk, entries: Iterator[os.DirEntry[str]], max_entries: int
) -> Iterator[os.DirEntry[str]]:
    for entry in entries:
        walk.entries += 1
        if walk.entries > max_entries:
            walk.cut = f"it has more than {max_entries:,} names"
            return
        if walk.entries % _CLOCK_EVERY == 0 and time.monotonic() > walk.ends_at:
            walk.cut = f"listing {walk.entries:,} names took longer than its limit"
            return
        yield entry


def _take(walk: _Walk, entry: os.DirEntry[str], subject: str) -> None:
    name = entry.name
    if entry.is_dir(follow_symlinks=False):
        if name == MODELSCOPE_UNFINISHED:
            walk.unfinished.append(subject)
        if name not in _SKIPPED and subject not in _OURS:
            walk.pending.append(subject)
    elif name.endswith(LEFTOVER_SUFFIXES):
        _keep(walk.leftovers, entry, subject)
    elif is_download_lock(subject):
        _keep(walk.locks, entry, subject)
    elif name in walk.names and subject not in walk.expected:
        _keep(walk.strays, entry, subject)


def _keep(found: list[Found], entry: os.DirEntry[str], subject: str) -> None:
    if len(found) >= MAX_LISTED:
        return
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return  # finished or removed between the listing and now
    found.append(Found(subject, status.st_size, status.st_mtime))


def _scratch_in(folder: Path, own: str) -> Iterator[Found]:
    try:
        entries = os.scandir(folder)
    except OSError:
        return  # that it may not be listed is a finding of the permission checks
    with entries:
        for entry in entries:
            if entry.name.startswith(SCRATCH_PREFIX) and entry.name != own:
                yield Found(str(folder / entry.name), 0, entry.stat(follow_symlinks=False).st_mtime)
