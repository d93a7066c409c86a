"""Write a PyTorch checkpoint (``.pth``) without PyTorch: a stored zip around a small pickle."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from modelmedic.testing._tensors import Tensor

# Source: torch/storage.py and torch/_utils.py name these; an unpickler looks them up.
_STORAGES: Mapping[str, str] = MappingProxyType(
    {
        "BOOL": "BoolStorage",
        "U8": "ByteStorage",
        "I8": "CharStorage",
        "I16": "ShortStorage",
        "F16": "HalfStorage",
        "BF16": "BFloat16Storage",
        "I32": "IntStorage",
        "F32": "FloatStorage",
        "F64": "DoubleStorage",
        "I64": "LongStorage",
    }
)
_DATA_ALIGNMENT_BYTES = 64  # caffe2/serialize/inline_container.cc, kFieldAlignment
# UTF-8 names, and sizes that follow the data: so writes the miniz inside PyTorch.
_FLAGS = 0x0808
_VERSION_NEEDED = 20  # zip 2.0
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_DESCRIPTOR = struct.Struct("<4s3I")
_END = struct.Struct("<4s4H2IH")


def checkpoint_bytes(tensors: Mapping[str, Tensor], *, name: str = "archive") -> bytes:
    """Return the ``.pth`` file of a state dict: records ``data.pkl``, ``byteorder``, ``data/N``.

    Like PyTorch's own writer it stores (never deflates), aligns each record to 64 bytes, leaves
    sizes and CRC out of the local headers and puts them behind the data and in the directory.
    The time stamps are zero, so the bytes follow from the tensors alone.

    Args:
        tensors: The state dict, in its order.
        name: The folder inside the zip; PyTorch uses the stem of the file's name.

    Raises:
        ValueError: A dtype for which PyTorch has no storage class.
    """
    records = [(f"{name}/data.pkl", _pickled(tensors)), (f"{name}/byteorder", b"little")]
    records += [(f"{name}/data/{i}", each.data) for i, each in enumerate(tensors.values())]
    records.append((f"{name}/version", b"3\n"))
    return _stored_zip(records)


def _stored_zip(records: Iterable[tuple[str, bytes]]) -> bytes:
    out = bytearray()
    directory = bytearray()
    count = 0
    for name, data in records:
        path, crc = name.encode(), zlib.crc32(data)
        directory += _CENTRAL.pack(
            b"PK\1\2", 0, _VERSION_NEEDED, _FLAGS, 0, 0, 0,
            crc, len(data), len(data), len(path), 0, 0, 0, 0, 0, len(out),
        ) + path  # fmt: skip
        extra = _padding(len(out) + _LOCAL.size + len(path))
        out += _LOCAL.pack(
            b"PK\3\4", _VERSION_NEEDED, _FLAGS, 0, 0, 0, 0, 0, 0, len(path), len(extra)
        )
        out += path + extra + data
        out += _DESCRIPTOR.pack(b"PK\7\10", crc, len(data), len(data))
        count += 1
    end = _END.pack(b"PK\5\6", 0, 0, count, count, len(directory), len(out), 0)
    return bytes(out + directory + end)


def _padding(offset: int) -> bytes:
    """Return the extra field ``FB`` that moves data from ``offset`` on to the alignment."""
    size_bytes = -(offset + 4) % _DATA_ALIGNMENT_BYTES
    return struct.pack("<2sH", b"FB", size_bytes) + b"Z" * size_bytes


def _pickled(tensors: Mapping[str, Tensor]) -> bytes:
    """Return the pickle (protocol 2) of an ordered dict of tensors, written opcode by opcode."""
    items = b"".join(
        _text(name) + _rebuilt(index, tensor)
        for index, (name, tensor) in enumerate(tensors.items())
    )
    return b"\x80\2" + _EMPTY_ORDERED_DICT + b"(" + items + b"u."


def _rebuilt(index: int, tensor: Tensor) -> bytes:
    if tensor.dtype not in _STORAGES:
        raise ValueError(f"PyTorch has no storage class for {tensor.dtype}")
    elements = math.prod(tensor.shape)
    storage = (
        b"(" + _text("storage") + _global("torch", _STORAGES[tensor.dtype]) + _text(str(index))
        + _text("cpu") + _int(elements) + b"tQ"
    )  # fmt: skip
    arguments = (
        storage + _int(0) + _ints(tensor.shape) + _ints(_strides(tensor.shape))
        + b"\x89" + _EMPTY_ORDERED_DICT
    )  # fmt: skip
    return _global("torch._utils", "_rebuild_tensor_v2") + b"(" + arguments + b"tR"


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + len(encoded).to_bytes(4, "little") + encoded


def _int(value: int) -> bytes:
    return b"J" + value.to_bytes(4, "little", signed=True)


def _ints(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(_int, values)) + b"t"


_EMPTY_ORDERED_DICT = _global("collections", "OrderedDict") + b")R"
