"""Who holds the lock of an install, for the words of those who wait; trusted for nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

from modelmedic.text import duration, printable

_MAX_BYTES = 1024
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def beside(lock: Path) -> Path:
    """Return the file beside a lock in which its holder says who it is."""
    return lock.with_name(f"{lock.name}.holder")


def write(lock: Path) -> None:
    """Say that this process holds the lock, as far as that can be written; never fails."""
    told = {
        "pid": os.getpid(),
        "program": Path(sys.argv[0] if sys.argv else "").name,
        "host": platform.node(),
        "since_seconds": time.time(),
    }
    with contextlib.suppress(OSError):
        path = beside(lock)
        # A new file each time: what lies there may be a link, or shared under another name.
        path.unlink(missing_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
        try:
            os.write(handle, json.dumps(told).encode()[:_MAX_BYTES])
        finally:
            os.close(handle)


def clear(lock: Path) -> None:
    """Take it back, while the lock is still held; never fails."""
    with contextlib.suppress(OSError):
        beside(lock).unlink(missing_ok=True)


def words(lock: Path) -> str:
    """Return who holds a lock by the holder's own word: "process 12 (pytest) since 4 min".

    "another process" when that is not known.
    """
    told = _read(lock)
    pid, since, host = told.get("pid"), told.get("since_seconds"), told.get("host")
    if not isinstance(pid, int):
        return "another process"
    program = told.get("program")
    text = f"process {pid}"
    text += f" ({printable(program)})" if isinstance(program, str) and program else ""
    if isinstance(host, str) and host not in {"", platform.node()}:
        text += f" on {printable(host)}"
    if isinstance(since, int | float) and 0 <= time.time() - since < 10 * 365 * 86_400:
        text += f", since {duration(time.time() - since)}"
    return text


def _read(lock: Path) -> dict[str, Any]:
    try:
        handle = os.open(beside(lock), os.O_RDONLY | _FLAGS)
    except OSError:
        return {}
    try:
        told = json.loads(os.read(handle, _MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    finally:
        os.close(handle)
    return told if isinstance(told, dict) else {}
