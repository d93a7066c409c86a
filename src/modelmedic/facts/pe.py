"""What a Windows program or DLL needs, read from its PE tables without loading it.

Source: Microsoft, "PE Format": headers, section table, import directory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from modelmedic.facts.byte_window import Malformed, Window

MAGIC = b"MZ"
MACHINES: Mapping[int, str] = {0x14C: "i686", 0x8664: "x86_64", 0xAA64: "aarch64"}
_MAX_SECTIONS = 256  # Windows itself loads no more than 96
_MAX_IMPORTS = 512
_PE32, _PE32_PLUS = 0x10B, 0x20B


@dataclass(frozen=True, slots=True)
class Pe:
    """The tables of one PE file."""

    machine: str
    bits: int
    end_bytes: int  # where its last section ends: a whole file is not shorter
    needed: tuple[str, ...]  # DLLs, as it spells them: "VCRUNTIME140_1.dll"


@dataclass(frozen=True, slots=True)
class _Section:
    address: int
    offset: int
    size_bytes: int


def parse_pe(window: Window) -> Pe:
    """Return what a PE file says of itself.

    Raises:
        Malformed: Its headers are cut or contradict themselves.
    """
    (start,) = window.unpack("<I", 0x3C)
    if window.at(start, 4) != b"PE\0\0":
        raise Malformed("it has no PE header")
    machine, count, _time, _symbols, _n, optional_size, _flags = window.unpack(
        "<HHIIIHH", start + 4
    )
    optional = start + 24
    (magic,) = window.unpack("<H", optional)
    if magic not in {_PE32, _PE32_PLUS} or count > _MAX_SECTIONS:
        raise Malformed("its optional header is none")
    sections = tuple(_sections(window, optional + optional_size, count))
    end = max([s.offset + s.size_bytes for s in sections], default=0)
    needed: tuple[str, ...] = ()
    if end <= window.size_bytes:
        needed = tuple(_imports(window, _directory(window, optional, magic), sections))
    bits = 64 if magic == _PE32_PLUS else 32
    return Pe(MACHINES.get(machine, f"machine {machine:#x}"), bits, end, needed)


def _sections(window: Window, at: int, count: int) -> Iterator[_Section]:
    for number in range(count):
        _virtual, address, size, offset = window.unpack("<IIII", at + 40 * number + 8)
        yield _Section(address, offset, size)


def _directory(window: Window, optional: int, magic: int) -> int:
    """Return the address of the import directory, 0 when there is none."""
    first = optional + (112 if magic == _PE32_PLUS else 96)
    (count,) = window.unpack("<I", first - 4)
    return window.unpack("<I", first + 8)[0] if count > 1 else 0


def _imports(window: Window, address: int, sections: tuple[_Section, ...]) -> Iterator[str]:
    if not address:
        return
    at = _offset(address, sections)
    for number in range(_MAX_IMPORTS):
        _lookup, _time, _chain, name, _table = window.unpack("<IIIII", at + 20 * number)
        if not name:
            return
        yield window.text(_offset(name, sections))


def _offset(address: int, sections: tuple[_Section, ...]) -> int:
    for section in sections:
        inside = address - section.address
        if 0 <= inside < section.size_bytes:
            return section.offset + inside
    raise Malformed(f"no section holds address {address:#x}")
