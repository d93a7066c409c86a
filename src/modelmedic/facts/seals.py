"""What was proven about files before: digests by content, and which file had that content when.

Kept in the state folder, for this user only. What anybody else could have written is not used.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from modelmedic.errors import CannotTell
from modelmedic.facts import own_records, safe_open
from modelmedic.facts.digests import Blocks, Digests
from modelmedic.facts.safe_open import FileState

Identity = tuple[int | None, ...]

_SHA256 = re.compile(r"[0-9a-f]{64}")


def blocks_for(state_dir: Path, sha256: str) -> Digests | None:
    """Return the digests of a content that was once proven here; None when it never was."""
    if not _SHA256.fullmatch(sha256):
        return None
    value = own_records.read(state_dir / "digests" / f"{sha256}.json")
    try:
        found = Digests(
            int(value["size_bytes"]),
            str(value["sha256"]),
            Blocks(
                str(value["algorithm"]),
                int(value["block_bytes"]),
                bytes.fromhex(value["blocks"]),
            ),
        )
    except (KeyError, TypeError, ValueError):
        return None
    is_whole = found.blocks is not None and found.blocks.fits(found.size_bytes)
    return found if is_whole and found.sha256 == sha256 else None


def keep_blocks(state_dir: Path, digests: Digests) -> None:
    """Keep the digests of a content whose SHA-256 was found to be the published one.

    Raises:
        OSError: They cannot be written.
    """
    if digests.blocks is None or not _SHA256.fullmatch(digests.sha256):
        return
    value = {
        "size_bytes": digests.size_bytes,
        "sha256": digests.sha256,
        "algorithm": digests.blocks.algorithm,
        "block_bytes": digests.blocks.block_bytes,
        "blocks": digests.blocks.digests.hex(),
    }
    own_records.write(state_dir / "digests" / f"{digests.sha256}.json", value)


@dataclass(frozen=True, slots=True)
class Seal:
    """A file was proven: what it was then, its hashes by their algorithm, and the day of it."""

    identity: Identity
    hashes: Mapping[str, str]
    sealed_on: str  # "2026-11-25"


def identity_of(state: FileState) -> Identity:
    """Return what a seal knows a file by: size, mtime, ctime, inode.

    Not the device: its number is given anew at each start of the machine.
    """
    return state.identity[:4]


def is_settled(state: FileState, began_ns: int) -> bool:
    """Return whether a write after a read that began then would have changed the file's times.

    A write in the same tick of the file system's clock leaves them: a file is not sealed that
    was written just before it was read. Source: Linux gives times by its timer tick, at most 10 ms
    (``current_time`` in fs/inode.c); FAT and others keep whole seconds, FAT even ones.
    """
    latest = max(state.mtime_ns or 0, state.ctime_ns or 0)
    is_coarse = latest % 1_000_000_000 == 0
    return latest + (2_000_000_000 if is_coarse else 50_000_000) <= began_ns


def seals_of(state_dir: Path, place: Path) -> dict[str, Seal]:
    """Return the seals of an install by file, relative to it; empty when there are none."""
    value = own_records.read(_record(state_dir, place))
    found: dict[str, Seal] = {}
    try:
        for subject, entry in value.get("files", {}).items():
            identity = tuple(int(number) for number in entry["identity"])
            hashes = {str(name): str(digest) for name, digest in entry["hashes"].items()}
            found[subject] = Seal(identity, hashes, str(entry["sealed_on"]))
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}
    return found


def keep_seals(state_dir: Path, place: Path, seals: Mapping[str, Seal]) -> None:
    """Add seals to those of an install; what they replace goes.

    Raises:
        OSError: They cannot be written.
    """
    kept = {**seals_of(state_dir, place), **seals}
    files = {
        subject: {
            "identity": list(seal.identity),
            "hashes": dict(seal.hashes),
            "sealed_on": seal.sealed_on,
        }
        for subject, seal in kept.items()
    }
    own_records.write(_record(state_dir, place), {"place": os.fsdecode(place), "files": files})


def verify(state_dir: Path, place: Path, subjects: Iterable[str]) -> dict[str, Seal]:
    """Return the seals that stand: files that were proven, and were not changed since.

    No byte of them is read.
    """
    known = seals_of(state_dir, place)
    standing: dict[str, Seal] = {}
    for subject in subjects:
        seal = known.get(subject)
        if seal is None:
            continue
        try:
            state = safe_open.look(place, subject)
        except CannotTell:
            continue
        if state.is_present and seal.identity == identity_of(state):
            standing[subject] = seal
    return standing


def today() -> str:
    """Return the date of this moment, as a seal has it."""
    return time.strftime("%Y-%m-%d")


def _record(state_dir: Path, place: Path) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.realpath(place))).hexdigest()[:24]
    return state_dir / "seals" / f"{name}.json"
