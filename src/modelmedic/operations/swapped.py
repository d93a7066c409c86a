"""What is written under a private name, proven there, and only then takes a file's place."""

from __future__ import annotations

import contextlib
import os
from abc import abstractmethod
from typing import Any

from modelmedic.errors import RecoveryFailed, RecoveryRefused
from modelmedic.operations import aside, copying, mounts
from modelmedic.operations.aside import Was
from modelmedic.operations.base import Cost, Operation, Workshop
from modelmedic.text import printable, size


class SwappedFile(Operation):
    """An operation whose file is swapped in whole; the old one is kept aside."""

    __slots__ = ()
    path: str
    was: Was | None

    def prepare(self, shop: Workshop, seat: str) -> dict[str, Any]:
        """Refuse when the file changed."""
        note = aside.prepare_swap(shop, self.path, self.was, seat)
        return note | {"private": f"{aside.PARTS}/{shop.run_id}-{seat}"}

    def inspect(self, shop: Workshop, note: dict[str, Any]) -> str:
        """Return how far it got."""
        return aside.swap_state(shop, self.path, note)

    def undo(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Take the new file away and put back what was there."""
        aside.swap_back(shop, self.path, note, spare=note["private"])
        shop.tree.remove_own_file(note["private"])


class CopiedFile(SwappedFile):
    """A copy of a file whose hash is known. ``source`` is only read."""

    __slots__ = ()
    source: str
    size_bytes: int
    sha256: str

    @abstractmethod
    def opened(self, shop: Workshop) -> contextlib.AbstractContextManager[int]:
        """Give the source open for reading: the very file that was planned.

        Raises:
            RecoveryRefused: It is another one by now.
        """

    def cost(self) -> Cost:
        """Return the disk and the time it takes at most, on a disk that is not a slow one."""
        seconds = self.size_bytes / copying.BYTES_PER_SECOND
        return Cost(disk_bytes=self.size_bytes, seconds=seconds)

    def prepare(self, shop: Workshop, seat: str) -> dict[str, Any]:
        """Refuse when either file changed, or there is too little disk."""
        with self.opened(shop):
            note = super().prepare(shop, seat)
        mounts.refuse_apart(shop.tree, self.path)
        free = mounts.free_bytes(shop.tree)
        if free < self.size_bytes:
            raise RecoveryRefused(
                f"{printable(self.source)} was not copied: it needs {size(self.size_bytes)} on "
                f"this disk and {size(free)} are free.",
                "",
                mounts.space_step(shop.tree),
            )
        return note

    def apply(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Copy, prove, swap in.

        Raises:
            RecoveryFailed: The copy has other bytes, or could not be written.
        """
        shop.tree.make_own_folder(aside.PARTS)
        with self.opened(shop) as source, shop.tree.open_own(note["private"]) as target:
            self._copy(shop, source, target)
        aside.swap_in(shop, note["private"], self.path, note)

    def _copy(self, shop: Workshop, source: int, target: int) -> None:
        from modelmedic.transfer import Wanted

        def tell(done: int) -> None:
            shop.progress(self.path, done, self.size_bytes)

        try:
            os.ftruncate(target, 0)
            copying.copy_all(source, target, tell)
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
