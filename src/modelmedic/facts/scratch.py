"""The scratch folder ``.modelmedic-probe-<run>``: the only thing a check ever writes.

It is made fresh (one that exists is never entered), worked in relative to a held folder so that
no link can lead elsewhere, and always removed, also when the run is interrupted.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import threading
import time
from pathlib import Path

from modelmedic import purity
from modelmedic.errors import CannotTell

HAS_DIR_FD = {os.open, os.mkdir, os.rename, os.unlink} <= os.supports_dir_fd
_OTHER_WORKER_SECONDS = 3.0  # a sibling process of the same run holds the folder for milliseconds
_POLL_SECONDS = 0.02
_TRIES = 10  # once the folder is gone, a late step of a probe fails inside it
_PARENT_FLAGS = (  # O_PATH: a folder that may be written but not listed can be held too
    getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
)
_OWN_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_DIRECTORY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
)
_FILE_FLAGS = (
    getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
)


class Room:
    """A scratch folder that only we use.

    Args:
        folder: The existing folder it is made in.
        name: Its name.
        is_held: Work relative to open folders (POSIX); False joins paths, as Windows must.
    """

    def __init__(self, folder: Path, name: str, *, is_held: bool = HAS_DIR_FD) -> None:
        self.path = folder / name
        self.fd: int | None = None  # of the scratch folder; None when paths are joined
        self._folder, self._name, self._is_held = folder, name, is_held
        self._parent_fd: int | None = None
        self._is_made = False
        self._lock = threading.Lock()

    def make(self) -> None:
        """Make the scratch folder.

        Raises:
            OSError: It may not or cannot be made there.
            CannotTell: It is there already and stays, or the place is no folder.
        """
        if not self._folder.is_dir():
            raise CannotTell(f"{self._folder} is not a folder, so nothing can be tried in it.")
        if self._is_held:
            self._parent_fd = os.open(self._folder, _PARENT_FLAGS)
        try:
            self._mkdir()
            self._is_made = True
            # A probe's daemon thread is cut off at exit; the folder must go even then.
            atexit.register(self._delete)
            if self._is_held:
                self.fd = os.open(self._name, _OWN_FLAGS, dir_fd=self._parent_fd)
        except BaseException:
            self.remove()
            raise

    def at(self, *names: str) -> str:
        """Return a path inside, to be used together with ``dir_fd=room.fd``."""
        inside = Path(*names) if self._is_held else self.path.joinpath(*names)
        return str(inside)

    def open(self, name: str, flags: int = os.O_RDWR | os.O_CREAT | os.O_EXCL) -> int:
        """Open a file inside, never through a link, and return its descriptor; by default new."""
        with purity.inside(self.path):
            return os.open(self.at(name), flags | _FILE_FLAGS, 0o700, dir_fd=self.fd)

    def write(self, name: str, data: bytes) -> None:
        """Write a new file inside and force it to the disk."""
        fd = self.open(name)
        try:
            while data:
                data = data[os.write(fd, data) :]
            os.fsync(fd)
        finally:
            os.close(fd)

    def read(self, name: str) -> bytes:
        """Return the first 4096 bytes of a file inside."""
        fd = self.open(name, os.O_RDONLY)
        try:
            return os.read(fd, 4096)
        finally:
            os.close(fd)

    def remove(self) -> str:
        """Remove the scratch folder with all in it; return why not, "" when it is gone."""
        problem = self._delete()
        atexit.unregister(self._delete)
        for fd in (self.fd, self._parent_fd):
            if fd is not None:
                os.close(fd)
        self.fd = self._parent_fd = None
        return problem

    def _delete(self) -> str:
        """Delete what was made; descriptors stay open, so a late step fails inside, not outside."""
        with self._lock:
            if not self._is_made:
                return ""
            for last in (*[False] * _TRIES, True):
                try:
                    with contextlib.suppress(FileNotFoundError):
                        self._empty()
                        os.rmdir(self._target(), dir_fd=self._parent_fd)
                except OSError as error:
                    # At exit a probe's thread may still be at work, and make one file more.
                    if last or error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                        return error.strerror or str(error)
                    time.sleep(_POLL_SECONDS)
                else:
                    break
            self._is_made = False
            return ""

    def _empty(self) -> None:
        if not self._is_held:
            _empty_path(self.path)
        elif self.fd is not None:  # None: it was made but could not be opened, so it is empty
            _empty_fd(self.fd)

    def _target(self) -> str:
        return self._name if self._is_held else str(self.path)

    def _mkdir(self) -> None:
        ends = time.monotonic() + _OTHER_WORKER_SECONDS
        while True:
            try:
                os.mkdir(self._target(), 0o700, dir_fd=self._parent_fd)
            except FileExistsError as error:
                if time.monotonic() > ends:
                    raise CannotTell(
                        f"{self.path} is there already and is not ours to use.",
                        "Most often a killed run left it behind.",
                        f"Look into {self.path}, delete it, and start again.",
                    ) from error
                time.sleep(_POLL_SECONDS)
            else:
                return


def _empty_fd(fd: int) -> None:
    with os.scandir(fd) as entries:
        listed = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in listed:
        if not is_folder:
            os.unlink(name, dir_fd=fd)
            continue
        inner = os.open(name, _OWN_FLAGS, dir_fd=fd)
        try:
            _empty_fd(inner)
        finally:
            os.close(inner)
        os.rmdir(name, dir_fd=fd)


def _empty_path(folder: Path) -> None:
    for entry in list(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            _empty_path(entry)
            entry.rmdir()
        else:
            entry.unlink()
