"""Temporary files of an operation: registered before they exist, and gone whatever happens."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelmedic import rooms
from modelmedic.errors import ModelmedicError, RecoveryRefused
from modelmedic.healing import trouble
from modelmedic.reliability.temporary_lock import registering, sweeping
from modelmedic.reliability.temporary_record import FOLDER, Entry, Mark, Record, records
from modelmedic.reliability.temporary_tree import TemporaryTree
from modelmedic.text import printable

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, slots=True)
class Swept:
    """What was found of killed runs.

    Args:
        removed: Paths that are gone now.
        left: What was let alone and why, a sentence each.
    """

    removed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class TemporaryFiles:
    """Makes and registers temporary files; a ``with`` block removes them at its end.

    Also when it fails, when the disk is full and at the end of the process. After a kill the next
    block of the same folders removes what it left: only what was registered, only inside the
    install or state folder, following no link, and nothing of a process that lives or of another
    machine. Where the file system does not tell a file from a later one under its inode number
    (tmpfs, most network file systems), it says so and lets it alone.

    Args:
        install_dir: The folder that is worked on.
        state_dir: Where the record lies; None is modelmedic's own state folder.

    Raises:
        OSError: By what registers: the record cannot be written, or another process sweeps for too
            long, so nothing was made.
        RecoveryRefused: By the same: the path leaves both folders, or a link is on the way.
    """

    def __init__(self, install_dir: Path, *, state_dir: Path | None = None) -> None:
        self._state_dir = _absolute(state_dir or rooms.state_dir())
        folders = (_absolute(install_dir), self._state_dir)
        self._trees = {str(root): TemporaryTree(root) for root in folders}
        self._record = Record(self._state_dir)
        self._entries: list[Entry] = []
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self.swept = Swept()

    def __enter__(self) -> Self:
        self.swept = self.sweep()
        atexit.register(self.close)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        atexit.unregister(self.close)

    def file(self, path: str | os.PathLike[str]) -> Path:
        """Make an empty private file, never over something, and return its path.

        Args:
            path: Inside the install or state folder; a relative one is in the install folder.
        """
        return self._new(path, is_folder=False)

    def folder(self, path: str | os.PathLike[str]) -> Path:
        """Make a private folder; all that lies in it later is temporary too."""
        return self._new(path, is_folder=True)

    def add(self, path: str | os.PathLike[str]) -> Path:
        """Register a file or folder that exists and is ours to remove."""
        with self._lock, registering(self._state_dir):
            tree, relative = self._place(path)
            found = tree.identity(relative)
            if found is None:
                raise FileNotFoundError(f"{os.fspath(path)} does not exist; make it with file()")
            entry = Entry(str(tree.root), relative, None, found.is_folder)
            return self._made(entry, tree)

    def keep(self, path: str | os.PathLike[str]) -> None:
        """Forget a path: it was moved to its place, or is no longer temporary."""
        with self._lock:
            tree, relative = self._place(path)
            for entry in [each for each in self._entries if self._is_at(each, tree, relative)]:
                self._record.add(root=entry.root, path=entry.path, is_gone=True)
                self._entries.remove(entry)

    def close(self) -> tuple[str, ...]:
        """Remove all that is registered; return what could not be, a sentence each."""
        if os.getpid() != self._pid:  # a fork: they are its parent's
            return ()
        with self._lock:
            left = []
            for entry in reversed(list(self._entries)):
                if reason := _removed(self._trees[entry.root], entry, is_own=True):
                    left.append(reason)
                else:
                    self._entries.remove(entry)
            if not self._entries:
                with contextlib.suppress(OSError):
                    self._record.remove()
            return tuple(left)

    def sweep(self) -> Swept:
        """Remove what killed runs left of these folders; one process at a time does."""
        if not (self._state_dir / FOLDER).is_dir():
            return Swept()
        try:
            with sweeping(self._state_dir):
                return self._swept()
        except OSError as error:
            return Swept(left=(f"What killed runs left was let alone: {trouble.reason(error)}.",))

    def _swept(self) -> Swept:
        """Remove it, with the records read while nobody else sweeps or registers."""
        found = list(records(self._state_dir))
        gone = [each for each in found if each[1].is_gone and each[0] != self._record.path]
        living = [entry.whole for each in found if each not in gone for entry in each[2]]
        removed: list[str] = []
        left: list[str] = []
        for path, _, entries in gone:
            mine = [entry for entry in reversed(entries) if entry.root in self._trees]
            for entry in mine:
                reason = _in_use(entry, living) or _removed(self._trees[entry.root], entry)
                left += [reason] if reason else []
                removed += [] if reason else [entry.whole]
            if len(mine) == len(entries):  # what could not be removed is told once, not for ever
                with contextlib.suppress(OSError):
                    path.unlink()
        return Swept(tuple(removed), tuple(left))

    # -- registering -----------------------------------------------------------------------------

    def _new(self, path: str | os.PathLike[str], *, is_folder: bool) -> Path:
        """Write down what is about to be made, make it, and write down which one it is."""
        with self._lock, registering(self._state_dir):
            tree, relative = self._place(path)
            if tree.identity(relative) is not None:
                raise FileExistsError(f"{os.fspath(path)} exists; it was not touched")
            entry = Entry(str(tree.root), relative, None, is_folder)
            try:
                self._record.add(root=entry.root, path=entry.path, is_folder=is_folder)
                if is_folder:
                    tree.make_folder(relative, private=True)
                else:
                    tree.make_file(relative)
                return self._made(entry, tree)
            except BaseException as error:
                self._settle(entry, tree, error)
                raise

    def _settle(self, entry: Entry, tree: TemporaryTree, error: BaseException) -> None:
        """Take back what was written down and not made; register what was, before the error."""
        if any(each is entry for each in self._entries):
            return  # `close` removes it
        is_refused = isinstance(error, FileExistsError | FileNotFoundError | ModelmedicError)
        with contextlib.suppress(OSError, ModelmedicError):
            if is_refused or not _is_empty(tree, entry):
                self._record.add(root=entry.root, path=entry.path, is_gone=True)
            else:  # interrupted right after it was made
                self._made(entry, tree)

    def _made(self, entry: Entry, tree: TemporaryTree) -> Path:
        """Write down which one it is."""
        mark = entry.identity = tree.mark(entry.path)
        self._entries.append(entry)
        identity = None if mark is None else [mark.device, mark.inode, mark.birth]
        self._record.add(
            root=entry.root, path=entry.path, is_folder=entry.is_folder, identity=identity
        )
        return tree.root / entry.path

    def _place(self, path: str | os.PathLike[str]) -> tuple[TemporaryTree, str]:
        first = next(iter(self._trees.values()))
        whole = _absolute(first.root / os.fspath(path))
        for tree in self._trees.values():
            relative = os.path.relpath(whole, tree.root).replace(os.sep, "/")
            if relative != "." and relative.split("/")[0] != "..":
                return tree, relative
        raise RecoveryRefused(
            f"{printable(path)} is not registered: it lies outside the install and state folder."
        )

    @staticmethod
    def _is_at(entry: Entry, tree: TemporaryTree, relative: str) -> bool:
        return (entry.root, entry.path) == (str(tree.root), relative)


def _absolute(path: Path) -> Path:
    """Return a path without ".." in it; its links stay, for none is followed."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow them


