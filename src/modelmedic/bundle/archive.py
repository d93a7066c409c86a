"""Read a ZIP file that may come from a stranger: in memory, bounded, every byte accounted for.

Not with `zipfile`, which believes the directory at the end of the file: it lets members overlap,
carry two names, or unfold into any number of bytes. What is refused here is what no bundle needs.
Source: PKWARE's APPNOTE 6.3.10, sections 4.3.7, 4.3.9, 4.3.12 and 4.3.16.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from modelmedic.bundle.members import is_plain_name
from modelmedic.errors import CannotTell
from modelmedic.text import counted, printable, size

MOST_FILE_BYTES = 32 * 1024 * 1024
MOST_ENTRIES = 500
MOST_ENTRY_BYTES = 16 * 1024 * 1024
MOST_ALL_BYTES = 64 * 1024 * 1024
MOST_RATIO = 200  # deflate itself ends at 1,032; our writer stores what is above 100
_SMALL_BYTES = 64 * 1024  # below it no ratio can hurt

_END = struct.Struct("<4s4H2LH")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_ZIP64_LOCATOR = b"PK\x06\x07"
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
_HAS_DESCRIPTOR = 0x0008
_MOST_DESCRIPTOR_BYTES = 24
_STORED, _DEFLATED = 0, 8
_MARK = 0xFFFFFFFF  # "see the zip64 part"


@dataclass(frozen=True, slots=True)
class Entry:
    """One member as the directory tells of it; nothing of it is believed before it is read."""

    name: str
    method: int
    flags: int
    crc: int
    packed_bytes: int
    size_bytes: int
    offset: int  # of its own header

    @property
    def is_folder(self) -> bool:
        """Return whether it is a folder: a name with a slash at its end, and no bytes."""
        return self.name.endswith("/") and not self.size_bytes


class Archive:
    """The members of a ZIP file, found sound as a whole before the first is read.

    Args:
        data: The whole file.
        name: What it is called in messages.

    Raises:
        CannotTell: It is no ZIP file, or one with something that no bundle has.
    """

    def __init__(self, data: bytes, name: str) -> None:
        self._data = data
        self._name = printable(name)
        self.entries: dict[str, Entry] = {}
        start, count = self._directory()
        for entry in self._entries(start, count):
            if entry.name in self.entries:
                self._refuse(f"two members are called {printable(entry.name)}")
            self.entries[entry.name] = entry
        self._check_sizes()
        self._check_places(start)

    @classmethod
    def open(cls, path: Path) -> Archive:
        """Return the archive at ``path``; a pipe or device is refused, not waited for."""
        return cls(read_regular(path, MOST_FILE_BYTES), str(path))

    def read(self, name: str) -> bytes:
        """Return a member's bytes, as many as the directory says and with its CRC, or none.

        Raises:
            CannotTell: They are not what the directory says.
            KeyError: There is no such member.
        """
        entry = self.entries[name]
        start = self._content(entry)
        packed = self._data[start : start + entry.packed_bytes]
        data = packed if entry.method == _STORED else self._inflated(entry, packed)
        if len(data) != entry.size_bytes:
            self._refuse(f"{name} has another size than the directory says")
        if zlib.crc32(data) != entry.crc:
            self._refuse(f"{name} is damaged: its checksum differs")
        return data

    # -- the directory ---------------------------------------------------------------------------

    def _directory(self) -> tuple[int, int]:
        """Return where the directory begins and how many members it lists."""
        place = len(self._data) - _END.size
        if place < 0 or self._data[place : place + 4] != b"PK\x05\x06":
            self._refuse("it is no ZIP file, or not a whole one, or has a comment at its end")
        _sign, disk, first, here, count, length, start, _comment = _END.unpack_from(
            self._data, place
        )
        if _MARK in {length, start} or self._data[place - 20 : place - 16] == _ZIP64_LOCATOR:
            self._refuse("it is in the zip64 form, which no bundle needs")
        if disk or first or here != count:
            self._refuse("it is a part of several")
        if count > MOST_ENTRIES:
            self._refuse(f"it has {counted(count, 'member')}, more than {MOST_ENTRIES}")
        if start + length != place:
            self._refuse("its directory does not lie where it says")
        return start, count

    def _entries(self, start: int, count: int) -> Iterator[Entry]:
        place, end = start, len(self._data) - _END.size
        for _ in range(count):
            if place + _CENTRAL.size > end or self._data[place : place + 4] != b"PK\x01\x02":
                self._refuse("its directory is cut short")
            entry, length = self._entry(place)
            yield entry
            place += length
        if place != end:
            self._refuse("its directory holds more than it says")

    def _entry(self, place: int) -> tuple[Entry, int]:
        fields = _CENTRAL.unpack_from(self._data, place)
        _, made_by, _, flags, method, _, _, crc, packed, unpacked = fields[:10]
        name_length, extra, comment, disk, _, attributes, offset = fields[10:]
        name = self._plain_name(self._data[place + _CENTRAL.size :][:name_length])
        if _MARK in {packed, unpacked, offset}:
            self._refuse(f"{name} is in the zip64 form, which no bundle needs")
        if flags & _ENCRYPTED:
            self._refuse(f"{name} is encrypted")
        if method not in {_STORED, _DEFLATED}:
            self._refuse(f"{name} is packed by method {method}, which is not read here")
        if disk:
            self._refuse(f"{name} lies in another part")
        kind = stat.S_IFMT(attributes >> 16) if made_by >> 8 == 3 else 0  # noqa: PLR2004 - 3: Unix
        if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
            self._refuse(f"{name} is a link or a device")
        entry = Entry(name, method, flags, crc, packed, unpacked, offset)
        return entry, _CENTRAL.size + name_length + extra + comment

    def _plain_name(self, raw: bytes) -> str:
        name = raw.decode("utf-8", "backslashreplace")
        if not is_plain_name(name.removesuffix("/")):
            self._refuse(f'a member is called "{printable(name)}", as no file of a bundle is')
        return name

    # -- what the members claim ------------------------------------------------------------------

    def _check_sizes(self) -> None:
        total = 0
        for entry in self.entries.values():
            total += entry.size_bytes
            if entry.size_bytes > MOST_ENTRY_BYTES:
                self._refuse(f"{entry.name} has {size(entry.size_bytes)} unpacked")
            if entry.method == _STORED and entry.packed_bytes != entry.size_bytes:
                self._refuse(f"{entry.name} has two sizes")
            if entry.size_bytes > max(_SMALL_BYTES, MOST_RATIO * entry.packed_bytes):
                self._refuse(f"{entry.name} unfolds to more than {MOST_RATIO} times its bytes")
        if total > MOST_ALL_BYTES:
            self._refuse(f"it has {size(total)} unpacked, more than {size(MOST_ALL_BYTES)}")

    def _check_places(self, end: int) -> None:
        """See that the members lie one behind the other from the first byte to the directory."""
        place = 0
        room = 0
        for entry in sorted(self.entries.values(), key=lambda each: each.offset):
            if not place <= entry.offset <= place + room:
                self._refuse(f"{entry.name} overlaps another member, or bytes lie before it")
            place = self._content(entry) + entry.packed_bytes
            room = _MOST_DESCRIPTOR_BYTES if entry.flags & _HAS_DESCRIPTOR else 0
        if not place <= end <= place + room:
            self._refuse("bytes lie between its members and its directory")

    def _content(self, entry: Entry) -> int:
        """Return where a member's bytes begin; its own header must say what the directory says."""
        start = entry.offset + _LOCAL.size
        if start > len(self._data) or self._data[entry.offset : entry.offset + 4] != b"PK\x03\x04":
            self._refuse(f"{entry.name} does not lie where the directory says")
        fields = _LOCAL.unpack_from(self._data, entry.offset)
        _, _, flags, method, _, _, crc, packed, unpacked, name_length, extra = fields
        told = (flags, method, self._data[start : start + name_length])
        if told != (entry.flags, entry.method, entry.name.encode()):
            self._refuse(f"{entry.name} has two headers that differ")
        sizes = (crc, packed, unpacked)
        if not flags & _HAS_DESCRIPTOR and sizes != (
            entry.crc,
            entry.packed_bytes,
            entry.size_bytes,
        ):
            self._refuse(f"{entry.name} has two headers that differ")
        content = start + int(name_length) + int(extra)
        if content + entry.packed_bytes > len(self._data):
            self._refuse(f"{entry.name} is cut short")
        return content

    def _inflated(self, entry: Entry, packed: bytes) -> bytes:
        """Return what a member unfolds to, and never more than one byte above what it should."""
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = unpacker.decompress(packed, entry.size_bytes + 1)
        except zlib.error as error:
            self._refuse(f"{entry.name} is damaged ({error})")
        is_whole = unpacker.eof and not unpacker.unused_data and not unpacker.unconsumed_tail
        if len(data) > entry.size_bytes or not is_whole:
            self._refuse(f"{entry.name} has another size than the directory says")
        return data

    def _refuse(self, why: str) -> NoReturn:
        raise CannotTell(
            f"{self._name} is not read as a bundle: {why}.",
            next_step="Ask for it again: it was changed on its way, or was not made by modelmedic.",
        )


def read_regular(path: Path, most_bytes: int) -> bytes:
    """Return a regular file's bytes.

    Raises:
        CannotTell: It cannot be read, is no regular file, or is larger than ``most_bytes``.
    """
    name = printable(path)
    try:
        handle = os.open(
            path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        )
        with os.fdopen(handle, "rb") as stream:
            info = os.fstat(handle)
            if not stat.S_ISREG(info.st_mode):
                raise CannotTell(f"{name} is no regular file.")
            data = stream.read(most_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise CannotTell(f"{name} cannot be read: {reason}.") from error
    if len(data) > most_bytes:
        raise CannotTell(f"{name} has more than {size(most_bytes)}.")
    return data
