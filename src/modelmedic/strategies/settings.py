"""Settings documents: read them as far as they can be read, change keys, write them."""

from __future__ import annotations

import configparser
import io
import json
from typing import Any, Final

from modelmedic.facts.configs import Unreadable, parse_config, problem_with, value_of
from modelmedic.profile.model import ConfigKey

MISSING: Final = object()


def parse_leniently(text: str, file_format: str) -> dict[str, Any]:
    """Return the document, or an empty one when it does not parse."""
    try:
        return parse_config(text.encode("utf-8", "replace"), file_format)
    except Unreadable:
        return {}


def good_value(document: dict[str, Any], key: ConfigKey, file_format: str) -> Any:
    """Return the value of a key if it is one the profile allows, else `MISSING`."""
    try:
        value = value_of(document, key.name, file_format)
    except KeyError:
        return MISSING
    return MISSING if problem_with(key, value, file_format) else value


def render(document: dict[str, Any], file_format: str) -> str:
    """Return the text of a document: JSON with two spaces, plain INI, or plain TOML."""
    if file_format == "json":
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if file_format == "toml":
        return "\n".join(_toml(document)) + "\n"
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_dict(document)
    stream = io.StringIO()
    parser.write(stream)
    return stream.getvalue()


def _toml(table: dict[str, Any], prefix: str = "") -> list[str]:
    """Return a table's lines. JSON's spelling of keys, strings, numbers and arrays is TOML's."""
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    lines = [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, dict):
            path = f"{prefix}{json.dumps(key)}"
            lines += ["", f"[{path}]", *_toml(value, f"{path}.")]
    return lines


def put(document: dict[str, Any], name: str, value: Any) -> None:
    """Set a dotted key; what is in the way and is no table is replaced."""
    *parents, last = name.split(".")
    for part in parents:
        below = document.get(part)
        if not isinstance(below, dict):
            below = document[part] = {}
        document = below
    document[last] = value


def drop(document: dict[str, Any], name: str) -> None:
    """Remove a dotted key if it is there."""
    *parents, last = name.split(".")
    here: Any = document
    for part in parents:
        here = here.get(part) if isinstance(here, dict) else None
    if isinstance(here, dict):
        here.pop(last, None)
