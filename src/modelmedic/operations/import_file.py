"""Copy a file from outside the install under a private name, prove it, then swap it in."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from modelmedic.errors import RecoveryFailed, RecoveryRefused
from modelmedic.operations import aside, mounts
from modelmedic.operations.aside import Was
from modelmedic.operations.base import Cost, Operation, Workshop
from modelmedic.operations.copy_file import COPY_BYTES_PER_SECOND, copy_all
from modelmedic.text import printable, size

_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a fifo put in its place must not hold us
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
)


@dataclass(frozen=True, slots=True)
class ImportFile(Operation):
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

    def cost(self) -> Cost:
        """Return the disk and the time it takes at most, on a disk that is not a slow one."""
        return Cost(disk_bytes=self.size_bytes, seconds=self.size_bytes / COPY_BYTES_PER_SECOND)

    def prepare(self, shop: Workshop, seat: str) -> dict[str, Any]:
        """Refuse when either file changed, the source is no plain file, or the disk is too full."""
        with self._opened():
            note = aside.prepare_swap(shop, self.path, self.was, seat)
        mounts.refuse_apart(shop.tree, self.path)
        free = mounts.free_bytes(shop.tree)
        if free < self.size_bytes:
            raise RecoveryRefused(
                f"{printable(self.source)} was not copied: it needs {size(self.size_bytes)} on "
                f"this disk and {size(free)} are free.",
                "",
                "Free that space, then start again.",
            )
        return note | {"private": f"{aside.PARTS}/{shop.run_id}-{seat}"}

    def apply(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Copy, prove, swap in.

        Raises:
            RecoveryFailed: The copy has other bytes, or could not be written.
        """
        from modelmedic.transfer import Wanted

        shop.tree.make_own_folder(aside.PARTS)
        with self._opened() as source, shop.tree.open_own(note["private"]) as target:
            try:
                os.ftruncate(target, 0)
                copy_all(
                    source, target, lambda done: shop.progress(self.path, done, self.size_bytes)
                )
                os.fsync(target)
            except OSError as error:
                raise RecoveryFailed(
                    f"{printable(self.source)} could not be copied: {error.strerror or error}."
                ) from error
            if not Wanted(self.size_bytes, self.sha256).is_met_by(target):
                raise RecoveryFailed(
                    f"The copy of {printable(self.source)} has other bytes than are expected.",
                    "It was changed while it was copied, or the disk does not give back what "
                    "was written.",
                )
        aside.swap_in(shop, note["private"], self.path, note)

    def inspect(self, shop: Workshop, note: dict[str, Any]) -> str:
        """Return how far it got."""
        return aside.swap_state(shop, self.path, note)

    def undo(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Take the copy away and put back what was there."""
        aside.swap_back(shop, self.path, note, spare=note["private"])
        shop.tree.remove_own_file(note["private"])

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        """Yield the source open for reading: the very file that was planned.

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
