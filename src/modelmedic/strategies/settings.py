"""Settings documents: their text, their values, and what is to change in them."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from modelmedic.facts.configs import Unreadable, parse_config, problem_with, value_of
from modelmedic.profile.model import ConfigKey

MISSING: Final = object()
KeyPath = tuple[str, ...]

# A byte that is not UTF-8, or half a UTF-16 pair: what stands for it is never written.
UNDECODED = re.compile("[\ud800-\udfff]")
_WIDE_MARKS = (  # the UTF-32 mark begins with the UTF-16 one
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a settings file, without its byte order mark.

    ``encoding``: "utf-8", or the one its byte order mark names. Bytes that do not decode are lone
    surrogates in ``text``.
    """

    text: str
    encoding: str = "utf-8"
    has_bom: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """One key to write; ``value`` `MISSING`: to remove."""

    path: KeyPath
    value: Any


@dataclass(frozen=True, slots=True)
class Loss:
    """Something of a damaged file that could not be read.

    ``name`` is for people: a dotted key or "line 7". ``path`` is None when no key is known.
    ``is_encoding``: it was whole, only its bytes are not those of the encoding.
    """

    name: str
    path: KeyPath | None = None
    is_encoding: bool = False


@dataclass(frozen=True, slots=True)
class Recovered:
    """What could be read of a file that does not parse.

    ``text`` parses, or is "" when nothing could be read. ``slips`` are clauses about mistakes
    that cost no value ("without 2 comments").
    """

    text: str
    losses: tuple[Loss, ...] = ()
    slips: tuple[str, ...] = ()


def decode(data: bytes) -> Source:
    """Return the text of a settings file; a character cut at its end is left out."""
    for mark, name in _WIDE_MARKS:
        if data.startswith(mark):
            decoder = codecs.getincrementaldecoder(name)("surrogatepass")
            try:
                return Source(decoder.decode(data), name)
            except UnicodeDecodeError:  # a UTF-32 unit that is no character at all
                return Source("", name)
    body = data.removeprefix(codecs.BOM_UTF8)
    return Source(body.decode("utf-8", "surrogateescape"), has_bom=len(body) < len(data))


def parse(text: str, file_format: str) -> dict[str, Any] | None:
    """Return the values as they stand in the text; None when it does not parse.

    Of an ini file, ``[DEFAULT]`` is a section like any other; `judged` spreads it.
    """
    try:
        values = parse_config(text.encode(), file_format)
    except (Unreadable, UnicodeEncodeError):
        return None
    return _sections(text) if file_format == "ini" else values


def _sections(text: str) -> dict[str, Any] | None:
    import configparser

    parser = configparser.ConfigParser(interpolation=None, default_section="\0")
    try:
        parser.read_string(text)
    except configparser.Error:
        return None  # [DEFAULT] twice, which it may otherwise be
    return {name: dict(parser[name]) for name in parser.sections()}


def judged(document: dict[str, Any], file_format: str) -> dict[str, Any]:
    """Return the values as an app reads them: an ini file's ``[DEFAULT]`` in each section."""
    if file_format != "ini":
        return document
    common = document.get("DEFAULT", {})
    return {name: {**common, **options} for name, options in document.items() if name != "DEFAULT"}


def good_value(document: dict[str, Any], key: ConfigKey, file_format: str) -> Any:
    """Return the value of a key if it is one the profile allows, else `MISSING`."""
    value = value_at(document, key, file_format)
    return MISSING if value is MISSING or problem_with(key, value, file_format) else value


def value_at(document: dict[str, Any], key: ConfigKey, file_format: str) -> Any:
    """Return the value of a key, good or bad; `MISSING` when it is not there."""
    try:
        return value_of(judged(document, file_format), key.name, file_format)
    except KeyError:
        return MISSING


def has(document: dict[str, Any], path: KeyPath) -> bool:
    """Return whether there is a value at ``path``."""
    here: Any = document
    for part in path:
        if not isinstance(here, dict) or part not in here:
            return False
        here = here[part]
    return True


def in_the_way(document: dict[str, Any], path: KeyPath) -> tuple[str, Any] | None:
    """Return the dotted name and the value of what stands where ``path`` needs a table."""
    here: Any = document
    for depth, part in enumerate(path[:-1], start=1):
        if part not in here:
            return None
        here = here[part]
        if not isinstance(here, dict):
            return ".".join(path[:depth]), here
    return None


def put(document: dict[str, Any], path: KeyPath, value: Any) -> None:
    """Set a key; what is in its way and is no table is replaced."""
    for part in path[:-1]:
        below = document.get(part)
        if not isinstance(below, dict):
            below = document[part] = {}
        document = below
    document[path[-1]] = value


def drop(document: dict[str, Any], path: KeyPath) -> None:
    """Remove a key if it is there."""
    here: Any = document
    for part in path[:-1]:
        here = here.get(part) if isinstance(here, dict) else None
    if isinstance(here, dict):
        here.pop(path[-1], None)


def absent_from(
    document: dict[str, Any], good: dict[str, Any], above: KeyPath = ()
) -> Iterator[Change]:
    """Yield what ``good`` has and ``document`` has not, as few changes as say it."""
    for name, value in good.items():
        if name not in document:
            yield Change((*above, name), value)
        elif isinstance(value, dict) and isinstance(document[name], dict):
            yield from absent_from(document[name], value, (*above, name))


def is_same(one: Any, other: Any) -> bool:
    """Return whether two values are written alike: 1 is not 1.0 nor true, and NaN is NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return bool(one == other) or (one != one and other != other)  # noqa: PLR0124 - NaN


def newline_of(text: str) -> str:
    """Return the line ending of a text: that of Windows only if no line has the other one."""
    return "\r\n" if "\r\n" in text and not re.search(r"(?<!\r)\n", text) else "\n"
