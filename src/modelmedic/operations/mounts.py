"""Whether a rename inside the install can work: never from one mount to another."""

from __future__ import annotations

import sys
from pathlib import Path

from modelmedic.context import OWN_FOLDER
from modelmedic.errors import RecoveryRefused
from modelmedic.facts import disk, mounts
from modelmedic.operations.tree import Tree
from modelmedic.text import printable, size

_TOLD_BYTES = 1_000_000  # less would not help


def are_together(tree: Tree, path: str, other: str = OWN_FOLDER) -> bool:
    """Return whether a rename between two paths of the install, existing or not, can work.

    Raises:
        OSError: A folder above one of them could not be looked at.
    """
    return _mount(tree.root / path) == _mount(tree.root / other)


def refuse_apart(tree: Tree, path: str) -> None:
    """Refuse to replace ``path`` when what is made under our private folder cannot get there.

    Raises:
        RecoveryRefused: It lies on another mount; says what to do.
    """
    try:
        if are_together(tree, path):
            return
        folder = disk.existing(tree.root / path)
    except OSError as error:
        raise RecoveryRefused(
            f"{printable(path)} was not touched: the folder above it cannot be looked at "
            f"({error.strerror})."
        ) from error
    raise RecoveryRefused(
        f"{printable(path)} was not touched: {printable(folder)} is another disk or mount than "
        f"{printable(tree.root)}.",
        "A repair proves new bytes in the install's own private folder and puts them in place "
        "by a rename, which never works from one mount to another.",
        f"Give that folder as --install-dir, or move it to where {printable(tree.root)} lies.",
    )


def free_bytes(tree: Tree) -> int:
    """Return the free space where private files of a repair lie.

    Raises:
        OSError: It could not be looked at.
    """
    import shutil

    return shutil.disk_usage(disk.existing(tree.root / OWN_FOLDER)).free


def space_step(tree: Tree) -> str:
    """Return what to do about a full disk; what earlier repairs keep there for undo is named."""
    folder = f"{OWN_FOLDER}/aside"
    try:
        kept = sum(state.st_size for _path, state in tree.own_files(folder))
    except (OSError, RecoveryRefused):
        kept = 0
    step = "Free that space, then start again."
    if kept < _TOLD_BYTES:
        return step
    return (
        f"{step} {size(kept)} are what earlier repairs replaced and keep for undo, in "
        f"{printable(tree.root / folder)}: delete that folder if none of them is to be undone."
    )


def _mount(path: Path) -> tuple[int, str]:
    """Return device and mount point of a path; the point "" where only the device counts.

    A folder of the same device mounted a second time (a container's volume) is another mount,
    and Linux renames between two mounts as little as between two devices: rename(2), EXDEV.
    """
    folder = disk.existing(path)
    if not folder.is_dir():
        folder = folder.parent
    device = folder.stat().st_dev
    if not sys.platform.startswith("linux"):
        return device, ""
    try:
        text = mounts.MOUNTINFO.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return device, ""
    mount = mounts.mount_of(folder, mounts.parse_mountinfo(text))
    return device, mount.point if mount else ""
