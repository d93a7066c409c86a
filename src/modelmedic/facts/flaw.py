"""What is wrong with the bytes of a file, said exactly."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flaw:
    """One way in which a file does not keep what its own structure promises.

    ``code`` is "cut" (bytes are missing at the end), "longer" (bytes follow the end),
    "not-<format>" (another kind of content), "header-damaged", "directory-damaged" or
    "too-large" (bigger than we read). ``text`` is one sentence with both numbers. ``tensors`` are
    the names whose bytes are missing; ``promised_bytes`` is the size the file should have by its
    own word, None if it does not say.
    """

    code: str
    text: str
    tensors: tuple[str, ...] = ()
    promised_bytes: int | None = None
