"""JSON settings: recover them after damage, change single keys, write a whole document."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from modelmedic.errors import RecoveryRefused
from modelmedic.strategies import json_reader
from modelmedic.strategies.json_reader import Node
from modelmedic.strategies.json_tokens import Slip
from modelmedic.strategies.settings import (
    MISSING,
    UNDECODED,
    Change,
    KeyPath,
    Recovered,
    newline_of,
)
from modelmedic.text import counted


def recover(text: str) -> Recovered:
    """Return what can be read of a text that is no JSON.

    A text with mistakes only that cost no value (comments, commas too many or too few) keeps
    every other character; one with real damage is written anew.
    """
    reading = json_reader.read(text)
    if reading.losses:
        values = reading.root.value
        return Recovered(render(values, text) if values else "", tuple(reading.losses))
    right = _corrected(text, reading.slips)
    kinds = Counter(slip.what for slip in reading.slips)
    return Recovered(right, (), tuple(counted(count, kind) for kind, count in kinds.items()))


def write(text: str, changes: Sequence[Change]) -> str:
    """Return ``text`` with its ``changes`` made; every other character stays as it is.

    Args:
        text: JSON.
        changes: The keys to write or remove, in this order.

    Raises:
        RecoveryRefused: The text cannot be edited (nested too deeply).
    """
    for change in changes:
        text = _changed(text, change)
    return text


def render(value: Any, like: str = "") -> str:
    """Return a document in full, with indentation and line endings as in the text ``like``."""
    found = re.search(r'\n([ \t]+)"', like)
    newline = newline_of(like)
    text = _dumped(value, found[1] if found else "  ")
    return text.replace("\n", newline) + newline


def _dumped(value: Any, indent: str | None) -> str:
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    # Half a surrogate pair can be written in JSON, as an escape, and nowhere else.
    return UNDECODED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _corrected(text: str, slips: Sequence[Slip]) -> str:
    parts = []
    done = 0
    for start, end, right in sorted(_span(text, slip) for slip in slips):
        parts += [text[done:start], right]
        done = end
    return "".join([*parts, text[done:]])


def _span(text: str, slip: Slip) -> tuple[int, int, str]:
    """Return what a slip replaces: of a comment also the blanks before it, or its whole line."""
    start, end = slip.start, slip.end
    if slip.what == "comment":
        line = text.rfind("\n", 0, start) + 1
        after = re.compile(r"[ \t]*(?:\r?\n|\Z)").match(text, end)
        if after and not text[line:start].strip(" \t"):
            return line, after.end(), ""
        start = line + len(text[line:start].rstrip(" \t"))
    return start, end, slip.right


def _changed(text: str, change: Change) -> str:
    reading = json_reader.read(text)
    if reading.losses:
        raise RecoveryRefused(
            f"Settings nested deeper than {json_reader.MAX_DEPTH} levels are not edited."
        )
    node = reading.root
    path = change.path
    while True:
        named = [member for member in node.members if member[0] == path[0]]
        if change.value is MISSING and len(path) == 1:
            return _without(text, node, path[0]) if named else text
        # Of a name that stands there twice, readers take the last.
        below = named[-1][2] if named else None
        if below is None or len(path) == 1 or not isinstance(below.value, dict):
            break
        node, path = below, path[1:]
    if change.value is MISSING:
        return text
    return _with(text, node, below, path, change.value)


def _with(text: str, node: Node, below: Node | None, path: KeyPath, value: Any) -> str:
    for name in reversed(path[1:]):
        value = {name: value}
    outer, unit = _indents(text, node)
    is_open = "\n" in text[node.start : node.end] or not node.members
    inner = outer + unit
    newline = newline_of(text)
    if not is_open:
        written = _dumped(value, None)
    else:
        written = _dumped(value, unit).replace("\n", newline + inner)
    if below is not None:
        return text[: below.start] + written + text[below.end :]
    pair = f"{_dumped(path[0], None)}: {written}"
    if not node.members:
        return f"{text[: node.start]}{{{newline}{inner}{pair}{newline}{outer}}}{text[node.end :]}"
    end = node.members[-1][2].end
    gap = newline + inner if is_open else " "
    return f"{text[:end]},{gap}{pair}{text[end:]}"


def _indents(text: str, node: Node) -> tuple[str, str]:
    """Return the indentation of the line on which a table was opened, and one step more."""
    line = text.rfind("\n", 0, node.start) + 1
    outer = re.match(r"[ \t]*", text[line : node.start])
    before = outer[0] if outer else ""
    for _name, start, _value in node.members:
        line = text.rfind("\n", 0, start) + 1
        inner = text[line:start]
        if line > node.start and not inner.strip(" \t") and inner.startswith(before):
            return before, inner[len(before) :]
    found = re.search(r'\n([ \t]+)"', text)
    return before, found[1] if found else "  "


def _without(text: str, node: Node, name: str) -> str:
    """Return the text without a member, each time it stands there, and its comma."""
    members = node.members
    if all(member[0] == name for member in members):
        return f"{text[: node.start]}{{}}{text[node.end :]}"
    seat = len(members)
    while seat:
        seat -= 1
        if members[seat][0] != name:
            continue
        last = seat
        while seat and members[seat - 1][0] == name:
            seat -= 1
        start, end = members[seat][1], members[last][2].end
        if last + 1 < len(members):
            end = members[last + 1][1]
        elif seat:
            start = members[seat - 1][2].end
        text = text[:start] + text[end:]
    return text
