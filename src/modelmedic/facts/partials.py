"""Parts of downloads that the Hub's client left and nobody will go on with.

Newer clients never use ``blobs/<etag>.<8 hex>.incomplete`` again; 0.36 goes on with
``<etag>.incomplete`` and never looks whether its beginning is right. What ModelScope, aria2 or a
browser left is theirs: they go on with it, and prove it.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from modelmedic.facts import install_scan, locks
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.install_scan import Found

# A download that stands still for an hour has died: the client's own longest wait is a minute.
ORPHANED_AFTER_SECONDS = 3600.0
SUFFIX = ".incomplete"
_IN_CACHE = re.compile(r"(?:(.*)/)?((?:models|datasets|spaces)--[^/]+)/blobs/[^/]+")
_IN_FOLDER = re.compile(r"(?:(.*)/)?\.cache/huggingface/download/.+")
_MAX_LOCKS = 5000


@probe("folder_scan")
def read_orphans(facts: FactBook) -> tuple[Found, ...]:
    """Return the parts that no download is at work on, oldest first."""
    return orphans(facts.context.place, facts.get(install_scan.read_scan).leftovers)


def orphans(place: Path, leftovers: Iterable[Found]) -> tuple[Found, ...]:
    """Return those of ``leftovers`` that are parts of the Hub's client and that nobody fills.

    Nobody: it was not touched for `ORPHANED_AFTER_SECONDS`, and no lock of downloads into the same
    repo or folder is held.
    """
    latest = time.time() - ORPHANED_AFTER_SECONDS
    old = [each for each in leftovers if each.modified_at_seconds < latest]
    by_locks: dict[str, list[Found]] = {}
    for each in old:
        folder = lock_folder(each.subject)
        if folder:
            by_locks.setdefault(folder, []).append(each)
    free = [found for folder, found in by_locks.items() if not held_lock(place, folder)]
    found = (each for group in free for each in group)
    return tuple(sorted(found, key=lambda each: (each.modified_at_seconds, each.subject)))


def lock_folder(subject: str) -> str:
    """Return where the locks of the download that left ``subject`` lie; "" if it is no part of one.

    Source: huggingface_hub ``file_download.py`` and ``_local_folder.py``.

    >>> lock_folder("models--a--b/blobs/0123.incomplete")
    '.locks/models--a--b'
    """
    if not subject.endswith(SUFFIX):
        return ""
    if match := _IN_CACHE.fullmatch(subject):
        return "/".join(filter(None, (match[1], ".locks", match[2])))
    if match := _IN_FOLDER.fullmatch(subject):
        return "/".join(filter(None, (match[1], ".cache/huggingface")))
    return ""


def held_lock(place: Path, folder: str) -> str:
    """Return who holds a download lock below ``folder``, as a clause; "" if nobody does."""
    for subject in _locks_below(place, folder):
        lock = locks.read_lock(place, subject)
        if lock is not None and lock.hold is not locks.Hold.FREE and not lock.is_stale:
            return lock.holder()
    return ""


def _locks_below(place: Path, folder: str) -> Iterator[str]:
    pending, seen = [folder], 0
    while pending:
        inner = pending.pop()
        try:
            with os.scandir(place / inner) as entries:
                for entry in entries:
                    seen += 1
                    if seen > _MAX_LOCKS:
                        return
                    subject = (PurePosixPath(inner) / entry.name).as_posix()
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(subject)
                    elif entry.name.endswith(".lock"):
                        yield subject
        except OSError:
            continue
