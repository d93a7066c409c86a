"""Small JSON files in the state folder that only this user can write, or they are not used."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

MAX_RECORD_BYTES = 64 << 20  # digests of 2 TB
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


def read(path: Path) -> Any:
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


def write(target: Path, value: Any) -> None:
    """Write a record under a private name, then give it its real one; its folder is made.

    What says the same already is left as it is: a run that learns nothing changes nothing.

    Raises:
        OSError: It cannot be written.
    """
    text = json.dumps(value)
    if read(target) == json.loads(text):
        return
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    private = target.with_name(f".{target.name}.{os.getpid()}")
    handle = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FLAGS, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(handle)
        private.replace(target)
    except BaseException:
        private.unlink(missing_ok=True)
        raise
