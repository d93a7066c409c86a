"""What an error of the operating system means for a repair, in words for people."""

from __future__ import annotations

import errno
import os

from modelmedic.text import printable

_FULL = (
    "Free space on that disk, then start again. If it has space, it is out of room for more files "
    "(`df -i`): delete or pack up many small ones."
)
_READ_ONLY = "Make it writable again (an error of the disk may have made it read-only), then retry."
_DENIED = "Start again as the user it belongs to, or give this user the right to write there."
_FILES = "Raise the limit (ulimit -n), or end programs that hold many files open."
_IN_THE_WAY = "Look what lies there and move it away yourself."
_BROKEN = "Copy what is dear to you to another disk, and have this one checked."
_BUSY = "End the program that uses it, then start again."
_NEXT = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: "Free space in this user's quota, then start again.",
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f), then start again.",
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
    errno.EISDIR: _IN_THE_WAY,
    errno.ELOOP: _IN_THE_WAY,
    errno.EIO: _BROKEN,
    errno.EBUSY: _BUSY,
    errno.ETXTBSY: _BUSY,
}
_SHARING_VIOLATIONS = frozenset({32, 33})  # Windows: another program has the file open


def reason(error: OSError) -> str:
    """Return what the system said and about which file: "No space left on device (/x/y)"."""
    said = error.strerror or (os.strerror(error.errno) if error.errno else str(error))
    name = error.filename2 or error.filename
    return f"{said} ({printable(os.fsdecode(name))})" if isinstance(name, str | bytes) else said


def next_step(error: OSError) -> str:
    """Return what to do about it; "" when the error says nothing that helps."""
    if getattr(error, "winerror", None) in _SHARING_VIOLATIONS:
        return _BUSY
    return _NEXT.get(error.errno or 0, "")
