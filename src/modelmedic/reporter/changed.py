"""What differs between the environments of two runs, as sentences."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from modelmedic.inventory import unequal
from modelmedic.reporter.reading import Run
from modelmedic.text import printable, size

MOST_OF_A_KIND = 20  # packages or files that are named; of the rest the number is said
_WORDS = {"system": "the system", "python": "Python of the app", "driver": "the NVIDIA driver"}


def between(connection: sqlite3.Connection, before: Run, after: Run) -> tuple[str, ...]:
    """Return what changed from one run to a later one; empty when nothing that is kept did."""
    if before.environment and before.environment == after.environment:
        return ()
    for run in (before, after):
        if not run.environment:
            return (f"What changed is not known: run {run.run_id} kept no inventory.",)
    one, other = (_row(connection, run.environment) for run in (before, after))
    if one is None or other is None:
        return ()
    return tuple(_differences(one, other))


def _row(connection: sqlite3.Connection, key: str | None) -> dict[str, Any] | None:
    row = connection.execute("SELECT * FROM environment WHERE hash = ?", [key]).fetchone()
    return None if row is None else dict(row)


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    for name, words in _WORDS.items():
        if one[name] != other[name]:
            yield _told(words, one[name], other[name])
    if one["memory_bytes"] != other["memory_bytes"]:
        yield _told("memory", *(_bytes(each["memory_bytes"]) for each in (one, other)))
    if one["gpus"] != other["gpus"]:
        yield _told("the cards", *(", ".join(_list(each["gpus"])) for each in (one, other)))
    yield from _of_table("package", _table(one["packages"]), _table(other["packages"]))
    files = [
        {name: _bytes(value) for name, value in _table(each["files"]).items()}
        for each in (one, other)
    ]
    yield from _of_table("file", *files)


def _of_table(kind: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    found = list(unequal(one, other))
    if found and not (one and other):
        yield _told(f"the {kind}s", *(f"{len(each)} of them" * bool(each) for each in (one, other)))
        return
    for name, was, now in found[:MOST_OF_A_KIND]:
        yield _changed(f"{kind} {printable(name)}", was, now)
    if len(found) > MOST_OF_A_KIND:
        yield f"{len(found) - MOST_OF_A_KIND} more of kind {kind} changed."


def _told(what: str, before: str, after: str) -> str:
    """Return the sentence of what an inventory leaves empty also where nobody could ask."""
    if before and after:
        return _changed(what, before, after)
    verb = "are" if what.endswith("s") else "is"
    if after:
        return f"{_capital(what)} {verb} told only in the later run: {printable(after)}."
    return f"{_capital(what)} {verb} not told in the later run: before, {printable(before)}."


def _changed(what: str, before: Any, after: Any) -> str:
    was, now = (printable(value) or "(no version)" for value in (before, after))
    if before is None:
        return f"{_capital(what)} is new: {now}."
    if after is None:
        return f"{_capital(what)} is gone: it was {was}."
    return f"{_capital(what)} changed from {was} to {now}."


def _capital(what: str) -> str:
    return what[0].upper() + what[1:]


def _bytes(count: Any) -> str:
    """Return a count with its exact number: two sizes may read the same when rounded."""
    return f"{size(count)} ({count:,} bytes)" if isinstance(count, int) else ""


def _table(text: str) -> dict[str, Any]:
    value = _parsed(text)
    return value if isinstance(value, dict) else {}


def _list(text: str) -> list[str]:
    value = _parsed(text)
    return [str(each) for each in value] if isinstance(value, list) else []


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
