"""Tensors made from a seed, and the safetensors files that hold them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

# Bytes per element, in the order in which the format's own writer sorts (last dtype first).
# Source: safetensors/src/tensor.rs, enum Dtype.
DTYPE_BYTES: Mapping[str, int] = MappingProxyType(
    {
        "BOOL": 1,
        "U8": 1,
        "I8": 1,
        "F8_E5M2": 1,
        "F8_E4M3": 1,
        "I16": 2,
        "U16": 2,
        "F16": 2,
        "BF16": 2,
        "I32": 4,
        "U32": 4,
        "F32": 4,
        "F64": 8,
        "I64": 8,
        "U64": 8,
    }
)
PYTORCH_METADATA: Mapping[str, str] = MappingProxyType({"format": "pt"})
_FLOATS = frozenset({"F16", "BF16", "F32", "F64"})
_HEADER_ALIGNMENT_BYTES = 8
# The top byte of a small finite number: its sign stays, its exponent ends below one (BF16, F32).
_FINITE = bytes((byte & 0x80) | (0x3B + (byte & 3)) for byte in range(256))


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor as a file stores it.

    Args:
        dtype: As safetensors spells it, such as ``BF16``.
        shape: In storage order; ``()`` is a scalar.
        data: Its bytes, little-endian.

    Raises:
        ValueError: The dtype is not known, or ``data`` is not as long as dtype and shape say.
    """

    dtype: str
    shape: tuple[int, ...]
    data: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if self.dtype not in DTYPE_BYTES:
            raise ValueError(f"dtype {self.dtype!r} is none of {', '.join(DTYPE_BYTES)}")
        expected_bytes = math.prod(self.shape) * DTYPE_BYTES[self.dtype]
        if len(self.data) != expected_bytes:
            raise ValueError(
                f"{self.dtype} {list(self.shape)} needs {expected_bytes} bytes, "
                f"not {len(self.data)}"
            )


def seeded_bytes(seed: str, size_bytes: int) -> bytes:
    """Return ``size_bytes`` bytes that look random and are the same for a seed, everywhere."""
    return hashlib.shake_128(seed.encode()).digest(size_bytes)


def seeded_tensor(seed: str, dtype: str, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor whose content follows from ``seed`` alone; floats are finite and small."""
    item_bytes = DTYPE_BYTES[dtype]
    data = bytearray(seeded_bytes(seed, math.prod(shape) * item_bytes))
    if dtype in _FLOATS:
        top = slice(item_bytes - 1, None, item_bytes)
        data[top] = data[top].translate(_FINITE)
    return Tensor(dtype, shape, bytes(data))


def safetensors_bytes(
    tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = PYTORCH_METADATA
) -> bytes:
    """Return the safetensors file of ``tensors``, byte for byte as the real writer makes it.

    Args:
        tensors: By name; stored by dtype, then name, whatever their order here.
        metadata: The ``__metadata__`` entry; None leaves it out.

    Source: https://github.com/huggingface/safetensors#format
    """
    order = list(DTYPE_BYTES)
    names = sorted(tensors, key=lambda name: (-order.index(tensors[name].dtype), name))
    header: dict[str, object] = {} if metadata is None else {"__metadata__": dict(metadata)}
    end = 0
    for name in names:
        tensor, start = tensors[name], end
        end += len(tensor.data)
        header[name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _HEADER_ALIGNMENT_BYTES)
    return b"".join(
        [
            len(text).to_bytes(8, "little"),
            text,
            *(tensors[name].data for name in names),
        ]
    )
