"""What pip says it would install, as values: pinned to one file each, with its SHA-256."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from modelmedic.errors import CannotTell
from modelmedic.facts.packages import is_name, normalised
from modelmedic.text import printable

_START = re.compile(r"^\{\s*$", re.MULTILINE)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WHEEL = re.compile(r"[A-Za-z0-9_.+!]+(-[A-Za-z0-9_.+!]+){4,5}\.whl")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+!_-]*")


@dataclass(frozen=True, slots=True)
class Pinned:
    """One distribution of a resolved set and the wheel it comes as.

    ``url`` is as pip tells it: without credentials. ``sha256`` is "" where the index states none.
    ``size_bytes`` is 0 until somebody asked for it.
    """

    name: str
    version: str
    filename: str
    url: str
    sha256: str
    requires: tuple[str, ...] = ()
    size_bytes: int = 0

    @property
    def key(self) -> str:
        """Return the normalised name (PEP 503)."""
        return normalised(self.name)

    @property
    def pin(self) -> str:
        """Return the requirement that only this version meets."""
        return f"{self.name}=={self.version}"


@dataclass(frozen=True, slots=True)
class Resolution:
    """What pip would install, in its order; empty when all that was asked for is there."""

    items: tuple[Pinned, ...]
    pip_version: str = ""

    def item(self, name: str) -> Pinned | None:
        """Return the item of a distribution; None when pip would not install it."""
        return next((item for item in self.items if item.key == normalised(name)), None)


def parse(text: str) -> Resolution:
    """Return the report that pip printed among other lines.

    Source: pip documentation, "Installation Report", version 1.

    Raises:
        CannotTell: It is no such report, or names what is no wheel.
    """
    try:
        begin = _START.search(text)
        document, _end = json.JSONDecoder().raw_decode(text, begin.start() if begin else 0)
        items = tuple(_pinned(entry) for entry in document["install"])
        return Resolution(items, printable(document.get("pip_version", "")))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CannotTell(
            f"pip's report of what it would install cannot be read: {printable(error)}.",
            "Most often a pip older than 23, or something that prints at every start of Python.",
        ) from error


def _pinned(entry: Any) -> Pinned:
    metadata, source = entry["metadata"], entry["download_info"]
    archive = source.get("archive_info") or {}
    name, version, url = metadata["name"], metadata["version"], str(source["url"])
    filename = PurePosixPath(unquote(urlsplit(url).path)).name
    sha256 = (archive.get("hashes") or {}).get("sha256", "")
    if not is_name(name) or not _VERSION.fullmatch(version):
        raise ValueError(f"{printable(name)} {printable(version)} is no name and version")
    if not is_wheel_name(filename):
        raise ValueError(f"{printable(filename)} is no wheel")
    if sha256 and not _SHA256.fullmatch(sha256):
        raise ValueError(f"the SHA-256 of {printable(filename)} is none")
    requires = tuple(str(line) for line in metadata.get("requires_dist", ()))
    return Pinned(name, version, filename, url, sha256, requires)


def is_wheel_name(filename: str) -> bool:
    """Return whether a text is the file name of a wheel, and nothing that could be a path."""
    return _WHEEL.fullmatch(filename) is not None
