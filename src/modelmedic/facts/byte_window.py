"""A file of unknown origin read by offset: every read is inside of it and small."""

from __future__ import annotations

import struct
from typing import IO, Any

_MAX_READ_BYTES = 1 << 20  # of one table; real ones are far smaller
_MAX_TEXT_BYTES = 4096


class Malformed(Exception):  # noqa: N818 - it says what the file is
    """The file contradicts itself; its text says where."""


class Window:
    """A file read by offset.

    Args:
        stream: Opened for reading bytes, seekable.
        size_bytes: Of the file.
    """

    def __init__(self, stream: IO[bytes], size_bytes: int) -> None:
        self._stream = stream
        self.size_bytes = size_bytes

    def at(self, offset: int, count: int) -> bytes:
        """Return exactly so many bytes.

        Raises:
            Malformed: They do not lie inside the file, or nobody needs so many.
        """
        if offset < 0 or count < 0 or count > _MAX_READ_BYTES:
            raise Malformed(f"it asks for {count:,} bytes at {offset:,}")
        if offset + count > self.size_bytes:
            raise Malformed(f"it needs {offset + count:,} bytes and has {self.size_bytes:,}")
        self._stream.seek(offset)
        data = self._stream.read(count)
        if len(data) != count:
            raise Malformed(f"it became shorter than {offset + count:,} bytes while it was read")
        return data

    def unpack(self, form: str, offset: int) -> tuple[Any, ...]:
        """Return a struct that lies at an offset."""
        return struct.unpack(form, self.at(offset, struct.calcsize(form)))

    def text(self, offset: int) -> str:
        """Return the text that ends at the next zero byte; names are ASCII in practice."""
        count = min(_MAX_TEXT_BYTES, self.size_bytes - offset)
        data, end, _ = self.at(offset, count).partition(b"\0")
        if not end:
            raise Malformed(f"the name at {offset:,} has no end")
        return data.decode("utf-8", "replace")
