"""Download locks: is each one held, by whom, and would its mere existence block a download.

The Hub's client locks with flock: such a file lies around unheld after every download and blocks
nobody. Where the file system has no flock it falls back to a *soft* lock, whose existence is the
lock: one left by a killed process makes every later download wait for ever
(huggingface_hub ``utils/_fixes.py``, WeakFileLock; filelock ``_soft.py``).
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from modelmedic.facts import install_scan, processes, safe_open
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.safe_open import FileState, SafeFile
from modelmedic.text import duration, printable

MAX_LOCKS = 1000  # a model has some tens of files; the oldest are looked at
# The largest file here, 11 GB, takes an hour at 3 MB/s.
STALE_AFTER_SECONDS = 3600.0
_MAX_RECORD_BYTES = 1024  # filelock's own cap, _MAX_LOCK_FILE_SIZE
_NAMESPACE_MARK = "?pidns-"  # filelock 4: "<host>?pidns-<inode>" inside a container
_SAME_MOMENT_SECONDS = 2.0  # process start times are rounded to a clock tick, file times to 2 s


class Hold(enum.Enum):
    """What holds a lock file."""

    FREE = "nobody; existing does not block"
    FLOCK = "a process has it locked"
    OWNER_LIVES = "the process it names lives"
    OWNER_GONE = "the process it names is gone"
    OTHER_HOST = "a process on another machine or in a container, by its own word"
    EXISTENCE = "no owner named, and existing alone blocks here"
    DENIED = "may not be read"


@dataclass(frozen=True, slots=True)
class Lock:
    """One lock file. ``subject`` is relative to the install; pid, program, host as far as known."""

    subject: str
    hold: Hold
    age_seconds: float
    pid: int | None = None
    program: str = ""
    host: str = ""

    def holder(self) -> str:
        """Return who holds it or may hold it, as a clause without a full stop."""
        if self.hold in {Hold.FLOCK, Hold.OWNER_LIVES}:
            who = f"process {self.pid}" if self.pid else "a process that this user may not see"
            program = f" ({printable(self.program)})" if self.program else ""
            return f"{who}{program} holds it"
        if self.hold is Hold.OTHER_HOST:
            return f"process {self.pid} on {printable(self.host)} made it, which cannot be asked"
        if self.hold is Hold.EXISTENCE:
            return f"it names no owner and is {duration(self.age_seconds)} old"
        return str(self.hold.value)

    @property
    def is_stale(self) -> bool:
        """Return whether it blocks downloads and nobody holds it: what may be removed.

        With no owner named only age can tell. A download touches its lock once, at its start.
        """
        if self.hold is Hold.EXISTENCE:
            return self.age_seconds > STALE_AFTER_SECONDS
        return self.hold is Hold.OWNER_GONE


@dataclass(frozen=True, slots=True)
class Owner:
    """What a soft lock says about the process that made it."""

    pid: int
    host: str


@probe("folder_scan")
def read_locks(facts: FactBook) -> tuple[Lock, ...]:
    """Return every download lock of the install, oldest first, at most `MAX_LOCKS`."""
    found = sorted(
        facts.get(install_scan.read_scan).locks, key=lambda each: each.modified_at_seconds
    )
    return tuple(
        lock
        for each in found[:MAX_LOCKS]
        if (lock := read_lock(facts.context.place, each.subject)) is not None
    )


def read_lock(place: Path, subject: str) -> Lock | None:
    """Return who holds the lock file ``subject`` below ``place``; None if no file is there.

    The lock is tried shared, not exclusive: that fails exactly when somebody holds it, needs no
    write permission (NFS), and keeps nobody out who only looks as we do.
    """
    with safe_open.opened(place, subject) as (state, file):
        if state.state is safe_open.State.DENIED:
            return Lock(subject, Hold.DENIED, 0.0)
        if file is None:
            return None
        return _judge(file, state)


def holder_of(descriptor: int) -> str:
    """Return who holds an open lock file, as a clause; "" when nobody does and it may go.

    For the repair, right before it acts; ``descriptor`` is open for reading.
    """
    status = os.fstat(descriptor)
    state = FileState(
        subject="",
        state=safe_open.State.PRESENT,
        detail="",
        size_bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        inode=status.st_ino,
    )
    lock = _judge(SafeFile(descriptor, state), state)
    return "" if lock.hold is Hold.FREE or lock.is_stale else lock.holder()


def parse_owner(record: bytes) -> Owner | None:
    r"""Return the owner a soft lock names; None for an empty or foreign file.

    Source: filelock ``_soft.py``: "<pid>\n<host>\n" and, in newer ones, a start token.
    """
    lines = record.decode("utf-8", "replace").split("\n")
    has_form = len(lines) in {3, 4} and lines[-1] == "" and lines[1]
    if not has_form or not re.fullmatch(r"[0-9]{1,10}", lines[0]):
        return None
    pid = int(lines[0])
    return Owner(pid, lines[1]) if 1 <= pid < 1 << 31 else None


def parse_proc_locks(text: str) -> Mapping[int, int]:
    """Return the pid that holds each locked inode, from the text of ``/proc/locks``.

    Source: man 5 proc_locks. Waiting lines ("->") and holders in other namespaces (pid 0 or -1)
    are left out.
    """
    found = {}
    for line in text.splitlines():
        match = re.match(r"\d+: (?:FLOCK|POSIX|OFDLCK)\s+\S+\s+\S+\s+(\d+)\s+\S+:\S+:(\d+)\s", line)
        if match and int(match[1]) > 0:
            found[int(match[2])] = int(match[1])
    return found


def _judge(file: SafeFile, state: FileState) -> Lock:
    age_seconds = max(0.0, time.time() - (state.mtime_ns or 0) / 1e9)
    can_lock = True
    try:
        _try_lock(file.descriptor)
    except OSError as error:
        if error.errno in {errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}:
            pid = _flock_pid(state.inode or 0)
            program = processes.read_program_of(pid) if pid else ""
            return Lock(state.subject, Hold.FLOCK, age_seconds, pid, program)
        can_lock = False  # no flock on this file system: ENOSYS, ENOTSUP, ENOLCK
    owner = parse_owner(file.read_at(0, _MAX_RECORD_BYTES))
    if owner is None:
        hold = Hold.FREE if can_lock else Hold.EXISTENCE
        return Lock(state.subject, hold, age_seconds)
    return _judge_owner(owner, state, age_seconds)


def _judge_owner(owner: Owner, state: FileState, age_seconds: float) -> Lock:
    if not _is_this_host(owner.host):
        return Lock(state.subject, Hold.OTHER_HOST, age_seconds, owner.pid, host=owner.host)
    lives = _has_lived_since(owner.pid, (state.ctime_ns or 0) / 1e9)
    program = processes.read_program_of(owner.pid) if lives else ""
    hold = Hold.OWNER_LIVES if lives else Hold.OWNER_GONE
    return Lock(state.subject, hold, age_seconds, owner.pid, program, owner.host)


def _is_this_host(host: str) -> bool:
    name, mark, namespace = host.partition(_NAMESPACE_MARK)
    if name != socket.gethostname():
        return False
    if not mark:
        return True
    with contextlib.suppress(OSError):
        return namespace == f"{Path('/proc/self/ns/pid').stat().st_ino:x}"
    return False


def _has_lived_since(pid: int, moment_seconds: float) -> bool:
    """Return whether process ``pid`` runs and is not a later one that got the same number."""
    import psutil

    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
    return started <= moment_seconds + _SAME_MOMENT_SECONDS


def _flock_pid(inode: int) -> int | None:
    try:
        text = Path("/proc/locks").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return parse_proc_locks(text).get(inode)


def _try_flock(descriptor: int) -> None:
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def _try_msvcrt(descriptor: int) -> None:
    import msvcrt

    os.lseek(descriptor, 0, os.SEEK_SET)
    msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    os.lseek(descriptor, 0, os.SEEK_SET)
    msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined,unused-ignore]


_try_lock: Callable[[int], None] = _try_msvcrt if sys.platform == "win32" else _try_flock