def _in_use(entry: Entry, living: list[str]) -> str:
    """Return that a process which may live has registered it, or something in it; else ""."""
    if any(path == entry.whole or path.startswith(f"{entry.whole}/") for path in living):
        return f"{printable(entry.whole)} was let alone: a process that may run registered it, too."
    return ""


def _removed(tree: TemporaryTree, entry: Entry, *, is_own: bool = False) -> str:
    """Remove what was registered; return why not, "" when it is gone.

    Args:
        tree: Where it lies.
        entry: What was registered.
        is_own: By this process, which lives: then device and inode do where nothing more is told.
    """
    name = printable(entry.whole)
    try:
        found = tree.mark(entry.path)
        if found is None:
            return ""
        if entry.identity is None:  # killed while it was made: then nothing is in it
            if not _is_empty(tree, entry):
                return f"{name} was let alone: nothing shows that it is the one that was made."
        elif reason := _doubt(entry.identity, found, is_own=is_own):
            return f"{name} was let alone: {reason}."
        if entry.is_folder:
            tree.remove_all(entry.path, found.device)
        else:
            tree.remove_name(entry.path)
    except (OSError, ModelmedicError) as error:
        return f"{name} could not be removed: {getattr(error, 'strerror', None) or error}."
    return ""


def _doubt(registered: Mark, found: Mark, *, is_own: bool) -> str:
    """Return why the one that lies there may not be the registered one; "" when it is."""
    if (found.device, found.inode) != (registered.device, registered.inode):
        return "it is another one than was registered"
    if registered.birth and found.birth and registered.birth != found.birth:
        return "it is another one than was registered, under a number that was given anew"
    if registered == found and (found.birth or is_own):
        return ""
    return (
        "nothing tells whether it is the registered one or a later one under the same number; "
        "look at it and remove it yourself"
    )


def _is_empty(tree: TemporaryTree, entry: Entry) -> bool:
    found = tree.identity(entry.path)
    if found is None or found.is_folder != entry.is_folder:
        return False
    if entry.is_folder:
        return not tree.entries(entry.path)
    return found.is_file and found.size_bytes == 0


def sweep(folders: Iterable[Path], state_dir: Path | None = None) -> Swept:
    """Remove what killed runs left in several install folders; see `TemporaryFiles.sweep`."""
    found = [TemporaryFiles(folder, state_dir=state_dir).sweep() for folder in folders]
    return Swept(
        tuple(path for each in found for path in each.removed),
        tuple(reason for each in found for reason in each.left),
    )
