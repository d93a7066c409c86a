"""The kinds of operation: the closed set, by name."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from modelmedic.errors import RecoveryRefused
from modelmedic.operations import aside
from modelmedic.operations.aside import Was
from modelmedic.operations.base import Cost, Operation, Workshop, identity_json, is_same
from modelmedic.operations.copy_file import CopyFile
from modelmedic.operations.durable import write_all
from modelmedic.operations.environment import RecreateEnvironment
from modelmedic.operations.fetch_file import FetchFile
from modelmedic.operations.import_file import ImportFile
from modelmedic.operations.links import MakeLink
from modelmedic.operations.run_environment import SetRunEnvironment
from modelmedic.operations.set_distributions import SetDistributions
from modelmedic.operations.swapped import SwappedFile
from modelmedic.operations.wait_for_server import WaitForServer
from modelmedic.operations.write_blocks import WriteBlocks
from modelmedic.text import counted, printable, size

# What rmdir says of a folder with something in it, or one that something is mounted on.
_IN_USE = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY})


@dataclass(frozen=True, slots=True)
class MakeDir(Operation):
    """Create one missing folder. ``path`` "." is the install folder itself."""

    kind: ClassVar[str] = "make_dir"
    path: str

    def describe(self) -> str:
        """Return what it does."""
        if self.path == ".":
            return "create the install folder"
        return f"create the folder {printable(self.path)}"

    def cost(self) -> Cost:
        """Return that it costs nothing worth naming."""
        return Cost()

    def prepare(self, shop: Workshop, seat: str) -> dict[str, Any]:
        """Refuse when something lies there already or the parent is missing."""
        if shop.tree.identity(self.path) is not None:
            raise RecoveryRefused(
                f"{printable(self.path)} was not created: something lies there already."
            )
        return {}

    def apply(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Create it."""
        if self.path == ".":
            shop.tree.make_root()
        else:
            shop.tree.make_folder(self.path)

    def inspect(self, shop: Workshop, note: dict[str, Any]) -> str:
        """Return whether the folder is there."""
        found = shop.tree.identity(self.path)
        if found is None:
            return "before"
        return "after" if found.is_folder else "drifted"

    def undo(self, shop: Workshop, note: dict[str, Any]) -> str | None:
        """Remove it again if it is still empty; a folder in use stays: nothing is lost by it."""
        if self.inspect(shop, note) != "after":
            return None
        try:
            shop.tree.remove_folder(self.path)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in _IN_USE:
                raise
            if self.path == ".":  # it holds at least our lock by now
                return "The install folder itself was kept: it holds modelmedic's own records."
            return f"The folder {printable(self.path)} was kept: it holds files now, or is in use."
        return None

    def changes(self) -> tuple[str, ...]:
        """Return nothing: nobody can have open what is not there yet."""
        return ()


