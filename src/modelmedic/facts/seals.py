"""What was proven about files before: digests by content, and which file had that content when.

Kept in the state folder, for this user only. What anybody else could have written is not used.
"""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

from modelmedic.facts.digests import Blocks, Digests

_SHA256 = re.compile(r"[0-9a-f]{64}")
MAX_RECORD_BYTES = 64 << 20  # digests of 2 TB
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


def blocks_for(state_dir: Path, sha256: str) -> Digests | None:
    """Return the digests of a content that was once proven here; None when it never was."""
    if not _SHA256.fullmatch(sha256):
        return None
    value = _read(state_dir / "digests" / f"{sha256}.json")
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
    folder = state_dir / "digests"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _write(folder / f"{digests.sha256}.json", value)


def _read(path: Path) -> Any:
    """Return the JSON of a file that only this user could write; an empty table otherwise."""
    try:
        handle = os.open(path, os.O_RDONLY | _FLAGS)
    except OSError:
        return {}
    with os.fdopen(handle, "rb") as stream:
        try:
            found = os.fstat(handle)
            if not _is_ours(found) or found.st_size > MAX_RECORD_BYTES:
                return {}
            return json.loads(stream.read(MAX_RECORD_BYTES))
        except (OSError, ValueError, RecursionError):
            return {}


def _is_ours(found: os.stat_result) -> bool:
    if not stat.S_ISREG(found.st_mode):
        return False
    if not hasattr(os, "getuid"):
        return True  # Windows: the state folder lies in the user's own profile
    return found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077


def _write(target: Path, value: Any) -> None:
    """Write a record under a private name, then give it its real one."""
    private = target.with_name(f".{target.name}.{os.getpid()}")
    handle = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FLAGS, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(value, stream)
            stream.flush()
            os.fsync(handle)
        private.replace(target)
    except BaseException:
        private.unlink(missing_ok=True)
        raise
