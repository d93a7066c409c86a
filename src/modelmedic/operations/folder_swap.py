"""Swap a whole folder: the old one aside, an empty new one of ours in its place, and back.

Nothing is copied and nothing inside is touched: a folder is known by its inode, which a rename
keeps. So any later process can tell the old folder, the one we made, and a stranger's.
"""

from __future__ import annotations

import contextlib
import stat
from typing import Any

from modelmedic.errors import RecoveryRefused
from modelmedic.operations import aside
from modelmedic.operations.aside import ASIDE, PARTS, Was
from modelmedic.operations.base import Workshop, identity_json
from modelmedic.text import printable


def prepare(shop: Workshop, path: str, was: Was | None, seat: str) -> dict[str, Any]:
    """Check that a folder is as planned and choose where it will wait.

    Raises:
        RecoveryRefused: It changed since it was looked at, is a link, or is no folder.
    """
    old = shop.tree.identity(path)
    if old is not None and stat.S_ISLNK(old.mode):
        raise RecoveryRefused(
            f"{printable(path)} was not touched: it is a link to another folder.",
            "What it leads to may belong to another app as well.",
            "Replace the link by a folder of its own, or give the place it leads to as "
            "--install-dir.",
        )
    if old is not None and not old.is_folder:
        raise RecoveryRefused(f"{printable(path)} was not touched: it is no folder.")
    if aside.seen(old) != (tuple(was) if was else None):
        raise RecoveryRefused(
            f"{printable(path)} changed since it was checked; it was not touched.",
            "Another program, or a person, is working on it.",
            "Wait until that has ended and start again.",
        )
    return {
        "old": identity_json(old),
        "aside": f"{ASIDE}/{shop.run_id}/{seat}",
        "private": f"{PARTS}/{shop.run_id}-{seat}-new",
        "new": None,
        "is_done": False,
    }


def swap_in(shop: Workshop, path: str, note: dict[str, Any]) -> None:
    """Put an empty folder of ours in the place of the old one, which waits aside from now on.

    Which folder is ours is noted before the first rename.

    Raises:
        RecoveryRefused: What lies at ``path`` is not what was planned for.
    """
    shop.tree.make_own_folder(PARTS)
    shop.tree.make_folder(note["private"])
    if note["old"] is not None:
        shop.tree.set_folder_mode(note["private"], note["old"]["mode"])
    if _inode(shop, path) != _old(note) or (note["old"] is None and shop.tree.identity(path)):
        raise RecoveryRefused(
            f"{printable(path)} changed while the repair was at work; it was left alone.",
            "Another program, or a person, is working on it.",
            "Wait until that has ended and start again.",
        )
    note["new"] = _inode(shop, note["private"])
    shop.record(note)
    if note["old"] is not None:
        shop.tree.make_own_folder(note["aside"].rpartition("/")[0])
        shop.tree.rename(path, note["aside"])
    shop.tree.rename(note["private"], path)


def is_ours(shop: Workshop, path: str, note: dict[str, Any]) -> bool:
    """Return whether the folder that we made lies at ``path``."""
    return note["new"] is not None and _inode(shop, path) == note["new"]


def state(shop: Workshop, path: str, note: dict[str, Any]) -> str:
    """Return how far it got: "before", "between", "after" or "drifted"; reads no content."""
    now = _inode(shop, path)
    if note["new"] is None or (now is not None and now == _old(note)):
        return "before"
    is_kept = note["old"] is None or _inode(shop, note["aside"]) == _old(note)
    if now is None:
        return "before" if note["old"] is None else ("between" if is_kept else "drifted")
    if now != note["new"]:
        return "drifted"
    return "after" if note["is_done"] else "between"


def swap_back(shop: Workshop, path: str, note: dict[str, Any]) -> None:
    """Put the old folder back, whatever part had happened; what we made there is deleted.

    Raises:
        RecoveryRefused: What lies at ``path`` is not ours, or the old folder is no longer kept.
    """
    aside.refuse_foreign_place(note["aside"], ASIDE)
    aside.refuse_foreign_place(note["private"], PARTS)
    now = state(shop, path, note)
    is_kept = shop.tree.identity(note["aside"]) is not None
    if now == "drifted" or (now != "before" and note["old"] is not None and not is_kept):
        raise RecoveryRefused(
            f"{printable(path)} was not put back: "
            + ("it changed after the repair." if is_kept else "undo expired."),
            f"The earlier folder is kept at {printable(note['aside'])}."
            if is_kept
            else "The earlier folder is no longer kept.",
        )
    if now != "before" and is_ours(shop, path, note):
        drop(shop, note["private"])
        shop.tree.make_own_folder(PARTS)
        shop.tree.rename(path, note["private"])
    if now != "before" and note["old"] is not None:
        shop.tree.rename(note["aside"], path)
        aside.tidy(shop, note["aside"])
    drop(shop, note["private"])


def drop(shop: Workshop, folder: str) -> None:
    """Delete a folder of ours as far as it can be; what stays expires with the parts."""
    with contextlib.suppress(OSError):
        shop.tree.remove_own_tree(folder)


def _old(note: dict[str, Any]) -> int | None:
    return note["old"]["inode"] if note["old"] else None


def _inode(shop: Workshop, path: str) -> int | None:
    found = shop.tree.identity(path)
    return found.inode if found is not None and found.is_folder else None
