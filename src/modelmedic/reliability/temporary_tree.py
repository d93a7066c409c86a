"""A folder in which temporary files are made and removed, wherever in it they lie."""

from __future__ import annotations

import contextlib
import os
import stat
import sys

from modelmedic.operations.tree import Tree
from modelmedic.reliability.temporary_record import Mark

_PRIVATE_FILE = 0o600
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
_GET_VERSION = 0x80087601  # FS_IOC_GETVERSION of linux/fs.h; where it is another, ENOTTY says so


class TemporaryTree(Tree):
    """Reaches files as every operation does: below the held root, no link followed."""

    def mark(self, relative: str) -> Mark | None:
        """Return which one lies at ``relative``, link or not; None if nothing does."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), self._at(relative) as at:
            found = os.stat(at.name, dir_fd=at.folder, follow_symlinks=False)
            birth = _born(found)
            if sys.platform == "linux" and (stat.S_ISREG(found.st_mode) or _is_folder(found)):
                birth = _generation(at.name, at.folder, found)
            return Mark(found.st_dev, found.st_ino, birth)
        return None

    def make_file(self, relative: str) -> None:
        """Create one empty file for this user, never over something."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW
        with self._at(relative) as place:
            os.close(os.open(place.name, flags, _PRIVATE_FILE, dir_fd=place.folder))

    def remove_name(self, relative: str) -> None:
        """Delete a name that is no folder; of a link, the link itself."""
        with contextlib.suppress(FileNotFoundError), self._at(relative) as place:
            os.unlink(place.name, dir_fd=place.folder)

    def remove_all(self, relative: str, device: int) -> None:
        """Delete a folder with what lies in it; another disk mounted in it is let alone."""
        for name, found in self.entries(relative):
            inside = f"{relative}/{name}"
            if not _is_folder(found):
                self.remove_name(inside)
            elif found.st_dev == device:
                self.remove_all(inside, device)
        self.remove_folder(relative)


def _is_folder(found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode)


def _generation(name: str, folder: int | None, found: os.stat_result) -> str:
    """Return the number that Linux gives anew with every use of an inode; "" where none is told."""
    if sys.platform != "linux":
        return ""
    import fcntl

    try:
        handle = os.open(name, os.O_RDONLY | _NOFOLLOW | _NONBLOCK, dir_fd=folder)
    except OSError:
        return ""
    try:
        number = fcntl.ioctl(handle, _GET_VERSION, bytes(8))[:4]
        is_same = os.path.samestat(os.fstat(handle), found)
    except OSError:
        return ""
    finally:
        os.close(handle)
    return f"generation {number.hex()}" if is_same and any(number) else ""


def _born(found: os.stat_result) -> str:
    """Return when it was made, where that and the number together are never given twice."""
    if sys.platform == "win32":
        # NTFS counts the uses of a number in its upper bits. FAT has none, and gives a name that is
        # made again within 15 s its old time (Source: Microsoft, "File System Tunneling").
        return f"born {found.st_ctime_ns}" if found.st_ino >> 48 else ""
    time = getattr(found, "st_birthtime", None)  # macOS, BSD
    return "" if time is None else f"born {time!r}"
