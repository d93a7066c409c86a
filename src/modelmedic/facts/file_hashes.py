"""Hashes of whole files of the install, and which ones they must have."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from modelmedic.context import ExpectedFile
from modelmedic.errors import CannotTell
from modelmedic.facts import deep_read, safe_open, seals, unfinished_reads
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.digests import BLOCK_BYTES, Blocks, Digests, block_algorithm
from modelmedic.facts.hashing_desk import desk_of
from modelmedic.facts.safe_open import SafeFile
from modelmedic.text import printable, size

NAME = "hashes.json"  # what a run computed, for its closing pass
MAX_BEGUN = 64  # reads begun before they are asked for: each waits in a thread of its own


@dataclass(frozen=True, slots=True)
class FileHash:
    """The hash of one file's bytes. ``algorithm`` is "sha256", "git_blob" or "again".

    "again" is the SHA-256 of a second read of the same file.
    """

    subject: str
    algorithm: str
    hexdigest: str
    size_bytes: int
    seconds: float
    blocks: Blocks | None = None  # of the same read
    is_by_blocks: bool = False  # proven by the digests of its blocks; the whole was not hashed
    is_unsteady: bool = False  # two reads of it disagreed
    began_ns: int = 0  # when the read began, by the clock of files' times; 0: not known


@dataclass(frozen=True, slots=True)
class WantedHash:
    """The hash a file must have; ``source`` is who says so, in words."""

    algorithm: str
    hexdigest: str
    source: str


def told(memo: Mapping[tuple[object, ...], Any]) -> list[dict[str, Any]]:
    """Return the hashes of a fact book's memo as JSON values, for a later process."""
    return [
        {"key": list(key), **asdict(replace(value, blocks=None))}
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
    """Return the sha256 of a file's bytes and the digests of its blocks.

    Read once per identity (size, times, inode); as many files at once as there are cores.

    Raises:
        CannotTell: It is not a readable file inside the install, it changed while it was read,
            reading took longer than the limit, or the run was stopped.
    """
    return _hash_file(facts, subject, "sha256", facts.seconds_for(read_sha256, subject))


@probe("file_hash", _size_context)
def read_git_blob(facts: FactBook, subject: str) -> FileHash:
    r"""Return the Git SHA-1 of a file, ``sha1('blob <size>\0' + bytes)``; as `read_sha256`."""
    return _hash_file(facts, subject, "git_blob", facts.seconds_for(read_git_blob, subject))


@probe("file_hash", _size_context)
def read_again(facts: FactBook, subject: str) -> FileHash:
    """Return the sha256 and block digests of one more read of a file; as `read_sha256`.

    What the system keeps of it in memory is dropped before, where that is possible.
    """
    return _hash_file(facts, subject, "again", facts.seconds_for(read_again, subject))


@probe("file_hash", _size_context)
def read_proof(facts: FactBook, subject: str, sha256: str) -> FileHash:
    """Return a file's sha256, wanted to be ``sha256``; as `read_sha256`.

    Where this machine kept the block digests of that content, which it does only of what it
    proved by its sha256, they prove it alone, several times as fast. Where they differ, or none
    are kept, the whole file is hashed.
    """
    limit_seconds = facts.seconds_for(read_proof, subject, sha256)
    own = seals.blocks_for(facts.context.state_dir, sha256)
    kept = own.blocks.algorithm if own is not None and own.blocks is not None else ""
    if own is None or not kept == block_algorithm() == "blake3":  # SHA-256 gains nothing by blocks
        return _hash_file(facts, subject, "sha256", limit_seconds)
    return _prove_by_blocks(facts, subject, own, limit_seconds)


@probe("file_header")
def begin_all(facts: FactBook) -> int:
    """Begin to read every expected file that has its size, the largest first; return how many."""
    sized: list[tuple[int, ExpectedFile]] = []
    for expected in facts.context.expected_files():
        with contextlib.suppress(CannotTell):  # its own check says so
            state = safe_open.look(facts.context.place, expected.subject)
            if state.is_present and expected.file.size_bytes in {None, state.size_bytes}:
                sized.append((state.size_bytes or 0, expected))
    begun = 0
    for _size, expected in sorted(sized, key=lambda each: -each[0])[:MAX_BEGUN]:
        wanted = find_wanted(expected)
        if wanted is not None:
            facts.start(*proof_of(expected.subject, wanted))
            begun += 1
    return begun


def find_wanted(expected: ExpectedFile) -> WantedHash | None:
    """Return the hash a model file must have, and who says so; None when nothing does.

    What lies on this machine was asked before: see `modelmedic.facts.references`.
    """
    file = expected.file
    if file.sha256:
        return WantedHash("sha256", file.sha256.lower(), expected.told_by)
    if file.git_blob:
        return WantedHash("git_blob", file.git_blob.lower(), expected.told_by)
    return None


def proof_of(subject: str, wanted: WantedHash) -> tuple[Any, ...]:
    """Return the probe that compares a file with ``wanted``, and its arguments."""
    if wanted.algorithm == "git_blob":
        return (read_git_blob, subject)
    return (read_proof, subject, wanted.hexdigest)


def _hash_file(facts: FactBook, subject: str, algorithm: str, limit_seconds: int) -> FileHash:
    def read(file: SafeFile, tell: Callable[[int], None]) -> FileHash:
        return _digest(facts, file, algorithm, limit_seconds, tell)

    return _read_once(facts, subject, algorithm, read)


def _prove_by_blocks(facts: FactBook, subject: str, own: Digests, limit_seconds: int) -> FileHash:
    """Return the proof of a file by its block digests, else its sha256."""

    def read(file: SafeFile, tell: Callable[[int], None]) -> FileHash:
        if file.size_bytes != own.size_bytes:
            return _digest(facts, file, "sha256", limit_seconds, tell)
        first = _taken(facts, file, limit_seconds, tell, whole=False, kept=own.blocks)
        if first.digests.blocks == own.blocks:
            return FileHash(
                subject, "sha256", own.sha256, own.size_bytes, first.seconds, own.blocks,
                is_by_blocks=True, began_ns=first.began_ns,
            )  # fmt: skip
        found = _digest(facts, file, "sha256", limit_seconds, tell)
        return replace(found, is_unsteady=found.blocks != first.digests.blocks)

    return _read_once(facts, subject, "sha256", read)


def _read_once(
    facts: FactBook,
    subject: str,
    algorithm: str,
    read: Callable[..., FileHash],  # of a file; ``tell`` is told the bytes done
) -> FileHash:
    """Return what is known of a file of this identity, else what ``read`` finds, in its turn."""
    state = safe_open.look(facts.context.place, subject)
    if not state.is_present:
        raise CannotTell(state.sentence())
    known: FileHash | None = facts.memo.get((algorithm, *state.identity))
    if known is not None:
        return known
    key = (algorithm, *state.identity)
    with desk_of(facts).turn(subject, state.size_bytes or 0, key) as tell:
        return _read_now(facts, subject, algorithm, functools.partial(read, tell=tell))


def _read_now(
    facts: FactBook, subject: str, algorithm: str, read: Callable[[SafeFile], FileHash]
) -> FileHash:
    with safe_open.opened(facts.context.place, subject) as (state, file):
        if file is None:
            raise CannotTell(state.sentence())
        key = (algorithm, *state.identity)
        found: FileHash = facts.memo.get(key) or read(file)
        facts.memo[key] = found
        return found


def _digest(
    facts: FactBook,
    file: SafeFile,
    algorithm: str,
    limit_seconds: int,
    tell: Callable[[int], None],
) -> FileHash:
    is_git = algorithm == "git_blob"
    if algorithm == "again":
        _drop_from_memory(file)
    taken = _taken(facts, file, limit_seconds, tell, is_git=is_git, resumes=algorithm == "sha256")
    digests = taken.digests
    return FileHash(
        file.state.subject,
        algorithm,
        (digests.git_blob or "") if is_git else digests.sha256,
        digests.size_bytes,
        taken.seconds,
        digests.blocks,
        began_ns=taken.began_ns,
    )


@dataclass(frozen=True, slots=True)
class _Taken:
    digests: Digests
    seconds: float
    began_ns: int


def _taken(
    facts: FactBook,
    file: SafeFile,
    limit_seconds: int,
    tell: Callable[[int], None],
    *,
    whole: bool = True,
    is_git: bool = False,
    resumes: bool = False,
    kept: Blocks | None = None,
) -> _Taken:
    """Return the digests of an open file, read under the limit and until the run is stopped."""
    desk, context, state = desk_of(facts), facts.context, file.state
    identity = seals.identity_of(state)
    began_ns, began = time.time_ns(), time.monotonic()

    def progress(done: int) -> None:
        tell(done)
        if time.monotonic() - began > limit_seconds:
            raise CannotTell(
                f"Hashing {printable(state.subject)} was ended after {limit_seconds} s at "
                f"{size(done)} of {size(file.size_bytes)}.",
                "Most often a slow disk or network share.",
            )

    resume = None
    if resumes and file.size_bytes > BLOCK_BYTES and seals.is_settled(state, began_ns):
        resume = unfinished_reads.find(context.state_dir, context.place, state.subject, identity)
    try:
        digests = deep_read.read(
            file.descriptor,
            file.size_bytes,
            sha256=whole,
            algorithm=kept.algorithm if kept else "",
            block_bytes=kept.block_bytes if kept else BLOCK_BYTES,
            git_blob=is_git,
            progress=progress,
            stop=lambda: desk.is_stopped,
            has_idle_core=desk.has_idle_core,
            resume=resume,
        )
    except deep_read.Stopped as stopped:
        if resumes and stopped.unfinished is not None and seals.is_settled(state, began_ns):
            desk.unfinished[state.subject] = (identity, stopped.unfinished)
        raise CannotTell(f"Hashing {printable(state.subject)} was stopped.") from stopped
    if digests.size_bytes != file.size_bytes or file.has_changed():
        raise CannotTell(f"{printable(state.subject)} was written to while it was hashed.")
    return _Taken(digests, time.monotonic() - began, began_ns)


def _drop_from_memory(file: SafeFile) -> None:
    """Let the next read come from the disk. Only Linux and FreeBSD know the call."""
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            os.posix_fadvise(file.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
