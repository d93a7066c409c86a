"""Copy a file of the install under a private name, prove it, then swap it in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from modelmedic.errors import RecoveryRefused
from modelmedic.operations import aside
from modelmedic.operations.aside import Was
from modelmedic.operations.base import Workshop
from modelmedic.operations.swapped import CopiedFile
from modelmedic.text import printable, size


@dataclass(frozen=True, slots=True)
class CopyFile(CopiedFile):
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

    @contextlib.contextmanager
    def opened(self, shop: Workshop) -> Iterator[int]:
        """Give the source open for reading.

        Raises:
            RecoveryRefused: It changed since it was checked.
        """
        if aside.seen(shop.tree.identity(self.source)) != tuple(self.source_was):
            raise RecoveryRefused(f"{printable(self.source)} changed since it was checked.")
        with shop.tree.open_read(self.source) as handle:
            yield handle
