"""Write only the damaged blocks of a large file: no second copy of it, and never half of it seen.

The new blocks are fetched and proven beside the file. Then the old bytes are kept aside, the file
leaves its name, gets the new blocks, is proven as a whole, and gets its name back. So under its
own name it is at every moment the old one, the new one, or missing for the seconds in between;
the next run ends what a kill left.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from modelmedic.errors import RecoveryFailed, RecoveryRefused
from modelmedic.facts.digests import block_count
from modelmedic.operations import aside, mounts, old_blocks, whole_hash
from modelmedic.operations.aside import Was
from modelmedic.operations.base import Cost, Operation, Workshop, is_same
from modelmedic.operations.block_source import fetch_new
from modelmedic.operations.new_blocks import ENTRY_BYTES, NewBlocks, Range, merged
from modelmedic.text import counted, printable, size

_WRITABLE = 0o200
# Times are compared later, also on file systems that keep whole or even seconds only (FAT).
_CLOCK_STEP_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class WriteBlocks(Operation):
    """Give a file the size and bytes it should have by writing a few of its blocks.

    Args:
        path: The file, relative to the install; no link, no other name of it anywhere.
        size_bytes: The size it should have.
        sha256: The SHA-256 it should have.
        sources: Where the new blocks are fetched, in the order they are tried.
        was: Size and mtime of the file when it was looked at.
        blocks: Numbers of the blocks to fetch, ascending; empty: only its size is wrong. None:
            nothing tells which, so all of the file is fetched and compared, and what differs is
            written.
        block_bytes: Size of a block.
        algorithm: Of ``digests``; "" without them.
        digests: Hexadecimal digests of the wanted blocks, in the order of ``blocks``; empty when
            they are not known. With them the rest of the file was compared with its digests.
    """

    kind: ClassVar[str] = "write_blocks"
    path: str
    size_bytes: int
    sha256: str
    sources: tuple[str, ...]
    was: Was
    blocks: tuple[int, ...] | None
    block_bytes: int
    algorithm: str = ""
    digests: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return what it does."""
        name, proof = printable(self.path), "prove the whole by its sha256"
        if self.blocks is None:
            return (
                f"fetch {name} ({size(self.size_bytes)}) from "
                f"{counted(len(self.sources), 'source')}, write only what differs, {proof}"
            )
        cut = self.was[0] - self.size_bytes
        if not self.blocks:
            return f"cut {counted(cut, 'byte')} off the end of {name}, {proof}"
        return (
            f"fetch {size(self.fetch_bytes)} of {name} from "
            f"{counted(len(self.sources), 'source')}, write them into it, {proof}"
        )

    def cost(self) -> Cost:
        """Return the bytes to fetch; the time is unknown until a rate was measured."""
        disk = self.fetch_bytes + self._kept_bytes() + self._growth_bytes()
        disk = self._growth_bytes() if self.blocks is None else disk
        return Cost(fetch_bytes=self.fetch_bytes, disk_bytes=disk, seconds=None)

    @property
    def fetch_bytes(self) -> int:
        """Return how many bytes of the file are fetched at most."""
        if self.blocks is None:
            return self.size_bytes
        return sum(end - start for start, end in map(self._span, self.blocks))

    @property
    def part(self) -> str:
        """Return where new blocks wait; the same in every run, so that a killed one goes on."""
        return f"{aside.PARTS}/{self.sha256}.new-blocks"

    def prepare(self, shop: Workshop, seat: str) -> dict[str, Any]:
        """Refuse a shared or changed file, one that is not ours, and a disk that is too small."""
        self._refuse_nonsense()
        note = aside.prepare_swap(shop, self.path, self.was, seat)
        self._refuse_shared(shop)
        mounts.refuse_apart(shop.tree, self.path)
        self._refuse_without_space(shop)
        # Both lie in the folder of kept files: what is there is never let go for its size alone
        # while only another state folder knows of it.
        place = f"{aside.ASIDE}/{shop.run_id}/{seat}"
        return note | {
            "aside": f"{place}.old-blocks",
            "private": f"{place}.file",
            "part": self.part,
            "is_begun": False,
        }

    def apply(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Fetch, keep the old bytes, write, prove, give it its name back.

        Raises:
            RecoveryFailed: No source gave the right bytes, or they did not stay on the disk; the
                file is as it was.
            RecoveryRefused: Somebody changed it meanwhile.
        """
        shop.tree.make_own_folder(aside.PARTS)
        try:
            with shop.tree.open_own(self.part) as handle:
                new = NewBlocks(handle, self.block_bytes, self.size_bytes, self.was)
                with shop.tree.open_read(self.path) as old:
                    fetch_new(self, shop, old, new)
                    self._keep_old(shop, note, old, new)
                self._begin(shop, note)
                if not self._write(shop, note, new):
                    new.clear()
                    self._put_back(shop, note)
                    raise RecoveryFailed(
                        f"{printable(self.path)} was put back as it was: after its blocks were "
                        "written, the whole did not read back as expected.",
                        "The disk or the memory does not give back what was written.",
                        "Test the disk and the memory before anything else is repaired here.",
                    )
        except OSError as error:
            raise RecoveryFailed(
                f"{printable(self.path)} could not be repaired in place: {error.strerror or error}."
            ) from error
        shop.tree.rename(note["private"], self.path)
        shop.tree.remove_own_file(self.part)

    def inspect(self, shop: Workshop, note: dict[str, Any]) -> str:
        """Return how far it got."""
        if not note["is_begun"]:
            return "before"
        now = shop.tree.identity(self.path)
        at_work = shop.tree.identity(note["private"])
        if at_work is not None:
            is_ours = at_work.inode == note["old"]["inode"] and now is None
            return "between" if is_ours else "drifted"
        if is_same(now, note["old"]):
            return "before"
        return "after" if is_same(now, note["new"]) else "drifted"

    def undo(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Put the old bytes, the old size and the old time back.

        Raises:
            RecoveryRefused: Somebody changed the file since, or its old bytes are no longer kept.
        """
        for place in (note["aside"], note["private"]):
            aside.refuse_foreign_place(place, aside.ASIDE)
        state = self.inspect(shop, note)
        if state == "before":
            shop.tree.remove_own_file(note["aside"])
            aside.tidy(shop, note["aside"])
            return
        self._refuse_lost(shop, note, state)
        if state == "after":
            shop.tree.rename(self.path, note["private"])
        self._put_back(shop, note)

    def _refuse_lost(self, shop: Workshop, note: dict[str, Any], state: str) -> None:
        is_kept = shop.tree.identity(note["aside"]) is not None
        is_apart = shop.tree.identity(note["private"]) is not None
        kept = f"Its replaced bytes are kept at {printable(note['aside'])}" if is_kept else ""
        left = f" The file that was under repair lies at {printable(note['private'])}."
        if state == "drifted":
            raise RecoveryRefused(
                f"{printable(self.path)} was not put back: it changed after the repair.",
                (f"{kept}." if kept else "Its replaced bytes are no longer kept: undo expired.")
                + (left if is_apart else ""),
            )
        if not is_kept:
            raise RecoveryRefused(
                f"{printable(self.path)} was not put back: its replaced bytes are no longer kept.",
                "Undo expired, or somebody deleted them." + (left if is_apart else ""),
            )

    # -- the steps -------------------------------------------------------------------------------

    def _keep_old(self, shop: Workshop, note: dict[str, Any], old: int, new: NewBlocks) -> None:
        """Keep what will be replaced or cut off."""
        os.fsync(new.handle)
        ranges = merged(iter([*map(self._span, new.changed), *self._excess()]))
        shop.tree.make_own_folder(note["aside"].rpartition("/")[0])
        with shop.tree.open_own(note["aside"]) as kept:
            old_blocks.keep(old, kept, self.path, ranges)

    def _begin(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Note how the file will be told from others, then let it leave its name."""
        now = time.time_ns() // _CLOCK_STEP_NS * _CLOCK_STEP_NS
        if now == note["old"]["mtime_ns"] // _CLOCK_STEP_NS * _CLOCK_STEP_NS:
            now -= _CLOCK_STEP_NS
        note["new"] = note["old"] | {"size_bytes": self.size_bytes, "mtime_ns": now}
        note["is_begun"] = True
        shop.record(note)
        if is_same(shop.tree.identity(self.path), note["old"]):
            shop.tree.rename(self.path, note["private"])
            if is_same(shop.tree.identity(note["private"]), note["old"]):
                return
            shop.tree.rename(note["private"], self.path)
        note["is_begun"] = False
        shop.record(note)
        raise RecoveryRefused(
            f"{printable(self.path)} changed while the repair was at work; it was left alone.",
            "Another program, or a person, is working on it.",
            "Wait until that has ended and start again.",
        )

    def _write(self, shop: Workshop, note: dict[str, Any], new: NewBlocks) -> bool:
        """Write the new blocks and return whether the whole file then reads back as wanted."""
        private, mode = note["private"], note["old"]["mode"]
        shop.tree.set_mode(private, mode | _WRITABLE)
        with shop.tree.open_change(private) as handle:
            for index in new.changed:
                old_blocks.write_at(handle, new.data(index), self._span(index)[0])
            os.ftruncate(handle, self.size_bytes)
            os.fsync(handle)
            for start, end in map(self._span, new.changed):
                _drop_from_cache(handle, start, end)
            found = whole_hash.of_file(handle, self.size_bytes, lambda at: self.tell(shop, at))
        shop.tree.set_mode(private, mode)
        shop.tree.set_mtime(private, note["new"]["mtime_ns"])
        return found == self.sha256

    def _put_back(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Write the old bytes to the file under its private name, then give its name back."""
        private, old = note["private"], note["old"]
        shop.tree.set_mode(private, old["mode"] | _WRITABLE)
        with (
            shop.tree.open_read(note["aside"]) as kept,
            shop.tree.open_change(private) as handle,
        ):
            old_blocks.put_back(kept, handle)
        shop.tree.set_mode(private, old["mode"])
        shop.tree.set_mtime(private, old["mtime_ns"])
        shop.tree.rename(private, self.path)
        shop.tree.remove_own_file(note["aside"])
        aside.tidy(shop, note["aside"])

    # -- sizes and refusals ----------------------------------------------------------------------

    def tell(self, shop: Workshop, done: int) -> None:
        """Tell who listens how far it is."""
        shop.progress(self.path, done, self.size_bytes)

    def _span(self, index: int) -> Range:
        start = index * self.block_bytes
        return start, min(start + self.block_bytes, self.size_bytes)

    def _excess(self) -> Iterator[Range]:
        if self.was[0] > self.size_bytes:
            yield self.size_bytes, self.was[0]

    def _kept_bytes(self) -> int:
        """Return the bytes that are kept for undo, at most."""
        old = self.was[0]
        replaced = sum(max(0, min(end, old) - start) for start, end in map(self._span, self.chosen))
        return replaced + sum(end - start for start, end in self._excess())

    def _growth_bytes(self) -> int:
        return max(0, self.size_bytes - self.was[0])

    @property
    def chosen(self) -> tuple[int, ...]:
        """Return the blocks that are known to be fetched; none when all are to be compared."""
        return self.blocks or ()

    def _refuse_nonsense(self) -> None:
        if not self.sha256:
            raise RecoveryRefused(
                f"{printable(self.path)} was not repaired: no sha256 of it is known.",
                "Without one, nobody could tell good bytes from bad ones.",
            )
        if not self.sources and self.blocks != ():
            raise RecoveryRefused(f"{printable(self.path)} was not repaired: no source is known.")
        chosen = self.chosen
        most = block_count(self.size_bytes, self.block_bytes) if self.block_bytes > 0 else 0
        is_ordered = list(chosen) == sorted(set(chosen))
        is_within = all(0 <= index < most for index in chosen)
        is_paired = not self.digests or len(self.digests) == len(chosen)
        if not (is_ordered and is_within and is_paired and most):
            raise RecoveryRefused(f"{printable(self.path)} was not repaired: the plan is damaged.")

    def _refuse_shared(self, shop: Workshop) -> None:
        """Refuse a file that others see as well, and one whose times are not ours to set."""
        with shop.tree.open_read(self.path) as handle:
            found = os.fstat(handle)
        if found.st_nlink != 1:
            raise RecoveryRefused(
                f"{printable(self.path)} was not repaired in place: it has "
                f"{counted(found.st_nlink - 1, 'other name')} (hard links), whose bytes would "
                "change with it.",
            )
        if hasattr(os, "geteuid") and os.geteuid() not in {0, found.st_uid}:
            raise RecoveryRefused(
                f"{printable(self.path)} was not repaired in place: it belongs to another user."
            )

    def _refuse_without_space(self, shop: Workshop) -> None:
        need = self._growth_bytes() + self._kept_bytes()
        if self.blocks is not None:
            need += self.fetch_bytes + len(self.blocks) * ENTRY_BYTES
        part = shop.tree.identity(self.part)
        need -= min(need, part.size_bytes if part else 0)
        free = mounts.free_bytes(shop.tree)
        if free < need:
            raise RecoveryRefused(
                f"{printable(self.path)} was not repaired: it needs {size(need)} on this disk and "
                f"{size(free)} are free.",
                "The replaced bytes are kept so that it can be undone.",
                mounts.space_step(shop.tree),
            )


def _drop_from_cache(handle: int, start: int, end: int) -> None:
    """Let what is read next come from the disk, where the platform can."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(handle, start, end - start, os.POSIX_FADV_DONTNEED)
