"""Texts from outside cut to a length that a reader of an export can bear."""

from __future__ import annotations

MOST_LETTERS = 4_000  # of a message; as much as the history keeps
MOST_LABEL_LETTERS = 200  # of a label or a name


def clipped(text: str, most: int) -> str:
    """Return a text, or its begin and how many letters are left out."""
    if len(text) <= most:
        return text
    return f"{text[:most]}... ({len(text) - most:,} more letters)"
