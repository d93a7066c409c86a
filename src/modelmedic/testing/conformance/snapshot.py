"""What lies in a folder, down to bytes, times and inodes, and how two such looks differ."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from modelmedic.text import printable

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """One name. ``content`` is the SHA-256 of a file, the target of a link, else empty.

    Of folders only existence, mode and inode count: a check's scratch folder changes their time.
    """

    kind: str
    content: str
    mode: int
    size_bytes: int
    mtime_ns: int
    inode: int


Snapshot = Mapping[str, Entry]
BYTES = ("kind", "content", "mode")  # what a user of the file can notice
SAME = (*BYTES, "mtime_ns")
UNTOUCHED = (*SAME, "inode")


def take(root: Path, *, without: Iterable[str] = ()) -> dict[str, Entry]:
    """Return what lies below ``root`` by relative path, itself as "."; empty if it is not there.

    Args:
        root: The folder; links in it are not followed.
        without: Names of entries in ``root`` itself that are left out.
    """
    if not os.path.lexists(root):
        return {}
    found = {".": _entry(root)}
    skipped = set(without)
    for folder, names, files in os.walk(root):
        here = Path(folder)
        if here == root:
            names[:] = [name for name in names if name not in skipped]
            files = [name for name in files if name not in skipped]  # noqa: PLW2901
        for name in (*names, *files):
            found[(here / name).relative_to(root).as_posix()] = _entry(here / name)
    return found


def below(snapshot: Snapshot, name: str) -> dict[str, Entry]:
    """Return ``name`` and what lies in it."""
    return {
        path: entry
        for path, entry in snapshot.items()
        if path == name or path.startswith(f"{name}/")
    }


def is_like(first: Entry | None, second: Entry | None, by: tuple[str, ...]) -> bool:
    """Return whether two entries, None where nothing lies, agree in the fields named."""
    if first is None or second is None:
        return first is second
    return all(getattr(first, field) == getattr(second, field) for field in by)


def differences(before: Snapshot, after: Snapshot, by: tuple[str, ...]) -> list[str]:
    """Return a clause for each path in which two snapshots differ; empty when they agree."""
    return [
        f"{printable(path)} {_change(before.get(path), after.get(path), by)}"
        for path in sorted({*before, *after})
        if not is_like(before.get(path), after.get(path), by)
    ]


def listed(clauses: list[str]) -> str:
    """Return clauses as text, the first few of many."""
    more = f"; and {len(clauses) - _SHOWN} more" if len(clauses) > _SHOWN else ""
    return "; ".join(clauses[:_SHOWN]) + more


def _change(before: Entry | None, after: Entry | None, by: tuple[str, ...]) -> str:
    if after is None:
        return "is gone"
    if before is None:
        return f"appeared ({_shown(after)})"
    changed = [field for field in by if getattr(before, field) != getattr(after, field)]
    words = {"mtime_ns": "time", "kind": "kind", "inode": "inode (it is another file)"}
    return (
        f"changed in {', '.join(words.get(field, field) for field in changed)} "
        f"({_shown(before)}, now {_shown(after)})"
    )


def _shown(entry: Entry) -> str:
    if entry.kind == "file":
        return f"file of {entry.size_bytes:,} bytes, {entry.content[:8]}, {entry.mode:o}"
    return f"{entry.kind} {printable(entry.content)}".strip()


def _entry(path: Path) -> Entry:
    found = path.lstat()
    kind, content = "other", ""
    if stat.S_ISLNK(found.st_mode):
        kind, content = "link", str(path.readlink())
    elif stat.S_ISDIR(found.st_mode):
        kind = "folder"
    elif stat.S_ISREG(found.st_mode):
        kind, content = "file", hashlib.sha256(path.read_bytes()).hexdigest()
    return Entry(
        kind,
        content,
        stat.S_IMODE(found.st_mode),
        found.st_size if kind == "file" else 0,
        0 if kind == "folder" else found.st_mtime_ns,
        found.st_ino,
    )
