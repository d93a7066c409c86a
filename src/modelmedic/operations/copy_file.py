"""Copy a file of the install under a private name, prove it, then swap it in."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from modelmedic.errors import RecoveryFailed, RecoveryRefused
from modelmedic.operations import aside, mounts
from modelmedic.operations.aside import Was
from modelmedic.operations.base import Cost, Operation, Workshop
from modelmedic.text import printable, size

_STEP_BYTES = 64 << 20  # one call of the kernel; progress is told between two
_BLOCK_BYTES = 1 << 20
# What a hard disk writes: a copy fetches nothing, so its time must not put it behind a download.
COPY_BYTES_PER_SECOND = 100_000_000
_FICLONE = 0x40049409  # linux/fs.h, _IOW(0x94, 9, int)


@dataclass(frozen=True, slots=True)
class CopyFile(Operation):
    """Copy a file whose hash is known from where it belongs to something else.

    Shares the blocks where the file system can (btrfs, XFS): then it costs no space and no time.

    Args:
        path: Where the copy belongs, relative to the install.
        source: What is copied, relative to the install; never changed.
        size_bytes: The size of both.
        sha256: The SHA-256 of both.
        source_was: Size and mtime of the source when it was hashed.
        was: Size and mtime of what lies at ``path`` now; None when nothing does.
    """

    kind: ClassVar[str] = "copy_file"
    path: str
    source: str
    size_bytes: int
    sha256: str
    source_was: Was
    was: Was | None

    def describe(self) -> str:
        """Return what it does."""
        return (
            f"copy {printable(self.source)} to {printable(self.path)} ({size(self.size_bytes)}), "
            "prove it by its sha256, then put it in place"
        )

    def cost(self) -> Cost:
        """Return the disk and the time it takes at most, on a disk that is not a slow one."""
        return Cost(disk_bytes=self.size_bytes, seconds=self.size_bytes / COPY_BYTES_PER_SECOND)

    def prepare(self, shop: Workshop, seat: str) -> dict[str, Any]:
        """Refuse when either file changed, or there is too little disk."""
        if aside.seen(shop.tree.identity(self.source)) != tuple(self.source_was):
            raise RecoveryRefused(f"{printable(self.source)} changed since it was checked.")
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
        with (
            shop.tree.open_read(self.source) as source,
            shop.tree.open_own(note["private"]) as target,
        ):
            try:
                os.ftruncate(target, 0)
                copy_all(source, target, lambda done: self._tell(shop, done))
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

    def _tell(self, shop: Workshop, done: int) -> None:
        shop.progress(self.path, done, self.size_bytes)


def copy_all(source: int, target: int, progress: Callable[[int], None]) -> None:
    """Copy from the offsets of both to the end of the source, in the kernel if it can.

    ``target`` is empty. Blocks are shared where the file system can.
    """
    if _share_blocks(source, target):
        progress(os.fstat(target).st_size)
        return
    done = 0
    if hasattr(os, "copy_file_range"):
        try:
            while count := os.copy_file_range(source, target, _STEP_BYTES):
                done += count
                progress(done)
        except OSError:
            pass  # not on this file system or between these two: the loop below goes on from here
    while block := os.read(source, _BLOCK_BYTES):
        view = memoryview(block)
        while view:
            view = view[os.write(target, view) :]
        done += len(block)
        progress(done)


def _share_blocks(source: int, target: int) -> bool:
    """Let ``target`` share all blocks of ``source``, copied on write; False where that is not."""
    if not sys.platform.startswith("linux"):
        return False
    import fcntl

    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True
