"""Copy a file from outside the install under a private name, prove it, then swap it in."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from modelmedic.errors import RecoveryRefused
from modelmedic.operations.aside import Was
from modelmedic.operations.base import Workshop
from modelmedic.operations.swapped import CopiedFile
from modelmedic.text import printable, size

_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a fifo put in its place must not hold us
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
)


@dataclass(frozen=True, slots=True)
class ImportFile(CopiedFile):
    """Copy a file whose hash is known from elsewhere on this machine, which is only read.

    Shares the blocks where the file system can (btrfs, XFS): then it costs no space and no time.
    It is never a hard link: whatever writes to one name of a file changes it under the other.

    Args:
        path: Where the copy belongs, relative to the install.
        source: What is copied: an absolute path without links on the way.
        size_bytes: The size of both.
        sha256: The SHA-256 of both.
        source_was: Size and mtime of the source when it was hashed.
        source_inode: Its number in its file system then.
        was: Size and mtime of what lies at ``path`` now; None when nothing does.
    """

    kind: ClassVar[str] = "import_file"
    path: str
    source: str
    size_bytes: int
    sha256: str
    source_was: Was
    source_inode: int
    was: Was | None

    def describe(self) -> str:
        """Return what it does."""
        old = "; the old file is kept aside" if self.was else ""
        return (
            f"copy {printable(self.source)} to {printable(self.path)} ({size(self.size_bytes)}), "
            f"prove it by its sha256, then put it in place{old}"
        )

    @contextlib.contextmanager
    def opened(self, shop: Workshop) -> Iterator[int]:
        """Give the source open for reading: the very file that was planned.

        Raises:
            RecoveryRefused: It is another one by now, or lies behind a link.
        """
        source = Path(self.source)
        shown = printable(self.source)
        if not source.is_absolute() or os.path.realpath(source) != str(source):
            raise RecoveryRefused(f"{shown} was not copied: a link lies on the way to it.")
        try:
            handle = os.open(source, _FLAGS)
        except OSError as error:
            raise RecoveryRefused(
                f"{shown} was not copied: it cannot be opened ({error.strerror})."
            ) from error
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise RecoveryRefused(f"{shown} was not copied: it is no plain file.")
            now = (found.st_size, found.st_mtime_ns)
            if now != tuple(self.source_was) or found.st_ino != self.source_inode:
                raise RecoveryRefused(f"{shown} changed since it was checked.")
            yield handle
        finally:
            os.close(handle)
