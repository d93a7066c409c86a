"""What a run record knows of the machine's software, as rows for a page; it may be a stranger's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modelmedic.text import size

_NAMED = (
    ("python", "Python of the app"),
    ("driver", "Driver"),
    ("gpus", "GPU"),
    ("memory_bytes", "Memory"),
    ("hash", "Environment"),
)
_LISTED = (("packages", "Packages"), ("files", "Files"))
Pair = tuple[str, Any]


@dataclass(slots=True)
class Rows:
    """Single values, and lists of pairs under a name; both may be empty."""

    rows: list[Pair] = field(default_factory=list)
    lists: list[tuple[str, list[Pair]]] = field(default_factory=list)


def of(inventory: Any) -> Rows:
    """Return the rows of ``environment.inventory``; none when there is none.

    The record's schema leaves its inside open, so nothing about it is taken for granted.
    """
    told = Rows()
    if not isinstance(inventory, Mapping):
        return told
    for key, name in _NAMED:
        if value := _value(key, inventory.get(key)):
            told.rows.append((name, value))
    for key, name in _LISTED:
        if pairs := _pairs(inventory.get(key)):
            told.lists.append((name, pairs))
    return told


def _value(key: str, value: Any) -> str:
    if key == "memory_bytes":
        return size(value) if isinstance(value, int) and 0 < value < 2**63 else ""
    if isinstance(value, list):
        return "; ".join(_value(key, each) for each in value)
    if isinstance(value, Mapping):
        return ", ".join(str(part) for part in value.values() if part is not None)
    return "" if value is None else str(value)


def _told(value: Any) -> str:
    """Return the version of a package or the size of a file."""
    is_size = isinstance(value, int) and 0 <= value < 2**63
    return f"{value:,} bytes" if is_size else str(value)


def _pairs(value: Any) -> list[Pair]:
    """Return pairs of name and version (or digest) in order of their names."""
    if isinstance(value, Mapping):
        return sorted((str(name), _told(told)) for name, told in value.items())
    if not isinstance(value, list):
        return []
    pairs = []
    for each in value:
        if isinstance(each, Mapping):
            parts = [part for part in each.values() if part is not None]
        else:
            parts = list(each) if isinstance(each, list) else str(each).split("==", 1)
        pairs.append((str(parts[0]), ", ".join(map(str, parts[1:]))) if parts else ("", ""))
    return sorted(pairs)
