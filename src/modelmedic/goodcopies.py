"""The last good copy of each config file, kept in the state folder for its repair.

A copy holds all the settings, secrets too: only the user can read it, and one that somebody else
could have written is not used.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import uuid
from pathlib import Path

from modelmedic.context import Context
from modelmedic.errors import ModelmedicError
from modelmedic.facts.configs import MAX_CONFIG_BYTES, Unreadable, parse_config, problems_with
from modelmedic.operations.tree import Tree

_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


def remember(context: Context, relative: str) -> None:
    """Keep a copy of a config file that was just found good. Failing to is no failure of a run.

    The file is read and judged once more: it may have changed since.
    """
    target = _place(context, relative)
    with contextlib.suppress(OSError, ModelmedicError):
        with Tree(context.place).open_read(relative) as handle:
            data = read_bounded(handle)
        if data is None or not _is_good(context, relative, data) or _recalled(target) == data:
            return
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(target, data)


def recall(context: Context, relative: str) -> str | None:
    """Return the last good text of a config file, without byte order mark.

    None when none was ever seen, or the copy is not ours alone, too large, or not UTF-8.
    """
    data = _recalled(_place(context, relative))
    try:
        return None if data is None else data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def read_bounded(handle: int) -> bytes | None:
    """Return all bytes of an open file; None when they are more than a settings file has."""
    parts = []
    left = MAX_CONFIG_BYTES + 1
    while left > 0 and (part := os.read(handle, left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts) if left > 0 else None


def _is_good(context: Context, relative: str, data: bytes) -> bool:
    for config in context.profile.configs:
        if config.path == relative:
            try:
                return not problems_with(config, parse_config(data, config.format))
            except Unreadable:
                return False
    return False


def _recalled(path: Path) -> bytes | None:
    try:
        handle = os.open(path, os.O_RDONLY | _FLAGS)
    except OSError:
        return None
    try:
        return read_bounded(handle) if _is_ours(os.fstat(handle)) else None
    except OSError:
        return None
    finally:
        os.close(handle)


def _is_ours(found: os.stat_result) -> bool:
    """Return whether nobody else can have written a copy: a repair writes what it says."""
    if not stat.S_ISREG(found.st_mode):
        return False
    if not hasattr(os, "getuid"):
        return True  # Windows: the state folder lies in the user's own profile
    return found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077


def _write(target: Path, data: bytes) -> None:
    private = target.with_name(f"{target.stem}-{uuid.uuid4().hex[:12]}.new")
    handle = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        private.replace(target)
    except BaseException:
        private.unlink(missing_ok=True)
        raise


def _place(context: Context, relative: str) -> Path:
    key = f"{os.path.realpath(context.place)}\0{context.profile.name}\0{relative}"
    name = hashlib.sha256(os.fsencode(key)).hexdigest()[:24]
    return context.state_dir / "good" / f"{name}.copy"
