"""Folders walked one name at a time: held open where the platform can, by path elsewhere."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

CAN_HOLD = {os.open, os.stat, os.readlink} <= os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
# O_PATH (Linux) needs no read permission on a folder that is only passed through.
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0)
_CLOSE_ON_EXEC = getattr(os, "O_CLOEXEC", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
# O_NONBLOCK: should a pipe take the file's name in between, opening it must not wait.
_FILE = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NOINHERIT", 0)
    | _CLOSE_ON_EXEC
    | _NOFOLLOW
)
_JUNCTION = 0xA0000003  # IO_REPARSE_TAG_MOUNT_POINT, winnt.h


class Folders(Protocol):
    """A position below a top folder."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names from the top folder to the position."""

    def lstat(self, name: str) -> os.stat_result:
        """Return the status of an entry, of the link itself if it is one."""

    def readlink(self, name: str) -> str:
        """Return where the link ``name`` says it leads."""

    def enter(self, name: str) -> None:
        """Go into the folder ``name``, which may not be a link."""

    def leave(self) -> bool:
        """Go one folder up; return False at the top."""

    def rewind(self) -> None:
        """Go back to the top folder."""

    def open(self, name: str) -> int:
        """Open the file ``name``, which may not be a link, and return its descriptor."""


@contextlib.contextmanager
def folders_below(top: Path) -> Iterator[Folders]:
    """Give a position at ``top``, released at the end.

    Raises:
        OSError: ``top`` is missing, no folder, or may not be entered.
    """
    if not CAN_HOLD:
        yield NamedFolders(top)
        return
    held = HeldFolders(top)
    try:
        yield held
    finally:
        held.close()


def is_link(status: os.stat_result) -> bool:
    """Return whether a status is that of a symbolic link or a Windows junction."""
    return stat.S_ISLNK(status.st_mode) or getattr(status, "st_reparse_tag", 0) == _JUNCTION


class HeldFolders:
    """A position held as a descriptor: nobody can swap a folder for a link under it."""

    def __init__(self, top: Path) -> None:
        self._top = os.open(top, _FOLDER | _CLOSE_ON_EXEC)
        self._here = self._top
        self._names: list[str] = []

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names from the top folder to the position."""
        return tuple(self._names)

    def lstat(self, name: str) -> os.stat_result:
        """Return the status of an entry, of the link itself if it is one."""
        return os.stat(name, dir_fd=self._here, follow_symlinks=False)

    def readlink(self, name: str) -> str:
        """Return where the link ``name`` says it leads."""
        return os.readlink(name, dir_fd=self._here)

    def enter(self, name: str) -> None:
        """Go into the folder ``name``, which may not be a link."""
        inner = os.open(name, _FOLDER | _CLOSE_ON_EXEC | _NOFOLLOW, dir_fd=self._here)
        self._move_to(inner)
        self._names.append(name)

    def leave(self) -> bool:
        """Go one folder up; return False at the top. Walks down again: ".." may have moved."""
        if not self._names:
            return False
        names = self._names[:-1]
        self.rewind()
        for name in names:
            self.enter(name)
        return True

    def rewind(self) -> None:
        """Go back to the top folder."""
        self._move_to(self._top)
        self._names.clear()

    def open(self, name: str) -> int:
        """Open the file ``name``, which may not be a link, and return its descriptor."""
        return os.open(name, _FILE, dir_fd=self._here)

    def close(self) -> None:
        """Release the descriptors."""
        self.rewind()
        os.close(self._top)

    def _move_to(self, descriptor: int) -> None:
        if self._here != self._top:
            os.close(self._here)
        self._here = descriptor


class NamedFolders:
    """A position held as a path, for Windows: each name is checked right before it is used."""

    def __init__(self, top: Path) -> None:
        if not stat.S_ISDIR(top.stat().st_mode):
            raise NotADirectoryError(20, "Not a directory", str(top))
        self._top = top
        self._names: list[str] = []

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names from the top folder to the position."""
        return tuple(self._names)

    def lstat(self, name: str) -> os.stat_result:
        """Return the status of an entry, of the link itself if it is one."""
        return os.lstat(self._path(name))

    def readlink(self, name: str) -> str:
        """Return where the link ``name`` says it leads, without Windows' long-path prefix."""
        return os.readlink(self._path(name)).removeprefix("\\\\?\\")  # noqa: PTH115 - as text

    def enter(self, name: str) -> None:
        """Go into the folder ``name``, which may not be a link."""
        os.lstat(self._path(name, "."))
        self._names.append(name)

    def leave(self) -> bool:
        """Go one folder up; return False at the top."""
        if not self._names:
            return False
        self._names.pop()
        return True

    def rewind(self) -> None:
        """Go back to the top folder."""
        self._names.clear()

    def open(self, name: str) -> int:
        """Open the file ``name`` and return its descriptor."""
        return os.open(self._path(name), _FILE)

    def _path(self, *names: str) -> str:
        return os.path.join(self._top, *self._names, *names)  # noqa: PTH118 - Path drops "."
