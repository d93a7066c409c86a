"""Where in a text something leaks: known values letter by letter, then words by their shape."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from modelmedic.leaks.known import Known
from modelmedic.leaks.shapes import assigned, in_addresses, private_keys, tokens
from modelmedic.leaks.unseen import reading

Span = tuple[int, int, str]
_LEAST_SQUEEZED = 12  # letters of a secret that is looked for across line ends
_IGNORED = "\r\n\t \\\"'+>|"  # what stands between the parts of a text split over lines
_SQUEEZE = str.maketrans("", "", _IGNORED)
_HOMES = re.compile(r"(?i)(?:/|\\{1,8}|%2f|%5c)(?:home|users)(?:/+|\\{1,8}|%2f|%5c)")
_ENDS_COMPONENT = re.compile(r"[/\\\s:;,'\"<>()\[\]{}|*?&#%]")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{20,}")
_MOST_ENCODED = 1 << 20
_MOST_NAME = 64


def spans(text: str, known: Known) -> list[Span]:
    """Return begin, end and kind of each leak, by begin, the longer one first."""
    found = {
        *_literal(text, known),
        *_squeezed(text, known),
        *_named(text, known.users, "user name"),
        *_named(text, known.hosts, "host name"),
        *_homes(text, known),
        *tokens(text),
        *assigned(text),
        *in_addresses(text),
        *private_keys(text),
        *_encoded(text),
        *_as_read(text, known),
    }
    return sorted(found, key=lambda span: (span[0], -span[1], span[2]))


def _as_read(text: str, known: Known) -> Iterator[Span]:
    """Yield what leaks only to who reads it: colours and unseen letters break it apart."""
    read = reading(text)
    if read is None:
        return
    found = (tokens, assigned, in_addresses)
    for start, end, kind in (
        *_literal(read.text, known),
        *(span for look in found for span in look(read.text)),
    ):
        if end > start:
            yield read.place(start), read.place(end - 1) + 1, kind


def _literal(text: str, known: Known) -> Iterator[Span]:
    for form, kind in known.forms():
        for at in _places(text, form):
            yield at, at + len(form), kind


def _places(text: str, part: str) -> Iterator[int]:
    at = text.find(part) if part else -1
    while at >= 0:
        yield at
        at = text.find(part, at + len(part))


def _squeezed(text: str, known: Known) -> Iterator[Span]:
    """Yield known secrets that are split: over lines, by quotes, by a shell's continuation."""
    if not any(letter in text for letter in "\n\r\\"):
        return
    squeezed = text.translate(_SQUEEZE)
    forms = {form.translate(_SQUEEZE) for form, _kind in known.forms()}
    hits = [
        (at, len(form))
        for form in forms
        if len(form) >= _LEAST_SQUEEZED
        for at in _places(squeezed, form)
    ]
    if not hits:
        return
    places = [at for at, letter in enumerate(text) if letter not in _IGNORED]
    for at, length in hits:
        begins, ends = places[at], places[at + length - 1] + 1
        if ends - begins > length:  # else it was found as it is
            yield begins, ends, "known secret, split"


def _named(text: str, names: tuple[str, ...], kind: str) -> Iterator[Span]:
    """Yield names that stand as words or parts of a path, whatever their case."""
    folded = text.lower() if names else ""
    if len(folded) != len(text):  # a letter that has two in small
        folded = text
    for name in names:
        for form in {name.lower(), name.lower().replace(" ", "%20")}:
            for at in _places(folded, form):
                end = at + len(form)
                if not _is_word_letter(text[at - 1 : at]) and not _is_word_letter(text[end:][:1]):
                    yield at, end, kind


def _is_word_letter(letter: str) -> bool:
    return letter.isalnum() or letter in {"_", "-"}


def _homes(text: str, known: Known) -> Iterator[Span]:
    for home in known.homes:
        for form in {home, home.replace("\\", "\\\\"), home.replace("\\", "/")}:
            for at in _places(text, form):
                end = at + len(form)
                if end == len(text) or _ENDS_COMPONENT.match(text, end):
                    yield at, end, "home folder"
    for found in _HOMES.finditer(text):
        before = text[found.start() - 1 : found.start()]
        if found[0].startswith("/") and (before.isalnum() or before in {".", "-", "_", "~"}):
            continue  # the page "/home/..." of a site, a folder below another
        stop = _ENDS_COMPONENT.search(text, found.end(), found.end() + _MOST_NAME)
        end = stop.start() if stop else min(len(text), found.end() + _MOST_NAME)
        if _hides_nobody(text[found.end() : end].strip(".")):
            continue
        yield found.end(), end, "home folder"


def _hides_nobody(name: str) -> bool:
    from modelmedic.masking.names import is_person  # as masking judges, or no archive could pass

    return not is_person(name)


def _encoded(text: str) -> Iterator[Span]:
    """Yield base64 in which a token or a password stands, whoever it belongs to."""
    for found in _BASE64.finditer(text):
        run = found[0][:_MOST_ENCODED].replace("-", "+").replace("_", "/")
        for skip in range(4):  # it may begin behind letters that are none of it
            plain = _decoded(run[skip:])
            if plain and any(tokens(plain)):
                yield found.start(), found.end(), "token in base64"
                break
            if plain and any(in_addresses(plain)):
                yield found.start(), found.end(), "password in base64"
                break


def _decoded(run: str) -> str:
    """Return what base64 stands for, where that is text; else ""."""
    try:
        data = base64.b64decode(run[: len(run) // 4 * 4])
        head = data[:16].decode("ascii")
    except (binascii.Error, ValueError):
        return ""
    return data.decode("ascii", "replace") if head.isprintable() or "\n" in head else ""
