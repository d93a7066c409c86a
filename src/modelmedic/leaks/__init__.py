"""The second look at what leaves the machine: finds what masking missed, by other means.

Masking goes by patterns of text. This engine shares none of its code: it takes the literal secrets
and names of this machine, in every encoding in which they could have been written, and looks at
words by their first letters, checksums and randomness. What one of the two does not know, the other
may.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelmedic.leaks.known import Known

__all__ = ["Known", "Leak", "in_archive", "in_text", "without"]
_MOST_LETTERS = 200  # of a line that is shown


@dataclass(frozen=True, slots=True)
class Leak:
    """One thing that should not be there.

    ``member``: the name of the archive's member, "" for plain text. ``line``: from 1 on; 0 is the
    member's name. ``masked_line``: the line without it, cut short.
    """

    member: str
    line: int
    kind: str
    masked_line: str


def in_text(text: str, known: Known, *, member: str = "") -> list[Leak]:
    """Return what leaks in ``text``, in its order, one for each line and kind; empty when nothing.

    Args:
        text: Of any length; the work grows with it and no faster.
        known: What must not be in it.
        member: What the leaks are said to lie in.
    """
    from modelmedic.leaks.finding import spans

    found = spans(text, known)
    leaks: list[Leak] = []
    told: set[tuple[int, str]] = set()
    line, at = 1, 0
    for start, end, kind in found:
        line, at = line + text.count("\n", at, start), start
        if (line, kind) not in told:
            told.add((line, kind))
            leaks.append(Leak(member, line, kind, _around(text, start, end, found)))
    return leaks


def without(text: str, known: Known) -> str:
    """Return ``text`` with all that leaks in it replaced by three stars."""
    from modelmedic.leaks.finding import spans

    return _cut_out(text, 0, len(text), spans(text, known))


def in_archive(archive: Path | bytes, known: Known) -> list[Leak]:
    """Return what leaks in a zip archive: in names, texts, and strings inside strings.

    What cannot be looked at (encrypted, too large, no archive) is a leak of the kind
    "could not look": it must not pass.
    """
    from modelmedic.leaks.archive import look

    return look(archive, known)


def _around(text: str, start: int, end: int, found: list[tuple[int, int, str]]) -> str:
    """Return the line of a leak, without any leak, some letters on both sides of it."""
    begins = max(text.rfind("\n", 0, start) + 1, start - _MOST_LETTERS)
    ends = text.find("\n", end)
    ends = min(len(text) if ends < 0 else ends, end + _MOST_LETTERS)
    near = [span for span in found if span[0] < ends and span[1] > begins]
    return " ".join(_cut_out(text, begins, ends, near).split())[: 2 * _MOST_LETTERS]


def _cut_out(text: str, begins: int, ends: int, found: list[tuple[int, int, str]]) -> str:
    parts, at = [], begins
    for start, end, _kind in found:
        if end <= at:
            continue
        parts += [text[at : max(at, start)], "***"]
        at = end
    return "".join([*parts, text[at:ends]])
