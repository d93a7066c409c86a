"""The Python files below the places to scan, read as text: bounded, and never run."""

from __future__ import annotations

import ast
import fnmatch
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modelmedic.errors import BadInstall, CannotTell
from modelmedic.facts._folders import is_link
from modelmedic.facts.app_code import MAX_FILE_BYTES
from modelmedic.facts.safe_open import opened
from modelmedic.scan.finding import COULD_NOT_LOOK, UNKNOWN, ScanFinding
from modelmedic.text import counted, printable, size

MAX_FILES = 20_000  # of one scan; transformers, the largest library of the field, has 5,000
# What an app did not write: caches, version control, and environments with others' packages.
SKIPPED = frozenset(
    {
        ".git", ".hg", ".mypy_cache", ".nox", ".pytest_cache", ".ruff_cache", ".svn", ".tox",
        "__pycache__", "node_modules", "site-packages",
    }
)  # fmt: skip
_SUFFIXES = (".py", ".pyw")


@dataclass(frozen=True, slots=True)
class Source:
    """One file to scan. ``shown`` is its path in findings, ``subject`` its path below ``root``."""

    root: Path
    subject: str
    shown: str

    @property
    def is_package(self) -> bool:
        """Return whether it is the file of a package."""
        return self.subject.rpartition("/")[2] == "__init__.py"


@dataclass(slots=True)
class Shelf:
    """What lies below the places: files to read, what could not be listed, what was left out."""

    sources: list[Source] = field(default_factory=list)
    unread: list[ScanFinding] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def shelf_of(places: Sequence[Path], *, exclude: Sequence[str] = ()) -> Shelf:
    """Return the Python files below some folders, or those named, each once and in order.

    Raises:
        BadInstall: One of the places is not there, or no place holds a Python file.
    """
    shelf = Shelf()
    seen: set[Path] = set()
    for place in places:
        real = Path(os.path.realpath(place))
        if not os.path.exists(real):  # noqa: PTH110 - Path raises where a folder is closed
            raise BadInstall(
                f"{printable(place)} cannot be scanned.",
                "There is no file or folder of that name.",
                "name a file of Python code or a folder that holds some.",
            )
        for source in _below(shelf, real, exclude):
            if source.root / source.subject not in seen:
                seen.add(source.root / source.subject)
                shelf.sources.append(source)
    if not shelf.sources and not shelf.unread:
        named = ", ".join(printable(place) for place in places) or "Nothing"
        raise BadInstall(
            f"{named}: there is no Python file to look at.",
            "A scan of nothing proves nothing.",
            "name a folder that holds Python files, or exclude less.",
        )
    shelf.sources.sort(key=lambda source: source.shown)
    if len(shelf.sources) > MAX_FILES:
        first = shelf.sources[MAX_FILES]
        rest = counted(len(shelf.sources) - MAX_FILES, "file")
        words = f"It and what follows it, {rest}, lie beyond the limit of {MAX_FILES}."
        shelf.unread.append(could_not_look(first.shown, words, "scan its folders one by one."))
        del shelf.sources[MAX_FILES:]
    return shelf


def read_tree(source: Source) -> ast.Module | ScanFinding:
    """Return the syntax tree of a file, or the finding that it could not be looked at."""
    try:
        with opened(source.root, source.subject) as (state, file):
            if file is None:
                return could_not_look(source.shown, f"It {state.detail}.", "")
            if file.size_bytes > MAX_FILE_BYTES:
                words = f"It has {size(file.size_bytes)}; {size(MAX_FILE_BYTES)} is the most."
                return could_not_look(source.shown, words, "look at it by hand.")
            text = file.read_at(0, MAX_FILE_BYTES)
    except CannotTell as error:
        return could_not_look(source.shown, str(error), "")
    return _parsed(source, text)


