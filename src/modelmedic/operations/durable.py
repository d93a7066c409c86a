"""Writes that are whole and last: every byte or an error, and names that survive a power cut."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

_RENAME_NOREPLACE = 1  # linux/fs.h
# What a kernel or file system says that has no such call; then the caller's own look must do.
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM})

_Rename = Callable[[int, bytes, int, bytes, int], int]


def write_all(handle: int, data: bytes) -> None:
    """Write every byte to a descriptor.

    A disk that fills up, or a quota, makes ``write`` take less than it was given, without an
    error: only the next call says why.

    Raises:
        OSError: Not all of it could be written.
    """
    view = memoryview(data)
    while view:
        written = os.write(handle, view)
        if written == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        view = view[written:]


def sync_folder(path: Path) -> None:
    """Make the names in a folder last through a power cut, where the platform can."""
    if not hasattr(os, "O_DIRECTORY"):
        return  # Windows writes names with the file system's own log
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync_held(handle)
    finally:
        os.close(handle)


def sync_held(handle: int) -> None:
    """Do the same for a folder that is held open."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:  # FUSE and some shares cannot flush a folder
            raise


def make_private_folders(path: Path) -> None:
    """Create a folder and its missing parents, for this user only, so that they last.

    Raises:
        OSError: One cannot be created, or something else lies there.
    """
    missing = [path]
    while not missing[-1].parent.is_dir() and missing[-1].parent != missing[-1]:
        missing.append(missing[-1].parent)
    for folder in reversed(missing):
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            if not folder.is_dir():
                raise NotADirectoryError(
                    errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)
                ) from None
        else:
            sync_folder(folder.parent)


def rename_new(old: str, new: str, old_folder: int | None, new_folder: int | None) -> None:
    """Rename to a name that nothing has, in one step where the platform can.

    Linux refuses an existing target itself (renameat2), and so does Windows. Elsewhere the caller
    looked just before, and a file made in between by somebody else would be replaced.

    Raises:
        FileExistsError: Something lies at ``new``.
    """
    if old_folder is not None and new_folder is not None:
        call = _renameat2()
        if call is not None:
            import ctypes

            sys.audit("os.rename", old, new, old_folder, new_folder)  # as os.rename does
            names = os.fsencode(old), os.fsencode(new)
            if call(old_folder, names[0], new_folder, names[1], _RENAME_NOREPLACE) == 0:
                return
            code = ctypes.get_errno()
            if code not in _UNSUPPORTED:
                raise OSError(code, os.strerror(code), old, None, new)
    os.rename(old, new, src_dir_fd=old_folder, dst_dir_fd=new_folder)


@cache
def _renameat2() -> _Rename | None:
    """Return the C library's call; None where it has none (it came with glibc 2.28)."""
    if sys.platform != "linux":
        return None
    import ctypes  # here: most runs rename nothing

    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None
    call.argtypes = (
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_uint,
    )
    call.restype = ctypes.c_int
    found: _Rename = call
    return found
