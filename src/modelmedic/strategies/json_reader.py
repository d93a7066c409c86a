"""A reader of JSON that may be damaged: every value that is whole, and where it stands.

Python's reader says yes or no; a repair needs what lies around the fault. Time and memory grow
with the length of the text only, however hostile it is, and nesting costs no stack.
"""

from __future__ import annotations

import bisect
import json
import re
from dataclasses import dataclass, field
from typing import Any

from modelmedic.strategies.json_tokens import (
    END,
    Slip,
    Token,
    indent_step,
    is_name,
    tokens_of,
)
from modelmedic.strategies.settings import MISSING, UNDECODED, Loss

# Deeper nesting than any settings file has; a value below it counts as unreadable.
MAX_DEPTH = 100
_WORD = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null|NaN|-?Infinity")
# "C:\models": nobody means escapes here. Other text with a wrong escape is left unread.
_WINDOWS_PATH = re.compile(r'"[A-Za-z]:\\[^\\]')


@dataclass(slots=True)
class Node:
    """A value and where it stands; ``members`` of an object: name, start of the name, value."""

    start: int
    end: int
    value: Any
    members: list[tuple[str, int, Node]] = field(default_factory=list)


@dataclass(slots=True)
class Reading:
    """What was read. With ``losses`` the places of nodes cannot be used to edit the text."""

    root: Node
    losses: list[Loss]
    slips: list[Slip]


def read(text: str) -> Reading:
    """Return what can be read of a text whose top is, or was, a JSON object.

    After damage, indentation (where the text has a consistent one) decides which table a key
    belongs to, so that a lost bracket does not move a value to another place.
    """
    tokens, comments = tokens_of(text)
    plain = _Reader(text, tokens)
    reading = plain.read()
    if plain.is_damaged and (step := indent_step(tokens)):
        reading = _Reader(text, tokens, step).read()
    reading.slips += comments
    return reading


@dataclass(slots=True)
class _Frame:
    """An object or array that is being read. ``expects``: "item", "value" or "next"."""

    node: Node
    line_indent: int  # of the line on which it was opened
    item_indent: int | None = None
    expects: str = "item"
    name: str | None = None
    name_start: int = 0
    is_broken: bool = False  # an array with an unreadable item
    is_undecoded: bool = False  # ... whose only fault is its encoding

    @property
    def is_array(self) -> bool:
        return isinstance(self.node.value, list)

    def is_left_by(self, indent: int) -> bool:
        """Return whether a line with this indentation stands outside."""
        if self.item_indent is not None:
            return indent < self.item_indent
        return indent <= self.line_indent


