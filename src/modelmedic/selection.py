"""Which checks a person asks for by name: ``--checks weights.sha256[model/a.safetensors],network``.

What they need is judged with them: a check whose cause was left out would blame the wrong thing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from modelmedic.errors import ModelmedicError
from modelmedic.needs import Need, Needs


class BadSelection(ModelmedicError):  # noqa: N818 - as BadProfile
    """A selection means nothing; names the part. Exit code 4."""


_ENTRY = re.compile(r"(?P<name>[^\[\],\s]+)(?:\[(?P<parameter>.+)\])?")
# At a comma, but not at one inside the brackets: a file's name may hold one.
_COMMA = re.compile(r",(?![^\[]*\])")


@dataclass(frozen=True, slots=True)
class Entry:
    """One name of a selection.

    Args:
        name: An area, a check's id, or a pattern of ids with ``*``.
        parameter: Of which the check is judged; of a path its last parts are enough. None: of all.
    """

    name: str
    parameter: str | None = None

    def has(self, check: Need) -> bool:
        """Return whether a check is meant."""
        if self.name != check.area and not fnmatchcase(check.check, self.name):
            return False
        given = self.parameter
        if given is None:
            return True
        own = check.parameter or ""
        return own == given or own.endswith(f"/{given}") or ("*" in given and _like(own, given))

    def __str__(self) -> str:
        return self.name if self.parameter is None else f"{self.name}[{self.parameter}]"


def parse(text: str) -> tuple[Entry, ...]:
    """Return the entries of a selection, separated by commas.

    Raises:
        BadSelection: A part is neither a name nor a name with a parameter in brackets.
    """
    found = []
    for part in filter(None, (part.strip() for part in _COMMA.split(text))):
        match = _ENTRY.fullmatch(part)
        if match is None:
            raise BadSelection(
                f"--checks: {part!r} is no name of checks; it is an area, ID or ID[PARAMETER]."
            )
        found.append(Entry(match["name"], match["parameter"]))
    return tuple(found)


def names(text: str) -> tuple[str, ...]:
    """Return the names of a list that is separated by commas, sorted, each once."""
    return tuple(sorted({part.strip() for part in text.split(",") if part.strip()}))


def chosen(entries: Collection[Entry], checks: Iterable[Need]) -> set[str]:
    """Return the node ids of the checks that are meant, and of all that they need.

    Raises:
        BadSelection: An entry means none of the checks; names it.
    """
    known = list(checks)
    found: set[str] = set()
    for entry in entries:
        meant = {check.nodeid for check in known if entry.has(check)}
        if not meant:
            raise BadSelection(f"--checks: {entry} is no check of this run, and no area of checks.")
        found |= meant
    return _with_causes(found, Needs(known))


def _with_causes(found: set[str], needs: Needs) -> set[str]:
    left = list(found)
    while left:
        fresh = set(needs.causes(left.pop())) - found
        found |= fresh
        left += fresh
    return found


def _like(text: str, pattern: str) -> bool:
    """Return whether a text is as a pattern whose only sign is ``*``."""
    parts = (re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(".*".join(parts), text) is not None
