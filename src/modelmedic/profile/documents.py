"""Reading profile files: bytes to tables, and each profile with all it extends."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmedic.errors import BadProfile
from modelmedic.profile.lines import KeyPath, find_lines, line_of
from modelmedic.text import counted, printable, size

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Node = dict[str, Any]  # a TOML table as the parser gives it

MAX_BYTES = 1024 * 1024  # the longest shipped profile has 12 KB
MAX_PARENTS = 10
GUIDE = "docs/profiles.md describes every key."
_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)")


@dataclass(frozen=True, slots=True)
class Document:
    """One profile file as it was read."""

    file: Path
    text: str
    data: Node

    def line(self, path: KeyPath) -> int:
        """Return the line of a key of this file, or of what holds it."""
        return line_of(find_lines(self.text), path)


def read_chain(file: Path, *, find: Callable[[str, Path], Path]) -> list[Document]:
    """Return the profile of ``file`` and those it extends, the child first.

    Args:
        file: The profile's file.
        find: Turns the value of ``extends`` and the folder it stands in into a file.

    Raises:
        BadProfile: A file cannot be read or is no TOML, or profiles extend each other.
    """
    documents = [read_document(file)]
    seen = [_identity(file)]
    while parent := _parent_name(documents[-1]):
        child = documents[-1]
        try:
            file = find(parent, child.file.parent)
            documents.append(read_document(file))
        except BadProfile as error:
            raise _in_extends(child, error) from error
        if _identity(file) in seen or len(seen) > MAX_PARENTS:
            raise _endless(child, parent, documents)
        seen.append(_identity(file))
    return documents


def read_document(file: Path) -> Document:
    """Return the parsed file.

    Raises:
        BadProfile: It cannot be read, is not UTF-8 or is no TOML.
    """
    text = _decode(file, _read(file))
    try:
        return Document(file, text, tomllib.loads(text))
    except RecursionError as error:
        raise BadProfile(f"{place(file)}: arrays or tables are nested too deeply.") from error
    except ValueError as error:  # TOMLDecodeError, and ValueError for integers without end
        found = _AT_LINE.search(str(error))
        line = int(found.group(1)) if found else text.count("\n") + 1
        reason = _AT_LINE.sub("", str(error)).replace("(at end of document)", "").strip()
        raise BadProfile(
            f"{place(file, line)}: this is not TOML: {printable(reason)}.",
            "The line before it may be the cause, such as a missing quote or bracket.",
            f"Correct the file; {GUIDE}",
        ) from error


def place(file: Path, line: int | None = None) -> str:
    """Return how messages name a place: "Profile x.toml, line 3"."""
    return f"Profile {printable(file)}" + (f", line {line}" if line else "")


def _read(file: Path) -> bytes:
    try:
        facts = os.stat(file)  # noqa: PTH116 - Path.stat is the same; a NUL raises ValueError here
        if not stat.S_ISREG(facts.st_mode):
            kind = "a folder" if stat.S_ISDIR(facts.st_mode) else "not a regular file"
            raise BadProfile(f"{place(file)} is {kind}; expected a TOML file.")
        if facts.st_size > MAX_BYTES:
            raise BadProfile(
                f"{place(file)} has {size(facts.st_size)}; expected at most {size(MAX_BYTES)}."
            )
        return file.read_bytes()
    except FileNotFoundError as error:
        raise BadProfile(
            f"{place(file)} does not exist.",
            next_step="Correct the path; a shipped profile is chosen by its name alone.",
        ) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise BadProfile(f"{place(file)} cannot be read: {reason}.") from error


def _decode(file: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")  # Notepad writes a byte order mark, TOML knows none
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadProfile(
            f"{place(file, line)}: byte 0x{data[error.start]:02x} is not UTF-8.",
            "TOML files are UTF-8; most often the editor saved it in another encoding.",
            "Save the file as UTF-8.",
        ) from error


def _identity(file: Path) -> tuple[int, int] | str:
    facts = file.stat()
    return (facts.st_dev, facts.st_ino) if facts.st_ino else os.path.realpath(file)


def _parent_name(document: Document) -> str:
    name = document.data.get("extends")
    return name if isinstance(name, str) else ""  # another type is reported with the other keys


def _in_extends(child: Document, error: BadProfile) -> BadProfile:
    where = place(child.file, child.line(("extends",)))
    return BadProfile(
        f"{where}: extends cannot be followed. {error.what}", error.why, error.next_step
    )


def _endless(child: Document, parent: str, documents: list[Document]) -> BadProfile:
    names = " -> ".join(printable(document.file.name) for document in documents)
    return BadProfile(
        f'{place(child.file, child.line(("extends",)))}: extends = "{printable(parent)}" '
        f"never ends: {names}.",
        f"Profiles extend each other, or more than {counted(MAX_PARENTS, 'time')} in a row.",
        "Remove one of these extends.",
    )
