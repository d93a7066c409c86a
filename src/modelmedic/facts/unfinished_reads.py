"""Reads of large files that were stopped, kept so that a later run goes on where they ended."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from modelmedic.facts import own_records, resumable_sha256
from modelmedic.facts.deep_read import Unfinished
from modelmedic.facts.seals import Identity


def find(state_dir: Path, place: Path, subject: str, identity: Identity) -> Unfinished | None:
    """Return how far an earlier read of the same, unchanged file came; None when none did."""
    value = own_records.read(_record(state_dir, place))
    try:
        entry = value["files"][subject]
        if tuple(entry["identity"]) != tuple(identity):
            return None
        if value["maker"] != resumable_sha256.maker():
            return None
        return Unfinished(
            int(entry["done_bytes"]),
            bytes.fromhex(entry["state"]),
            str(entry["algorithm"]),
            bytes.fromhex(entry["block_digests"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def keep(state_dir: Path, place: Path, reads: Mapping[str, tuple[Identity, Unfinished]]) -> None:
    """Keep these reads of an install, and only these: all others came to their end.

    Raises:
        OSError: They cannot be written.
    """
    record = _record(state_dir, place)
    if not reads:
        record.unlink(missing_ok=True)
        return
    files = {
        subject: {
            "identity": list(identity),
            "done_bytes": read.done_bytes,
            "state": read.sha256_state.hex(),
            "algorithm": read.algorithm,
            "block_digests": read.block_digests.hex(),
        }
        for subject, (identity, read) in reads.items()
    }
    own_records.write(record, {"maker": resumable_sha256.maker(), "files": files})


def _record(state_dir: Path, place: Path) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.realpath(place))).hexdigest()[:24]
    return state_dir / "unfinished" / f"{name}.json"
