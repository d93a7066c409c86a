"""The packages of this process, by the names of their folders: no metadata file is opened."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

_FORMS = (".dist-info", ".egg-info")
_DASHES = re.compile(r"[-_.]+")
_READ_BYTES = 4096  # Name and Version stand in the first lines
_VERSION = re.compile(r"^Version: *(\S+)", re.MULTILINE)
_State = tuple[tuple[str, int], ...]


class InstalledPackages:
    """Version by name on `sys.path`; listed again when one of its folders has changed.

    The wheel format names the folder of a package's metadata by its name and version, so that
    300 packages cost one listing, not 300 files.

    Source: packaging.python.org, "Recording installed projects": ``{name}-{version}.dist-info``.
    """

    def __init__(self) -> None:
        self._state: _State = ()
        self._known: dict[str, str] = {}

    def read(self) -> dict[str, str]:
        """Return version by name, in small letters with dashes; of two, the one that is imported.

        What is no folder, such as a zip file, is passed over.
        """
        state = tuple(_changed(dict.fromkeys(sys.path)))
        if state != self._state:
            self._known = versions_in([Path(folder) for folder, _changed_at in state])
            self._state = state
        return self._known


def versions_in(folders: Iterable[Path]) -> dict[str, str]:
    """Return version by name of the packages whose metadata lies in one of ``folders``."""
    found: dict[str, str] = {}
    for folder in folders:
        for name, version in _packages(folder):
            found.setdefault(name, version)
    return dict(sorted(found.items()))


def _changed(folders: Iterable[str]) -> Iterator[tuple[str, int]]:
    for folder in folders:
        try:
            yield folder, Path(folder).stat().st_mtime_ns
        except OSError:
            continue


def _packages(folder: Path) -> Iterator[tuple[str, str]]:
    try:
        names = [entry.name for entry in folder.iterdir() if entry.suffix in _FORMS]
    except OSError:
        return
    for entry in names:
        stem, _dot, form = entry.rpartition(".")
        name, _dash, version = stem.partition("-")
        if form == "egg-info":
            version = version.partition("-py")[0]
        yield _DASHES.sub("-", name).lower(), version or _version_inside(folder / entry)


def _version_inside(place: Path) -> str:
    """Return the version in a metadata file whose folder does not carry it (editable installs)."""
    for path in (place, place / "PKG-INFO", place / "METADATA"):
        try:
            with path.open(encoding="utf-8", errors="replace") as stream:
                found = _VERSION.search(stream.read(_READ_BYTES))
        except OSError:
            continue
        return found[1] if found else ""
    return ""
