"""Expected work: what is about to be written on purpose, so that nobody calls it a leak.

Whoever starts a download says how much it will write and where; the monitor reads it. Each
announcement is a small private file in the state folder that is gone when the work is over; what a
killed process left is passed over, and swept by the next one.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmedic.facts import own_records

FOLDER = "announced"
_MOST_FILES = 200
_MOST_AGE_SECONDS = 14 * 86400.0  # a slower download than 80 GB in two weeks is none
_MOST_LETTERS = 200


@dataclass(frozen=True, slots=True)
class Announced:
    """Work that is expected.

    Args:
        what: What it is, in words.
        planned_bytes: What it writes at most.
        folder: Where, absolute.
        since: When it was announced, seconds since the epoch.
        pid: The process that does it.
    """

    what: str
    planned_bytes: int
    folder: str
    since: float
    pid: int


@contextlib.contextmanager
def announce(
    state_dir: Path, what: str, planned_bytes: int, folder: str | os.PathLike[str]
) -> Iterator[None]:
    """Tell the monitor of work for as long as the block runs.

    It never stops the work: where nothing can be written (a full disk) the block runs unannounced.

    Args:
        state_dir: The state folder.
        what: What it is, as people know it: "refetch_model_file".
        planned_bytes: What it writes at most.
        folder: Where it writes.
    """
    path = state_dir / FOLDER / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.json"
    value = {
        "what": what[:_MOST_LETTERS],
        "planned_bytes": int(planned_bytes),
        "folder": str(Path(folder).absolute()),
        "since": time.time(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
    }
    with contextlib.suppress(OSError, ValueError):
        _sweep(state_dir)
        own_records.write(path, value)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def read(state_dir: Path, now: float | None = None) -> list[Announced]:
    """Return what is announced by processes that are alive, the oldest first.

    Damaged files, those of others and those of dead processes are passed over.
    """
    now = time.time() if now is None else now
    found = [entry for path in _files(state_dir) if (entry := _entry(path, now)) is not None]
    return sorted(found, key=lambda entry: entry.since)


def on_mount(entries: list[Announced], mount: str, mounts: list[str]) -> list[Announced]:
    """Return those that write on a mount: their folder lies deeper in no other one of ``mounts``.

    By names alone: a look at the folder of a dead share would block.
    """
    return [
        entry
        for entry in entries
        if max(
            (each for each in [mount, *mounts] if _is_in(entry.folder, each)), key=len, default=""
        )
        == mount
    ]


def _is_in(folder: str, mount: str) -> bool:
    root = mount.rstrip("/\\") or mount[:1]
    is_below = folder.startswith(root) and folder[len(root) : len(root) + 1] in {"", "/", "\\"}
    return is_below or (len(root) == 1 and folder.startswith(root))


def _files(state_dir: Path) -> list[Path]:
    try:
        with os.scandir(state_dir / FOLDER) as entries:
            paths = [Path(entry.path) for entry in entries if entry.name.endswith(".json")]
    except OSError:
        return []
    return sorted(paths)[:_MOST_FILES]


def _entry(path: Path, now: float) -> Announced | None:
    value = own_records.read(path)
    if not isinstance(value, dict) or not _is_alive(value):
        return None
    try:
        found = Announced(
            str(value["what"])[:_MOST_LETTERS],
            int(value["planned_bytes"]),
            str(value["folder"]),
            float(value["since"]),
            int(value["pid"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    is_sane = found.planned_bytes >= 0 and now - found.since < _MOST_AGE_SECONDS
    return found if is_sane else None


def _is_alive(value: dict[str, Any]) -> bool:
    pid, told = value.get("pid"), value.get("started")
    if not isinstance(pid, int) or isinstance(pid, bool) or pid <= 0:
        return False
    started = _started(pid)
    return started is not None and started == told


def _sweep(state_dir: Path) -> None:
    """Remove what killed processes left."""
    for path in _files(state_dir):
        value = own_records.read(path)
        if not isinstance(value, dict) or not _is_alive(value):
            path.unlink(missing_ok=True)


def _started_on_linux(pid: int) -> int | None:
    """Return when a process began, in ticks since the boot; None when there is none.

    With it, a new process that was given an old number is told from the one that announced.
    """
    try:
        # The name in parentheses may hold anything, also spaces and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return None if fields[0] in {b"Z", b"X"} else int(fields[19])
    except (OSError, IndexError, ValueError):
        return None


def _started_elsewhere(pid: int) -> int | None:
    import psutil

    try:
        return int(psutil.Process(pid).create_time())
    except (psutil.Error, OSError, ValueError, OverflowError):
        return None


_started = _started_on_linux if sys.platform.startswith("linux") else _started_elsewhere
