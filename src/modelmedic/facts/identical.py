"""Files elsewhere on this machine that have exactly the bytes of a model file.

Looked in are the caches of the Hub's and ModelScope's clients, installs beside this one and those
that modelmedic has worked on, and the folders a profile names. By size first, then by hash; names
are believed in nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmedic.context import OWN_FOLDER, Context, ExpectedFile
from modelmedic.errors import CannotTell
from modelmedic.facts import layout, other_installs
from modelmedic.facts.book import FactBook, probe
from modelmedic.text import printable

MAX_ENTRIES = 50_000  # names looked at in folders that a profile names; bounds a huge disk
MAX_HASHED = 3  # candidates of the right size that are read; the fourth is hardly the one
MAX_INSTALLS = 100  # other installs that journals name
_MAX_DEPTH = 8
_HEAD_BYTES = 1 << 16  # the first event of a journal is a line of some hundred bytes
_BLOCK_BYTES = 1 << 20
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class Twin:
    """A file outside the install whose bytes were read and are the wanted ones.

    Args:
        path: Its real path, absolute.
        size_bytes: Its size.
        mtime_ns: When it was last written, nanoseconds since the epoch.
        inode: Its number in its file system.
    """

    path: Path
    size_bytes: int
    mtime_ns: int
    inode: int


def _size_context(facts: FactBook, subject: str) -> dict[str, Any]:
    wanted = _expected(facts.context, subject)
    return {"file_size_gb": (wanted.file.size_bytes or 0) / 1e9 if wanted else 0}


@probe("file_hash", _size_context)
def read_twin(facts: FactBook, subject: str) -> Twin | None:
    """Return a file elsewhere with the bytes of a model file; None when there is none.

    Raises:
        CannotTell: Reading the candidates took longer than the limit.
    """
    wanted = _expected(facts.context, subject)
    if wanted is None or not wanted.file.sha256 or wanted.file.size_bytes is None:
        return None
    deadline = time.monotonic() + facts.seconds_for(read_twin, subject)
    hashed = 0
    for path, found in _candidates(facts.context, wanted, wanted.file.size_bytes):
        identity = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)
        key = ("identical", *identity)
        if key not in facts.memo:
            if hashed >= MAX_HASHED:
                break
            hashed += 1
            facts.memo[key] = _sha256(path, identity, deadline)
        if facts.memo[key] == wanted.file.sha256.lower():
            return Twin(path, found.st_size, found.st_mtime_ns, found.st_ino)
    return None


def _expected(context: Context, subject: str) -> ExpectedFile | None:
    return next((each for each in context.expected_files() if each.subject == subject), None)


def _candidates(
    context: Context, wanted: ExpectedFile, size_bytes: int
) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield regular files of the right size outside the install, each once, likeliest first."""
    place = Path(os.path.realpath(context.place))
    seen: set[tuple[int, int]] = set()
    for named in _places(context, wanted, place, size_bytes):
        path = Path(os.path.realpath(named))
        try:
            found = path.lstat()
        except (OSError, ValueError):
            continue
        key = (found.st_dev, found.st_ino)
        is_right = stat.S_ISREG(found.st_mode) and found.st_size == size_bytes
        if is_right and key not in seen and not path.is_relative_to(place):
            seen.add(key)
            yield path, found


def _places(context: Context, wanted: ExpectedFile, place: Path, size_bytes: int) -> Iterator[Path]:
    """Yield paths that may be such a file; they may not exist."""
    sha256, inner = (wanted.file.sha256 or "").lower(), wanted.file.path
    for repo in _hub_repos():
        # In both generations of the cache a blob is named by its etag: the SHA-256, if it is in
        # LFS. In that of 2.x it may be a link into the store that all repos share.
        yield repo / "blobs" / sha256
    for folder in other_installs.places(place, wanted.model):
        yield folder / inner
    for install in _known_installs(context.state_dir):
        yield from (install / folder / inner for folder in wanted.model.folders)
    left = [MAX_ENTRIES]
    for hint in wanted.model.also_in:
        base = Path(hint).expanduser()
        yield base / inner
        yield from _walk(base, size_bytes, left)


def _hub_repos() -> Iterator[Path]:
    cache = other_installs.hub_cache()
    yield from (each for each in layout.folders_in(cache) if each.name.startswith("models--"))


def _known_installs(state_dir: Path) -> list[Path]:
    """Return the folders that journals of this user name, newest first; bounded."""
    found: dict[Path, float] = {}
    try:
        journals = sorted((state_dir / "journals").glob("*/*/*.jsonl"), reverse=True)
    except OSError:
        return []
    for path in journals[: 10 * MAX_INSTALLS]:
        install = _install_of(path)
        if install is not None:
            found.setdefault(install, 0)
    return list(found)[:MAX_INSTALLS]


def _install_of(journal: Path) -> Path | None:
    """Return the install that a journal's first event names; None when it cannot be read."""
    try:
        handle = os.open(journal, os.O_RDONLY | _FLAGS)
        with os.fdopen(handle, "rb") as stream:
            lines = stream.read(_HEAD_BYTES).splitlines()
        head = json.loads(next(filter(None, lines)))
        install = Path(head["install"])
    except (OSError, ValueError, KeyError, TypeError, StopIteration, RecursionError):
        return None
    return install if install.is_absolute() else None


def _walk(folder: Path, size_bytes: int, left: list[int]) -> Iterator[Path]:
    """Yield the files of a size below a folder, links to files too; ``left`` bounds the names."""
    folders = [(folder, 0)]
    while folders:
        here, depth = folders.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    left[0] -= 1
                    if left[0] < 0:
                        return
                    if entry.is_dir(follow_symlinks=False):
                        if depth < _MAX_DEPTH and entry.name != OWN_FOLDER:
                            folders.append((Path(entry.path), depth + 1))
                    elif _size(entry) == size_bytes:
                        yield Path(entry.path)
        except OSError:
            continue  # what cannot be listed holds nothing that could be taken


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:
        return -1


def _sha256(path: Path, identity: tuple[int, ...], deadline: float) -> str:
    """Return the hash of a file that is still the one looked at; "" when it is not.

    Raises:
        CannotTell: It took longer than the limit.
    """
    digest = hashlib.sha256()
    try:
        handle = os.open(path, os.O_RDONLY | _FLAGS)
    except OSError:
        return ""
    try:
        if _identity(handle) != identity:
            return ""
        while block := os.read(handle, _BLOCK_BYTES):
            digest.update(block)
            if time.monotonic() > deadline:
                raise CannotTell(
                    f"Reading {printable(path)} to compare it took too long.",
                    "Most often a slow disk or network share.",
                )
        return digest.hexdigest() if _identity(handle) == identity else ""
    except OSError:
        return ""
    finally:
        os.close(handle)


def _identity(handle: int) -> tuple[int, ...]:
    now = os.fstat(handle)
    return (now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino, now.st_dev)