@dataclass(frozen=True, slots=True)
class Rename(Operation):
    """Move a file to another name in the install, never over something."""

    kind: ClassVar[str] = "rename"
    path: str
    target: str
    was: Was

    def describe(self) -> str:
        """Return what it does."""
        return f"move {printable(self.path)} to {printable(self.target)} ({size(self.was[0])})"

    def cost(self) -> Cost:
        """Return that a rename costs nothing worth naming, whatever the size."""
        return Cost()

    def prepare(self, shop: Workshop, seat: str) -> dict[str, Any]:
        """Refuse when the file changed or the target exists."""
        old = shop.tree.identity(self.path)
        if aside.seen(old) != tuple(self.was):
            raise RecoveryRefused(f"{printable(self.path)} changed since it was checked.")
        if shop.tree.identity(self.target) is not None:
            raise RecoveryRefused(f"{printable(self.target)} already exists; nothing was moved.")
        return {"old": identity_json(old)}

    def apply(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Move it."""
        shop.tree.rename(self.path, self.target)

    def inspect(self, shop: Workshop, note: dict[str, Any]) -> str:
        """Return where the file is now."""
        if is_same(shop.tree.identity(self.path), note["old"]):
            return "before"
        is_moved = is_same(shop.tree.identity(self.target), note["old"])
        return "after" if is_moved else "drifted"

    def undo(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Move it back."""
        state = self.inspect(shop, note)
        if state == "drifted" or (state == "after" and shop.tree.identity(self.path) is not None):
            raise RecoveryRefused(
                f"{printable(self.target)} was not moved back: it or {printable(self.path)} "
                "changed after the repair."
            )
        if state == "after":
            shop.tree.rename(self.target, self.path)


@dataclass(frozen=True, slots=True)
class SetAside(Operation):
    """Take a file, or a folder as one, out of the way; kept until undo expires.

    Args:
        path: Relative to the install.
        was: Size and mtime when it was looked at.
        is_folder: Whether it is meant to be a folder; what is the other is refused.
    """

    kind: ClassVar[str] = "set_aside"
    path: str
    was: Was
    is_folder: bool = False

    def describe(self) -> str:
        """Return what it does."""
        what = "folder" if self.is_folder else size(self.was[0])
        return f"set {printable(self.path)} aside ({what}, kept for undo)"

    def cost(self) -> Cost:
        """Return that a rename costs nothing worth naming."""
        return Cost()

    def prepare(self, shop: Workshop, seat: str) -> dict[str, Any]:
        """Refuse when it changed, or is a folder where a file was meant or the other way round."""
        found = shop.tree.identity(self.path)
        if self.is_folder and (found is None or not found.is_folder):
            raise RecoveryRefused(f"{printable(self.path)} is no folder; it was not touched.")
        note = aside.prepare_swap(shop, self.path, self.was, seat, may_be_folder=self.is_folder)
        return note | {"private_inode": -1}  # nothing takes its place: an inode that no file has

    def apply(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Rename it into the folder of kept files."""
        shop.tree.make_own_folder(note["aside"].rpartition("/")[0])
        shop.tree.rename(self.path, note["aside"])

    def inspect(self, shop: Workshop, note: dict[str, Any]) -> str:
        """Return where the file is now."""
        state = aside.swap_state(shop, self.path, note)
        return "after" if state == "between" else state

    def undo(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Put it back."""
        aside.swap_back(shop, self.path, note, spare="")


@dataclass(frozen=True, slots=True)
class ReplaceFile(SwappedFile):
    """Write a small text file; the old one is kept aside. ``was`` None: there is none yet."""

    kind: ClassVar[str] = "replace_file"
    path: str
    content: str
    was: Was | None
    reason: str = ""

    def describe(self) -> str:
        """Return what it does."""
        count = counted(self.content.count("\n") or 1, "line")
        old = "; the old file is kept aside" if self.was else ""
        reason = f" {self.reason}" if self.reason else ""
        return f"write {printable(self.path)} ({count}){reason}{old}"

    def cost(self) -> Cost:
        """Return its few bytes."""
        return Cost(disk_bytes=len(self.content.encode()))

    def apply(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Write privately, flush to disk, then swap in."""
        shop.tree.make_own_folder(aside.PARTS)
        with shop.tree.open_own(note["private"]) as handle:
            os.ftruncate(handle, 0)
            write_all(handle, self.content.encode())
            os.fsync(handle)
        aside.swap_in(shop, note["private"], self.path, note)


KINDS: dict[str, type[Operation]] = {
    kind.kind: kind
    for kind in (
        MakeDir,
        Rename,
        SetAside,
        ReplaceFile,
        CopyFile,
        ImportFile,
        FetchFile,
        MakeLink,
        WriteBlocks,
        RecreateEnvironment,
        SetDistributions,
        SetRunEnvironment,
        WaitForServer,
    )
}


def from_json(value: dict[str, Any]) -> Operation:
    """Return the operation of a plan or journal.

    Raises:
        RecoveryRefused: The kind is unknown or its fields do not fit: written by another version.
    """
    given = {key: _frozen(part) for key, part in value.items() if key != "kind"}
    try:
        kind = KINDS[str(value["kind"])]
        change = kind(**given)
    except (KeyError, TypeError) as error:
        raise _unreadable(value) from error
    if not all(_fits(getattr(change, f.name), str(f.type)) for f in fields(kind)):
        raise _unreadable(value)
    return change


def is_lasting(value: dict[str, Any]) -> bool:
    """Return whether an operation of a journal left something that could be put back."""
    kind = KINDS.get(str(value.get("kind")))
    return kind is None or kind.is_lasting


def is_for_this_run(value: dict[str, Any]) -> bool:
    """Return whether an operation of a journal is a cure for its run only."""
    kind = KINDS.get(str(value.get("kind")))
    return kind is not None and kind.is_for_this_run


def _unreadable(value: dict[str, Any]) -> RecoveryRefused:
    return RecoveryRefused(
        f"An operation of kind {printable(value.get('kind'))} cannot be read.",
        "Most often it was written by another version of modelmedic.",
    )


def _fits(value: Any, annotation: str) -> bool:
    """Return whether a value may stand in a field; annotations that are not known here pass."""
    if annotation.endswith(" | None"):
        return value is None or _fits(value, annotation.removesuffix(" | None"))
    parts = value if isinstance(value, tuple) else ()
    match annotation:
        case "str" | "int" | "bool":
            return isinstance(value, {"str": str, "int": int, "bool": bool}[annotation])
        case "Was":
            return [type(part) for part in parts] == [int, int]
        case "tuple[str, ...]" | "tuple[int, ...]":
            kind = str if "str" in annotation else int
            return isinstance(value, tuple) and all(type(part) is kind for part in parts)
        case "tuple[tuple[str, ...], ...]":
            return isinstance(value, tuple) and all(_fits(p, "tuple[str, ...]") for p in parts)
    return True


def _frozen(value: Any) -> Any:
    return tuple(_frozen(part) for part in value) if isinstance(value, list) else value
