"""The directory of a PyTorch checkpoint (``.pth``, ``.pt``, ``.bin``): a zip, never unpickled.

Source: APPNOTE.TXT of the zip format, sections 4.3.12 to 4.3.16; ``caffe2/serialize/
inline_container.cc`` for the records PyTorch writes. Read are the last 64 KiB and the directory,
whatever the size of the file.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from modelmedic.facts.flaw import Flaw
from modelmedic.text import printable

ReadAt = Callable[[int, int], bytes]  # offset and length in bytes; fewer bytes at the end

# A record takes about 120 bytes of directory and the 11 GB text encoder of Wan 2.2 has some 250:
# 64 MiB is half a million records. More is no checkpoint, and would be read into memory.
MAX_DIRECTORY_BYTES = 64 << 20
_END = struct.Struct("<4s4H2IH")
_END64_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_LOCAL_BYTES = 30
_MAX_COMMENT_BYTES = 0xFFFF
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF  # "see the zip64 record"
_ZIP64_FIELD = 1


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of the directory. Its bytes end at or before ``end_bytes`` plus padding."""

    name: str
    start_bytes: int
    stored_bytes: int
    size_bytes: int
    is_stored: bool
    crc32: int = 0  # of the unpacked bytes, as the directory says

    @property
    def end_bytes(self) -> int:
        """Return where its bytes end at the earliest (the local name and padding uncounted)."""
        return self.start_bytes + _LOCAL_BYTES + self.stored_bytes


@dataclass(frozen=True, slots=True)
class Archive:
    """The directory of a zip. ``flaw`` is None when every record lies whole in the file."""

    records: tuple[Record, ...] = ()
    directory_at_bytes: int | None = None
    flaw: Flaw | None = None

    @property
    def data_bytes(self) -> int:
        """Return the unpacked bytes of all records."""
        return sum(record.size_bytes for record in self.records)


@dataclass(frozen=True, slots=True)
class _Directory:
    count: int
    size_bytes: int
    start_bytes: int
    end_bytes: int  # where the end records begin


