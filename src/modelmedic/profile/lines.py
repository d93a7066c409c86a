"""On which line of a TOML text each key stands: for messages, after the text was parsed."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from contextlib import suppress

KeyPath = tuple[str | int, ...]

_SPACE = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'', re.DOTALL
)
_SCALAR = re.compile(r"[^\s,\]}#]+(?: [0-9:.]+)?")  # a date may have one space in it


def find_lines(text: str) -> dict[KeyPath, int]:
    """Return the line (from 1) of every key, table and array entry of a valid TOML text.

    A path is made of keys and of indices into arrays. The text must have been parsed before:
    what this scanner does not understand ends the search, with what was found so far.
    """
    scanner = _Scanner(text)
    with suppress(IndexError, RecursionError, ValueError):
        scanner.scan()
    return scanner.lines


def line_of(lines: dict[KeyPath, int], path: KeyPath) -> int:
    """Return the line of ``path``, or of the nearest part of it that has one; 1 for none."""
    for length in range(len(path), 0, -1):
        if line := lines.get(path[:length]):
            return line
    return 1


class _Scanner:
    """Walks once over the text; ``lines`` grows on the way."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[KeyPath, int] = {}
        self._starts = [match.end() for match in re.finditer("\n", text)]
        self._counts: dict[KeyPath, int] = {}

    def scan(self) -> None:
        table: KeyPath = ()
        self._space()
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._space()

    def _header(self) -> KeyPath:
        start = self.at
        is_array = self.text.startswith("[[", start)
        self.at += 2 if is_array else 1
        *parents, last = self._key()
        self._space()
        self.at += 2 if is_array else 1
        path = (*self._entry(tuple(parents)), last)
        if is_array:
            self._mark(path, start)
            self._counts[path] = self._counts.get(path, -1) + 1
            path = (*path, self._counts[path])
        self._mark(path, start)
        return path

    def _entry(self, path: KeyPath) -> KeyPath:
        """Return ``path`` with the index of the newest entry behind each array of tables."""
        resolved: KeyPath = ()
        for part in path:
            resolved = (*resolved, part)
            if resolved in self._counts:
                resolved = (*resolved, self._counts[resolved])
        return resolved

    def _pair(self, table: KeyPath) -> None:
        start = self.at
        path = table
        for part in self._key():
            path = (*path, part)
            self._mark(path, start)
        self._space()
        self._expect("=")
        self._space()
        self._value(path)

    def _key(self) -> list[str]:
        parts = []
        while True:
            self._space()
            parts.append(self._key_part())
            self._space()
            if self.text[self.at] != ".":
                return parts
            self.at += 1

    def _key_part(self) -> str:
        quoted = self.text[self.at] in "\"'"
        match = (_STRING if quoted else _BARE).match(self.text, self.at)
        if match is None:
            raise ValueError(self.at)
        self.at = match.end()
        if not quoted:
            return match.group()
        word = match.group()
        return str(json.loads(word)) if word[0] == '"' and "\\" in word else word[1:-1]

    def _value(self, path: KeyPath) -> None:
        opening = self.text[self.at]
        if opening in "[{":
            self.at += 1
            self._items(path, "]" if opening == "[" else "}")
            return
        match = (_STRING if opening in "\"'" else _SCALAR).match(self.text, self.at)
        if match is None:
            raise ValueError(self.at)
        self.at = match.end()

    def _items(self, path: KeyPath, closing: str) -> None:
        index = 0
        self._space()
        while self.text[self.at] != closing:
            if closing == "]":
                self._mark((*path, index), self.at)
                self._value((*path, index))
                index += 1
            else:
                self._pair(path)
            self._space()
            if self.text[self.at] == ",":
                self.at += 1
                self._space()
        self.at += 1

    def _expect(self, char: str) -> None:
        if self.text[self.at] != char:
            raise ValueError(self.at)
        self.at += 1

    def _space(self) -> None:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def _mark(self, path: KeyPath, at: int) -> None:
        self.lines.setdefault(path, bisect_right(self._starts, at) + 1)
