"""Settings files of the app: what they hold, or why they cannot be read."""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from modelmedic.errors import CannotTell
from modelmedic.facts import safe_open
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.safe_open import FileState
from modelmedic.profile.model import ConfigFile, ConfigKey
from modelmedic.text import printable

# The largest known settings file of a video app has 60 kB; more is no settings file.
MAX_CONFIG_BYTES = 1 << 20
# Tried in this order: the UTF-32 mark begins with the UTF-16 one.
_OTHER_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


# The time of Python's own reader grows with the square of such a run.
_BLANKS = re.compile(r"[^\S\n]{1000}")
_SECRET = re.compile(r"(?i)pass|secret|token|key|auth|credential|cookie|user|account|mail")
_SHOWN_LINES = 3
_SHOWN_LETTERS = 40


@dataclass(frozen=True, slots=True)
class Config:
    """One settings file. ``problem`` says why ``values`` is empty; "" when it was read.

    ``has_bom``: it begins with a UTF-8 byte order mark, which some readers refuse.
    """

    path: str
    state: FileState
    values: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    has_bom: bool = False


class Unreadable(ValueError):  # noqa: N818 - the text is one sentence with line and column
    """The bytes of a settings file do not parse."""


@probe("file_header")
def read_config(facts: FactBook, path: str, file_format: str) -> Config:
    """Return what the settings file ``path`` (relative to the install) holds.

    Args:
        facts: The fact book.
        path: POSIX form.
        file_format: "json", "toml" or "ini".
    """
    with safe_open.opened(facts.context.place, path) as (state, file):
        if file is None:
            return Config(path, state)
        if file.size_bytes > MAX_CONFIG_BYTES:
            problem = f"It has {file.size_bytes:,} bytes; above {MAX_CONFIG_BYTES:,} none is read."
            return Config(path, state, problem=problem)
        data = file.read_at(0, file.size_bytes)
        if file.has_changed():
            raise CannotTell(f"{printable(path)} was written to while it was read.")
    has_bom = data.startswith(codecs.BOM_UTF8)
    try:
        values = parse_config(data, file_format)
    except Unreadable as error:
        return Config(path, state, problem=str(error), has_bom=has_bom)
    return Config(path, state, MappingProxyType(values), has_bom=has_bom)


