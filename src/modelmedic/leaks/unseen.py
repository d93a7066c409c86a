"""A text as it is read, with the place of each letter: leaks behind colours and unseen letters."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass

_ESCAPES = re.compile(
    r"(?:\x1b|\\(?:x1b|u001b|033|e))\[[0-9;?]{0,40}[A-Za-z]|\[[0-9][0-9;]{0,20}m|"
    r"\\u(?:200[b-f]|2060|feff)"
)
_HAS_ESCAPE = re.compile(r"\[[0-9;?]{0,40}[A-Za-z]|\\u[2f]")
_MOST_PARTS = 2_000_000


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read of a text; ``begins`` and ``places``: where its parts stand there and here."""

    text: str
    begins: list[int]
    places: list[int]

    def place(self, at: int) -> int:
        """Return where in the text a letter of the reading stands."""
        part = bisect_right(self.begins, at) - 1
        return self.places[part] + at - self.begins[part]


def reading(text: str) -> Reading | None:
    """Return how ``text`` is read; None where that is the text itself."""
    is_plain = text.isascii() and "\0" not in text and not _HAS_ESCAPE.search(text)
    if is_plain:
        return None
    gaps = sorted(_gaps(text))
    wide: dict[str, str | int | None]
    wide = {letter: _narrow(letter) for letter in set(text) if "\uff01" <= letter <= "\uff5e"}
    if not gaps and not wide:
        return None
    begins, places, parts, at, size = [], [], [], 0, 0
    for start, end in [*gaps[:_MOST_PARTS], (len(text), len(text))]:
        if start > at:
            begins.append(size)
            places.append(at)
            parts.append(text[at:start])
            size += start - at
        at = max(at, end)
    if not begins:
        return None
    return Reading("".join(parts).translate(str.maketrans(wide)), begins, places)


def _gaps(text: str) -> set[tuple[int, int]]:
    gaps = {found.span() for found in _ESCAPES.finditer(text)}
    unseen = [letter for letter in set(text) if _is_unseen(letter)]
    for letter in unseen:
        at = text.find(letter)
        while at >= 0:
            gaps.add((at, at + 1))
            at = text.find(letter, at + 1)
    return gaps


def _is_unseen(letter: str) -> bool:
    return letter == "\0" or (not letter.isascii() and unicodedata.category(letter) == "Cf")


def _narrow(letter: str) -> str:
    return unicodedata.normalize("NFKC", letter)
