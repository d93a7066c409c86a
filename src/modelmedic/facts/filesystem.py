"""What a folder's file system can do, found by doing it in the scratch folder."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from modelmedic import commands
from modelmedic.errors import CannotTell
from modelmedic.facts import disk
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.scratch import Room
from modelmedic.purity import OWN_PYTHON, SCRATCH

LARGE_FILE_BYTES = (4 << 30) + 1  # one byte more than FAT's largest file, 4 GiB - 1, plus one
LONG_PATH_CHARS = 260  # Windows' MAX_PATH

# Here a file of 4 GiB and one byte takes one block: they keep holes, or hand the length to a
# server that does. All others would really write it, so a rule answers or nobody.
_KEEPS_HOLES = frozenset(
    (
        *("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "bcachefs", "f2fs", "jfs", "reiserfs"),
        *("tmpfs", "ramfs", "overlay", "apfs", "ntfs", "ntfs3", "refs", "9p", "virtiofs"),
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "ceph", "beegfs"),
    )
)
# Source: the formats themselves. fuseblk is NTFS or exFAT under FUSE; both hold large files.
_LARGE_BY_RULE = {
    **dict.fromkeys(("exfat", "hfs", "hfsplus", "fuseblk"), True),
    **dict.fromkeys(("vfat", "msdos", "fat", "fat32"), False),
}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}

_CHILD_SECONDS = 5.0
_BUSY_TRIES = 5  # another thread's fork may hold our script open for writing for a moment
_BUSY_SECONDS = 0.02
_SCRIPT_EXIT = 7
_LOCK_HELD_EXIT = 9
_LOCK_SCRIPT = (
    "import fcntl,sys\nf=open(sys.argv[1],'r+b')\n"
    "try: fcntl.flock(f, fcntl.LOCK_EX|fcntl.LOCK_NB)\n"
    f"except OSError: sys.exit({_LOCK_HELD_EXIT})\n"
)


@dataclass(frozen=True, slots=True)
class Trial:
    """How one thing tried in the scratch folder ended.

    ``works`` is None when it was not tried; ``error`` then says why, else what went wrong.
    """

    works: bool | None
    error: str = ""
    errno: int | None = None
    winerror: int | None = None

    @property
    def is_denied(self) -> bool:
        """Return whether it failed for want of permission."""
        return self.works is False and self.errno in {errno.EACCES, errno.EPERM}

    @property
    def is_read_only(self) -> bool:
        """Return whether it failed because the file system is read-only."""
        return self.works is False and self.errno == errno.EROFS

    @property
    def is_full(self) -> bool:
        """Return whether it failed for want of space, inodes or quota."""
        return self.works is False and self.errno in _NO_ROOM


_NOT_TRIED = Trial(works=None, error="nothing could be written there")


@dataclass(frozen=True, slots=True)
class Scratch:
    """What the file system under ``folder`` can do.

    ``clock_ahead_seconds`` is how far its clock is ahead of ours (negative: behind), None when
    no file could be written. ``leftover`` says why the scratch folder could not be removed; ""
    when it is gone.
    """

    folder: Path
    device: int  # st_dev
    fs_type: str
    create: Trial
    write: Trial = _NOT_TRIED
    rename: Trial = _NOT_TRIED
    lock: Trial = _NOT_TRIED
    symlink: Trial = _NOT_TRIED
    long_path: Trial = _NOT_TRIED
    large_file: Trial = _NOT_TRIED
    execute: Trial = _NOT_TRIED
    clock_ahead_seconds: float | None = None
    leftover: str = ""


@probe("scratch_probe", writes="scratch", spawns=(SCRATCH, OWN_PYTHON))
def read_scratch(facts: FactBook, folder: Path) -> Scratch:
    """Try everything in a scratch folder inside ``folder``, an existing resolved folder.

    Raises:
        CannotTell: ``folder`` is no folder, or a scratch folder of this run stays in it.
    """
    volume = facts.get(disk.read_volume, folder)
    return try_in(Room(folder, facts.context.scratch_name), volume)


@probe("scratch_probe")
def read_weight_scratches(facts: FactBook) -> tuple[Scratch, ...]:
    """Return what each distinct file system under the install and the model folders can do."""
    volumes = facts.get(disk.read_weight_volumes)
    for volume in volumes:
        facts.start(read_scratch, volume.folder)
    return tuple(facts.get(read_scratch, volume.folder) for volume in volumes)


def try_in(room: Room, volume: disk.Volume) -> Scratch:
    """Make ``room``, try everything in it, and remove it again, whatever happens."""
    result = Scratch(volume.folder, volume.device, volume.fs_type, create=Trial(works=True))
    try:
        room.make()
    except OSError as error:
        return replace(result, create=_failed(error))
    try:
        result = replace(result, write=_tried(_write, room))
        if result.write.works:
            result = _try_rest(room, result, volume)
    finally:
        leftover = room.remove()
    return replace(result, leftover=leftover)


def _try_rest(room: Room, result: Scratch, volume: disk.Volume) -> Scratch:
    return replace(
        result,
        rename=_tried(_rename, room),
        lock=_tried(_lock, room),
        symlink=_tried(_symlink, room),
        long_path=_tried(_long_path, room),
        large_file=_large_file(room, volume.fs_type),
        execute=_execute(room),
        clock_ahead_seconds=_clock_ahead(room),
    )


def _tried(attempt: Callable[[Room], str], room: Room) -> Trial:
    """Return how ``attempt`` ended; it returns "" or what was wrong, or raises OSError."""
    try:
        wrong = attempt(room)
    except OSError as error:
        return _failed(error)
    except CannotTell as error:
        return Trial(works=None, error=str(error))
    return Trial(works=not wrong, error=wrong)


def _failed(error: OSError) -> Trial:
    return Trial(
        works=False,
        error=error.strerror or str(error),
        errno=error.errno,
        winerror=getattr(error, "winerror", None),
    )


def _write(room: Room) -> str:
    data = b"modelmedic was here\n" * 200
    room.write("written", data)
    return "" if room.read("written") == data else "other bytes came back than were written"


def _rename(room: Room) -> str:
    room.write("old", b"old")
    room.write("new", b"new")
    os.replace(room.at("new"), room.at("old"), src_dir_fd=room.fd, dst_dir_fd=room.fd)
    return "" if room.read("old") == b"new" else "the old file stayed after it was replaced"


def _symlink(room: Room) -> str:
    os.symlink("written", room.at("link"), dir_fd=room.fd)
    target = os.readlink(room.at("link"), dir_fd=room.fd)
    return "" if target == "written" else "a link came back with another target"


def _long_path(room: Room) -> str:
    part = "p" * 80
    names: list[str] = []
    while len(room.at(*names)) <= LONG_PATH_CHARS:
        names.append(part)
        os.mkdir(room.at(*names), 0o700, dir_fd=room.fd)
    room.write(str(Path(*names, "file")), b"deep")
    return ""


def _large_file(room: Room, fs_type: str) -> Trial:
    if fs_type in _LARGE_BY_RULE:
        holds = _LARGE_BY_RULE[fs_type]
        return Trial(holds, "" if holds else f"{fs_type} holds no file of 4 GiB or more")
    if fs_type not in _KEEPS_HOLES:
        kind = fs_type or "of an unknown type"
        return Trial(None, f"on a file system {kind} trying it might really write 4 GiB")
    trial = _tried(_make_large, room)
    return Trial(None, trial.error, trial.errno) if trial.is_full else trial


def _make_large(room: Room) -> str:
    fd = room.open("large")
    try:
        os.ftruncate(fd, LARGE_FILE_BYTES)
        if sys.platform != "win32":  # NTFS would fill everything before that byte with zeros
            os.lseek(fd, LARGE_FILE_BYTES - 1, os.SEEK_SET)
            os.write(fd, b"\x01")
        size_bytes = os.fstat(fd).st_size
    finally:
        os.close(fd)
        os.unlink(room.at("large"), dir_fd=room.fd)
    return "" if size_bytes == LARGE_FILE_BYTES else f"the file came out with {size_bytes} bytes"


def _lock(room: Room) -> str:
    first = room.open("lock")
    second = room.open("lock", os.O_RDWR)
    try:
        if _is_excluded(first, second):
            return ""
        # NFS turns flock into a lock of the process: only another process can be kept out.
        argv = [sys.executable, "-I", "-S", "-c", _LOCK_SCRIPT, str(room.path / "lock")]
        code = _exit_code(argv, room.path)
    finally:
        os.close(second)
        os.close(first)
    return "" if code == _LOCK_HELD_EXIT else "a lock does not keep a second process out"


def _is_excluded(first: int, second: int) -> bool:
    """Lock ``first`` and return whether ``second`` is kept out; raise OSError if it cannot lock."""
    _lock_now(first)
    try:
        _lock_now(second)
    except OSError:
        return True
    return False


if sys.platform == "win32":
    import msvcrt

    def _lock_now(fd: int) -> None:
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock_now(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _execute(room: Room) -> Trial:
    name, text = ("run.sh", f"#!/bin/sh\nexit {_SCRIPT_EXIT}\n")
    if sys.platform == "win32":
        name, text = ("run.cmd", f"@exit /b {_SCRIPT_EXIT}\r\n")
    try:
        room.write(name, text.encode())
        code = _run_script(room.path / name)
    except OSError as error:
        return _failed(error)
    except CannotTell as error:
        return Trial(works=None, error=str(error))
    if code == _SCRIPT_EXIT:
        return Trial(works=True)
    return Trial(works=False, error=f"a script that should end with 7 ended with {code}")


def _run_script(path: Path) -> int:
    """Return the exit code of the script; raise the OSError that kept it from starting."""
    for last in (*[False] * (_BUSY_TRIES - 1), True):
        try:
            return _exit_code([str(path)], path.parent)
        except CannotTell as error:
            cause = error.__cause__
            if not isinstance(cause, OSError):
                raise
            if cause.errno != errno.ETXTBSY or last:
                raise cause from error
            time.sleep(_BUSY_SECONDS)
    raise AssertionError  # the last try returns or raises


def _exit_code(argv: list[str], folder: Path) -> int:
    """Run a program in the scratch folder; what the temporary folder lacks is not its fault."""
    try:
        return commands.run(argv, deadline_seconds=_CHILD_SECONDS, cwd=folder).returncode
    except OSError as error:
        raise CannotTell(f"No temporary file could be made: {error.strerror}.") from None


def _clock_ahead(room: Room) -> float | None:
    try:
        room.write("now", b"")
        written = os.stat(room.at("now"), dir_fd=room.fd).st_mtime
    except OSError:
        return None
    return written - time.time()
