"""Who made which temporary files: a small record that the next run finds after a kill.

A file of JSON lines in the state folder: first the process, then each path before it is made and,
with its identity, after. Nothing is trusted that is not this user's own.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import stat
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modelmedic.machine_id import machine_id
from modelmedic.operations.durable import make_private_folders, write_all

FOLDER = "temporary"
_MAX_BYTES = 4 << 20
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


@dataclass(frozen=True, slots=True)
class Maker:
    """A process, told from every other one.

    Args:
        pid: Its number.
        started: When it began, as the system counts it; a number is given anew after its end.
        host: Name of the machine.
        boot: Which start of the machine; empty where it does not say.
        space: The space its number counts in (containers); empty where there is one.
        machine: Which machine, for a host name can be given twice; empty where it does not say,
            and in older records.
    """

    pid: int
    started: str
    host: str
    boot: str
    space: str
    machine: str = ""

    @classmethod
    def this(cls) -> Maker:
        """Return this process."""
        pid = os.getpid()
        return cls(pid, started(pid), platform.node(), _boot(), _space(), machine_id())

    @property
    def is_gone(self) -> bool:
        """Return whether it is known to have ended; not, where this machine cannot tell."""
        if (self.host, self.machine) != (platform.node(), machine_id()):
            return False
        if self.boot != _boot():
            return bool(self.boot)
        return self.space == _space() and started(self.pid) != self.started


@dataclass(frozen=True, slots=True)
class Mark:
    """What tells a file or folder from every other one.

    Args:
        device: Number of its file system.
        inode: Its number there, which is given anew once it is deleted: on ext4 at once.
        birth: What a later use of the number does not share; empty where nothing tells it.
    """

    device: int
    inode: int
    birth: str


@dataclass(slots=True)
class Entry:
    """One registered path.

    Args:
        root: The folder it lies in, absolute.
        path: Relative to it, with / between folders.
        identity: Which one it is; None when the process was killed while it was made.
        is_folder: Whether it is a folder.
    """

    root: str
    path: str
    identity: Mark | None
    is_folder: bool

    @property
    def whole(self) -> str:
        """Return where it lies, from the top."""
        return f"{self.root}/{self.path}"


class Record:
    """The record of this process.

    Args:
        state_dir: The state folder; nothing is written into it before the first line.
    """

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / FOLDER
        self.path = self._folder / f"{os.getpid()}-{secrets.token_hex(4)}.jsonl"
        self._handle: int | None = None

    def add(self, **told: Any) -> None:
        """Write a line, and make it last.

        Raises:
            OSError: It cannot be written; then nothing may be made.
        """
        if self._handle is None:
            make_private_folders(self._folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | _FLAGS
            self._handle = os.open(self.path, flags, 0o600)
            self._write({"maker": asdict(Maker.this())})
        self._write(told)

    def remove(self) -> None:
        """Remove it: nothing is left to be found."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
            self.path.unlink(missing_ok=True)

    def _write(self, told: dict[str, Any]) -> None:
        assert self._handle is not None
        write_all(self._handle, f"{json.dumps(told)}\n".encode())
        os.fsync(self._handle)


def records(state_dir: Path) -> Iterator[tuple[Path, Maker, list[Entry]]]:
    """Give every record of this user with its maker and what is registered in it."""
    try:
        paths = sorted((state_dir / FOLDER).iterdir())
    except OSError:
        return
    for path in paths:
        lines = _lines(path) if path.suffix == ".jsonl" else []
        with contextlib.suppress(TypeError, KeyError, IndexError, ValueError):
            yield path, Maker(**lines[0]["maker"]), _entries(lines[1:])


def started(pid: int) -> str:
    """Return when a process began; empty when there is none."""
    if sys.platform.startswith("linux"):
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            return text.rpartition(")")[2].split()[19]  # proc(5): field 22
        except (OSError, IndexError):
            return ""
    import psutil

    try:
        return f"{psutil.Process(pid).create_time():.1f}"
    except psutil.Error:
        return ""


def _entries(lines: list[dict[str, Any]]) -> list[Entry]:
    found: dict[tuple[str, str], Entry] = {}
    for line in lines:
        key = (str(line["root"]), str(line["path"]))
        if line.get("is_gone"):
            found.pop(key, None)
            continue
        identity = _mark(line["identity"]) if line.get("identity") else None
        found[key] = Entry(*key, identity, bool(line.get("is_folder")))
    return list(found.values())


def _mark(told: list[Any]) -> Mark:
    device, inode, *birth = told  # older records have none
    return Mark(int(device), int(inode), "".join(map(str, birth)))


def _lines(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a record; the last one may have been cut by the kill."""
    try:
        handle = os.open(path, os.O_RDONLY | _FLAGS)
    except OSError:
        return []
    try:
        found = os.fstat(handle)
        is_ours = not hasattr(os, "geteuid") or found.st_uid == os.geteuid()
        if not (stat.S_ISREG(found.st_mode) and is_ours and found.st_size <= _MAX_BYTES):
            return []
        data = os.read(handle, _MAX_BYTES)
    finally:
        os.close(handle)
    told: list[dict[str, Any]] = []
    for line in data.splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not isinstance(value, dict):
            break
        told.append(value)
    return told


def _boot() -> str:
    return _said("/proc/sys/kernel/random/boot_id")


def _space() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _said(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
