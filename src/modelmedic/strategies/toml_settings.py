"""TOML settings: recover the statements that are whole, change single keys in place."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from modelmedic.errors import RecoveryRefused
from modelmedic.strategies.settings import (
    MISSING,
    UNDECODED,
    Change,
    KeyPath,
    Loss,
    Recovered,
    newline_of,
)

_KEY = r"""(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*')"""
_DOTTED = rf"{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*"
_PAIR = re.compile(rf"[ \t]*(?P<key>{_DOTTED})[ \t]*=")
_HEADER = re.compile(rf"[ \t]*\[\[?[ \t]*(?P<table>{_DOTTED})[ \t]*\]")
# One that lost its first bracket, or has another letter there.
_TORN_HEADER = re.compile(rf"[ \t]*[^\w\s\"'#]?(?P<table>{_DOTTED})[ \t]*\]\]?[ \t\r]*(?:#.*)?$")
# What a value is made of. A text in three quotes that is never closed takes the rest.
_PIECE = re.compile(
    r'"""(?:\\.|[^\\])*?(?:"{3,5}|\Z)'
    r"|'''.*?(?:'{3,5}|\Z)"
    r'|"(?:\\.|[^"\\\n])*"|' + r"'[^'\n]*'"
    r"|(?P<comment>\#[^\n]*)|(?P<newline>\n)|(?P<open>[\[{])|(?P<close>[\]}])"
    r"|[^\"'\#\n\[\]{}]+|.",
    re.DOTALL,
)
_AT_LINE = re.compile(r"\(at line (\d+)")
_MAX_CONFLICTS = 20  # statements that are whole and contradict others; each costs a reading


@dataclass(slots=True)
class _Statement:
    """A header, a pair, or comments and blank lines (``key`` None, no header)."""

    text: str
    line: int
    key: str | None = None
    is_header: bool = False
    is_whole: bool = True
    is_encoding: bool = False  # not whole, and only its encoding is wrong
    has_odd_comment: bool = False  # letters of a comment were not UTF-8; they are "?" now

    def loss(self, table: str | None) -> Loss:
        """Return this statement as a loss; ``table`` None: nobody knows below which it stands."""
        if self.key is None or table is None:
            return Loss(f"line {self.line}", None, self.is_encoding)
        dotted = f"{table}.{self.key}" if table and not self.is_header else self.key
        return Loss(dotted, _path(dotted), self.is_encoding)


def recover(text: str) -> Recovered:
    """Return the statements that are whole, with their comments, as they stand.

    Below a header that cannot be read nothing is kept: nobody knows to which table it belongs.
    """
    kept: list[_Statement] = []
    losses: list[Loss] = []
    table: str | None = ""
    is_encoding = False  # of the header, if nobody knows which table it was
    for statement in _statements(text):
        if statement.is_header:
            table = statement.key if statement.is_whole else None
            is_encoding = statement.is_encoding
        elif table is None:
            statement.is_encoding = is_encoding and (statement.is_whole or statement.is_encoding)
        if statement.is_whole and (table is not None or statement.key is None):
            kept.append(statement)
        else:
            losses.append(statement.loss(table))
    slips = ("letters in comments",) if any(each.has_odd_comment for each in kept) else ()
    for _attempt in range(_MAX_CONFLICTS):
        joined = "".join(statement.text for statement in kept)
        line = _conflict(joined)
        if line is None:
            has_values = any(statement.key is not None for statement in kept)
            return Recovered(joined if has_values else "", tuple(losses), slips)
        losses += _drop_at(kept, line)
    return Recovered("", (*losses, Loss("the rest, which contradicts itself")))


def write(text: str, changes: Sequence[Change]) -> str:
    """Return ``text`` with its ``changes`` made; comments and all else stay as they are.

    Args:
        text: TOML, or "" for none yet.
        changes: The keys to write or remove, in this order.

    Raises:
        RecoveryRefused: A value cannot be written as TOML, or the text cannot be edited.
    """
    if not changes:
        return text
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    newline = newline_of(text)
    added = newline if text and not text.endswith("\n") else ""  # a file without one keeps so
    text += added
    try:
        parsed = tomlkit.parse(text)
        if parsed.as_string() != text:
            raise RecoveryRefused("This TOML text cannot be edited without changing the rest.")
        for change in changes:
            _apply(parsed, change)
        written = parsed.as_string()
    except (TOMLKitError, TypeError, ValueError, KeyError, IndexError) as error:
        raise RecoveryRefused(f"The TOML text cannot be edited: {type(error).__name__}.") from error
    if newline == "\r\n":
        written = re.sub(r"(?<!\r)\n", newline, written)
    return written.removesuffix(added)


def _apply(parsed: Any, change: Change) -> None:
    here = parsed
    for part in change.path[:-1]:
        if not isinstance(here.get(part), dict):
            if change.value is MISSING:
                return
            here[part] = {}
        here = here[part]
    if change.value is MISSING:
        here.pop(change.path[-1], None)
    else:
        here[change.path[-1]] = change.value


def _statements(text: str) -> Iterator[_Statement]:
    seat, line = 0, 1
    while seat < len(text):
        statement, end = _statement(text, seat, line)
        yield statement
        line += text.count("\n", seat, end)
        seat = end


def _statement(text: str, seat: int, line: int) -> tuple[_Statement, int]:
    newline = text.find("\n", seat)
    end = len(text) if newline < 0 else newline + 1
    content = text[seat:end]
    if pair := _PAIR.match(text, seat):
        end, comments = _end_of_value(text, pair.end())
        return _judged(text[seat:end], seat, comments, line, key=pair["key"]), end
    if _is_meant_as_header(content):
        header = _HEADER.match(content)
        comment = content.find("#", header.end() if header else 0)
        comments = [(seat + comment, end)] if comment >= 0 else []
        key = header["table"] if header else None
        statement = _judged(content, seat, comments, line, key=key)
        statement.is_header = True
        return statement, end
    is_comment = content.lstrip(" \t").startswith("#")
    comments = [(seat, end)] if is_comment else []
    return _judged(content, seat, comments, line), end


def _end_of_value(text: str, seat: int) -> tuple[int, list[tuple[int, int]]]:
    """Return where a value ends, and where comments stand in it.

    Inside brackets a value goes on over lines, but not over one that begins another pair or
    table: there the bracket that closes it was lost.
    """
    depth = 0
    comments = []
    for piece in _PIECE.finditer(text, seat):
        if piece["comment"] is not None:
            comments.append(piece.span())
        elif piece["newline"] and (depth <= 0 or _is_statement(text, piece.end())):
            return piece.end(), comments
        else:
            depth += bool(piece["open"]) - bool(piece["close"])
    return len(text), comments


def _is_statement(text: str, seat: int) -> bool:
    """Return whether a line begins a pair or a table; ``[1]`` and ``["a"]`` may be values."""
    if _PAIR.match(text, seat):
        return True
    header = _HEADER.match(text, seat)
    return header is not None and not _is_value(header["table"])


def _is_meant_as_header(content: str) -> bool:
    """Return whether a line that is no pair is a header, or was one before it was damaged."""
    stripped = content.lstrip(" \t")
    if stripped.startswith("["):  # "[a = 1" is a pair with a bracket too many
        return (
            not _PAIR.match(stripped, 1) or _conflict(UNDECODED.sub("?", stripped[1:])) is not None
        )
    torn = _TORN_HEADER.match(content)
    return torn is not None and not _is_value(torn["table"])


def _is_value(text: str) -> bool:
    return _conflict(f"a = [{text}]\n") is None


def _judged(
    content: str, seat: int, comments: list[tuple[int, int]], line: int, key: str | None = None
) -> _Statement:
    """Return a statement, whole if it is read alone. Letters in comments may be undecodable."""
    was = content
    for start, end in comments:
        before, comment, after = _cut(content, start - seat, end - seat)
        content = before + UNDECODED.sub("?", comment) + after
    is_undecoded = UNDECODED.search(content) is not None
    is_whole = _conflict(UNDECODED.sub("?", content)) is None
    return _Statement(
        content,
        line,
        key,
        is_whole=is_whole and not is_undecoded,
        is_encoding=is_whole and is_undecoded,
        has_odd_comment=content != was,
    )


def _cut(text: str, start: int, end: int) -> tuple[str, str, str]:
    return text[:start], text[start:end], text[end:]


def _conflict(text: str) -> int | None:
    """Return the line at which a text is no TOML; None when it is."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        found = _AT_LINE.search(str(error))
        return int(found[1]) if found else text.count("\n") + 1
    return None


def _drop_at(kept: list[_Statement], line: int) -> list[Loss]:
    """Take out the statement on a line, with all pairs below it if it is a header."""
    seat, last = -1, 0
    table = ""
    while seat + 1 < len(kept) and last < line:
        seat += 1
        if kept[seat].is_header:
            table = kept[seat].key or ""
        last += kept[seat].text.count("\n")
    end = seat + 1
    if kept and kept[seat].is_header:
        while end < len(kept) and not kept[end].is_header:
            end += 1
    losses = [each.loss(table) for each in kept[seat:end] if each.key is not None]
    del kept[seat:end]
    return losses


def _path(dotted: str) -> KeyPath | None:
    parts = re.findall(_KEY, dotted)
    return tuple(part.strip("\"'") for part in parts) if parts else None