def could_not_look(shown: str, why: str, next_step: str, line: int = 1) -> ScanFinding:
    """Return the finding about a file whose faults nobody can tell."""
    what = f"{printable(shown)} could not be looked at."
    return ScanFinding(shown, max(line, 1), 1, COULD_NOT_LOOK, what, why, next_step, UNKNOWN)


def _parsed(source: Source, text: bytes) -> ast.Module | ScanFinding:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the parser's opinion of the code's style is not asked
            return ast.parse(text, filename=source.subject)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        words = getattr(error, "msg", "") or str(error) or type(error).__name__
        why = f"Python {_version()} cannot read it: {printable(words)}."
        step = "correct that line, or leave the file out with --exclude."
        return could_not_look(source.shown, why, step, line)


def _version() -> str:
    import sys

    return ".".join(map(str, sys.version_info[:2]))


def _below(shelf: Shelf, place: Path, exclude: Sequence[str]) -> Iterator[Source]:
    if not os.path.isdir(place):  # noqa: PTH112 - as above
        yield Source(place.parent, place.name, _shown(place.parent, place.name))
        return
    for folder, folders, names in os.walk(place, onerror=lambda error: _denied(shelf, error)):
        below = Path(folder).relative_to(place).as_posix()
        prefix = "" if below == "." else f"{below}/"
        folders[:] = sorted(_kept(shelf, place, prefix, folders, exclude))
        for name in sorted(names):
            subject = prefix + name
            if name.endswith(_SUFFIXES) and not _is_excluded(subject, exclude):
                yield Source(place, subject, _shown(place, subject))


def _kept(
    shelf: Shelf, place: Path, prefix: str, folders: list[str], exclude: Sequence[str]
) -> Iterator[str]:
    for name in folders:
        subject = prefix + name
        is_environment = _is_file(place / subject / "pyvenv.cfg")
        if name in SKIPPED or is_environment or _is_excluded(subject, exclude):
            shelf.left_out.append(_shown(place, subject))
        elif not _is_link(place / subject):
            yield name


def _is_link(path: Path) -> bool:
    """Return whether a folder is a link; os.walk follows Windows' junctions before Python 3.12."""
    try:
        return is_link(os.lstat(path))
    except OSError:
        return False  # the walk into it says what is wrong


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 - Path raises where a folder is closed


def _denied(shelf: Shelf, error: OSError) -> None:
    place = Path(str(error.filename))
    shown = _shown(place.parent, place.name)
    words = f"This folder may not be listed: {error.strerror or error}."
    shelf.unread.append(could_not_look(shown, words, "give this user the right to read it."))


def _is_excluded(subject: str, exclude: Sequence[str]) -> bool:
    """Return whether a pattern names a path, its last part, or a folder on the way to it."""
    last = subject.rpartition("/")[2]
    for pattern in exclude:
        plain = pattern.rstrip("/").removeprefix("./")
        if fnmatch.fnmatchcase(subject, plain) or fnmatch.fnmatchcase(last, plain):
            return True
    return False


def _shown(root: Path, subject: str) -> str:
    """Return a path as people read it: from the current folder, else from the scanned one."""
    path = root / subject
    here = Path(os.path.realpath(os.curdir))
    if path.is_relative_to(here):
        return printable(path.relative_to(here).as_posix())
    return printable(path.relative_to(root.parent).as_posix() if root.parent != root else subject)


def module_names(source: Source) -> list[str]:
    """Return the dotted names by which an import can mean a file, the likeliest first.

    From the topmost folder of the package it is in, and from the folder that is scanned.
    """
    path = source.root / source.subject
    parts = list(path.with_suffix("").parts)
    if source.is_package:
        parts.pop()
    top = path.parent
    depth = 0 if source.is_package else 1
    while _is_file(top / "__init__.py") and top.parent != top:
        top = top.parent
        depth += 1
    below = len(path.relative_to(source.root).parts) - (1 if source.is_package else 0)
    names = [".".join(parts[-count:]) for count in (depth, below) if count > 0]
    return list(dict.fromkeys(names)) or [path.parent.name]
