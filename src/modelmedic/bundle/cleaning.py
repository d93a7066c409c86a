"""Make bytes of ours fit to leave the machine: masked value by value, contents of files taken out.

Structured data is masked before it is written out again: a mask inside of JSON or XML text could
hit what holds the structure together, and a name that stands there escaped would not be found.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from modelmedic import rooms
from modelmedic.text import counted, visible

if TYPE_CHECKING:
    from modelmedic.masking import Masker

_MOST_LINE = 64 * 1024  # letters of a line of a log; a whole traceback has a tenth of it
_CONTENT = "content"  # key of an operation: the whole text of a settings file
_SURROGATES = re.compile("[\ud800-\udfff]")
# What the schema itself settles says nothing of anybody; masked, the record would be none.
_SETTLED = frozenset({"const", "enum", "pattern"})


class Hider(Protocol):
    """What takes secrets and names out of texts: the rules of masking, or the second look."""

    def text(self, text: str) -> str:
        """Return a text without them."""

    def by_key(self, key: str, part: Any) -> Any:
        """Return what stands for a value because of what it is called; None: nothing does."""


@dataclass(frozen=True, slots=True)
class ByRules:
    """The masking of what leaves the machine."""

    masker: Masker

    def text(self, text: str) -> str:
        """Return a text masked."""
        return self.masker.mask(text)

    def by_key(self, key: str, part: Any) -> Any:
        """Return the mask of a value whose key names a secret or a prompt; else None."""
        from modelmedic.masking.masker import told_by_key

        return told_by_key(key, part)


@dataclass(frozen=True, slots=True)
class Shape:
    """A part of a JSON Schema, with the whole that its references mean."""

    part: Mapping[str, Any]
    whole: Mapping[str, Any]

    @property
    def is_settled(self) -> bool:
        """Return whether the schema allows no free text here."""
        return not _SETTLED.isdisjoint(self._own)

    def knows(self, key: str) -> bool:
        """Return whether the schema names this key."""
        return key in self._own.get("properties", {})

    def of(self, key: str) -> Shape:
        """Return the shape of a value by its key."""
        others = self._own.get("additionalProperties", {})
        default = others if isinstance(others, dict) else {}
        return Shape(self._own.get("properties", {}).get(key, default), self.whole)

    def items(self) -> Shape:
        """Return the shape of the items of a list."""
        return Shape(self._own.get("items", {}), self.whole)

    @property
    def _own(self) -> Mapping[str, Any]:
        if "$ref" not in self.part:
            return self.part
        found: Mapping[str, Any] = self.whole["$defs"][self.part["$ref"].rpartition("/")[2]]
        return found


_FREE = Shape({}, {})
_NO_JSON = object()


@cache
def of_records() -> Shape:
    """Return the shape of run records."""
    file = rooms.room("reports") / "run-record.schema.json"
    schema = json.loads(file.read_text(encoding="utf-8"))
    return Shape(schema, schema)


def clean(value: Any, hider: Hider, shape: Shape = _FREE) -> Any:
    """Return a JSON value masked, keys included, without whole settings files and surrogates.

    Args:
        value: The value.
        hider: What masks it.
        shape: Its schema: what that settles stays as it is.
    """
    if isinstance(value, str):
        return value if shape.is_settled else _plain(hider.text(value))
    if isinstance(value, dict):
        return {
            key if shape.knows(key) else _plain(hider.text(key)): _part(
                key, part, hider, shape.of(key)
            )
            for key, part in value.items()
        }
    if isinstance(value, list):
        inner = shape.items()
        return [clean(part, hider, inner) for part in value]
    return value


def dumped(value: Any) -> bytes:
    """Return a JSON value without surrogates as text."""
    return f"{json.dumps(value, indent=1, ensure_ascii=False)}\n".encode()


def as_json(data: bytes, hider: Hider) -> bytes | None:
    """Return JSON masked; None: it is none."""
    try:
        return dumped(clean(json.loads(data), hider))
    except (ValueError, RecursionError):
        return None


def as_lines(data: bytes, hider: Hider) -> bytes:
    """Return lines of JSON, each masked; what is no JSON, as the torn last line, is masked text.

    Such lines are masked together: a secret may be broken over two.
    """
    lines = [(line, _loaded(line)) for line in data.split(b"\n") if line.strip()]
    parts = []
    for is_text, group in itertools.groupby(lines, lambda pair: pair[1] is _NO_JSON):
        if is_text:
            parts.append(as_text(b"\n".join(line for line, _ in group), hider))
        else:
            parts += [_line(value, hider) for _, value in group]
    return b"".join(part + b"\n" for part in parts)


def as_text(data: bytes, hider: Hider) -> bytes:
    """Return text masked, with what cannot be seen in it as escapes, and no line without end."""
    text = visible(hider.text(data.decode("utf-8", "backslashreplace")))
    return "\n".join(map(_clipped, text.split("\n"))).encode("utf-8", "backslashreplace")


def as_xml(data: bytes, hider: Hider) -> bytes | None:
    """Return XML with its texts and attributes masked; None: it is no XML that pytest writes."""
    import xml.etree.ElementTree as ET

    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        return None  # no entities, so nothing that unfolds
    try:
        root = ET.fromstring(data)  # noqa: S314 - see above
    except (ET.ParseError, ValueError, LookupError):
        return None
    for node in root.iter():
        node.text = node.text and hider.text(node.text)
        node.tail = node.tail and hider.text(node.tail)
        for name, value in node.attrib.items():
            node.set(name, hider.text(value))
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def in_its_form(name: str, data: bytes, hider: Hider) -> bytes | None:
    """Return a member's bytes masked by what its name says it is; None: it is not that."""
    if name.endswith(".json"):
        return as_json(data, hider)
    if name.endswith(".xml"):
        return as_xml(data, hider)
    return (as_lines if name.endswith(".jsonl") else as_text)(data, hider)


def _part(key: str, part: Any, hider: Hider, shape: Shape) -> Any:
    if key == _CONTENT and isinstance(part, str):
        is_out = part.endswith(" left out)")
        return part if is_out else f"({counted(len(part), 'character')} left out)"
    told = None if shape.is_settled else hider.by_key(key, part)
    return clean(part, hider, shape) if told is None else told


def _loaded(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return _NO_JSON


def _line(value: Any, hider: Hider) -> bytes:
    return json.dumps(clean(value, hider), ensure_ascii=False).encode()


def _plain(text: str) -> str:
    return _SURROGATES.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _clipped(line: str) -> str:
    if len(line) <= _MOST_LINE:
        return line
    return f"{line[:_MOST_LINE]} ... {len(line) - _MOST_LINE:,} more characters were left out"
