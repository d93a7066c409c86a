"""Fetch one file under a private name, prove it, then swap it in."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from modelmedic.errors import RecoveryFailed, RecoveryRefused
from modelmedic.operations import aside, mounts
from modelmedic.operations.aside import Was
from modelmedic.operations.base import COSTLY_BYTES, Cost, Operation, Workshop
from modelmedic.text import counted, printable, size

if TYPE_CHECKING:
    from modelmedic.facts.digests import Blocks
    from modelmedic.operations.tree import Tree
    from modelmedic.transfer import Wanted

_GIB = 1 << 30
# Left free when nobody knows how much will come: a full disk breaks more than one file.
RESERVE_BYTES = _GIB
# What a file of wholly unknown size counts as: consent to a safe repair is not consent to it.
UNKNOWN_BYTES = COSTLY_BYTES + 1


@dataclass(frozen=True, slots=True)
class FetchFile(Operation):
    """Fetch a file whose hash is known from the first source that gives exactly those bytes.

    Args:
        path: Where it belongs, relative to the install.
        size_bytes: Its exact size; None when only the hash is known.
        sha256: Its SHA-256, or empty if ``git_blob`` is given.
        git_blob: Git's SHA-1 of a small file, used only when there is no SHA-256.
        sources: URLs in the order they are tried.
        was: Size and mtime of what lies there now; None when nothing does.
        expected_bytes: About its size, when the exact one is not known; None: no idea.
        partial: Another program's unfinished download of it, relative to the install; used as far
            as known block digests prove it, and left as it is. Empty: none.
    """

    kind: ClassVar[str] = "fetch_file"
    path: str
    size_bytes: int | None
    sha256: str
    git_blob: str
    sources: tuple[str, ...]
    was: Was | None
    expected_bytes: int | None = None
    partial: str = ""

    def describe(self) -> str:
        """Return what it does."""
        proof = "sha256" if self.sha256 else "git blob hash"
        return (
            f"fetch {printable(self.path)} ({self._amount()}) from "
            f"{counted(len(self.sources), 'source')}, prove it by its {proof}, then put it in place"
        )

    def cost(self) -> Cost:
        """Return the bytes to fetch; the time is unknown until a rate was measured.

        A file of unknown size costs what is expected; without that, more than a safe repair may.
        """
        about = self._about()
        amount = UNKNOWN_BYTES if about is None else about
        return Cost(fetch_bytes=amount, disk_bytes=amount, seconds=None)

    def prepare(self, shop: Workshop, seat: str) -> dict[str, Any]:
        """Refuse without hash or source, with too little disk, or when the file changed."""
        if not (self.sha256 or self.git_blob):
            raise RecoveryRefused(
                f"{printable(self.path)} was not fetched: no hash of it is known.",
                "Without one, nobody could tell good bytes from bad ones.",
            )
        if not self.sources:
            raise RecoveryRefused(f"{printable(self.path)} was not fetched: no source is known.")
        note = aside.prepare_swap(shop, self.path, self.was, seat)
        mounts.refuse_apart(shop.tree, self.path)
        self._refuse_without_space(shop)
        return note

    def apply(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Fetch, prove, swap in.

        Raises:
            RecoveryFailed: No source gave the proven bytes; the old file lies where it lay.
        """
        shop.tree.make_own_folder(aside.PARTS)
        with contextlib.ExitStack() as opened:
            handle = opened.enter_context(shop.tree.open_own(self.private))
            try:
                record = opened.enter_context(shop.tree.open_own(self.record))
                self._fetch(shop, handle, record, self._stranger(shop, opened))
            except OSError as error:
                raise RecoveryFailed(
                    f"{printable(self.path)} could not be written while it was fetched: "
                    f"{error.strerror or error}. The old bytes are untouched."
                ) from error
        aside.swap_in(shop, self.private, self.path, note)
        with contextlib.suppress(OSError, RecoveryRefused):  # it expires with the parts
            shop.tree.remove_own_file(self.record)

    def inspect(self, shop: Workshop, note: dict[str, Any]) -> str:
        """Return how far it got."""
        return aside.swap_state(shop, self.path, note)

    def undo(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Put the old file back; the proven bytes are kept as a part for the next try."""
        aside.swap_back(shop, self.path, note, spare=self.private)

    @property
    def private(self) -> str:
        """Return the private name; the same in every run, so that a killed fetch goes on."""
        return f"{aside.PARTS}/{self.sha256 or self.git_blob}"

    @property
    def record(self) -> str:
        """Return the name of what a killed fetch needs to go on from proven bytes."""
        return f"{self.private}.blocks"

    def _stranger(self, shop: Workshop, opened: contextlib.ExitStack) -> int | None:
        """Return the other program's unfinished download, open; None when there is none."""
        if not self.partial:
            return None
        with contextlib.suppress(OSError, RecoveryRefused):
            return opened.enter_context(shop.tree.open_read(self.partial))
        return None

    def _fetch(self, shop: Workshop, handle: int, record: int | None, stranger: int | None) -> None:
        from modelmedic import transfer

        wanted = self._wanted(shop)
        problems = []
        for url in self.sources:
            try:
                shop.fetched_bytes += transfer.fetch(
                    url,
                    handle,
                    wanted,
                    progress=lambda done: shop.fetching(self.path, done, self._about() or 0),
                    extras=shop.extras,
                    budget_bytes=_left(shop),
                    record=record,
                    stranger=stranger,
                )
            except transfer.TransferFailed as error:
                shop.fetched_bytes += error.fetched_bytes
                problems.append(str(error))
            else:
                return
        raise RecoveryFailed(
            f"{printable(self.path)} could not be fetched; the old bytes are untouched.",
            " ".join(problems),
        )

    def _wanted(self, shop: Workshop) -> Wanted:
        """Return what to ask for; of a file of unknown size, also how much is taken at most."""
        from modelmedic.transfer import Wanted

        if self.size_bytes is not None:
            return Wanted(
                self.size_bytes, self.sha256, self.git_blob, blocks=self._known_blocks(shop)
            )
        most = self._part_bytes(shop.tree) + max(0, mounts.free_bytes(shop.tree) - RESERVE_BYTES)
        if self.expected_bytes is not None:
            most = min(most, max(self.expected_bytes * 3 // 2, self.expected_bytes + _GIB))
        return Wanted(None, self.sha256, self.git_blob, self.expected_bytes, most)

    def _known_blocks(self, shop: Workshop) -> Blocks | None:
        """Return the block digests of the wanted content; None when nobody knows them."""
        known = shop.extras.get("digests")
        found = known(self.sha256) if known is not None and self.sha256 else None
        return found.blocks if found is not None and found.sha256 == self.sha256 else None

    def _about(self) -> int | None:
        return self.expected_bytes if self.size_bytes is None else self.size_bytes

    def _amount(self) -> str:
        if self.size_bytes is not None:
            return size(self.size_bytes)
        if self.expected_bytes is not None:
            return f"about {size(self.expected_bytes)}"
        return f"unknown size, counted as {size(UNKNOWN_BYTES)}"

    def space_bytes(self, tree: Tree) -> int:
        """Return what is still to come, and the reserve when nobody is sure of the size."""
        about = self._about() or 0
        need = about - min(about, self._part_bytes(tree))
        return need if self.size_bytes is not None else need + RESERVE_BYTES

    def _part_bytes(self, tree: Tree) -> int:
        part = tree.identity(self.private)
        return part.size_bytes if part else 0

    def _refuse_without_space(self, shop: Workshop) -> None:
        need = self.space_bytes(shop.tree)
        free = mounts.free_bytes(shop.tree)
        if free < need:
            raise RecoveryRefused(
                f"{printable(self.path)} was not fetched: it needs {size(need)} more on this "
                f"disk and {size(free)} are free.",
                "The old file stays until the new one is proven.",
                mounts.space_step(shop.tree),
            )


def _left(shop: Workshop) -> int | None:
    return None if shop.budget_bytes is None else max(0, shop.budget_bytes - shop.fetched_bytes)
