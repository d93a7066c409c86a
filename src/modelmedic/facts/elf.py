"""What a Linux program or library needs, read from its ELF tables without loading it.

Source: System V gABI, chapters 4 and 5; "Symbol Versioning" of the Linux Standard Base.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from modelmedic.facts.byte_window import Malformed, Window

MAGIC = b"\x7fELF"
# e_machine as platform.machine() spells it. Source: elf-em.h of the Linux kernel.
MACHINES: Mapping[int, str] = {
    3: "i686",
    21: "ppc64le",
    22: "s390x",
    40: "armv7l",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
}
_MAX_TABLE = 4096  # entries of any table here; real libraries have dozens
_LOAD, _DYNAMIC = 1, 2
_NEEDED, _STRTAB, _VERNEED, _VERNEEDNUM = 1, 5, 0x6FFFFFFE, 0x6FFFFFFF


@dataclass(frozen=True, slots=True)
class Elf:
    """The tables of one ELF file."""

    machine: str
    bits: int
    end_bytes: int  # where its last table or segment ends: a whole file is not shorter
    needed: tuple[str, ...]  # libraries, by SONAME: "libcudart.so.12"
    versions: tuple[str, ...]  # symbol versions it asks of them: "GLIBC_2.32"


@dataclass(frozen=True, slots=True)
class _Head:
    order: str
    bits: int
    machine: int
    programs: tuple[int, int, int]  # offset, bytes of each, count
    sections: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size_bytes: int


def parse_elf(window: Window) -> Elf:
    """Return what an ELF file says of itself.

    A file that is cut has an ``end_bytes`` beyond its size; what lies there is then left out.

    Raises:
        Malformed: Its head is cut or contradicts itself.
    """
    head = _head(window)
    segments = tuple(_segments(window, head))
    ends = [segment.offset + segment.size_bytes for segment in segments]
    end = max(_end(head.programs), _end(head.sections), *ends)
    tables = _Tables(window, head, segments)
    needed, versions = ((), ()) if end > window.size_bytes else tables.read()
    machine = MACHINES.get(head.machine, f"machine {head.machine}")
    return Elf(machine, head.bits, end, needed, versions)


def _head(window: Window) -> _Head:
    ident = window.at(0, 16)
    if ident[4] not in {1, 2} or ident[5] not in {1, 2}:
        raise Malformed("its word size or byte order is none")
    bits, order = (64 if ident[4] == 2 else 32), "<" if ident[5] == 1 else ">"  # noqa: PLR2004
    form = f"{order}HHI{'QQQ' if bits == 64 else 'III'}IHHHHHH"  # noqa: PLR2004
    (_type, machine, _v, _entry, ph_at, sh_at, _flags, _size, ph_size, ph_count, sh_size, sh_count,
     _names) = window.unpack(form, 16)  # fmt: skip
    if ph_count > _MAX_TABLE:
        raise Malformed(f"it lists {ph_count:,} segments")
    return _Head(order, bits, machine, (ph_at, ph_size, ph_count), (sh_at, sh_size, sh_count))


def _end(table: tuple[int, int, int]) -> int:
    offset, each, count = table
    return offset + each * count


def _segments(window: Window, head: _Head) -> Iterator[_Segment]:
    offset, each, count = head.programs
    if _end(head.programs) > window.size_bytes:
        return
    for at in range(offset, offset + each * count, each) if each else ():
        if head.bits == 64:  # noqa: PLR2004
            kind, _flags, start, address, _p, size = window.unpack(f"{head.order}IIQQQQ", at)
        else:
            kind, start, address, _p, size = window.unpack(f"{head.order}IIIII", at)
        yield _Segment(kind, start, address, size)


@dataclass(frozen=True, slots=True)
class _Tables:
    """The dynamic section of a file and what it leads to."""

    window: Window
    head: _Head
    segments: tuple[_Segment, ...]

    def read(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the libraries and the symbol versions that the file asks for."""
        entries = list(self._dynamic())
        values = dict(entries)
        if _STRTAB not in values:
            return (), ()
        names = self._offset(values[_STRTAB])
        needed = tuple(self.window.text(names + value) for tag, value in entries if tag == _NEEDED)
        count = min(values.get(_VERNEEDNUM, 0), _MAX_TABLE)
        if _VERNEED not in values:
            return needed, ()
        versions = self._versions(self._offset(values[_VERNEED]), count, names)
        return needed, tuple(dict.fromkeys(versions))

    def _dynamic(self) -> Iterator[tuple[int, int]]:
        form = self.head.order + ("qQ" if self.head.bits == 64 else "iI")  # noqa: PLR2004
        each = self.head.bits // 4
        for segment in self.segments:
            if segment.kind == _DYNAMIC:
                for number in range(min(segment.size_bytes // each, _MAX_TABLE)):
                    tag, value = self.window.unpack(form, segment.offset + number * each)
                    if tag == 0:
                        return
                    yield tag, value

    def _offset(self, address: int) -> int:
        """Return where in the file an address of memory comes from."""
        for segment in self.segments:
            inside = address - segment.address
            if segment.kind == _LOAD and 0 <= inside < segment.size_bytes:
                return segment.offset + inside
        raise Malformed(f"nothing is loaded at address {address:#x}")

    def _versions(self, at: int, count: int, names: int) -> Iterator[str]:
        order = self.head.order
        left = _MAX_TABLE  # in all: a table that leads back to itself ends
        for _ in range(count):
            _v, aux_count, _file, aux, following = self.window.unpack(f"{order}HHIII", at)
            where = at + aux
            for _ in range(min(aux_count, left)):
                left -= 1
                _hash, _flags, _other, name, step = self.window.unpack(f"{order}IHHII", where)
                yield self.window.text(names + name)
                if not step:
                    break
                where += step
            if not following:
                return
            at += following
