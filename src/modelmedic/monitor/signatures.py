"""Which known failure the words of a log name, and what is done about it; read when needed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

_MOST_GAP = 200


@dataclass(frozen=True, slots=True)
class Row:
    """What the catalogue says of a failure.

    Args:
        reason: What it is.
        then: What is done about it, as a sentence.
        command: What a person can run.
    """

    reason: str
    then: str
    command: str


def failure_of(lowered: str) -> str | None:
    """Return the id of the known failure that a text in lower case names; None for none."""
    # To look for a word costs a twentieth of a search for a pattern.
    return next(
        (
            failure
            for failure, literal, pattern in _signatures()
            if literal in lowered and pattern.search(lowered)
        ),
        None,
    )


def category_of(text: str) -> str:
    """Return the category that the engine's phrases give a text, in words; empty for none."""
    from modelmedic.healing import wordings

    found = wordings.of_text(text)
    return found.value.replace("_", " ") if found else ""


@cache
def row_of(failure: str) -> Row:
    """Return what the catalogue says of a failure that is in it."""
    row = _catalogue()[failure]
    checks, recoveries = row.get("checks") or [], row.get("recoveries") or []
    chosen = f" --checks={','.join(checks)}" if checks else ""
    if recoveries:
        repairs = ", ".join(recoveries)
        return Row(row["reason"], f"A heal can repair it ({repairs}).", f"modelmedic heal{chosen}")
    return Row(
        row["reason"], f"Nothing is repaired, {row['guidance']}.", f"modelmedic check{chosen}"
    )


@cache
def _signatures() -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    """Return failure, longest piece and pattern of each phrase, in the table's order."""
    return tuple(
        (failure, max(pieces, key=len), _pattern(pieces))
        for failure, phrases in _table("modelmedic.monitor", "signatures.toml").items()
        for pieces in ([piece.strip() for piece in phrase.split("...")] for phrase in phrases)
    )


def _pattern(pieces: list[str]) -> re.Pattern[str]:
    words = rf".{{0,{_MOST_GAP}}}?".join(map(re.escape, pieces))
    # A word begins and ends at its edges; a quote or a parenthesis does everywhere.
    before = r"(?<!\w)" if pieces[0][:1].isalnum() else ""
    after = r"(?!\w)" if pieces[-1][-1:].isalnum() else ""
    return re.compile(before + words + after, re.DOTALL)


@cache
def _catalogue() -> dict[str, Any]:
    return _table("modelmedic.healing", "failures.toml")


def _table(package: str, name: str) -> dict[str, Any]:
    import sys
    from importlib import resources

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    text = resources.files(package).joinpath(name).read_text("utf-8")
    table: dict[str, Any] = tomllib.loads(text)
    return table
