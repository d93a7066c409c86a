"""Swap a proven file in and the old one aside, in renames that any later process can finish."""

from __future__ import annotations

import contextlib
import stat
from typing import Any

from modelmedic.context import OWN_FOLDER
from modelmedic.errors import RecoveryRefused
from modelmedic.operations.base import Workshop, identity_json, is_same
from modelmedic.operations.tree import Identity
from modelmedic.text import printable

ASIDE = f"{OWN_FOLDER}/aside"
PARTS = f"{OWN_FOLDER}/parts"

Was = tuple[int, int]  # size in bytes and mtime in nanoseconds, as the plan saw them


def seen(identity: Identity | None) -> Was | None:
    """Return what a plan remembers of a file; None when there is none."""
    return None if identity is None else (identity.size_bytes, identity.mtime_ns)


def prepare_swap(
    shop: Workshop, path: str, was: Was | None, seat: str, *, may_be_folder: bool = False
) -> dict[str, Any]:
    """Check that ``path`` is as planned and choose where its old bytes will wait.

    Raises:
        RecoveryRefused: It changed since it was looked at, or is not a file.
    """
    old = shop.tree.identity(path)
    if old is not None and old.is_folder and not may_be_folder:
        raise RecoveryRefused(
            f"{printable(path)} is a folder where a file belongs; it was not touched.",
            "",
            "Look what is in it and move it away yourself.",
        )
    if seen(old) != (tuple(was) if was else None):
        raise RecoveryRefused(
            f"{printable(path)} changed since it was checked; it was not touched.",
            "Another program, or a person, is working on it.",
            "Wait until that has ended and start again.",
        )
    return {
        "old": identity_json(old),
        "aside": f"{ASIDE}/{shop.run_id}/{seat}",
        "new": None,
        "private_inode": None,
    }


def swap_in(shop: Workshop, private: str, path: str, note: dict[str, Any]) -> None:
    """Rename the old file aside, then the private one to its real name.

    Which file is ours is noted before the first rename: a rename keeps the inode, so that any
    later process can tell our file from one that somebody put there, without reading it.

    Raises:
        RecoveryRefused: What lies at ``path`` is not what was planned for.
    """
    ours = shop.tree.identity(private)
    if ours is None or not is_same(shop.tree.identity(path), note["old"]):
        raise RecoveryRefused(
            f"{printable(path)} changed while the repair was at work; it was left alone.",
            "Another program, or a person, is working on it.",
            "Wait until that has ended and start again.",
        )
    shop.tree.set_mode(private, _mode_like(note["old"]))
    note["private_inode"] = ours.inode
    shop.record(note)
    if note["old"] is not None:
        shop.tree.make_own_folder(note["aside"].rpartition("/")[0])
        shop.tree.rename(path, note["aside"])
    shop.tree.rename(private, path)
    note["new"] = identity_json(shop.tree.identity(path))


def _mode_like(old: dict[str, int] | None) -> int:
    """Return the permissions of the old file; of a link, which has none, the usual ones."""
    is_file = old is not None and stat.S_ISREG(old["mode"])
    return old["mode"] & 0o777 if old is not None and is_file else 0o644


def swap_state(shop: Workshop, path: str, note: dict[str, Any]) -> str:
    """Return how far a swap got: "before", "between", "after" or "drifted"; reads no content."""
    if note.get("private_inode") is None:
        return "before"  # the swap never began: whatever lies there is not ours
    now = shop.tree.identity(path)
    is_kept = shop.tree.identity(note["aside"]) is not None
    is_ours = now is not None and now.inode == note["private_inode"]
    if note["old"] is not None and not is_kept:
        return "before" if is_same(now, note["old"]) else "drifted"
    if now is None:
        return "between" if is_kept else "before"
    if note["new"] is None:  # killed inside the swap
        return "after" if is_ours else ("drifted" if is_kept else "before")
    return "after" if is_same(now, note["new"]) else "drifted"


def swap_back(shop: Workshop, path: str, note: dict[str, Any], *, spare: str) -> None:
    """Put the old file back; the new bytes go to ``spare`` so that they are not fetched twice.

    Raises:
        RecoveryRefused: What lies at ``path`` is neither old nor new.
    """
    refuse_foreign_place(note["aside"], ASIDE)
    state = swap_state(shop, path, note)
    if state == "drifted":
        raise RecoveryRefused(
            f"{printable(path)} was not put back: it changed after the repair.",
            f"Its earlier bytes are kept at {printable(note['aside'])}."
            if shop.tree.identity(note["aside"])
            else "Its earlier bytes are no longer kept: undo expired.",
        )
    if state == "after":
        refuse_foreign_place(spare, PARTS)
        shop.tree.make_own_folder(PARTS)
        shop.tree.remove_own_file(spare)
        shop.tree.rename(path, spare)
    if state != "before" and shop.tree.identity(note["aside"]) is not None:
        shop.tree.rename(note["aside"], path)
        tidy(shop, note["aside"])


def tidy(shop: Workshop, aside: str) -> None:
    """Remove the folders of a kept file that is gone, unless other files still wait there."""
    folder = aside.rpartition("/")[0]
    with contextlib.suppress(OSError):
        while folder.count("/") > 1:
            with contextlib.suppress(FileNotFoundError):
                shop.tree.remove_folder(folder)
            folder = folder.rpartition("/")[0]


def refuse_foreign_place(path: str, folder: str) -> None:
    """Refuse a note that names a place where we never put anything."""
    if not path.startswith(f"{folder}/"):
        raise RecoveryRefused(
            f"{printable(path)} is not where modelmedic keeps files; nothing was put back.",
            "Most often the journal was written by another version, or changed by hand.",
        )
