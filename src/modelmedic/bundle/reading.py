"""A bundle, maybe a stranger's: read in memory by the names of its manifest, never extracted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from modelmedic import jsonshape, rooms, runs
from modelmedic.bundle.archive import Archive
from modelmedic.bundle.members import MANIFEST, RECORD, RUNS
from modelmedic.errors import CannotTell
from modelmedic.text import printable

_MOST_MANIFEST_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was read as a whole.

    Args:
        path: Where it lies.
        manifest: What it says it holds, judged by the published schema.
        data: Bytes of the members that the manifest names and that are there, by name.
        changed: Names of members whose SHA-256 is not the manifest's.
        missing: Names that the manifest has and the archive has not.
        unlisted: Names that the archive has and the manifest has not; they were not read.
    """

    path: Path
    manifest: Mapping[str, Any]
    data: Mapping[str, bytes]
    changed: tuple[str, ...]
    missing: tuple[str, ...]
    unlisted: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Return whether it holds what its manifest says, byte for byte, and nothing else."""
        return not (self.changed or self.missing or self.unlisted)

    def warnings(self) -> list[str]:
        """Return a sentence for each way in which it is not as it was made."""
        told = [
            f"{name} was changed after the bundle was made: its SHA-256 differs."
            for name in self.changed
        ]
        told += [
            f"{printable(name)} is missing, though the manifest names it." for name in self.missing
        ]
        told += [
            f"{printable(name)} is in the archive, but not in the manifest; it was not read."
            for name in self.unlisted
        ]
        return told

    def record(self) -> dict[str, Any]:
        """Return the record of the run that it is about.

        Raises:
            CannotTell: It holds none, or one that is no run record of this version.
        """
        if RECORD not in self.data:
            raise CannotTell(
                f"{printable(self.path)} holds no run record.",
                "It was dropped when the bundle was made, or there was none.",
                "Its other files can be listed: modelmedic bundle show FILE.",
            )
        return runs.judged(self.data[RECORD], self.path / RECORD)

    def records(self) -> list[dict[str, Any]]:
        """Return all its run records, the oldest first; a killed run's as far as it came.

        Raises:
            CannotTell: One of them is no run record of this version.
        """
        names = [name for name in self.data if name == RECORD or name.startswith(RUNS)]
        found = [
            runs.judged(self.data[name], self.path / name)
            for name in names
            if name.endswith(".json")
        ]
        return sorted(found, key=lambda record: (record["started_at"], record["run_id"]))


def is_bundle(path: Path) -> bool:
    """Return whether ``path`` is a file that begins as a ZIP archive does."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return stream.read(4) == b"PK\x03\x04"
    except (OSError, ValueError):
        return False


def read(path: Path) -> Bundle:
    """Return the bundle at ``path``, every member of it read and compared with the manifest.

    Raises:
        CannotTell: It is no bundle, or an archive with something in it that no bundle has.
    """
    return of_archive(Archive.open(path), path)


def of_archive(archive: Archive, path: Path) -> Bundle:
    """Return the bundle that an archive is; as `read`."""
    manifest = _manifest(archive, path)
    named = {entry["name"]: entry for entry in manifest["members"]}
    if len(named) < len(manifest["members"]) or MANIFEST in named:
        _refuse(path, "its manifest names a member twice")
    there = {name: archive.read(name) for name in named if name in archive.entries}
    own = {name for name, entry in archive.entries.items() if not entry.is_folder} - {MANIFEST}
    return Bundle(
        path,
        manifest,
        there,
        changed=tuple(name for name, data in there.items() if not _is_same(data, named[name])),
        missing=tuple(name for name in named if name not in there),
        unlisted=tuple(sorted(own - set(named))),
    )


def records(path: Path) -> list[dict[str, Any]]:
    """Return the run records of a bundle, the oldest first, for a history to import.

    Raises:
        CannotTell: It is no bundle, or one that was changed after it was made.
    """
    found = read(path)
    damaged = [*found.changed, *found.missing]
    if damaged:
        names = printable(", ".join(damaged))
        raise CannotTell(
            f"{printable(path)} is not as it was made: changed or missing is {names}.",
            "What is imported is believed for a long time.",
            "Ask for the bundle again.",
        )
    return found.records()


def _manifest(archive: Archive, path: Path) -> dict[str, Any]:
    if MANIFEST not in archive.entries:
        _refuse(path, f"it has no {MANIFEST}")
    if archive.entries[MANIFEST].size_bytes > _MOST_MANIFEST_BYTES:
        _refuse(path, f"its {MANIFEST} is too large")
    try:
        manifest = json.loads(archive.read(MANIFEST))
    except (ValueError, RecursionError) as error:
        _refuse(path, f"its {MANIFEST} is no JSON ({type(error).__name__})", error)
    file = rooms.room("reports") / "bundle-manifest.schema.json"
    if fault := jsonshape.first_fault(manifest, json.loads(file.read_text(encoding="utf-8"))):
        _refuse(path, f"its {MANIFEST} is none of this version ({printable(fault)})")
    found: dict[str, Any] = manifest
    return found


def _is_same(data: bytes, entry: Mapping[str, Any]) -> bool:
    is_size: bool = len(data) == entry["bytes"]
    return is_size and hashlib.sha256(data).hexdigest() == entry["sha256"]


def _refuse(path: Path, why: str, error: BaseException | None = None) -> NoReturn:
    raise CannotTell(f"{printable(path)} is not read as a bundle: {why}.") from error
