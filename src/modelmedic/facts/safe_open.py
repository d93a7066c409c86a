"""Open a file below a folder without ever leaving it, following a trap or waiting on a pipe.

A link is followed by hand, one component at a time, while it stays inside; a link that leads out
is reported and not read. An install that lies in a Hub cache (``models--*/snapshots/<revision>``)
has its bytes in ``models--*/blobs``, so there the whole ``models--*`` folder counts as inside.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from modelmedic.errors import CannotTell
from modelmedic.facts._folders import Folders, folders_below, is_link
from modelmedic.text import printable

MAX_LINKS = 40  # as the Linux kernel: MAXSYMLINKS in include/linux/namei.h


class State(enum.Enum):
    """What lies where a file is expected."""

    PRESENT = "present"
    MISSING = "missing"
    DANGLING = "dangling"
    LOOP = "loop"
    OUTSIDE = "outside"
    NOT_REGULAR = "not-regular"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class FileState:
    """One name in the install: what lies there, and its identity if it is a file.

    ``detail`` is a clause that follows the name ("is a named pipe, not a file"). ``kind`` is
    "file", "folder", "named pipe", "socket", "device" or "" (nothing was reached). Sizes and
    times are None unless the file is present; ``resolved`` is the real path of what was opened.
    """

    subject: str
    state: State
    detail: str
    kind: str = ""
    is_link: bool = False
    target: str = ""  # what the last link followed says; "" when none was followed
    resolved: Path | None = None
    size_bytes: int | None = None
    mtime_ns: int | None = None
    ctime_ns: int | None = None
    inode: int | None = None
    device: int | None = None
    link_count: int | None = None

    @property
    def is_present(self) -> bool:
        """Return whether a regular file lies there that this user may read."""
        return self.state is State.PRESENT

    @property
    def is_folder(self) -> bool:
        """Return whether a folder lies there."""
        return self.kind == "folder"

    @property
    def identity(self) -> tuple[int | None, int | None, int | None, int | None, int | None]:
        """Return what tells this content from another: size, mtime, ctime, inode, device."""
        return (self.size_bytes, self.mtime_ns, self.ctime_ns, self.inode, self.device)

    def sentence(self) -> str:
        """Return "<name> <detail>.", escaped for people."""
        return f"{printable(self.subject)} {self.detail}."


@dataclass(frozen=True, slots=True)
class SafeFile:
    """A file of the install held open for reading, and its state when it was opened."""

    descriptor: int
    state: FileState

    @property
    def size_bytes(self) -> int:
        """Return its size when it was opened, in bytes."""
        return self.state.size_bytes or 0

    def read_at(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Return up to ``length_bytes`` bytes from ``offset_bytes`` on; fewer at its end."""
        pieces = []
        while length_bytes > 0:
            piece = _pread(self.descriptor, min(length_bytes, 1 << 30), offset_bytes)
            if not piece:
                break
            pieces.append(piece)
            offset_bytes += len(piece)
            length_bytes -= len(piece)
        return b"".join(pieces)

    def has_changed(self) -> bool:
        """Return whether the file was written or replaced in place since it was opened."""
        now = os.fstat(self.descriptor)
        known = self.state
        return (now.st_size, now.st_mtime_ns) != (known.size_bytes, known.mtime_ns)


def look(root: Path, subject: str) -> FileState:
    """Return what lies at ``subject`` below ``root``.

    Raises:
        CannotTell: The file system answered with an error that says nothing about the file.
    """
    with opened(root, subject) as (state, _):
        return state


@contextlib.contextmanager
def opened(root: Path, subject: str) -> Iterator[tuple[FileState, SafeFile | None]]:
    """Give the state of ``subject`` below ``root`` and, if present, the file open for reading.

    Args:
        root: An absolute folder. Links on the way to it are followed: its owner chose it.
        subject: POSIX form, relative to ``root``.

    Raises:
        CannotTell: The file system answered with an error that says nothing about the file
            (input/output error, dead share), or the file was exchanged while it was opened.
    """
    state, file = _open(Path(root), subject)
    try:
        yield state, file
    finally:
        if file is not None:
            os.close(file.descriptor)


def boundary_of(root: Path) -> Path:
    """Return the real folder that links below ``root`` may not leave."""
    real = Path(os.path.realpath(root))
    for folder in real.parents:
        if folder.name == "snapshots" and folder.parent.name.startswith("models--"):
            return folder.parent
    return real


@dataclass(slots=True)
class _Walk:
    """Where a walk stands: held folders, names still to go, links followed."""

    folders: Folders
    pending: deque[str]
    boundary: Path
    links: int = 0
    target: str = ""


def _open(root: Path, subject: str) -> tuple[FileState, SafeFile | None]:
    if _leaves(subject):
        return _outside(subject, subject), None
    boundary = boundary_of(root)
    names = [*Path(os.path.realpath(root)).relative_to(boundary).parts, *_names(subject)]
    try:
        with folders_below(boundary) as folders:
            walk = _Walk(folders, deque(names), boundary)
            try:
                return _follow(walk, subject)
            except OSError as error:
                return _refused(walk, subject, error), None
    except OSError as error:
        return _refused(None, subject, error), None


def _follow(walk: _Walk, subject: str) -> tuple[FileState, SafeFile | None]:
    while walk.pending:
        name = walk.pending.popleft()
        if name == "..":
            if not walk.folders.leave() and not _turn_to(walk, [os.pardir, *walk.pending]):
                return _outside(subject, walk.target), None
            continue
        status = walk.folders.lstat(name)
        if is_link(status):
            walk.links += 1
            if walk.links > MAX_LINKS:
                return _looping(walk, subject), None
            if not _take_link(walk, name):
                return _outside(subject, walk.target), None
        elif walk.pending:
            if not stat.S_ISDIR(status.st_mode):
                return _in_the_way(walk, subject, name), None
            walk.folders.enter(name)
        else:
            return _found(walk, subject, name, status)
    return _irregular(walk, subject, "folder"), None


