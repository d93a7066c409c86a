"""Make bytes of ours fit to leave the machine: masked value by value, contents of files taken out.

Structured data is masked before it is written out again: a mask inside of JSON or XML text could
hit what holds the structure together, and a name that stands there escaped would not be found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from modelmedic.text import counted, visible

Mask = Callable[[str], str]

_MOST_LINE = 64 * 1024  # letters of a line of a log; a whole traceback has a tenth of it
_CONTENT = "content"  # key of an operation: the whole text of a settings file
_SURROGATES = re.compile("[\ud800-\udfff]")


def as_json(value: Any, mask: Mask) -> bytes:
    """Return a JSON value masked, as text."""
    return dumped(clean(value, mask))


def dumped(value: Any) -> bytes:
    """Return a JSON value without surrogates as text."""
    return f"{json.dumps(value, indent=1, ensure_ascii=False)}\n".encode()


def as_lines(data: bytes, mask: Mask) -> bytes:
    """Return lines of JSON, each masked; what is no JSON, as the torn last line, is masked text."""
    lines = (line for line in data.split(b"\n") if line.strip())
    return b"".join(_line(line, mask) + b"\n" for line in lines)


def as_text(data: bytes, mask: Mask) -> bytes:
    """Return text masked, with what cannot be seen in it as escapes, and no line without end."""
    text = mask(data.decode("utf-8", "backslashreplace"))
    return "\n".join(map(_clipped, visible(text).split("\n"))).encode("utf-8", "backslashreplace")


def as_xml(data: bytes, mask: Mask) -> bytes | None:
    """Return XML with its texts and attributes masked; None: it is no XML that pytest writes."""
    import xml.etree.ElementTree as ET

    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        return None  # no entities, so nothing that unfolds
    try:
        root = ET.fromstring(data)  # noqa: S314 - see above
    except (ET.ParseError, ValueError, LookupError):
        return None
    for node in root.iter():
        node.text = node.text and mask(node.text)
        node.tail = node.tail and mask(node.tail)
        for name, value in node.attrib.items():
            node.set(name, mask(value))
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def clean(value: Any, mask: Mask) -> Any:
    """Return a JSON value masked, keys included, without whole settings files and surrogates."""
    if isinstance(value, str):
        return _SURROGATES.sub(lambda match: f"\\u{ord(match[0]):04x}", mask(value))
    if isinstance(value, dict):
        return {clean(str(key), mask): part for key, part in _parts(value, mask)}
    if isinstance(value, list | tuple):
        return [clean(part, mask) for part in value]
    return value


def _parts(value: dict[str, Any], mask: Mask) -> Iterator[tuple[str, Any]]:
    for key, part in value.items():
        if key == _CONTENT and isinstance(part, str):
            yield key, f"({counted(len(part), 'character')} left out)"
        else:
            yield key, clean(part, mask)


def _line(line: bytes, mask: Mask) -> bytes:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return as_text(line, mask)
    return json.dumps(clean(value, mask), ensure_ascii=False).encode()


def _clipped(line: str) -> str:
    if len(line) <= _MOST_LINE:
        return line
    return f"{line[:_MOST_LINE]} ... {len(line) - _MOST_LINE:,} more characters were left out"
