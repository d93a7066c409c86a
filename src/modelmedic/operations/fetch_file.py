"""Fetch one file under a private name, prove it, then swap it in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from modelmedic.errors import RecoveryFailed, RecoveryRefused
from modelmedic.operations import aside
from modelmedic.operations.aside import Was
from modelmedic.operations.base import Cost, Operation, Workshop
from modelmedic.text import counted, printable, size


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
    """

    kind: ClassVar[str] = "fetch_file"
    path: str
    size_bytes: int | None
    sha256: str
    git_blob: str
    sources: tuple[str, ...]
    was: Was | None

    def describe(self) -> str:
        """Return what it does."""
        amount = size(self.size_bytes) if self.size_bytes is not None else "unknown size"
        proof = "sha256" if self.sha256 else "git blob hash"
        return (
            f"fetch {printable(self.path)} ({amount}) from "
            f"{counted(len(self.sources), 'source')}, prove it by its {proof}, then put it in place"
        )

    def cost(self) -> Cost:
        """Return the bytes to fetch; the time is unknown until a rate was measured."""
        amount = self.size_bytes or 0
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
        self._refuse_without_space(shop)
        return aside.prepare_swap(shop, self.path, self.was, seat)

    def apply(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Fetch, prove, swap in.

        Raises:
            RecoveryFailed: No source gave the proven bytes; the old file lies where it lay.
        """
        from modelmedic import transfer

        shop.tree.make_own_folder(aside.PARTS)
        wanted = transfer.Wanted(self.size_bytes, self.sha256, self.git_blob)
        with shop.tree.open_own(self.private) as handle:
            problems = []
            for url in self.sources:
                try:
                    got = transfer.fetch(
                        url,
                        handle,
                        wanted,
                        progress=self._progress(shop),
                        extras=shop.extras,
                        budget_bytes=_left(shop),
                    )
                except transfer.TransferFailed as error:
                    shop.fetched_bytes += error.fetched_bytes
                    problems.append(str(error))
                    continue
                shop.fetched_bytes += got
                break
            else:
                raise RecoveryFailed(
                    f"{printable(self.path)} could not be fetched; the old bytes are untouched.",
                    " ".join(problems),
                )
        aside.swap_in(shop, self.private, self.path, note)

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

    def _progress(self, shop: Workshop) -> Any:
        return lambda done: shop.progress(self.path, done, self.size_bytes or 0)

    def _refuse_without_space(self, shop: Workshop) -> None:
        import shutil

        need = self.size_bytes or 0
        part = shop.tree.identity(self.private)
        need -= min(need, part.size_bytes if part else 0)
        free = shutil.disk_usage(shop.tree.root).free
        if free < need:
            raise RecoveryRefused(
                f"{printable(self.path)} was not fetched: it needs {size(need)} more on this "
                f"disk and {size(free)} are free.",
                "The old file stays until the new one is proven.",
                "Free that space, then start again.",
            )


def _left(shop: Workshop) -> int | None:
    return None if shop.budget_bytes is None else max(0, shop.budget_bytes - shop.fetched_bytes)
