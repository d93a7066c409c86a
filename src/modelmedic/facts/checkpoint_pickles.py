"""The pickles inside a PyTorch checkpoint, and what they would import: read, never loaded.

Everything is refused by the sizes that the file's own directory states before it is read.
"""

from __future__ import annotations

import struct
import tarfile
import zlib
from collections.abc import Iterator

from modelmedic.errors import CannotTell
from modelmedic.facts import checkpoint_zip, pickle_imports, safe_open, weights
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.checkpoint_zip import Record
from modelmedic.facts.pickle_imports import MAX_PICKLE_BYTES, Imports
from modelmedic.facts.safe_open import SafeFile
from modelmedic.facts.weights import Kind
from modelmedic.text import counted, printable, size

MAX_RECORDS = 200_000
MAX_PICKLES = 64  # a checkpoint has one, a TorchScript archive two
# PyTorch never packs records. Weights that somebody packed shrink by a half at most; zeros shrink
# a thousandfold, and so does what is meant to fill a disk or a memory.
MAX_RATIO = 100
_LOCAL = struct.Struct("<4s5H3I2H")
_END_BYTES = 22  # of the end record without a comment
_TAR_BLOCK_BYTES = 512
_NOT_PICKLES = frozenset(
    {Kind.SAFETENSORS, Kind.LFS_POINTER, Kind.HTML, Kind.JSON, Kind.ZEROS, Kind.EMPTY}
)


class NoCheckpoint(CannotTell):
    """The file is no checkpoint at all; what it is another check says."""


@probe("file_header")
def read_imports(facts: FactBook, subject: str) -> Imports:
    """Return what the checkpoint at ``subject`` would import if it were loaded.

    Raises:
        NoCheckpoint: It is a page, a pointer, safetensors, or empty.
        CannotTell: It is not a readable file inside the install, or not what it claims to be.
    """
    with safe_open.opened(facts.context.place, subject) as (state, file):
        if file is None:
            raise CannotTell(state.sentence())
        found = scan_file(file)
        if file.has_changed():
            raise CannotTell(f"{printable(subject)} was written to while it was read.")
        return found


def scan_file(file: SafeFile) -> Imports:
    """Return what an open checkpoint would import; as `read_imports`."""
    start = file.read_at(0, _TAR_BLOCK_BYTES)
    kind = weights.kind_of(start)
    if kind in _NOT_PICKLES:
        raise NoCheckpoint(f"{printable(file.state.subject)} is no checkpoint: {kind.value}.")
    if kind is Kind.ZIP:
        found = Imports()
        for record in _pickles(file):
            found |= pickle_imports.scan(_bytes_of(file, record))
        return found
    if _is_tar(start):
        raise _refused(file, "it is also a tar archive, whose pickles lie elsewhere")
    data = file.read_at(0, MAX_PICKLE_BYTES)
    return pickle_imports.scan(data, is_whole=len(data) == file.size_bytes)


def _pickles(file: SafeFile) -> Iterator[Record]:
    """Yield the records of a zip that a loader unpickles.

    Raises:
        CannotTell: The directory is damaged, absurd, or may be read in two ways.
    """
    end = file.read_at(file.size_bytes - _END_BYTES, _END_BYTES)
    if not end.startswith(b"PK\5\6") or end[-2:] != b"\0\0":
        # Readers look for the end record differently where a comment follows it.
        raise _refused(file, "its directory does not stand at its end")
    archive = checkpoint_zip.read_archive(file.read_at, file.size_bytes)
    if archive.flaw is not None:
        raise _refused(file, f"its directory is damaged. {archive.flaw.text}".rstrip("."))
    if len(archive.records) > MAX_RECORDS:
        raise _refused(file, f"it has {counted(len(archive.records), 'record')}")
    for record in archive.records:
        if record.size_bytes > MAX_RATIO * max(record.stored_bytes, 1) and not record.is_stored:
            raise _refused(
                file,
                f"{printable(record.name)} would grow from {size(record.stored_bytes)} to "
                f"{size(record.size_bytes)} when unpacked",
            )
    found = [record for record in archive.records if _is_pickle(record.name)]
    if any(
        "/code/" in record.name or record.name.startswith("code/") for record in archive.records
    ):
        raise _refused(file, "it holds a program (TorchScript), which no scan of imports judges")
    if len(found) > MAX_PICKLES:
        raise _refused(file, f"it has {len(found)} pickles")
    yield from found


def _is_pickle(name: str) -> bool:
    return name.lower().endswith((".pkl", ".pickle"))


def _bytes_of(file: SafeFile, record: Record) -> bytes:
    """Return the unpacked bytes of a record.

    Raises:
        CannotTell: It is too large to be one, or its bytes are not what the directory says.
    """
    name = printable(record.name)
    if max(record.size_bytes, record.stored_bytes) > MAX_PICKLE_BYTES:
        raise _refused(
            file, f"{name} has {size(record.size_bytes)}; none known has a hundredth of that"
        )
    header = file.read_at(record.start_bytes, _LOCAL.size)
    if len(header) < _LOCAL.size or not header.startswith(b"PK\3\4"):
        raise _refused(file, f"{name} does not begin where the directory says")
    fields = _LOCAL.unpack(header)
    start = record.start_bytes + _LOCAL.size + fields[9] + fields[10]
    own_name = file.read_at(record.start_bytes + _LOCAL.size, fields[9])
    if own_name.decode("utf-8", "backslashreplace") != record.name or fields[2] & 1:
        raise _refused(file, f"{name} has another name, or a lock, where it begins")
    data = file.read_at(start, record.stored_bytes)
    if fields[3] != (0 if record.is_stored else zlib.DEFLATED):
        raise _refused(file, f"{name} is packed in a way that is not known")
    if not record.is_stored:
        data = _unpacked(data, record.size_bytes)
    if len(data) != record.size_bytes:
        raise _refused(file, f"{name} has another length than the directory says")
    return data


def _unpacked(data: bytes, size_bytes: int) -> bytes:
    """Return the beginning of deflated bytes, at most one byte more than they should have."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size_bytes + 1)
    except zlib.error:
        return b""


def _is_tar(start: bytes) -> bool:
    """Return whether a file is a tar archive; PyTorch tries to read one before a pickle."""
    try:
        tarfile.TarInfo.frombuf(start, tarfile.ENCODING, "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return False
    return True


def _refused(file: SafeFile, why: str) -> CannotTell:
    return CannotTell(
        f"What {printable(file.state.subject)} would import cannot be known: {why}.",
        "A checkpoint is a program as well as weights; this one was not loaded or unpacked.",
    )


def unknown(subject: str, found: Imports) -> CannotTell:
    """Return what to say of a checkpoint whose imports are not all known."""
    return CannotTell(
        f"{printable(subject)} was not judged. {found.unknown}",
        "A checkpoint is a program as well as weights; this one was not loaded.",
        "Do not load it before somebody has looked; take the model's safetensors if there are any.",
    )
