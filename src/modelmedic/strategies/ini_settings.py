"""INI settings, by the rules of Python's reader: recover whole lines, change single ones."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelmedic.errors import RecoveryRefused
from modelmedic.strategies.settings import (
    MISSING,
    UNDECODED,
    Change,
    Loss,
    Recovered,
    newline_of,
)
from modelmedic.text import printable

_HEADER = re.compile(r"\[(?P<name>.+)\]")  # as configparser: SECTCRE
# No header and no option: one that lost a bracket, or has another letter there.
_TORN_HEADER = re.compile(r"\[|[^=:]*\]$")
_COMMENTS = ("#", ";")


@dataclass(slots=True)
class _Entry:
    """An option with the lines that continue it, or a comment or blank line (``name`` None)."""

    lines: list[str]
    name: str | None = None


@dataclass(slots=True)
class _Section:
    """A header and what stands below; the first one of a file has no header."""

    name: str | None
    header: str
    entries: list[_Entry] = field(default_factory=list)

    def find(self, name: str) -> _Entry | None:
        """Return the option of this name."""
        return next((entry for entry in self.entries if entry.name == name), None)


def spell(value: Any) -> str:
    """Return a value as it is written in an ini file.

    Raises:
        RecoveryRefused: It is a list or table, for which there is no spelling.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise RecoveryRefused(f"An ini file cannot hold a value of the type {type(value).__name__}.")


def recover(text: str) -> Recovered:
    """Return the lines that are whole, as they stand, each option and section once.

    What stands below a header that cannot be read is left out, and so is what stands above the
    first header: nobody knows to which section it belongs. Of an option that stands there twice,
    the last is kept.
    """
    sections: dict[str | None, _Section] = {}
    losses: list[Loss] = []
    slips = []
    for section in _sections(text, losses):
        if section.name in sections:
            slips.append(f"section {section.name} twice")
            sections[section.name].entries += section.entries
        else:
            sections[section.name] = section
    for section in sections.values():
        last = {entry.name: entry for entry in section.entries}
        kept = [each for each in section.entries if each.name is None or last[each.name] is each]
        slips += [f"{name} twice" for name in _doubles(section)]
        section.entries = kept
    if any(line.lstrip().startswith(_COMMENTS) and UNDECODED.search(line) for line in _lines(text)):
        slips.append("letters in comments")
    has_values = any(name is not None for name in sections)
    return Recovered(_joined(sections.values()) if has_values else "", tuple(losses), tuple(slips))


def write(text: str, changes: Sequence[Change]) -> str:
    """Return ``text`` with its ``changes`` made; every other line stays as it is.

    Args:
        text: INI, or "" for none yet.
        changes: The keys to write or remove, in this order.

    Raises:
        RecoveryRefused: A key is not of the form "section.option".
    """
    if not changes:
        return text
    newline = newline_of(text)
    added = newline if text and not text.endswith("\n") else ""  # a file without one keeps so
    text += added
    sections = list(_sections(text, []))
    if _joined(sections) != text:
        raise RecoveryRefused("This ini file cannot be edited without changing the rest.")
    for change in changes:
        for path, value in _single(change):
            _apply(sections, path, value, newline)
    return _joined(sections).removesuffix(added)


def _doubles(section: _Section) -> list[str]:
    names = Counter(entry.name for entry in section.entries if entry.name is not None)
    return [name for name, count in names.items() if count > 1]


def _single(change: Change) -> Iterator[tuple[tuple[str, str], Any]]:
    """Yield a change as changes of single options."""
    path: Any = change.path  # a tuple of known length below
    if len(path) == 1 and isinstance(change.value, dict):
        yield from (((path[0], name), value) for name, value in change.value.items())
    elif len(path) == 2:  # noqa: PLR2004 - section and option
        yield path, change.value
    else:
        raise RecoveryRefused(
            f"An ini file cannot hold the key {printable('.'.join(path))}: "
            'its keys are of the form "section.option".'
        )


