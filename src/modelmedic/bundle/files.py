"""Read what a bundle is made of: own files, bounded, the newest part of one that grows."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from modelmedic.bundle.members import LeftOut
from modelmedic.text import size

_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes of a file as they lie on the disk, unmasked; ``cut`` says what was not read."""

    data: bytes
    cut: str = ""


def tail(path: Path, most_bytes: int) -> Raw | LeftOut | None:
    """Return the last bytes of a file, from the beginning of a line on; None: there is no file.

    A link, a pipe or a device is left out: this is a copy of our own files, not of what somebody
    put in their place.
    """
    try:
        handle = os.open(path, os.O_RDONLY | _FLAGS)
    except FileNotFoundError:
        return None
    except OSError as error:
        return LeftOut(path.name, f"it cannot be read: {error.strerror or error}")
    with os.fdopen(handle, "rb") as stream:
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode):
            return LeftOut(path.name, "it is no regular file")
        try:
            return _last(stream.fileno(), info.st_size, most_bytes)
        except OSError as error:
            return LeftOut(path.name, f"it cannot be read: {error.strerror or error}")


def _last(handle: int, length: int, most_bytes: int) -> Raw:
    skipped = max(0, length - most_bytes)
    os.lseek(handle, skipped, os.SEEK_SET)
    parts = []
    wanted = length - skipped
    while wanted > 0 and (part := os.read(handle, min(wanted, 1 << 20))):
        parts.append(part)
        wanted -= len(part)
    data = b"".join(parts)
    if not skipped:
        return Raw(data)
    torn = data.find(b"\n") + 1
    return Raw(data[torn:], f"its first {size(skipped + torn)}; the newest part is here")
