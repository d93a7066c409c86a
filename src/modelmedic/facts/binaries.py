"""Compiled modules read without loading them: processor, libraries, C library, whether whole."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from modelmedic.errors import CannotTell
from modelmedic.facts import elf, pe
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.byte_window import Malformed, Window
from modelmedic.text import printable

_GLIBC = re.compile(r"GLIBC_(\d{1,3}(?:\.\d{1,3}){1,2})")
_SAME_MACHINE = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64", "i386": "i686"}


@dataclass(frozen=True, slots=True)
class Binary:
    """What one compiled file says of itself.

    ``kind``: "elf", "pe", or "" for anything else, whose other values are then empty.
    """

    path: str
    size_bytes: int
    kind: str = ""
    machine: str = ""  # as `same_machine` spells it: "x86_64"
    bits: int = 0
    needed: tuple[str, ...] = ()  # libraries by name
    glibc: str = ""  # newest version of the GNU C library it asks for: "2.32"
    end_bytes: int = 0  # where its last table or section ends
    problem: str = ""  # what in its tables contradicts itself; "" when nothing does

    @property
    def is_cut(self) -> bool:
        """Return whether the file ends before its own tables say."""
        return self.end_bytes > self.size_bytes


@probe("local_read")
def read_binaries(_facts: FactBook, paths: tuple[str, ...]) -> tuple[Binary, ...]:
    """Return what compiled files say of themselves, in their order.

    Files that are not there or are no files are left out.
    """
    found = (look_at(Path(path)) for path in paths)
    return tuple(each for each in found if each is not None)


def look_at(path: Path) -> Binary | None:
    """Return what a compiled file says of itself; None when there is no such file.

    Raises:
        CannotTell: It may not be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            return parse(str(path), Window(stream, size))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CannotTell(f"{printable(path)} cannot be read: {error.strerror}.") from error


def parse(path: str, window: Window) -> Binary:
    """Return what the bytes of a compiled file say; hostile ones give a ``problem``."""
    size = window.size_bytes
    try:
        head = window.at(0, min(4, size))
        if head == elf.MAGIC:
            found = elf.parse_elf(window)
            newest = newest_glibc(found.versions)
            return Binary(
                path, size, "elf", found.machine, found.bits, found.needed, newest, found.end_bytes
            )
        if head[:2] == pe.MAGIC:
            program = pe.parse_pe(window)
            return Binary(
                path, size, "pe", program.machine, program.bits, program.needed, "",
                program.end_bytes,
            )  # fmt: skip
    except Malformed as error:
        kind = "elf" if head == elf.MAGIC else "pe"
        return Binary(path, size, kind, problem=printable(error))
    return Binary(path, size, problem="" if size else "it is empty")


def newest_glibc(versions: Iterable[str]) -> str:
    """Return the newest version of the GNU C library among symbol versions, "" when none is."""
    matches = (_GLIBC.fullmatch(version) for version in versions)
    return max((match.group(1) for match in matches if match), key=version_key, default="")


def version_key(version: str) -> tuple[int, ...]:
    """Return what orders versions of the GNU C library: "2.4" is older than "2.32"."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:4])


def same_machine(name: str) -> str:
    """Return one spelling of a processor's name: "x86_64" of "AMD64"."""
    lower = name.lower()
    return _SAME_MACHINE.get(lower, lower)
