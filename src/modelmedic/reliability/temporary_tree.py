"""A folder in which temporary files are made and removed, wherever in it they lie."""

from __future__ import annotations

import contextlib
import os
import stat

from modelmedic.operations.tree import Tree

_PRIVATE_FILE = 0o600
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


class TemporaryTree(Tree):
    """Reaches files as every operation does: below the held root, no link followed."""

    def device_and_inode(self, relative: str) -> tuple[int, int] | None:
        """Return which one lies at ``relative``, link or not; None if nothing does."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), self._at(relative) as at:
            found = os.stat(at.name, dir_fd=at.folder, follow_symlinks=False)
            return found.st_dev, found.st_ino
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
            if not stat.S_ISDIR(found.st_mode):
                self.remove_name(inside)
            elif found.st_dev == device:
                self.remove_all(inside, device)
        self.remove_folder(relative)
