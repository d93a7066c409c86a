"""The app's own requirements*.txt: lines that name no distribution, and how they would read."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from modelmedic.errors import CannotTell
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.packages import normalised, parsed
from modelmedic.text import printable

MAX_FILES = 20
MAX_BYTES = 1 << 18  # Wan's longest has 400 bytes
MAX_FAULTS = 50
_COMMENT = re.compile(r"(^|\s+)#.*$")  # Source: pip, req_file.py, COMMENT_RE
_OPTION = re.compile(r"\s+(-{1,2}[A-Za-z][\w-]*)([=\s].*)?$", re.DOTALL)
# The options that pip takes behind a requirement. Source: pip, req_file.py.
_OWN_OPTIONS = frozenset({"--hash", "--config-settings", "--config-setting", "--global-option"})
_COPY = ".modelmedic.txt"
_MADE = "# Made by modelmedic: a copy that pip can install of"
_ARCHIVES = (".whl", ".zip", ".tar.gz", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True, slots=True)
class LineFault:
    """A line that pip cannot read, or that asks for what no index should give.

    ``kind``: "standard-module", "glued-comment", "option", "unreadable". ``cure`` are the lines
    that would stand there instead; empty: none, the line goes.
    """

    path: str  # relative to the install
    line: int
    text: str
    kind: str
    cure: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RequirementFile:
    """One file of requirements. ``encoding`` is "" when its bytes are no UTF-8.

    ``is_mended``: beside it lies a copy that a repair made of these very bytes, see `copy_name`.
    """

    path: str
    faults: tuple[LineFault, ...]
    is_ascii: bool
    encoding: str = "utf-8"
    is_mended: bool = False


@probe("local_read")
def read_requirement_files(facts: FactBook) -> tuple[RequirementFile, ...]:
    """Return the files of requirements in the install folder, by name; empty when there is none.

    Raises:
        CannotTell: One of them may not be read.
    """
    return tuple(look_at_requirements(facts.context.place))


def look_at_requirements(place: Path) -> Iterator[RequirementFile]:
    """Yield the files of requirements that lie in a folder."""
    try:
        names = sorted(entry.name for entry in os.scandir(place) if entry.is_file())
    except OSError:
        return
    wanted = [n for n in names if n.startswith("requirements") and n.endswith(".txt")]
    wanted = [name for name in wanted if not name.endswith(_COPY)]
    for name in wanted[:MAX_FILES]:
        try:
            with (place / name).open("rb") as stream:
                data = stream.read(MAX_BYTES)
        except OSError as error:
            raise CannotTell(f"{printable(place / name)} cannot be read: {error}.") from error
        is_mended = _begins(place / copy_name(name), head(name, data))
        yield replace(judge_file(name, data), is_mended=is_mended)


def copy_name(path: str) -> str:
    """Return the name of the clean copy of a file: requirements.modelmedic.txt."""
    return path.removesuffix(".txt") + _COPY


def head(path: str, data: bytes) -> str:
    """Return how the clean copy of a file begins: it names the bytes that it was made of."""
    return f"{_MADE} {path}, sha256 {hashlib.sha256(data).hexdigest()}\n"


def is_our_copy(path: Path) -> bool:
    """Return whether a file is a clean copy, of whatever."""
    return _begins(path, _MADE)


def _begins(path: Path, text: str) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(len(text.encode())) == text.encode()
    except OSError:
        return False


def judge_file(path: str, data: bytes) -> RequirementFile:
    """Return what is wrong with the lines of one file."""
    try:
        text, encoding = data.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        text, encoding = data.decode("latin-1"), ""
    faults = (judge_line(path, number, line) for number, line, _raw in numbered(text))
    found = islice((fault for fault in faults if fault is not None), MAX_FAULTS)
    return RequirementFile(path, tuple(found), data.isascii(), encoding)


def judge_line(path: str, number: int, text: str) -> LineFault | None:
    """Return what is wrong with one line; None when pip reads it."""
    line = _COMMENT.sub("", text).strip()
    if not line or line.startswith("-") or _is_place(line):
        return None
    option = _OPTION.search(line)
    if option and option.group(1) not in _OWN_OPTIONS and parsed(line[: option.start()]):
        parts = (line[option.start() :].strip(), line[: option.start()].strip())
        return LineFault(path, number, text.strip(), "option", parts)
    line = line[: option.start()] if option else line
    requirement = parsed(line)
    if requirement is not None:
        is_standard = normalised(requirement.name).replace("-", "_") in sys.stdlib_module_names
        return LineFault(path, number, text.strip(), "standard-module") if is_standard else None
    before, sign, comment = line.partition("#")
    if sign and parsed(before.strip()):
        cure = (f"{before.strip()}  # {comment.strip()}",)
        return LineFault(path, number, text.strip(), "glued-comment", cure)
    return LineFault(path, number, text.strip(), "unreadable")


def numbered(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """Yield number, text and raw lines; one that ends in a backslash goes on in the next."""
    before, first = "", 0
    raw: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        first = first if raw else number
        raw.append(line)
        if line.endswith("\\") and not line.lstrip().startswith("#"):
            before += line[:-1] + " "
            continue
        yield first, before + line, raw
        before, raw = "", []
    if raw:
        yield first, before, raw


def _is_place(line: str) -> bool:
    """Return whether a line names a file, folder or address instead of a distribution."""
    if re.match(r"[A-Za-z][\w.+-]*://", line) or line.startswith((".", "/", "~", "file:")):
        return True
    return line.partition(" ")[0].lower().endswith(_ARCHIVES) or "${" in line
