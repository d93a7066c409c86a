"""Digests of a file: the SHA-256 of all of it, and one digest for each block, to locate damage.

Block digests prove nothing alone. They count beside the SHA-256 of the same bytes, taken in the
same read, once that is the published one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

from modelmedic.errors import CannotTell

# 4 MiB: 8 KB of digests for a gigabyte, and one damaged byte costs 4.2 MB to fetch (measured; at
# 16 MiB it is 16.8 MB, and smaller blocks gain little over the round trips).
BLOCK_BYTES = 4 << 20
DIGEST_BYTES = 32  # of both algorithms


class Hasher(Protocol):
    """What hashlib and blake3 have in common."""

    def update(self, data: bytes | bytearray | memoryview, /) -> object:
        """Take more bytes."""

    def digest(self) -> bytes:
        """Return the digest of the bytes so far."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """One digest for each block of a file, the last block may be shorter.

    Args:
        algorithm: "blake3", or "sha256" where no blake3 is installed.
        block_bytes: Size of a block.
        digests: `DIGEST_BYTES` for each block, in order, without separators.
    """

    algorithm: str
    block_bytes: int
    digests: bytes

    @property
    def count(self) -> int:
        """Return the number of blocks."""
        return len(self.digests) // DIGEST_BYTES

    def digest(self, index: int) -> bytes:
        """Return the digest of one block, counted from 0."""
        return self.digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]

    def fits(self, size_bytes: int) -> bool:
        """Return whether a file of this size has as many blocks."""
        return (
            self.block_bytes > 0
            and len(self.digests) == block_count(size_bytes, self.block_bytes) * DIGEST_BYTES
        )


@dataclass(frozen=True, slots=True)
class Digests:
    """The digests of one content. ``blocks`` is None when none were taken, ``git_blob`` as well.

    ``git_blob`` is the Git SHA-1 that a Hub lists for a small file.
    """

    size_bytes: int
    sha256: str
    blocks: Blocks | None = None
    git_blob: str | None = None


def block_count(size_bytes: int, block_bytes: int = BLOCK_BYTES) -> int:
    """Return how many blocks a file of ``size_bytes`` has; 0 of an empty one."""
    return -(-size_bytes // block_bytes)


def block_algorithm() -> str:
    """Return what block digests are taken with here: "blake3" where it is installed."""
    try:
        import blake3  # noqa: F401 - only whether it is there
    except ImportError:
        return "sha256"
    return "blake3"


def new_hasher(algorithm: str) -> Hasher:
    """Return a fresh hasher of a block.

    Raises:
        CannotTell: The algorithm is not known, or not installed here.
    """
    if algorithm == "sha256":
        return hashlib.sha256()
    if algorithm == "blake3":
        try:
            import blake3
        except ImportError as error:
            raise CannotTell(
                "Block digests of this kind cannot be compared: blake3 is not installed.",
                "There is no ready-made blake3 for this Python and processor.",
            ) from error
        hasher: Hasher = blake3.blake3()
        return hasher
    raise CannotTell(f"Block digests of kind {algorithm!r} are not known to this version.")


def differing(wanted: Blocks, found: Blocks, size_bytes: int) -> tuple[tuple[int, int], ...]:
    """Return the byte ranges [start, end) whose block digests differ; neighbours are one range.

    Args:
        wanted: Of the content that should be there.
        found: Of what is there.
        size_bytes: The end of the last block.

    Raises:
        CannotTell: They were taken in two ways.
    """
    if (wanted.algorithm, wanted.block_bytes) != (found.algorithm, found.block_bytes):
        raise CannotTell(
            "Block digests of two kinds cannot be compared: "
            f"{wanted.algorithm} of {wanted.block_bytes} bytes and {found.algorithm} of "
            f"{found.block_bytes}."
        )
    ranges: list[tuple[int, int]] = []
    for index in range(max(wanted.count, found.count)):
        if wanted.digest(index) == found.digest(index):
            continue
        start = index * wanted.block_bytes
        end = min(start + wanted.block_bytes, size_bytes)
        if ranges and ranges[-1][1] == start:
            start = ranges.pop()[0]
        ranges.append((start, end))
    return tuple(ranges)
