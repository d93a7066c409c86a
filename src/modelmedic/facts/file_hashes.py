"""Hashes of whole files of the install, and what hashes a download left behind as reference."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from modelmedic.errors import CannotTell
from modelmedic.facts import safe_open
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.safe_open import SafeFile
from modelmedic.text import printable, size

NAME = "hashes.json"  # what a run computed, for its closing pass
_BLOCK_BYTES = 1 << 20  # hashing 1 MiB outweighs the call; larger blocks gained nothing here
_MAX_METADATA_BYTES = 4096  # three short lines
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class FileHash:
    """The hash of one file's bytes. ``algorithm`` is "sha256" or "git_blob"."""

    subject: str
    algorithm: str
    hexdigest: str
    size_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Reference:
    """A hash that a downloader wrote down for a file, and where it stands."""

    algorithm: str
    hexdigest: str
    source: str


def told(memo: Mapping[tuple[object, ...], Any]) -> list[dict[str, Any]]:
    """Return the hashes of a fact book's memo as JSON values, for a later process."""
    return [
        {"key": list(key), **asdict(value)}
        for key, value in memo.items()
        if isinstance(value, FileHash)
    ]


def recalled(path: Path) -> dict[tuple[object, ...], Any]:
    """Return what `told` gave, from a file that only this user could write; else nothing."""
    try:
        found = path.lstat()
        is_ours = not hasattr(os, "getuid") or (
            found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077
        )
        if not is_ours or not stat.S_ISREG(found.st_mode):
            return {}
        values: list[dict[str, Any]] = json.loads(path.read_bytes())
        return {tuple(value.pop("key")): FileHash(**value) for value in values}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}  # they are computed again


def _size_context(facts: FactBook, subject: str, *_: object) -> dict[str, Any]:
    for expected in facts.context.expected_files():
        if expected.subject == subject:
            return {"file_size_gb": (expected.file.size_bytes or 0) / 1e9}
    return {}


@probe("file_hash", _size_context)
def read_sha256(facts: FactBook, subject: str) -> FileHash:
    """Return the sha256 of a file's bytes, read once per identity (size, times, inode).

    Raises:
        CannotTell: It is not a readable file inside the install, it changed while it was read,
            or reading took longer than the limit.
    """
    return _hash_file(facts, subject, "sha256", facts.seconds_for(read_sha256, subject))


@probe("file_hash", _size_context)
def read_git_blob(facts: FactBook, subject: str) -> FileHash:
    r"""Return the Git SHA-1 of a file, ``sha1('blob <size>\0' + bytes)``; as `read_sha256`."""
    return _hash_file(facts, subject, "git_blob", facts.seconds_for(read_git_blob, subject))


@probe("file_header")
def read_reference(facts: FactBook, subject: str, folder: str) -> Reference | None:
    """Return the hash the Hub's own client recorded for a file, or None.

    Args:
        facts: The fact book.
        subject: The file, relative to the install.
        folder: The model's folder, relative to the install; "." is the install itself.

    Source: huggingface_hub ``_local_folder.py``: ``.cache/huggingface/download/<path>.metadata``
    holds commit, etag and time; the etag is the sha256 of an LFS file and the Git SHA-1 of a
    small one. In a cache the blob's file name is that etag (``file_download.py``).
    """
    place = facts.context.place
    resolved = safe_open.look(place, subject).resolved
    if resolved is not None and resolved.parent.name == "blobs":
        return _reference(resolved.name, "its blob name in the Hub cache")
    path = PurePosixPath(subject)
    inner = path if folder == "." else path.relative_to(folder)
    metadata = f".cache/huggingface/download/{inner}.metadata"
    metadata = metadata if folder == "." else f"{folder}/{metadata}"
    with safe_open.opened(place, metadata) as (_, file):
        if file is None:
            return None
        lines = file.read_at(0, _MAX_METADATA_BYTES).decode("utf-8", "replace").splitlines()
    etag = lines[1].strip() if len(lines) > 1 else ""
    return _reference(etag, printable(metadata))


def _reference(etag: str, source: str) -> Reference | None:
    if _SHA256.fullmatch(etag):
        return Reference("sha256", etag, source)
    if _SHA1.fullmatch(etag):
        return Reference("git_blob", etag, source)
    return None


def _hash_file(facts: FactBook, subject: str, algorithm: str, limit_seconds: int) -> FileHash:
    with safe_open.opened(facts.context.place, subject) as (state, file):
        if file is None:
            raise CannotTell(state.sentence())
        key = (algorithm, *state.identity)
        known: FileHash | None = facts.memo.get(key)
        if known is None:
            known = facts.memo[key] = _digest(file, algorithm, limit_seconds)
        return known


def _digest(file: SafeFile, algorithm: str, limit_seconds: int) -> FileHash:
    started = time.monotonic()
    hasher = hashlib.sha256()
    if algorithm == "git_blob":
        hasher = hashlib.sha1(b"blob %d\0" % file.size_bytes, usedforsecurity=False)
    block = memoryview(bytearray(_BLOCK_BYTES))
    done = 0
    with os.fdopen(file.descriptor, "rb", buffering=0, closefd=False) as stream:
        while count := stream.readinto(block):
            hasher.update(block[:count])
            done += count
            if time.monotonic() - started > limit_seconds:
                name = printable(file.state.subject)
                raise CannotTell(
                    f"Hashing {name} was ended after {limit_seconds} s at {size(done)} "
                    f"of {size(file.size_bytes)}.",
                    "Most often a slow disk or network share.",
                )
    if done != file.size_bytes or file.has_changed():
        raise CannotTell(f"{printable(file.state.subject)} was written to while it was hashed.")
    seconds = time.monotonic() - started
    return FileHash(file.state.subject, algorithm, hasher.hexdigest(), done, seconds)
