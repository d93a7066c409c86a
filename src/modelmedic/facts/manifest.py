"""Manifests: what a good install holds, with the digests of its blocks, written once for others.

A manifest comes from a stranger. It is read with limits, its names may not leave the model's
folder, and its block digests are only used to say where a file is damaged: what a file must be
is said by the profile's SHA-256 where it has one.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from modelmedic.errors import ModelmedicError
from modelmedic.facts.digests import Blocks, Digests
from modelmedic.jsonshape import first_fault
from modelmedic.text import printable

VERSION = 1
MAX_BYTES = 256 << 20  # digests of 16 TB
MAX_FILES = 100_000
_HEX64 = "^[0-9a-f]{64}$"
_TEXT = {"type": "string", "maxLength": 1000}
_SIZE = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["modelmedic_manifest", "name", "repo", "revision", "made_at", "files"],
    "additionalProperties": False,
    "properties": {
        "modelmedic_manifest": {"const": VERSION},
        "name": _TEXT,
        "repo": _TEXT,
        "revision": _TEXT,
        "made_at": _TEXT,
        "files": {
            "type": "array",
            "maxItems": MAX_FILES,
            "items": {
                "type": "object",
                "required": ["path", "size_bytes", "sha256"],
                "additionalProperties": False,
                "properties": {
                    "path": _TEXT,
                    "size_bytes": _SIZE,
                    "sha256": {"type": "string", "pattern": _HEX64},
                    "git_blob": {"type": "string", "pattern": "^[0-9a-f]{40}$"},
                    "blocks": {
                        "type": "object",
                        "required": ["algorithm", "block_bytes", "digests"],
                        "additionalProperties": False,
                        "properties": {
                            "algorithm": {"enum": ["blake3", "sha256"]},
                            "block_bytes": {
                                "type": "integer", "minimum": 1 << 16, "maximum": 1 << 30,
                            },
                            "digests": {"type": "string"},
                        },
                    },
                },
            },
        },
    },
}  # fmt: skip
_DIGESTS = re.compile(r"(?:[0-9a-f]{64})*")
_FLAGS = getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


class BadManifest(ModelmedicError):  # noqa: N818 - named for what it is, as its siblings
    """A manifest is not there, or is none."""


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """One file: its path in the model's folder, its digests, its Git SHA-1 if that is known."""

    path: str
    digests: Digests
    git_blob: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of one model as they are published. ``repo`` and ``revision`` may be empty."""

    name: str
    repo: str
    revision: str
    made_at: str
    files: tuple[ManifestFile, ...]


def read(path: Path) -> Manifest:
    """Return the manifest in a file.

    Raises:
        BadManifest: It cannot be read, is too large, or is no manifest of this version.
    """
    value = _json(path)
    fault = first_fault(value, SCHEMA)
    if fault is not None:
        if isinstance(value, dict) and value.get("modelmedic_manifest") not in {None, VERSION}:
            fault = f"it is of version {printable(str(value['modelmedic_manifest']))[:20]}"
        raise _bad(path, f"{fault}.")
    files = tuple(_file(path, entry) for entry in value["files"])
    names = [file.path.lower() for file in files]
    if len(set(names)) < len(names):
        raise _bad(path, "two of its files have one name.")
    return Manifest(value["name"], value["repo"], value["revision"], value["made_at"], files)


def to_json(manifest: Manifest) -> dict[str, Any]:
    """Return a manifest as plain JSON values, its files in the order of their paths."""
    return {
        "modelmedic_manifest": VERSION,
        "name": manifest.name,
        "repo": manifest.repo,
        "revision": manifest.revision,
        "made_at": manifest.made_at,
        "files": [_entry(file) for file in sorted(manifest.files, key=lambda each: each.path)],
    }


def leaves(path: str) -> bool:
    """Return whether a path is none inside a folder, on any system."""
    posix, windows = PurePosixPath(path), PureWindowsPath(path)
    return (
        not path
        or "\0" in path
        or "\\" in path
        or posix.is_absolute()
        or bool(windows.drive)
        or ".." in posix.parts
        or str(posix) != path
    )


def _entry(file: ManifestFile) -> dict[str, Any]:
    digests = file.digests
    entry: dict[str, Any] = {
        "path": file.path, "size_bytes": digests.size_bytes, "sha256": digests.sha256,
    }  # fmt: skip
    if file.git_blob is not None:
        entry["git_blob"] = file.git_blob
    if digests.blocks is not None:
        entry["blocks"] = {
            "algorithm": digests.blocks.algorithm,
            "block_bytes": digests.blocks.block_bytes,
            "digests": digests.blocks.digests.hex(),
        }
    return entry


def _file(manifest: Path, entry: dict[str, Any]) -> ManifestFile:
    path, size_bytes = entry["path"], entry["size_bytes"]
    if leaves(path):
        raise _bad(manifest, f"{printable(path)} is no path inside a model's folder.")
    blocks = None
    if told := entry.get("blocks"):
        if not _DIGESTS.fullmatch(told["digests"]):
            raise _bad(manifest, f"the digests of {printable(path)} are none.")
        blocks = Blocks(told["algorithm"], told["block_bytes"], bytes.fromhex(told["digests"]))
        if not blocks.fits(size_bytes):
            raise _bad(manifest, f"{printable(path)} has another number of blocks than digests.")
    digests = Digests(size_bytes, entry["sha256"], blocks)
    return ManifestFile(path, digests, entry.get("git_blob"))


def _json(path: Path) -> Any:
    try:
        handle = os.open(path, os.O_RDONLY | _FLAGS)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _bad(path, f"it cannot be read: {reason}.") from error
    with os.fdopen(handle, "rb") as stream:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise _bad(path, "it is no file.")
        if found.st_size > MAX_BYTES:
            raise _bad(path, f"it has {found.st_size:,} bytes; {MAX_BYTES:,} are allowed.")
        try:
            return json.loads(stream.read(MAX_BYTES + 1))
        except (OSError, ValueError, RecursionError) as error:
            raise _bad(path, "it is no JSON text.") from error


def _bad(path: Path, reason: str) -> BadManifest:
    return BadManifest(
        f"{printable(str(path))} is no manifest that can be used: {reason}",
        "",
        "Make one of a good install: modelmedic profile seal DIR",
    )
