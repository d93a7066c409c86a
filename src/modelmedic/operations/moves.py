"""Many renames as one change: out of the way, into place, and back, whatever had happened.

What is to move is written down before the first rename. Each entry tells by inodes where its file
is, so any later process can go on or go back.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from modelmedic.errors import RecoveryRefused
from modelmedic.operations.durable import write_all
from modelmedic.operations.environment_folder import CACHE
from modelmedic.operations.tree import Tree
from modelmedic.text import printable

_MAX_MANIFEST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Move:
    """One file or folder that goes from ``old`` to ``new``, both relative to the install.

    ``inode`` and ``look`` tell it from anything that somebody puts in its place; ``look`` is ""
    for what goes out, else a digest over names, sizes and times.
    """

    old: str
    new: str
    inode: int
    look: str = ""


@dataclass(frozen=True, slots=True)
class Moves:
    """What goes out, to where it is kept, and what comes in, from where it was prepared."""

    out: tuple[Move, ...]
    come: tuple[Move, ...]

    @property
    def all(self) -> tuple[Move, ...]:
        """Return every move in the order in which they are made."""
        return (*self.out, *self.come)


def plan_out(tree: Tree, files: Iterable[str], keep: str, *, spared: frozenset[str]) -> list[Move]:
    """Return the fewest renames that take these files away, with their compiled caches.

    A folder with nothing else in it moves whole. What is no one's stays where it is.

    Args:
        tree: The install.
        files: Files, relative to the install.
        keep: The folder of kept files; each move gets a number in it.
        spared: Folders that never move whole.
    """
    leaving = set(files)
    folders: set[str] = set()
    for path in leaving:
        parent = path.rpartition("/")[0]
        while parent and parent not in folders:
            folders.add(parent)
            parent = parent.rpartition("/")[0]
    tops = sorted({path for path in folders if path.rpartition("/")[0] == ""})
    paths = [path for top in tops for path in _leaving(tree, top, leaving, folders, spared)[1]]
    return [Move(path, f"{keep}/{n}", _inode(tree, path)) for n, path in enumerate(sorted(paths))]


def plan_in(tree: Tree, stage: str, folder: str, out: list[Move]) -> list[Move]:
    """Return the fewest renames that bring all below ``stage`` into ``folder``.

    Raises:
        RecoveryRefused: A link, or a file where a folder belongs, lies in the way.
    """
    gone = {move.old for move in out}
    return list(_coming(tree, stage, folder, gone))


def collisions(tree: Tree, stage: str, folder: str) -> Iterator[str]:
    """Give the files in ``folder`` that lie where files below ``stage`` belong."""
    for name, state in tree.entries(stage):
        here, there = f"{stage}/{name}", _place(tree, folder, name)
        found = tree.identity(there)
        if found is None:
            continue
        if stat.S_ISDIR(state.st_mode) and found.is_folder:
            yield from collisions(tree, here, there)
        elif not stat.S_ISDIR(state.st_mode) and not found.is_folder:
            yield there


def write(tree: Tree, path: str, moves: Moves) -> str:
    """Write moves down under a private name and return the SHA-256 of that file."""
    rows = [[[m.old, m.new, m.inode, m.look] for m in part] for part in (moves.out, moves.come)]
    data = json.dumps(rows, ensure_ascii=True).encode()
    with tree.open_own(path) as handle:
        os.ftruncate(handle, 0)
        write_all(handle, data)
        os.fsync(handle)
    tree.flush(path.rpartition("/")[0])
    return hashlib.sha256(data).hexdigest()


def read(tree: Tree, path: str, sha256: str) -> Moves | None:
    """Return moves that were written down; None when they are gone or not ours any more."""
    found = tree.identity(path)
    if found is None or not found.is_file or found.size_bytes > _MAX_MANIFEST_BYTES:
        return None
    with tree.open_read(path) as handle, os.fdopen(os.dup(handle), "rb") as stream:
        data = stream.read()
    if hashlib.sha256(data).hexdigest() != sha256:
        return None
    rows: list[list[list[Any]]] = json.loads(data)
    out, come = (tuple(Move(*row) for row in part) for part in rows)
    return Moves(out, come)


def make(tree: Tree, moves: Iterable[Move]) -> None:
    """Make moves that are still to make, then let them last."""
    _rename(tree, [(m.old, m.new) for m in moves if not _is_at(tree, m.new, m)])


def unmake(tree: Tree, moves: Moves) -> None:
    """Move everything back that had moved, the last first, then let it last."""
    for folder in {move.old.rpartition("/")[0] for move in moves.come}:
        tree.make_own_folder(folder)
    _rename(tree, [(m.new, m.old) for m in reversed(moves.all) if _is_at(tree, m.new, m)])


def state(tree: Tree, moves: Moves) -> tuple[str, str]:
    """Return "before", "between", "after" or "drifted", and of the last which path it is."""
    places = [
        (move, _is_at(tree, move.old, move), _is_at(tree, move.new, move)) for move in moves.all
    ]
    out, come = places[: len(moves.out)], places[len(moves.out) :]
    if all(is_old for _m, is_old, _is_new in out) and not any(is_new for *_m, is_new in come):
        return "before", ""  # what would have come in may be gone by then
    for move, is_old, is_new in places:
        if not is_old and not is_new:
            return "drifted", move.old if move in moves.out else move.new
    if not all(is_new for *_m, is_new in places):
        return "between", ""
    for move in moves.come:
        if move.look != look(tree, move.new):
            return "drifted", move.new
    return "after", ""


def look(tree: Tree, path: str) -> str:
    """Return a digest over names, sizes and times at and below ``path``, without caches."""
    digest = hashlib.sha256()
    for line in _lines(tree, path, ""):
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


# -- inside ----------------------------------------------------------------------------------------


def _leaving(
    tree: Tree, folder: str, leaving: set[str], folders: set[str], spared: frozenset[str]
) -> tuple[bool, list[str]]:
    """Return whether all below a folder leaves, and the moves that take what leaves away."""
    is_whole, paths = True, []
    for name, found in tree.entries(folder):
        path = f"{folder}/{name}"
        if stat.S_ISDIR(found.st_mode):
            if path not in folders and name != CACHE:
                is_whole = False
                continue
            goes, inner = _leaving(tree, path, leaving, folders, spared)
        else:
            goes = path in leaving or _is_cache_of(path, leaving)
            inner = [path] if goes else []
        is_whole = is_whole and goes
        paths += inner
    if not paths and folder.endswith(f"/{CACHE}"):
        return is_whole, []  # an empty cache keeps no folder from going
    if is_whole and paths and folder not in spared:
        return True, [folder]
    return False, paths


def _is_cache_of(path: str, leaving: set[str]) -> bool:
    """Return whether a file is the compiled form of one that leaves."""
    folder, _, name = path.rpartition("/")
    parent, _, last = folder.rpartition("/")
    stem = name.partition(".")[0]
    return last == CACHE and name.endswith(".pyc") and f"{parent}/{stem}.py" in leaving


def _coming(tree: Tree, stage: str, folder: str, gone: set[str]) -> Iterator[Move]:
    for name, found in tree.entries(stage):
        here, there = f"{stage}/{name}", _place(tree, folder, name)
        lies = None if there in gone else tree.identity(there)
        if lies is None:
            yield Move(here, there, _inode(tree, here), look(tree, here))
        elif stat.S_ISDIR(found.st_mode) and lies.is_folder:
            yield from _coming(tree, here, there, gone)
        else:
            raise RecoveryRefused(
                f"{printable(there)} was not touched: something lies there that no package "
                "recorded, and a new file belongs in its place.",
                "",
                "Look what it is and move it away.",
            )


def _place(tree: Tree, folder: str, name: str) -> str:
    """Return where an entry of a stage belongs; the lib64 of an environment is a link to lib."""
    if name == "lib64" and tree.link_text(f"{folder}/{name}") == "lib":
        return f"{folder}/lib"
    return f"{folder}/{name}"


def _rename(tree: Tree, pairs: list[tuple[str, str]]) -> None:
    folders: dict[str, None] = {}
    for old, new in pairs:
        tree.rename(old, new, is_flushed=False)
        folders |= dict.fromkeys((old.rpartition("/")[0], new.rpartition("/")[0]))
    for folder in folders:
        tree.flush(folder)


def _is_at(tree: Tree, path: str, move: Move) -> bool:
    found = tree.identity(path)
    return found is not None and found.inode == move.inode


def _inode(tree: Tree, path: str) -> int:
    found = tree.identity(path)
    return found.inode if found else 0


def _lines(tree: Tree, path: str, name: str) -> Iterator[str]:
    found = tree.identity(path)
    if found is None:
        return
    if not found.is_folder:
        yield f"{name}\0{found.size_bytes}\0{found.mtime_ns}\n"
        return
    yield f"{name}/\n"
    for each, _state in tree.entries(path):
        if each != CACHE:
            yield from _lines(tree, f"{path}/{each}", f"{name}/{each}")