def _take_link(walk: _Walk, name: str) -> bool:
    """Replace the link's name by where it leads; return False if that is outside."""
    text = walk.folders.readlink(name)
    walk.target = text
    if not Path(text).is_absolute():
        walk.pending.extendleft(reversed(_names(text)))
        return True
    walk.target = os.path.normpath(text)
    return _turn_to(walk, [text, *walk.pending])


def _turn_to(walk: _Walk, parts: list[str]) -> bool:
    """Go on from the boundary towards an absolute path; return False if it lies outside.

    `os.path.realpath` reads links only: nothing outside is opened.
    """
    walk.links += 1  # counted: a path that leaves and returns for ever must end as a loop
    if walk.links > MAX_LINKS:
        return True
    here = walk.boundary.joinpath(*walk.folders.names)
    real = Path(os.path.realpath(here.joinpath(*parts)))
    if not real.is_relative_to(walk.boundary):
        walk.target = str(real)
        return False
    walk.folders.rewind()
    walk.pending = deque(real.relative_to(walk.boundary).parts)
    return True


def _found(
    walk: _Walk, subject: str, name: str, status: os.stat_result
) -> tuple[FileState, SafeFile | None]:
    kind = _kind(status.st_mode)
    if kind != "file":
        return _irregular(walk, subject, kind), None
    descriptor = walk.folders.open(name)
    now = os.fstat(descriptor)
    # The kind too: a file system gives the number of a removed file to the next one made.
    if (now.st_dev, now.st_ino) != (status.st_dev, status.st_ino) or not stat.S_ISREG(now.st_mode):
        os.close(descriptor)
        raise CannotTell(f"{printable(subject)} was exchanged while it was opened.")
    state = FileState(
        subject=subject,
        state=State.PRESENT,
        detail="is present",
        kind=kind,
        is_link=walk.links > 0,
        target=walk.target,
        resolved=walk.boundary.joinpath(*walk.folders.names, name),
        size_bytes=now.st_size,
        mtime_ns=now.st_mtime_ns,
        ctime_ns=now.st_ctime_ns,
        inode=now.st_ino,
        device=now.st_dev,
        link_count=now.st_nlink,
    )
    return state, SafeFile(descriptor, state)


def _leaves(subject: str) -> bool:
    """Return whether a name of a profile or an index points out by its very spelling."""
    windows = PureWindowsPath(subject)
    return (
        PurePosixPath(subject).is_absolute()
        or ".." in PurePosixPath(subject).parts
        or "\0" in subject
        or (os.name == "nt" and (bool(windows.drive) or ".." in windows.parts))
    )


def _names(path: str) -> list[str]:
    return [part for part in Path(path).parts if part not in {"", ".", "/"}]


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFREG: "file",
        stat.S_IFDIR: "folder",
        stat.S_IFIFO: "named pipe",
        stat.S_IFSOCK: "socket",
        stat.S_IFCHR: "device",
        stat.S_IFBLK: "device",
    }
    return kinds.get(stat.S_IFMT(mode), "special file")


def _irregular(walk: _Walk, subject: str, kind: str) -> FileState:
    linked = f"is a link to a {kind}" if walk.links else f"is a {kind}"
    return FileState(
        subject,
        State.NOT_REGULAR,
        f"{linked}, not a file",
        kind=kind,
        is_link=walk.links > 0,
        target=walk.target,
        resolved=walk.boundary.joinpath(*walk.folders.names),
    )


def _outside(subject: str, target: str) -> FileState:
    detail = f"is a link that leads out of the install to {printable(target)}; it was not read"
    if target == subject:
        detail = "points out of the install by its own name; it was not read"
    return FileState(subject, State.OUTSIDE, detail, is_link=target != subject, target=target)


def _looping(walk: _Walk, subject: str) -> FileState:
    detail = f"is a link that leads round in a circle (more than {MAX_LINKS} links followed)"
    return FileState(subject, State.LOOP, detail, is_link=True, target=walk.target)


def _in_the_way(walk: _Walk, subject: str, name: str) -> FileState:
    detail = f"is missing: {printable(name)} on the way to it is a file, not a folder"
    return FileState(subject, State.MISSING, detail, is_link=walk.links > 0)


def _refused(walk: _Walk | None, subject: str, error: OSError) -> FileState:
    target = walk.target if walk else ""
    if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EINVAL}:
        if target:
            detail = f"is a link to {printable(target)}, and nothing is there"
            return FileState(subject, State.DANGLING, detail, is_link=True, target=target)
        detail = "is missing"
        if error.errno == errno.ENAMETOOLONG:
            detail = "is missing: its name is longer than this file system allows"
        return FileState(subject, State.MISSING, detail)
    if error.errno in {errno.EACCES, errno.EPERM}:
        detail = f"may not be read by this user ({error.strerror})"
        return FileState(subject, State.DENIED, detail, target=target)
    if error.errno == errno.ELOOP:
        raise CannotTell(f"{printable(subject)} was exchanged while it was opened.") from error
    raise CannotTell(
        f"{printable(subject)} could not be looked at: {error.strerror}.",
        "Most often a failing disk or a network share that went away.",
    ) from error


def _pread(descriptor: int, length_bytes: int, offset_bytes: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(descriptor, length_bytes, offset_bytes)
    os.lseek(descriptor, offset_bytes, os.SEEK_SET)
    return os.read(descriptor, length_bytes)
