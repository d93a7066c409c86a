r"""A second reading of a text: without colours and letters that nobody sees.

A terminal shows ``\x1b[32mhf_...`` as a token; to a pattern it is the end of a longer word. So a
text that holds such things is masked both as it is and as it is read.
"""

from __future__ import annotations

import re

# Colours: real, as Python, JSON or a shell prints them, and with the first letter lost.
_COLOURS = re.compile(
    r"(?:\x1b|\x9b|\\x1b|\\u001b|\\033|\\e)\[[0-9;?]{0,40}[A-Za-z]|\x9b?\[\d{1,3}(?:;\d{1,3}){0,8}m"
)
_LINKS = re.compile(r"\x1b(?:\][0-9]{1,4};[^;\x07\x1b]{0,80};?|\\)|\x07")
_UNSEEN = (
    *(0xAD, 0x7F, 0x34F, 0x61C, 0x180E, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F)),
    *(*range(0x2060, 0x2070), *range(0xFE00, 0xFE10)),
)
_WIDE = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_LETTERS = {**dict.fromkeys(_UNSEEN), **_WIDE}
_ODD = re.compile("[\xad\x7f\u034f\u061c\u180e\u200b-\u206f\ufe00-\ufe0f\ufeff\uff01-\uff5e]")
_UNSEEN_WRITTEN = re.compile(r"(?i)\\(?:u200[b-f]|u2060|ufeff|u00ad|xad)")
_TWO_BYTES = re.compile("(?:[ -~]\0){4,}|(?:\0[ -~]){4,}")
_CHUNK = re.compile("(?:[tiz][TE][XT][Xt]t?)?(prompt|workflow|parameters)\0+")


def as_read(text: str) -> str:
    """Return ``text`` as a person reads it; the same text when it hides nothing."""
    if "[" in text and "m" in text:
        text = _COLOURS.sub("", text)
    if "\x1b" in text or "\x07" in text:
        text = _LINKS.sub(" ", _COLOURS.sub("", text))
    if "\0" in text:
        text = _TWO_BYTES.sub(lambda found: found[0].replace("\0", ""), text)
        text = _CHUNK.sub(r"\n\1=", text).replace("\0", "\n")
    if "\\" in text:
        text = _UNSEEN_WRITTEN.sub("", text)
    if not text.isascii() and _ODD.search(text):
        return text.translate(_LETTERS)
    return text.replace("\x7f", "") if "\x7f" in text else text
