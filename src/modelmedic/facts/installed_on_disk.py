"""What is installed in an environment, read from its metadata folders: no Python has to start."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from modelmedic.facts import interpreter_report
from modelmedic.facts.packages import name_from_entry, normalised
from modelmedic.text import printable

MAX_DISTRIBUTIONS = 5000  # a large environment has 500
_MAX_JSON_BYTES = 1 << 16  # a direct_url.json has about 200 bytes


@dataclass(frozen=True, slots=True)
class OnDisk:
    """One installed distribution as its metadata folder tells it.

    ``origin`` is "" for one from an index; else where it came from instead, as a requirement that
    pip can be given: an address, or a folder on this machine.
    """

    name: str
    version: str
    folder: str  # the package folder it lies in, relative to the environment, with "/"
    requires: tuple[str, ...] = ()
    origin: str = ""
    is_editable: bool = False

    @property
    def key(self) -> str:
        """Return the normalised name (PEP 503)."""
        return normalised(self.name)

    @property
    def pin(self) -> str:
        """Return what installs the same version again; "" when the version is not known."""
        return f"{self.name}=={self.version}" if self.version else ""


def read_installed(environment: Path) -> tuple[OnDisk, ...]:
    """Return what is installed in an environment, by name; the first of two of one name.

    Raises:
        OSError: A package folder cannot be listed.
    """
    found: dict[str, OnDisk] = {}
    for folder in package_folders(environment):
        inside = folder.relative_to(environment).as_posix()
        for entry in sorted(path.name for path in folder.iterdir())[:MAX_DISTRIBUTIONS]:
            if entry.lower().endswith((".dist-info", ".egg-info")) and entry[0] not in "~-":
                item = _read(folder, entry, inside)
                found.setdefault(item.key, item)
    return tuple(sorted(found.values(), key=lambda each: each.key))


def package_folders(environment: Path) -> list[Path]:
    """Return the folders of an environment that hold packages; none when it is half made.

    Source: Python's sysconfig, schemes "posix_prefix" and "nt"; lib64 of 64-bit Fedora is a link.
    """
    libraries = [environment / "lib", environment / "lib64"]
    found = [
        python / "site-packages"
        for library in libraries
        if library.is_dir() and not library.is_symlink()
        for python in sorted(library.iterdir())
        if python.name.startswith(("python", "pypy"))
    ]
    found.append(environment / "Lib" / "site-packages")
    seen = {os.path.normcase(os.path.realpath(path)): path for path in found if path.is_dir()}
    return list(seen.values())


def _read(folder: Path, entry: str, inside: str) -> OnDisk:
    base = folder / entry
    metadata = interpreter_report.metadata_name(entry.lower().endswith(".dist-info"))
    path = base if base.is_file() else base / metadata
    headers, _problem = interpreter_report.read_headers(str(path))
    name, version = name_from_entry(entry)
    origin, is_editable = _origin(base / "direct_url.json")
    return OnDisk(
        name=printable(interpreter_report.first(headers, "name") or name),
        version=printable(interpreter_report.first(headers, "version") or version),
        folder=inside,
        requires=tuple(headers.get("requires-dist", [])),
        origin=origin,
        is_editable=is_editable,
    )


def _origin(record: Path) -> tuple[str, bool]:
    """Return where a distribution came from if not from an index, and whether it is editable.

    Source: PEP 610, direct_url.json.
    """
    try:
        with record.open("rb") as stream:
            told = json.loads(stream.read(_MAX_JSON_BYTES))
        url = str(told["url"])
        vcs = told.get("vcs_info")
        if vcs:
            return printable(f"{vcs['vcs']}+{url}@{vcs['commit_id']}"), False
        return printable(url), bool(told.get("dir_info", {}).get("editable"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "", False