class _Flawed(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.flaw = Flaw(code, text)


def read_archive(read_at: ReadAt, size_bytes: int) -> Archive:
    """Return the directory of a zip of ``size_bytes`` bytes; a damaged one comes with its flaw."""
    try:
        directory = _find_directory(read_at, size_bytes)
        records = _records(read_at(directory.start_bytes, directory.size_bytes), directory)
        _require_whole(records, directory)
    except _Flawed as error:
        return Archive(flaw=error.flaw)
    return Archive(records, directory.start_bytes)


def _find_directory(read_at: ReadAt, size_bytes: int) -> _Directory:
    tail_bytes = min(size_bytes, _END.size + _MAX_COMMENT_BYTES)
    tail_at = size_bytes - tail_bytes
    tail = read_at(tail_at, tail_bytes)
    at = _end_record(tail)
    if at < 0:
        raise _Flawed("cut", "Its directory, which stands at the end of a checkpoint, is missing.")
    _, _, _, _, count, length, start, _ = _END.unpack_from(tail, at)
    directory = _Directory(count, length, start, tail_at + at)
    if count == _FULL16 or _FULL32 in {length, start}:
        directory = _find_directory64(read_at, tail_at + at)
    if directory.size_bytes > MAX_DIRECTORY_BYTES:
        raise _Flawed("too-large", f"Its directory claims {directory.size_bytes:,} bytes.")
    if directory.start_bytes + directory.size_bytes > directory.end_bytes:
        ends = directory.start_bytes + directory.size_bytes
        raise _Flawed(
            "directory-damaged",
            f"Its directory should end at byte {ends:,}; its end record already stands at "
            f"{directory.end_bytes:,}: bytes are missing in between.",
        )
    return directory


def _end_record(tail: bytes) -> int:
    """Return where the end record begins; -1 if no record's comment ends with the file."""
    at = tail.rfind(b"PK\5\6")
    while at >= 0:
        if at + _END.size <= len(tail):
            comment_bytes = _END.unpack_from(tail, at)[-1]
            if at + _END.size + comment_bytes == len(tail):
                return at
        at = tail.rfind(b"PK\5\6", 0, at)
    return -1


def _find_directory64(read_at: ReadAt, end_at: int) -> _Directory:
    locator_at = end_at - _END64_LOCATOR.size
    locator = read_at(locator_at, _END64_LOCATOR.size) if locator_at >= 0 else b""
    if len(locator) < _END64_LOCATOR.size or not locator.startswith(b"PK\6\7"):
        raise _Flawed("directory-damaged", "Its directory's zip64 locator is missing.")
    at = _END64_LOCATOR.unpack(locator)[2]
    record = read_at(at, _END64.size) if at <= locator_at else b""
    if len(record) < _END64.size or not record.startswith(b"PK\6\6"):
        raise _Flawed("directory-damaged", f"Its zip64 end record is not at byte {at:,}.")
    fields = _END64.unpack(record)
    return _Directory(count=fields[7], size_bytes=fields[8], start_bytes=fields[9], end_bytes=at)


def _records(data: bytes, directory: _Directory) -> tuple[Record, ...]:
    records: list[Record] = []
    at = 0
    while at + _CENTRAL.size <= len(data) and len(records) < directory.count:
        fields = _CENTRAL.unpack_from(data, at)
        if fields[0] != b"PK\1\2":
            break
        name_bytes, extra_bytes, comment_bytes = fields[10], fields[11], fields[12]
        name_at = at + _CENTRAL.size
        name = data[name_at : name_at + name_bytes].decode("utf-8", "backslashreplace")
        extra = data[name_at + name_bytes : name_at + name_bytes + extra_bytes]
        size, stored, start = _sizes64(extra, fields[9], fields[8], fields[16])
        is_stored = fields[4] == 0
        records.append(Record(name, start, stored, size, is_stored, crc32=fields[7]))
        at = name_at + name_bytes + extra_bytes + comment_bytes
    if len(records) != directory.count or at > len(data):
        raise _Flawed(
            "directory-damaged",
            f"Its directory lists {directory.count:,} records; {len(records):,} are readable.",
        )
    return tuple(records)


def _sizes64(extra: bytes, size: int, stored: int, start: int) -> tuple[int, int, int]:
    """Return the three numbers, those that do not fit 32 bits taken from the zip64 field."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == _ZIP64_FIELD:
            body = extra[at + 4 : at + 4 + length]
            numbers = iter(struct.unpack(f"<{len(body) // 8}Q", body[: len(body) // 8 * 8]))
            size = next(numbers, size) if size == _FULL32 else size
            stored = next(numbers, stored) if stored == _FULL32 else stored
            start = next(numbers, start) if start == _FULL32 else start
            break
        at += 4 + length
    return size, stored, start


def _require_whole(records: tuple[Record, ...], directory: _Directory) -> None:
    end = directory.start_bytes
    for record in sorted(records, key=lambda each: each.start_bytes, reverse=True):
        if record.end_bytes > end:
            raise _Flawed(
                "directory-damaged",
                f"Record {printable(record.name)} ends at byte {record.end_bytes:,} or later; "
                f"what follows it begins at {end:,}.",
            )
        if record.is_stored and record.stored_bytes != record.size_bytes:
            raise _Flawed(
                "directory-damaged",
                f"Record {printable(record.name)} is stored as it is, in {record.stored_bytes:,} "
                f"bytes; it should have {record.size_bytes:,}.",
            )
        end = record.start_bytes
    if not any(record.name.endswith("data.pkl") for record in records):
        raise _Flawed(
            "not-checkpoint",
            f"It is a zip with {len(records):,} records, none of them the data.pkl of PyTorch.",
        )
