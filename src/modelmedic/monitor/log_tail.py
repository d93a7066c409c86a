"""Follows log files that grow, are cut, rotated, replaced, deleted, or appear later.

Never more than 256 KiB are read at a time, and of no line more than 8 KiB is kept. Only regular
files are opened: a named pipe or a device would block, or act. The one thing that can block is a
file on a dead network drive: that such a drive answers is for the caller to know.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

MOST_READ_BYTES = 256 << 10  # in one look
MOST_LINE_BYTES = 8 << 10
MOST_BEHIND_BYTES = 8 << 20  # what lies further back is skipped, and counted
LINES_IN_ONE_LOOK = 2_000  # an error a line, these cost 0.1 s of a processor
QUIET_SECONDS = 5.0  # a last line without an end is taken for whole after this
_MARK_BYTES = 64
_READ_BYTES = 64 << 10
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
# Windows lets nobody rename or delete what we hold open, so there we let go after each look.
_HOLDS_OPEN = sys.platform != "win32"


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a log, not masked.

    Args:
        path: The file.
        text: Without its end; what is no UTF-8 is replaced.
        at: When it was read, seconds since the epoch.
        is_clipped: It was longer than what is kept.
    """

    path: str
    text: str
    at: float
    is_clipped: bool = False


class LogTail:
    """Follows one file by its name. What is in it already is passed over.

    Args:
        path: The file; it may be missing yet, and is then read from its beginning.
        from_start: Reads what is there already, too.
        clock: Of the moments of its lines.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        from_start: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = os.fspath(path)
        self.trouble = ""  # why it cannot be read now, as a sentence
        self.skipped_bytes = 0  # came faster than they could be read
        self.skipped_at: float | None = None  # when some were, the last time
        self._clock = clock
        self._handle: int | None = None
        self._file: tuple[int, int] | None = None  # device and inode of what is followed
        self._position = 0
        self._mark = b""  # the last bytes before the position
        self._partial = bytearray()
        self._is_clipped = False
        self._changed_at = 0.0
        if not from_start:
            self._begin_at_end()

    def read(self) -> list[LogLine]:
        """Return the lines that came since the last look, the oldest first; never waits."""
        found: list[LogLine] = []
        state = self._look()
        if self._file is not None and (state is None or _identity(state) != self._file):
            self._leave(found)
        if state is not None and (self._file is not None or self._enter()):
            self._drain(found)
            if self._partial and self._clock() - self._changed_at >= QUIET_SECONDS:
                self._emit(found)
        if not _HOLDS_OPEN:
            self._close()
        return found

    def close(self) -> None:
        """Let go of the file."""
        self._close()

    def _look(self) -> os.stat_result | None:
        try:
            state = os.stat(self.path)  # noqa: PTH116 - of a text that may be no path of this system
        except (OSError, ValueError) as error:
            self.trouble = f"it cannot be looked at: {getattr(error, 'strerror', None) or error}"
            return None
        if not stat.S_ISREG(state.st_mode):
            self.trouble = "it is no regular file"
            return None
        self.trouble = ""
        return state

    def _begin_at_end(self) -> None:
        if self._look() is not None and self._enter() and self._handle is not None:
            self._position = os.fstat(self._handle).st_size
            self._mark = self._before(self._position)
            if not _HOLDS_OPEN:
                self._close()

    def _enter(self) -> bool:
        """Open what lies under the name now, at its beginning."""
        if not self._open():
            return False
        assert self._handle is not None
        self._file = _identity(os.fstat(self._handle))
        self._position, self._mark = 0, b""
        return True

    def _open(self) -> bool:
        if self._handle is not None:
            return True
        try:
            handle = os.open(self.path, _FLAGS)
        except (OSError, ValueError) as error:
            self.trouble = f"it cannot be opened: {getattr(error, 'strerror', None) or error}"
            return False
        if not stat.S_ISREG(os.fstat(handle).st_mode):  # exchanged since the look
            os.close(handle)
            self.trouble = "it is no regular file"
            return False
        self._handle = handle
        return True

    def _close(self) -> None:
        if self._handle is not None:
            with contextlib.suppress(OSError):
                os.close(self._handle)
            self._handle = None

    def _leave(self, found: list[LogLine]) -> None:
        """Take what the old file got before it was renamed, and let go of it."""
        if self._handle is not None:  # else the name leads to another file by now
            self._drain(found)
        if self._partial:
            self._emit(found)
        self._close()
        self._file = None

    def _drain(self, found: list[LogLine]) -> None:
        """Read what came, as far as one look goes."""
        if not self._open() or self._handle is None:
            return
        try:
            end = os.fstat(self._handle).st_size
            self._notice_cut(end)
            if end - self._position > MOST_BEHIND_BYTES:
                self._skip_to(end - MOST_READ_BYTES)
            left = MOST_READ_BYTES
            while left > 0 and len(found) < LINES_IN_ONE_LOOK:
                data = self._read_at(self._position, min(_READ_BYTES, left))
                if not data:
                    break
                left -= len(data)
                self._take(data, found)
        except OSError as error:
            self.trouble = f"it cannot be read: {error.strerror}"
            self._close()

    def _notice_cut(self, end: int) -> None:
        """Begin anew where the file was cut, also if it has grown past the place since."""
        if end < self._position or self._before(self._position) != self._mark:
            self._position, self._mark = 0, b""
            self._partial.clear()
            self._is_clipped = False

    def _skip_to(self, position: int) -> None:
        self.skipped_bytes += position - self._position
        self.skipped_at = self._clock()
        self._position = position
        self._mark = self._before(position)
        self._partial.clear()
        self._is_clipped = True  # what comes first is the end of a line

    def _before(self, position: int) -> bytes:
        start = max(0, position - _MARK_BYTES)
        return self._read_at(start, position - start) if position else b""

    def _read_at(self, position: int, count: int) -> bytes:
        assert self._handle is not None
        os.lseek(self._handle, position, os.SEEK_SET)
        return os.read(self._handle, count)

    def _take(self, data: bytes, found: list[LogLine]) -> None:
        self._position += len(data)
        self._mark = (self._mark + data)[-_MARK_BYTES:]
        self._changed_at = self._clock()
        # A progress bar writes its line anew behind each carriage return.
        *whole, rest = data.replace(b"\r", b"\n").split(b"\n")
        for piece in whole:
            self._keep(piece)
            self._emit(found)
        self._keep(rest)

    def _keep(self, piece: bytes) -> None:
        room = MOST_LINE_BYTES - len(self._partial)
        self._partial += piece[:room]
        self._is_clipped = self._is_clipped or len(piece) > room

    def _emit(self, found: list[LogLine]) -> None:
        # UTF-16, as PowerShell writes it, is readable without its zeros.
        text = self._partial.replace(b"\0", b"").decode("utf-8", "replace")
        if text.strip():
            found.append(LogLine(self.path, text, self._clock(), self._is_clipped))
        self._partial.clear()
        self._is_clipped = False


def _identity(state: os.stat_result) -> tuple[int, int]:
    return state.st_dev, state.st_ino
