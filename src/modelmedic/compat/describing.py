"""The table as plain text and as JSON: what ``modelmedic profile compat`` prints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from modelmedic.compat.rows import Pin, Row
from modelmedic.compat.table import Table

SCHEMA = 1  # of the JSON document
_TITLES = {
    "cuda_family": "CUDA families: the oldest driver that runs any build of one major release",
    "cuda_toolkit": "CUDA releases: from this driver on everything of a release works",
    "gpu_arch": "Generations of cards",
    "torch": "Releases of torch",
    "torch_arch": "Code in torch's builds: which cards they serve",
    "pypi_build": "The index's own torch where it has no CUDA",
    "torch_cxx11_abi": "The C++ ABI of torch's wheels",
    "flash_attn": "Releases of flash-attn and the wheels of its project",
    "flash_attn_glibc": "The C library that flash-attn's wheels need",
    "numpy_lt2": "The newest numpy below 2 with a wheel",
    "pin": "What packages ask of each other",
    "resolution": "What pip chose for Wan 2.2's own requirements",
    "known_consistent": "Sets that agree",
}
_SAID_APART = frozenset({"source", "how", "note"})
# The same as "requires", in the form that is judged by.
_FOR_JUDGING = frozenset({"name", "versions", "needs", "requires_python", "is_exact", "package"})


def describe(table: Table) -> str:
    """Return the table in lines for people: each row, how sure it is, where it comes from."""
    return "\n".join(_lines(table))


def as_json(table: Table) -> str:
    """Return the table as one JSON document, rows in the order of the table."""
    import json

    rows = [
        {"group": group, "cite": row.cite, "is_certain": row.is_certain, **_values(row)}
        for group, found in table.groups()
        for row in found
    ]
    return json.dumps({"schema": SCHEMA, "as_of": table.as_of, "rows": rows}, indent=1)


def _lines(table: Table) -> Iterator[str]:
    yield f"What goes together, as of {table.as_of}."
    yield "A row that is not certain may degrade a finding and never fail one."
    for group, rows in table.groups():
        yield ""
        yield _TITLES[group]
        for row in rows:
            yield from _row(row)


def _row(row: Row) -> Iterator[str]:
    yield f"  {row.cite}: {'; '.join(_told(row))}"
    if row.note:
        yield f"    note: {row.note}"
    yield f"    {'certain' if row.is_certain else 'not certain'} ({row.how}): {row.source}"


def _told(row: Row) -> Iterator[str]:
    for name, value in _values(row).items():
        is_cited = isinstance(value, str) and row.cite.endswith(f" {value}")
        is_said = name in _SAID_APART or (isinstance(row, Pin) and name in _FOR_JUDGING)
        if value and not is_said and not is_cited:
            words = " ".join(value) if isinstance(value, list) else str(value)
            yield f"{name.replace('_', ' ')} {words}"


def _values(row: Row) -> dict[str, Any]:
    found = {field.name: getattr(row, field.name) for field in fields(row)}
    return {n: list(v) if isinstance(v, tuple) else v for n, v in found.items()}
