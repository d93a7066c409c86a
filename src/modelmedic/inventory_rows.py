"""What a run record knows of the machine's software, as rows for a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modelmedic.text import size

Pair = tuple[str, Any]


@dataclass(slots=True)
class Rows:
    """Single values, and lists of pairs under a name; both may be empty."""

    rows: list[Pair] = field(default_factory=list)
    lists: list[tuple[str, list[Pair]]] = field(default_factory=list)


def of(inventory: Mapping[str, Any] | None) -> Rows:
    """Return the rows of ``environment.inventory``, judged by the schema; none when there is none.

    What the machine has not, or nobody could ask, has no row.
    """
    if inventory is None:
        return Rows()
    memory = inventory["memory_bytes"]
    rows = (
        ("Python of the app", inventory["python"]),
        ("Driver", inventory["driver"]),
        ("GPU", "; ".join(inventory["gpus"])),
        ("Memory", size(memory) if memory else ""),
        ("Environment", inventory["hash"]),
    )
    lists = (
        ("Packages", sorted(inventory["packages"].items())),
        ("Files", sorted((name, f"{count:,} bytes") for name, count in inventory["files"].items())),
    )
    return Rows([row for row in rows if row[1]], [each for each in lists if each[1]])