class _Reader:
    def __init__(self, text: str, tokens: list[Token], step: int = 0) -> None:
        self.text = text
        self.tokens = tokens
        self.step = step
        self.by_indent = step > 0
        self.is_damaged = False  # more than an encoding is wrong
        self.losses: dict[Loss, None] = {}  # in their order, each once
        self.slips: list[Slip] = []
        self.seat = 0
        self.line_indent = 0
        self.stack = [_Frame(Node(0, len(text), {}), 0, step or None)]
        self.newlines = [match.start() for match in re.finditer("\n", text)]

    # -- the machine -----------------------------------------------------------------------------

    def read(self) -> Reading:
        root = self.stack[0]
        first = self.tokens[0]
        if first.kind == "{":
            root.node.start, self.seat = first.start, 1
        else:
            self._fault(first)
            self._resync()
        while self.stack:
            token = self.tokens[self.seat]
            if token.kind == END:
                self._end(token)
                break
            if token.indent is not None:
                self.line_indent = token.indent
                if self.by_indent and self._is_elsewhere(token):
                    continue
            self._step(token)
        else:
            if self.tokens[self.seat].kind != END:
                self._fault(self.tokens[self.seat])
        return Reading(root.node, list(self.losses), self.slips)

    def _step(self, token: Token) -> None:
        frame = self.stack[-1]
        if frame.is_array and is_name(self.tokens, self.seat):
            self._fault(token)
            self._close(token.start)
        elif token.kind in {"}", "]"} and frame.expects != "value":
            self._closer(token)
        elif frame.expects == "next":
            self._next(token)
        elif frame.is_array or frame.expects == "value":
            self._value(token)
        else:
            self._name(token)

    def _next(self, token: Token) -> None:
        frame = self.stack[-1]
        if token.kind == ",":
            self.seat += 1
            frame.expects = "item"
        elif is_name(self.tokens, self.seat):
            before = self.tokens[self.seat - 1].end
            self.slips.append(Slip("missing comma", before, before, ","))
            frame.expects = "item"
        else:
            self._unreadable(token)

    def _name(self, token: Token) -> None:
        frame = self.stack[-1]
        if not is_name(self.tokens, self.seat):
            self._unreadable(token)
            return
        if token.indent is not None and frame.item_indent is None:
            frame.item_indent = token.indent
        raw = self.text[token.start : token.end]
        frame.name = None
        if not UNDECODED.search(raw):
            frame.name = self._string(token)
        if frame.name is None:
            is_encoding = bool(UNDECODED.search(raw))
            self._lose(f"the name in {self._line(token.start)}", is_encoding=is_encoding)
            self.is_damaged = self.is_damaged or not is_encoding
        frame.name_start = token.start
        frame.expects = "value"
        self.seat += 2

    def _value(self, token: Token) -> None:
        frame = self.stack[-1]
        if token.kind in {"{", "["}:
            if len(self.stack) > MAX_DEPTH:
                self._unreadable(token)
                return
            is_table = token.kind == "{"
            is_spread = self.by_indent and self.tokens[self.seat + 1].indent is not None
            inner = self.line_indent + self.step if is_table and is_spread else None
            opened = Node(token.start, token.end, {} if is_table else [])
            self.stack.append(_Frame(opened, self.line_indent, inner))
            self.seat += 1
            return
        value = self._scalar(token)
        if value is MISSING:
            self._unreadable(token)
            return
        self.seat += 1
        raw = self.text[token.start : token.end]
        if UNDECODED.search(raw):
            self._forget(is_encoding=True)
        else:
            self._accept(Node(token.start, token.end, value))
        frame.expects = "next"

    def _scalar(self, token: Token) -> Any:
        """Return a value that is surely whole, else `MISSING`: what follows must end it."""
        after = self.tokens[self.seat + 1]
        is_ended = after.kind in {",", "}", "]"} or after.indent is not None
        is_ended = is_ended or is_name(self.tokens, self.seat + 1)
        if token.kind == "string":
            value = self._string(token) if is_ended or after.kind == END else None
            return MISSING if value is None else value
        if token.kind == "word" and is_ended:
            raw = self.text[token.start : token.end]
            try:
                return json.loads(raw) if _WORD.fullmatch(raw) else MISSING
            except ValueError:  # a number of thousands of digits
                return MISSING
        return MISSING

    def _string(self, token: Token) -> str | None:
        raw = self.text[token.start : token.end]
        try:
            return str(json.loads(raw))
        except ValueError:
            if not _WINDOWS_PATH.match(raw) or "\\\\" in raw or '\\"' in raw:
                return None
        right = raw.replace("\\", "\\\\")
        self.slips.append(Slip("unescaped path", token.start, token.end, right))
        return str(json.loads(right))

    # -- opening and closing ---------------------------------------------------------------------

    def _accept(self, node: Node) -> None:
        frame = self.stack[-1]
        if frame.is_array:
            frame.node.value.append(node.value)
        elif frame.name is not None:
            frame.node.value[frame.name] = node.value
            frame.node.members.append((frame.name, frame.name_start, node))

    def _closer(self, token: Token) -> None:
        frame = self.stack[-1]
        kinds = ["]" if each.is_array else "}" for each in self.stack]
        is_stray = self.by_indent and token.indent is not None and token.indent > frame.line_indent
        if token.kind in kinds and kinds[-1] != token.kind:
            outer = max(seat for seat, kind in enumerate(kinds) if kind == token.kind)
            is_stray = is_stray or self._is_amid(token, self.stack[outer])
        if is_stray or token.kind not in kinds:
            self._fault(token)
            self.seat += 1
        elif kinds[-1] != token.kind:
            self._fault(token)
            self._close(token.start)
        else:
            before = self.tokens[self.seat - 1]
            if before.kind == "," and frame.expects == "item":
                self.slips.append(Slip("trailing comma", before.start, before.end, ""))
            self.seat += 1
            self._close(token.end, is_closed=True)

    def _close(self, end: int, *, is_closed: bool = False) -> None:
        """End the innermost table. One that was not closed keeps what was read; an array does not.

        An array without one of its items would mean something else.
        """
        if not is_closed and not self.stack[-1].is_array:
            self._break_arrays(is_encoding=False)
        frame = self.stack.pop()
        frame.node.end = end
        if not self.stack:
            return
        self.stack[-1].expects = "next"
        if frame.is_array and (frame.is_broken or not is_closed):
            self._forget(is_encoding=is_closed and frame.is_undecoded)
        else:
            self._accept(frame.node)

    def _end(self, token: Token) -> None:
        self.is_damaged = True
        last = self.tokens[self.seat - 1].start if self.seat else 0
        self._lose(f"what followed {self._line(last)}")
        while self.stack:
            if self.stack[-1].expects == "value":
                self._forget()
            self._close(token.end)

    # -- damage ----------------------------------------------------------------------------------

    def _fault(self, token: Token) -> None:
        self.is_damaged = True
        self._lose(self._line(token.start))

    def _unreadable(self, token: Token) -> None:
        frame = self.stack[-1]
        if frame.is_array or frame.expects == "value":
            self.is_damaged = True
            self._forget()
        else:
            self._fault(token)
        self._resync()

    def _forget(self, *, is_encoding: bool = False) -> None:
        """Give up the value at hand: an earlier one of the same name no longer counts either."""
        frame = self.stack[-1]
        if not frame.is_array and frame.name is not None:
            frame.node.value.pop(frame.name, None)
        names = []
        for each in self.stack:
            if each.is_array:
                break
            names.append(each.name)
        if None not in names:
            path = tuple(name for name in names if name is not None)
            self._lose(".".join(path), path, is_encoding=is_encoding)

    def _lose(
        self, name: str, path: tuple[str, ...] | None = None, *, is_encoding: bool = False
    ) -> None:
        self._break_arrays(is_encoding=is_encoding)
        self.losses[Loss(name, path, is_encoding)] = None

    def _break_arrays(self, *, is_encoding: bool) -> None:
        for frame in self.stack:
            if frame.is_array:
                frame.is_undecoded = is_encoding and (frame.is_undecoded or not frame.is_broken)
                frame.is_broken = True

    def _line(self, position: int) -> str:
        return f"line {bisect.bisect_left(self.newlines, position) + 1}"

    def _resync(self) -> None:
        """Go to what ends the value at hand: a comma, a closing bracket, a name on a new line."""
        frame = self.stack[-1]
        frame.expects = "next"
        depth = 0
        while (token := self.tokens[self.seat]).kind != END:
            is_line = token.indent is not None and is_name(self.tokens, self.seat)
            if is_line and self._ends_damage(token, depth):
                frame.expects = "item"
                return
            if token.kind in {"{", "["}:
                depth += 1
            elif token.kind in {"}", "]", ","} and depth == 0:
                if token.kind == "," or not self._is_amid(token, frame):
                    return
            elif token.kind in {"}", "]"}:
                depth -= 1
            self.seat += 1

    # -- indentation -----------------------------------------------------------------------------

    def _ends_damage(self, token: Token, depth: int) -> bool:
        if self.by_indent:
            for frame in reversed(self.stack):
                if not frame.is_array and frame.item_indent is not None:
                    return (token.indent or 0) <= frame.item_indent
        return depth == 0

    def _is_amid(self, token: Token, frame: _Frame) -> bool:
        """Return whether a bracket amid a damaged line would end what an earlier line opened.

        Where indentation is the rule it does not: it is of a text without its quotes, or wrong.
        """
        if not self.by_indent or token.indent is not None:
            return False
        return self.text.find("\n", frame.node.start, token.start) >= 0

    def _is_elsewhere(self, token: Token) -> bool:
        """Handle a line whose indentation says that it belongs to another table."""
        indent = token.indent or 0
        frame = self.stack[-1]
        has_name = is_name(self.tokens, self.seat)
        is_outside = has_name and frame.is_left_by(indent)
        if token.kind in {"}", "]"}:
            is_outside = indent < frame.line_indent
        if is_outside and len(self.stack) > 1:
            self._fault(token)
            if frame.expects == "value":
                self._forget()
            self._close(token.start)
            return True
        is_deeper = frame.item_indent is not None and indent > frame.item_indent
        if has_name and is_deeper and not frame.is_array:
            self._fault(token)
            self.seat += 2
            self._resync()
            return True
        return False
