"""Fetch the new blocks of a file beside it and prove them, before a byte of it is written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from modelmedic.errors import RecoveryFailed
from modelmedic.facts.damage import read_into
from modelmedic.facts.digests import block_count, new_hasher
from modelmedic.operations import mounts, whole_hash
from modelmedic.operations.base import Workshop
from modelmedic.operations.new_blocks import Blocks, NewBlocks, merged
from modelmedic.text import printable, size

if TYPE_CHECKING:
    from modelmedic.operations.write_blocks import WriteBlocks

_RESERVE_BYTES = 64 << 20  # left free for the journal, and for others, while differences come in


def fetch_new(job: WriteBlocks, shop: Workshop, old: int, new: NewBlocks) -> None:
    """Fill the log with the blocks that make the old file the wanted one, and prove that they do.

    With digests each block is proven by its own. Without, the SHA-256 that the file would have is
    computed over its old bytes and the new blocks; if it is not the wanted one, each source is
    asked alone, for one of them may hold another version.

    Raises:
        RecoveryFailed: No source gave such blocks, or what differs does not fit on the disk.
        OSError: The disk does not take them.
    """
    gather = _Gather(job, shop, old, new)
    resumed = bool(new.known)
    gather.drop_wrong()
    gather.fetch(job.sources)
    if gather.is_proven():
        return
    alone = job.sources if len(job.sources) > 1 or resumed else ()
    for source in alone:
        new.clear()
        gather.fetch((source,), must=False)
        if not gather.missing() and gather.is_proven():
            return
    new.clear()
    raise RecoveryFailed(
        f"{printable(job.path)} was left as it was: with the blocks that came, the whole would "
        "not be the expected file.",
        "More of it is damaged than these blocks, or the sources hold another version. "
        + " ".join(gather.problems),
    )


class _Gather:
    """Brings missing blocks into the log."""

    def __init__(self, job: WriteBlocks, shop: Workshop, old: int, new: NewBlocks) -> None:
        self.job, self.shop, self.old, self.new = job, shop, old, new
        self.problems: list[str] = []
        count = block_count(job.size_bytes, job.block_bytes)
        self._chosen = range(count) if job.blocks is None else job.blocks
        self._digests = dict(zip(job.chosen, job.digests, strict=False))
        self._old_bytes = os.fstat(old).st_size
        self._wrong = 0

    def missing(self) -> list[int]:
        """Return the blocks that are still to come."""
        known = self.new.known
        return [index for index in self._chosen if index not in known]

    def drop_wrong(self) -> None:
        """Drop what an earlier run left and this one did not ask for, or would not have taken."""
        chosen = set(self._chosen)
        for index in self.new.known:
            if index not in chosen or not self._is_right(index):
                self.new.drop(index)

    def is_proven(self) -> bool:
        """Return whether the file with these blocks is the wanted one."""
        if self._digests:
            return True  # each block was compared, and so was the rest of the file
        found = whole_hash.of_patched(self.old, self.new, lambda at: self.job.tell(self.shop, at))
        return found == self.job.sha256

    def fetch(self, sources: tuple[str, ...], *, must: bool = True) -> None:
        """Ask the sources, each next one for what is still missing.

        Raises:
            RecoveryFailed: With ``must``: blocks are missing at the end.
        """
        from modelmedic import transfer

        for first in range(len(sources)):
            missing = self.missing()
            if not missing:
                return
            blocks = Blocks(self.new, self._take)
            try:
                self.shop.fetched_bytes += transfer.fetch_ranges(
                    sources[first:],
                    merged(map(self.new.span, missing)),
                    self.job.size_bytes,
                    blocks.take,
                    sha256=self.job.sha256,
                    progress=lambda done: self.shop.fetching(
                        self.job.path, done, self.job.fetch_bytes
                    ),
                    extras=self.shop.extras,
                    budget_bytes=_left(self.shop),
                )
            except transfer.TransferFailed as error:
                self.shop.fetched_bytes += error.fetched_bytes
                self.problems.append(str(error))
                continue
            finally:
                os.fsync(self.new.handle)
        if must and (missing := self.missing()):
            wrong = f"{self._wrong} came with other bytes. " if self._wrong else ""
            raise RecoveryFailed(
                f"{printable(self.job.path)} was left as it was: of the blocks to be written "
                f"{len(missing)} could not be fetched.",
                wrong + " ".join(self.problems),
            )

    def _take(self, index: int, data: bytes) -> None:
        digest = self._digests.get(index)
        if digest is not None:
            if _hex(self.job.algorithm, data) == digest:
                self.new.add(index, data)
            else:
                self._wrong += 1
            return
        start, end = self.new.span(index)
        view = memoryview(bytearray(end - start))
        if read_into(self.old, view, start) == len(view) and view == data:
            self.new.add(index, b"")
            return
        if self.job.blocks is None:
            self._refuse_full(len(data))
        self.new.add(index, data)

    def _refuse_full(self, count: int) -> None:
        """Stop while there is room for the old bytes of what differs, and for the file to grow."""
        growth = max(0, self.job.size_bytes - self._old_bytes)
        need = self.new.data_bytes + 2 * count + growth
        free = mounts.free_bytes(self.shop.tree) - _RESERVE_BYTES
        if free < need:
            raise RecoveryFailed(
                f"{printable(self.job.path)} was left as it was: what differs in it does not fit "
                f"on this disk; {size(need)} more are needed and {size(max(0, free))} are free.",
                "New and replaced bytes are both kept until the whole is proven.",
                "Free that space, then start again: it goes on where it ended.",
            )

    def _is_right(self, index: int) -> bool:
        digest = self._digests.get(index)
        return digest is None or _hex(self.job.algorithm, self.new.data(index)) == digest


def _hex(algorithm: str, data: bytes) -> str:
    hasher = new_hasher(algorithm)
    hasher.update(data)
    return hasher.digest().hex()


def _left(shop: Workshop) -> int | None:
    return None if shop.budget_bytes is None else max(0, shop.budget_bytes - shop.fetched_bytes)
