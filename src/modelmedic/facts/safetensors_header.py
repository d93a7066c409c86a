"""The header of a safetensors file: what it promises, and whether the file keeps it.

Source: https://github.com/huggingface/safetensors#format and ``safetensors/src/tensor.rs``.
Only the first 8 + N bytes are read, whatever the size of the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from modelmedic.facts.flaw import Flaw
from modelmedic.text import counted, printable

ReadAt = Callable[[int, int], bytes]  # offset and length in bytes; fewer bytes at the end

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 100_000_000  # tensor.rs, MAX_HEADER_SIZE
# Source: tensor.rs, enum Dtype of safetensors 0.8.
DTYPE_BITS: Mapping[str, int] = MappingProxyType(
    {
        "BOOL": 8,
        "F4": 4,
        "F6_E2M3": 6,
        "F6_E3M2": 6,
        "U8": 8,
        "I8": 8,
        "F8_E5M2": 8,
        "F8_E4M3": 8,
        "F8_E8M0": 8,
        "F8_E4M3FNUZ": 8,
        "F8_E5M2FNUZ": 8,
        "I16": 16,
        "U16": 16,
        "F16": 16,
        "BF16": 16,
        "I32": 32,
        "U32": 32,
        "F32": 32,
        "C64": 64,
        "F64": 64,
        "I64": 64,
        "U64": 64,
    }
)
_MAX_COUNT = 1 << 64  # sizes are 64-bit; a product above it is an overflow for every reader


@dataclass(frozen=True, slots=True)
class TensorSpan:
    """One tensor and where its bytes lie, counted from the end of the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start_bytes: int
    end_bytes: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says. ``flaw`` is None when the whole file keeps what it promises.

    ``promised_bytes`` is the size the file must have by its header, None if that is not known.
    """

    header_bytes: int
    tensors: tuple[TensorSpan, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    promised_bytes: int | None = None
    flaw: Flaw | None = None

    @property
    def data_bytes(self) -> int:
        """Return the bytes of all tensors."""
        return max((tensor.end_bytes for tensor in self.tensors), default=0)

    @property
    def names(self) -> frozenset[str]:
        """Return the names of the tensors."""
        return frozenset(tensor.name for tensor in self.tensors)


class _Flawed(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.flaw = Flaw(code, text)


def read_header(read_at: ReadAt, size_bytes: int) -> Header:
    """Return the header of a file of ``size_bytes`` bytes; a damaged one comes with its flaw.

    Reads at most `MAX_HEADER_BYTES` + 8 bytes.
    """
    header_bytes = 0
    try:
        header_bytes = _length(read_at, size_bytes)
        entries = _parse(read_at(LENGTH_BYTES, header_bytes))
        metadata = _metadata(entries)
        tensors = tuple(sorted(_tensors(entries), key=lambda t: (t.start_bytes, t.end_bytes)))
        _require_no_holes(tensors)
    except _Flawed as error:
        return Header(header_bytes, flaw=error.flaw)
    header = Header(header_bytes, tensors, MappingProxyType(metadata))
    promised = LENGTH_BYTES + header_bytes + header.data_bytes
    flaw = _compare(tensors, size_bytes, promised, LENGTH_BYTES + header_bytes)
    return Header(header_bytes, tensors, header.metadata, promised, flaw)


def tensors_in(header: Header, ranges: Iterable[tuple[int, int]]) -> tuple[str, ...]:
    """Return the names of the tensors with a byte in one of the ranges, in the file's order.

    Args:
        header: Of the file.
        ranges: [start, end) in bytes, counted from the start of the file.
    """
    data_at = LENGTH_BYTES + header.header_bytes
    spans = [(start - data_at, end - data_at) for start, end in ranges]
    return tuple(
        tensor.name
        for tensor in header.tensors
        if any(max(tensor.start_bytes, start) < min(tensor.end_bytes, end) for start, end in spans)
    )


def _length(read_at: ReadAt, size_bytes: int) -> int:
    first = read_at(0, LENGTH_BYTES)
    if len(first) < LENGTH_BYTES:
        raise _Flawed("cut", f"It has {size_bytes:,} bytes; the header's length alone takes 8.")
    length = int.from_bytes(first, "little")
    if length > MAX_HEADER_BYTES:
        raise _Flawed(
            "not-safetensors",
            f"Its first 8 bytes announce a header of {length:,} bytes; "
            f"the format allows {MAX_HEADER_BYTES:,}.",
        )
    if LENGTH_BYTES + length > size_bytes:
        raise _Flawed(
            "cut",
            f"Its header alone takes {LENGTH_BYTES + length:,} bytes; the file has {size_bytes:,}.",
        )
    return length


def _parse(text: bytes) -> dict[str, Any]:
    try:
        entries = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        place = LENGTH_BYTES + error.start
        raise _Flawed("header-damaged", f"Its header is not UTF-8 at byte {place:,}.") from error
    except json.JSONDecodeError as error:
        text_error = f"Its header is not JSON at byte {LENGTH_BYTES + error.pos:,}: {error.msg}."
        raise _Flawed("header-damaged", text_error) from error
    except RecursionError as error:
        raise _Flawed("header-damaged", "Its header is nested too deeply to be read.") from error
    except ValueError as error:  # a number of thousands of digits
        raise _Flawed("header-damaged", f"Its header is not readable: {error}.") from error
    if not isinstance(entries, dict):
        raise _Flawed("header-damaged", "Its header is JSON but not an object.")
    return entries


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise _Flawed("header-damaged", f"Its header names {printable(twice)!r} twice.")
    return entries


def _metadata(entries: dict[str, Any]) -> dict[str, str]:
    found = entries.pop("__metadata__", None)
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise _Flawed("header-damaged", "Its header's __metadata__ is not a table of texts.")
    return found


def _tensors(entries: dict[str, Any]) -> list[TensorSpan]:
    return [_tensor(name, entry) for name, entry in entries.items()]


def _tensor(name: str, entry: object) -> TensorSpan:
    if not isinstance(entry, dict):
        raise _Flawed("header-damaged", f"Its header's entry {printable(name)} is not an object.")
    dtype = entry.get("dtype")
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise _Flawed(
            "header-damaged", f"Tensor {printable(name)} has the unknown dtype {printable(dtype)}."
        )
    shape, span = _sizes(entry.get("shape")), _sizes(entry.get("data_offsets"))
    if shape is None:
        raise _Flawed("header-damaged", f"Tensor {printable(name)} has no list of sizes as shape.")
    if span is None or len(span) != 2:  # noqa: PLR2004 - start and end
        raise _Flawed("header-damaged", f"Tensor {printable(name)} has no pair of offsets.")
    tensor = TensorSpan(name, dtype, shape, span[0], span[1])
    _require_fit(tensor)
    return tensor


def _sizes(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, list):
        return None
    fits = all(type(item) is int and 0 <= item < _MAX_COUNT for item in value)
    return tuple(value) if fits else None


def _require_fit(tensor: TensorSpan) -> None:
    bits = DTYPE_BITS[tensor.dtype]
    for size in tensor.shape:
        bits *= size
        if bits > _MAX_COUNT * 8:
            raise _Flawed("header-damaged", f"Tensor {printable(tensor.name)} is too large.")
    span = tensor.end_bytes - tensor.start_bytes
    if bits % 8 or span != bits // 8:
        takes = f"{bits // 8:,}" if bits % 8 == 0 else f"{bits / 8:,}"
        raise _Flawed(
            "header-damaged",
            f"Tensor {printable(tensor.name)} ({tensor.dtype} {list(tensor.shape)}) takes "
            f"{takes} bytes; its header gives it {span:,}.",
        )


def _require_no_holes(tensors: tuple[TensorSpan, ...]) -> None:
    end = 0
    for tensor in tensors:
        if tensor.start_bytes != end:
            raise _Flawed(
                "header-damaged",
                f"Tensor {printable(tensor.name)} starts at byte {tensor.start_bytes:,} of the "
                f"data; the one before it ends at {end:,}.",
            )
        end = tensor.end_bytes


def _compare(
    tensors: tuple[TensorSpan, ...], size_bytes: int, promised_bytes: int, data_at: int
) -> Flaw | None:
    if size_bytes == promised_bytes:
        return None
    if size_bytes > promised_bytes:
        text = (
            f"Its header describes {promised_bytes:,} bytes; "
            f"{size_bytes - promised_bytes:,} more follow."
        )
        return Flaw("longer", text, promised_bytes=promised_bytes)
    cut = tuple(tensor.name for tensor in tensors if data_at + tensor.end_bytes > size_bytes)
    shown = ", ".join(printable(name) for name in cut[:3])
    text = (
        f"Its header promises {promised_bytes:,} bytes; {counted(len(cut), 'tensor')} "
        f"of {len(tensors)} cut off: {shown}{', ...' if len(cut) > 3 else ''}."  # noqa: PLR2004 - three names are enough
    )
    return Flaw("cut", text, tensors=cut, promised_bytes=promised_bytes)