def _apply(sections: list[_Section], path: tuple[str, str], value: Any, newline: str) -> None:
    section = next((each for each in sections if each.name == path[0]), None)
    entry = section.find(path[1]) if section else None
    if value is MISSING:
        if section and entry:
            section.entries.remove(entry)
        return
    written = spell(value).replace("\n", f"{newline}\t")
    if section is None:
        section = _Section(path[0], f"[{path[0]}]{newline}")
        sections.append(section)
    if entry is not None:
        lead = re.match(r"[^=:]*[=:][ \t]*", entry.lines[0])
        entry.lines = [f"{lead[0] if lead else ''}{written}{newline}"]
        return
    options = [seat for seat, each in enumerate(section.entries) if each.name is not None]
    seat = options[-1] + 1 if options else 0
    section.entries.insert(seat, _Entry([f"{path[1]}{_delimiter(sections)}{written}{newline}"]))
    section.entries[seat].name = path[1]


def _delimiter(sections: list[_Section]) -> str:
    """Return how the file writes its first option: "=", " = " or ": "."""
    for section in sections:
        for entry in section.entries:
            if entry.name and (found := re.search(r"[ \t]?[=:][ \t]?", entry.lines[0])):
                return found[0]
    return " = "


def _sections(text: str, losses: list[Loss]) -> Iterator[_Section]:
    """Yield the sections of a text; add what cannot be read to ``losses``."""
    section: _Section | None = _Section(None, "")
    entry: _Entry | None = None  # what an indented line continues; it may belong to nothing
    entry_indent = 0
    is_encoding = False  # of the header, if nobody knows which section it was
    for number, line in enumerate(_lines(text), start=1):
        stripped = line.strip()
        indent = len(line) - len(line.lstrip())
        if not stripped or stripped.startswith(_COMMENTS):
            if section is not None:
                section.entries.append(_Entry([UNDECODED.sub("?", line)]))
            continue
        if entry is not None and indent > entry_indent:
            _continue(section, entry, line, losses)
            continue
        entry, entry_indent = None, indent
        header = _HEADER.match(stripped)
        if header is None and not _TORN_HEADER.match(stripped):
            entry = _option(line, number, section, losses)
            if section is None:
                losses.append(Loss(f"line {number}", None, is_encoding and entry.name is not None))
            continue
        if section is not None:
            yield section
        section, is_encoding = None, header is not None
        if header and not UNDECODED.search(stripped):
            section = _Section(header["name"], line)
        else:
            losses.append(Loss(f"line {number}", None, is_encoding))
    if section is not None:
        yield section


def _option(line: str, number: int, section: _Section | None, losses: list[Loss]) -> _Entry:
    """Return the option on a line, and put it into its section if it is whole."""
    delimiter = re.search("[=:]", line)
    name = line[: delimiter.start()].strip().lower() if delimiter else ""
    entry = _Entry([line], name or None)
    if section is None:
        return entry
    if not name or section.name is None:
        losses.append(Loss(f"line {number}"))
    elif UNDECODED.search(name):
        losses.append(Loss(f"the name in line {number}", None, is_encoding=True))
    else:
        section.entries.append(entry)
        if UNDECODED.search(line):
            _give_up(section, entry, losses)
    return entry


def _continue(section: _Section | None, entry: _Entry, line: str, losses: list[Loss]) -> None:
    """Add a line to a value, with the comments and blank lines that stand before it."""
    if section is None or all(each is not entry for each in section.entries):
        return  # it continues what was given up
    between: list[str] = []
    while section.entries[-1] is not entry:
        between = section.entries.pop().lines + between
    entry.lines += [*between, line]
    if UNDECODED.search(line):
        _give_up(section, entry, losses)


def _give_up(section: _Section, entry: _Entry, losses: list[Loss]) -> None:
    """Take an option out whose value cannot be decoded; an earlier one no longer counts either."""
    section.entries = [each for each in section.entries if each.name != entry.name]
    path = (section.name or "", entry.name or "")
    losses.append(Loss(".".join(path), path, is_encoding=True))


def _lines(text: str) -> list[str]:
    """Return the lines with their ends. Only a line feed ends one, as in configparser."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _joined(sections: Iterable[_Section]) -> str:
    parts = []
    for section in sections:
        parts.append(section.header)
        parts += [line for entry in section.entries for line in entry.lines]
    return "".join(parts)
