"""A Python environment as a folder of the install: its interpreter, and which file is whose.

A RECORD is a stranger's word: a path in it that leads out of the environment is nobody's.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import posixpath
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modelmedic.errors import RecoveryRefused
from modelmedic.facts.packages import name_from_entry, normalised
from modelmedic.operations.tree import Tree
from modelmedic.text import printable

PYTHONS = ("bin/python", "bin/python3", "Scripts/python.exe", "python.exe")
CACHE = "__pycache__"
_INFO = (".dist-info", ".egg-info")
_MAX_RECORD_BYTES = 64 << 20  # that of torch has about 2 MB
# Their readers would be hurt by a swap: they stay mapped, or are running.
_HELD = (".so", ".pyd", ".dll", ".dylib", ".exe")


@dataclass(frozen=True, slots=True)
class Owned:
    """One installed distribution and its files, relative to the install.

    ``has_record`` False: then only its metadata folder is known to be its own.
    """

    key: str
    entry: str  # its metadata folder or file, relative to the install
    record_sha256: str  # "" without a RECORD
    files: frozenset[str]
    has_record: bool


def python_of(tree: Tree, folder: str) -> Path:
    """Return the interpreter of an environment, a path below the install.

    Raises:
        RecoveryRefused: The folder is no environment of this install.
    """
    found = tree.identity(folder)
    if found is None or not found.is_folder:
        raise RecoveryRefused(
            f"{printable(folder)} was not touched: it is no folder of this install."
        )
    for name in PYTHONS:
        if tree.identity(f"{folder}/{name}") is not None:
            return tree.root / folder / name
    raise RecoveryRefused(f"{printable(folder)} was not touched: there is no Python in it.")


def distributions(tree: Tree, folder: str, site: str) -> list[Owned]:
    """Return what is installed in a folder of packages of an environment.

    Args:
        tree: The install.
        folder: The environment, relative to the install.
        site: The folder of packages, relative to the environment.
    """
    place = f"{folder}/{site}"
    found = [
        name
        for name, _state in tree.entries(place)
        if name.lower().endswith(_INFO) and not name.startswith(("~", "-"))
    ]
    return [owned(tree, folder, site, name) for name in found]


def owned(tree: Tree, folder: str, site: str, entry: str) -> Owned:
    """Return one installed distribution by the name of its metadata folder.

    Raises:
        RecoveryRefused: It is a link.
    """
    place = f"{folder}/{site}/{entry}"
    files = {place}
    found = tree.identity(place)
    record = b""
    if found is not None and found.is_folder:
        files = set(_below(tree, place))
        record = _read(tree, f"{place}/RECORD")
    elif found is not None and not found.is_file:
        raise RecoveryRefused(f"{printable(place)} was not touched: it is a link.")
    files |= set(_recorded(tree, record.decode("utf-8", "replace"), folder, site))
    digest = hashlib.sha256(record).hexdigest() if record else ""
    key = normalised(name_from_entry(entry)[0])
    return Owned(key, place, digest, frozenset(files), bool(record))


def held(paths: frozenset[str] | set[str]) -> tuple[str, ...]:
    """Return the files that processes keep in use for as long as they run."""
    return tuple(sorted(p for p in paths if p.lower().endswith(_HELD) or ".so." in p))


def settled(tree: Tree, folder: str, path: str) -> str:
    """Return a path of an environment with its own link lib64 followed, as venv makes it."""
    first, _, rest = path.partition("/")
    if first == "lib64" and rest and tree.link_text(f"{folder}/lib64") == "lib":
        return f"lib/{rest}"
    return path


def _recorded(tree: Tree, text: str, folder: str, site: str) -> Iterator[str]:
    """Give the files that a RECORD names inside the environment, relative to the install."""
    root = posixpath.join(tree.root.as_posix(), folder)
    for row in csv.reader(io.StringIO(text)):
        if not row or not row[0]:
            continue
        path = row[0].replace(os.sep, "/")
        if path.startswith(f"{root}/"):
            path = path[len(root) + 1 :]
        else:
            path = posixpath.normpath(posixpath.join(site, path))
        parts = path.split("/")
        is_odd = any(part in {"", ".", ".."} or "\\" in part or "\0" in part for part in parts)
        if not is_odd and ":" not in parts[0]:
            yield f"{folder}/{settled(tree, folder, path)}"


def _below(tree: Tree, place: str) -> Iterator[str]:
    for name, state in tree.entries(place):
        path = f"{place}/{name}"
        if stat.S_ISDIR(state.st_mode):
            yield from _below(tree, path)
        else:
            yield path


def _read(tree: Tree, path: str) -> bytes:
    found = tree.identity(path)
    if found is None or not found.is_file or found.size_bytes > _MAX_RECORD_BYTES:
        return b""
    with tree.open_read(path) as handle, os.fdopen(os.dup(handle), "rb") as stream:
        return stream.read(_MAX_RECORD_BYTES)
