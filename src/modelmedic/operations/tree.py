"""An install folder held open: every change inside it is made without following a link."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modelmedic.context import OWN_FOLDER
from modelmedic.errors import RecoveryRefused
from modelmedic.operations.durable import rename_new, sync_held
from modelmedic.text import printable

_HOLDS_FOLDERS = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
_PRIVATE_FILE = 0o600
_PRIVATE_FOLDER = 0o700


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one state of a file from another. Times in nanoseconds since the epoch."""

    size_bytes: int
    mtime_ns: int
    inode: int
    mode: int
    links: int

    @property
    def is_file(self) -> bool:
        """Return whether it is a regular file."""
        return stat.S_ISREG(self.mode)

    @property
    def is_folder(self) -> bool:
        """Return whether it is a folder."""
        return stat.S_ISDIR(self.mode)


@dataclass(frozen=True, slots=True)
class _Place:
    """A name in a held folder. ``folder`` is None where the platform cannot hold one."""

    folder: int | None
    name: str


class Tree:
    """The only way operations reach files: relative to the held root, no link followed.

    Args:
        root: The install folder, absolute. It may not exist yet: `make_root` creates it.

    On Windows folders cannot be held open this way; each component is then checked not to be a
    link or junction right before use.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._seen: tuple[int, int] | None = None  # device and inode of the root at first use

    # -- reading ---------------------------------------------------------------------------------

    def identity(self, relative: str) -> Identity | None:
        """Return the identity of what lies at ``relative``, link or not; None if nothing does."""
        try:
            if relative == ".":
                found = self.root.stat()  # the root itself may be a link its owner made
            else:
                with self._at(relative) as place:
                    found = os.stat(place.name, dir_fd=place.folder, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Identity(
            found.st_size, found.st_mtime_ns, found.st_ino, found.st_mode, found.st_nlink
        )

    @contextlib.contextmanager
    def open_read(self, relative: str) -> Iterator[int]:
        """Open a regular file for reading and yield its descriptor."""
        with self._at(relative) as place:
            flags = os.O_RDONLY | _NOFOLLOW | getattr(os, "O_BINARY", 0) | _NONBLOCK
            handle = os.open(place.name, flags, dir_fd=place.folder)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise RecoveryRefused(f"{printable(relative)} is not a regular file.")
            yield handle
        finally:
            os.close(handle)

    def entries(self, relative: str) -> list[tuple[str, os.stat_result]]:
        """Return name and state of what lies in a folder, by name; empty when it is missing."""
        try:
            with self._at(f"{relative}/*") as place:
                folder = self.root / relative if place.folder is None else place.folder
                with os.scandir(folder) as found:
                    return sorted(
                        ((each.name, each.stat(follow_symlinks=False)) for each in found),
                        key=lambda each: each[0],
                    )
        except FileNotFoundError:
            return []

    def own_files(self, relative: str) -> Iterator[tuple[str, os.stat_result]]:
        """Give the files below a folder of ours with their state; none when it is missing."""
        for name, state in self.entries(relative):
            path = f"{relative}/{name}"
            if stat.S_ISDIR(state.st_mode):
                yield from self.own_files(path)
            else:
                yield path, state

    def link_text(self, relative: str) -> str | None:
        """Return what the link at ``relative`` says; None if no link lies there."""
        try:
            with self._at(relative) as place:
                text = os.readlink(place.name, dir_fd=place.folder)
        except OSError:
            return None
        return text.replace(os.sep, "/")

    # -- changing --------------------------------------------------------------------------------

    def make_root(self) -> None:
        """Create the install folder itself; its parent must exist."""
        self.root.mkdir()
        self._seen = None

    def make_folder(self, relative: str, *, private: bool = False) -> None:
        """Create one folder; its parent must exist."""
        with self._at(relative) as place:
            os.mkdir(place.name, _PRIVATE_FOLDER if private else 0o777, dir_fd=place.folder)
            _sync(place)

    def make_own_folder(self, relative: str) -> None:
        """Create a folder of ours (below ``.modelmedic``) with its parents, if it is missing."""
        parts = relative.split("/")
        for depth in range(1, len(parts) + 1):
            with contextlib.suppress(FileExistsError):
                self.make_folder("/".join(parts[:depth]), private=True)

    def remove_folder(self, relative: str) -> None:
        """Remove one empty folder."""
        if relative == ".":
            self.root.rmdir()
            self._seen = None
            return
        with self._at(relative) as place:
            os.rmdir(place.name, dir_fd=place.folder)

    def remove_own_file(self, relative: str) -> None:
        """Delete a file of ours; anything outside ``.modelmedic`` is refused."""
        if relative.split("/", maxsplit=1)[0] != OWN_FOLDER:
            raise RecoveryRefused(f"{printable(relative)} is not ours to delete.")
        with contextlib.suppress(FileNotFoundError), self._at(relative) as place:
            os.unlink(place.name, dir_fd=place.folder)

    @contextlib.contextmanager
    def open_own(self, relative: str) -> Iterator[int]:
        """Open (create) a private file of ours for writing and yield its descriptor."""
        if relative.split("/", maxsplit=1)[0] != OWN_FOLDER:
            raise RecoveryRefused(f"{printable(relative)} is not ours to write.")
        with self._at(relative) as place:
            handle = _open_private(place)
            if os.fstat(handle).st_nlink > 1:  # shared by now: our name leaves, the others keep it
                os.close(handle)
                os.unlink(place.name, dir_fd=place.folder)
                handle = _open_private(place)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
                raise RecoveryRefused(f"{printable(relative)} is not a plain file of ours.")
            yield handle
        finally:
            os.close(handle)

    def rename(self, old: str, new: str, *, is_flushed: bool = True) -> None:
        """Rename within the tree, never over something, and make it last.

        Args:
            old: A file or folder.
            new: Its new name.
            is_flushed: Not, where many renames follow: then ask for `flush` after the last one.

        Raises:
            FileExistsError: Something lies at ``new``.
        """
        with self._at(old) as source, self._at(new) as target:
            if self.identity(new) is not None:
                raise FileExistsError(errno.EEXIST, "something lies there", new)
            rename_new(source.name, target.name, source.folder, target.folder)
            if is_flushed:
                _sync(source)
                _sync(target)

    def flush(self, relative: str) -> None:
        """Make the names in a folder last; nothing when it is gone."""
        with contextlib.suppress(FileNotFoundError), self._at(f"{relative}/*") as place:
            _sync(place)

    def remove_own_tree(self, relative: str) -> None:
        """Delete a folder of ours with all that is in it; links in it are not followed."""
        if relative.split("/", maxsplit=1)[0] != OWN_FOLDER:
            raise RecoveryRefused(f"{printable(relative)} is not ours to delete.")
        for name, state in self.entries(relative):
            path = f"{relative}/{name}"
            if stat.S_ISDIR(state.st_mode):
                self.remove_own_tree(path)
            else:
                self.remove_own_file(path)
        with contextlib.suppress(FileNotFoundError):
            self.remove_folder(relative)

    def make_link(self, relative: str, text: str) -> None:
        """Make a link that says ``text``, never over something, and make it last.

        Raises:
            OSError: Something lies there, or there can be no link.
        """
        with self._at(relative) as place:
            os.symlink(text.replace("/", os.sep), place.name, dir_fd=place.folder)
            _sync(place)

    def remove_link(self, relative: str, text: str) -> None:
        """Remove a link that we made: one that says ``text``; anything else is refused."""
        if self.link_text(relative) != text:
            raise RecoveryRefused(f"{printable(relative)} is no link of ours.")
        with self._at(relative) as place:
            os.unlink(place.name, dir_fd=place.folder)
            _sync(place)

    def set_mode(self, relative: str, mode: int) -> None:
        """Give a file that has no other name the permission bits of ``mode``.

        Raises:
            RecoveryRefused: It is shared (a hard link), or no plain file.
        """
        with self._at(relative) as place:
            flags = os.O_RDONLY | _NOFOLLOW | _NONBLOCK
            handle = os.open(place.name, flags, dir_fd=place.folder)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
                raise RecoveryRefused(f"{printable(relative)} is shared; it was not changed.")
            if hasattr(os, "fchmod"):
                os.fchmod(handle, stat.S_IMODE(mode))
        finally:
            os.close(handle)

    def set_folder_mode(self, relative: str, mode: int) -> None:
        """Give a folder the permission bits of ``mode``; no link is followed."""
        if not hasattr(os, "fchmod"):
            return  # Windows: folders take their rights from the one above
        with self._at(f"{relative}/*") as place:
            assert place.folder is not None
            os.fchmod(place.folder, stat.S_IMODE(mode))

    @contextlib.contextmanager
    def open_change(self, relative: str) -> Iterator[int]:
        """Open an existing file, moved to a private name of ours, and yield its descriptor.

        Raises:
            RecoveryRefused: It lies under its real name, is shared (a hard link), or no plain file.
        """
        if relative.split("/", maxsplit=1)[0] != OWN_FOLDER:
            raise RecoveryRefused(f"{printable(relative)} is not ours to write.")
        with self._at(relative) as place:
            flags = os.O_RDWR | _NOFOLLOW | getattr(os, "O_BINARY", 0) | _NONBLOCK
            handle = os.open(place.name, flags, dir_fd=place.folder)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
                raise RecoveryRefused(f"{printable(relative)} is shared; it was not changed.")
            yield handle
        finally:
            os.close(handle)

    def set_mtime(self, relative: str, mtime_ns: int) -> None:
        """Set when a file was last written, in nanoseconds since the epoch; no link is followed."""
        with self._at(relative) as place:
            follow = os.utime not in os.supports_follow_symlinks
            found = os.stat(place.name, dir_fd=place.folder, follow_symlinks=False)
            times = (found.st_atime_ns, mtime_ns)
            os.utime(place.name, ns=times, dir_fd=place.folder, follow_symlinks=follow)

    # -- reaching --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _at(self, relative: str) -> Iterator[_Place]:
        parts = _parts(relative)
        if not _HOLDS_FOLDERS:
            yield _Place(None, str(self._checked(parts)))
            return
        held = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._refuse_another_root(os.fstat(held))
            for part in parts[:-1]:
                below = _step(held, part, relative)
                os.close(held)
                held = below
            yield _Place(held, parts[-1])
        finally:
            os.close(held)

    def _refuse_another_root(self, found: os.stat_result) -> None:
        """Refuse when the path of the root leads to another folder than at first use."""
        now = (found.st_dev, found.st_ino)
        if self._seen is None:
            self._seen = now
        if now != self._seen:
            raise RecoveryRefused(
                f"{printable(self.root)} is another folder than when this run began; it was not "
                "touched.",
                "Somebody moved it, or put a link in its place.",
                "Look what happened there, then start again.",
            )

    def _checked(self, parts: list[str]) -> Path:
        here = self.root
        self._refuse_another_root(here.stat())
        for part in parts[:-1]:
            here /= part
            found = os.lstat(here)
            attributes = getattr(found, "st_file_attributes", 0)
            if stat.S_ISLNK(found.st_mode) or attributes & 0x400:  # FILE_ATTRIBUTE_REPARSE_POINT
                raise _is_link("/".join(parts), part)
        return here / parts[-1]


_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)  # a fifo put in place of a file must not hold us


def _sync(place: _Place) -> None:
    if place.folder is not None:
        sync_held(place.folder)


def _open_private(place: _Place) -> int:
    flags = os.O_RDWR | os.O_CREAT | _NOFOLLOW | getattr(os, "O_BINARY", 0) | _NONBLOCK
    return os.open(place.name, flags, _PRIVATE_FILE, dir_fd=place.folder)


def _step(held: int, part: str, relative: str) -> int:
    try:
        return os.open(part, os.O_RDONLY | os.O_DIRECTORY | _NOFOLLOW, dir_fd=held)
    except OSError as error:
        is_link = error.errno in {errno.ELOOP, errno.ENOTDIR} and stat.S_ISLNK(
            os.stat(part, dir_fd=held, follow_symlinks=False).st_mode
        )
        if is_link:
            raise _is_link(relative, part) from error
        raise


def _is_link(relative: str, part: str) -> RecoveryRefused:
    return RecoveryRefused(
        f"{printable(relative)} was not touched: {printable(part)} on the way is a link.",
        "A repair follows no link, so that it can never change files outside the install.",
        "Give the folder the link leads to as --install-dir.",
    )


def _parts(relative: str) -> list[str]:
    """Split a relative POSIX path; refuse what could leave the tree.

    Raises:
        RecoveryRefused: The path is absolute, empty, or has a "..", drive or backslash part.
    """
    parts = relative.split("/")
    bad = {"", ".", ".."}
    if any(part in bad or "\\" in part or "\0" in part for part in parts) or ":" in parts[0]:
        raise RecoveryRefused(f"{printable(relative)} is not a path inside the install.")
    return parts