def parse_config(data: bytes, file_format: str) -> dict[str, Any]:
    """Return the values of a settings file; an ini file as sections of texts.

    Args:
        data: Its bytes; a UTF-8 byte order mark is left out.
        file_format: "json", "toml" or "ini".

    Raises:
        Unreadable: It is empty, not UTF-8, does not parse, or holds no table at its top.
        ValueError: The format is none of the three.
    """
    parsers: dict[str, Callable[[str], Any]] = {"json": json.loads, "toml": _toml, "ini": _ini}
    if file_format not in parsers:
        raise ValueError(f"format {file_format!r} is none of {', '.join(parsers)}")
    text = _decoded(data)
    if not text.strip():
        # TOML and ini allow it, but what leaves such a file is a writer that was killed.
        raise Unreadable("It is empty." if not data else "It holds only white space.")
    try:
        values = parsers[file_format](text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Unreadable(f"It is not JSON at {where}: {error.msg}.") from error
    except RecursionError as error:
        raise Unreadable("It is nested too deeply to be read.") from error
    except ValueError as error:  # TOMLDecodeError; a number of thousands of digits
        raise Unreadable(f"It is not {file_format.upper()}: {printable(error)}.") from error
    if not isinstance(values, dict):
        raise Unreadable("It holds a single value where a table of settings is expected.")
    return values


def value_of(values: Mapping[str, Any], name: str, file_format: str) -> Any:
    """Return the value of the dotted key ``name``.

    In an ini file ("section.option") the option is matched without case, as Python's reader does.

    Raises:
        KeyError: It is not there.
    """
    *tables, last = name.split(".")
    found: Any = values
    for part in [*tables, last.lower() if file_format == "ini" and tables else last]:
        if not isinstance(found, Mapping):
            raise KeyError(name)
        found = found[part]
    return found


def problems_with(config: ConfigFile, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return one clause for each key that does not hold what the profile asks; unknown keys pass.

    A clause for a missing key begins with the key's name and "is missing".
    """
    found = []
    for key in config.keys:
        try:
            value = value_of(values, key.name, config.format)
        except KeyError:
            if key.is_required:
                found.append(f"{printable(key.name)} is missing")
            continue
        problem = problem_with(key, value, config.format)
        if problem:
            found.append(f"{printable(key.name)} is {_shown(key, value)}, {problem}")
    return tuple(found)


def _shown(key: ConfigKey, value: Any) -> str:
    """Return a wrong value for people. What may hold a secret is only named: reports travel."""
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, (list, tuple)):
        return "an array"
    if _SECRET.search(key.name) and value is not None:
        return "a value that is not shown"
    shown = printable(repr(value))
    return shown if len(shown) <= _SHOWN_LETTERS else f"{shown[: _SHOWN_LETTERS - 3]}..."


def problem_with(key: ConfigKey, value: Any, file_format: str) -> str:
    """Return what ``value`` should be instead, as a clause; "" if it is allowed."""
    try:
        typed = _from_text(key.type, value) if file_format == "ini" else value
    except ValueError:
        return f"which is no {key.type}"
    if not _has_type(key.type, typed):
        return f"which is no {key.type}"
    if key.choices and not any(_is_same(typed, choice) for choice in key.choices):
        return f"none of {printable(', '.join(map(repr, key.choices)))}"
    return _out_of_range(key, typed) if isinstance(typed, (int, float)) else ""


def _out_of_range(key: ConfigKey, value: float) -> str:
    # Written so that NaN, which is neither below nor above, is refused.
    if key.minimum is not None and not value >= key.minimum:
        return f"below the least allowed, {key.minimum:g}"
    if key.maximum is not None and not value <= key.maximum:
        return f"above the most allowed, {key.maximum:g}"
    return ""


def _decoded(data: bytes) -> str:
    for mark, name in _OTHER_MARKS:
        if data.startswith(mark):
            raise Unreadable(f"It is written in {name}; settings are read as UTF-8.")
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable(
            f"It is not UTF-8: byte {error.start:,} is 0x{data[error.start]:02x}."
        ) from error


def _toml(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    values: dict[str, Any] = tomllib.loads(text)
    return values


def _ini(text: str) -> dict[str, Any]:
    import configparser

    if blanks := _BLANKS.search(text):
        line = text.count("\n", 0, blanks.start()) + 1
        raise ValueError(f"line {line} has a thousand blanks in a row")
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except configparser.MissingSectionHeaderError as error:
        # Its own words, and those of the next one, would show the line, which may hold a secret.
        raise ValueError(f"line {error.lineno} has no section above it") from error
    except configparser.ParsingError as error:
        numbers = [str(number) for number, _line in getattr(error, "errors", ())]
        lines = ", ".join(numbers[:_SHOWN_LINES]) or getattr(error, "lineno", "?")
        raise ValueError(f"no key and value in line {lines}") from error
    except configparser.Error as error:
        raise ValueError(error.message) from error
    return {name: dict(parser[name]) for name in parser.sections()}


def _from_text(kind: str, value: Any) -> Any:
    """Return an ini file's text as the type a key asks for.

    Raises:
        ValueError: It does not read as that type.
    """
    import configparser

    if not isinstance(value, str):
        return value
    if kind == "integer":
        return int(value)
    if kind == "number":
        return float(value)
    if kind == "boolean":
        states = configparser.ConfigParser.BOOLEAN_STATES
        if value.lower() not in states:
            raise ValueError(value)
        return states[value.lower()]
    return value


def _has_type(kind: str, value: Any) -> bool:
    types: dict[str, tuple[type, ...]] = {
        "string": (str,),
        "integer": (int,),
        "number": (int, float),
        "boolean": (bool,),
        "array": (list,),
        "object": (dict,),
    }
    if kind in {"integer", "number"} and isinstance(value, bool):
        return False  # Python's bool is an int, a setting's is not
    return isinstance(value, types[kind])


def _is_same(value: Any, choice: Any) -> bool:
    return bool(value == choice) and isinstance(value, bool) == isinstance(choice, bool)
