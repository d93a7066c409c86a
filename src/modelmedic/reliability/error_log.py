"""The contexts of errors as JSON lines in the state folder: private, bounded, readable when torn.

``reports/error-record.schema.json`` describes a line.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from modelmedic.reliability.error_context import EnhancedErrorContext

NAME = "errors.jsonl"
SCHEMA = 1
MOST_BYTES = 5 << 20  # about 700 errors with 300 packages each
KEPT_FILES = 3  # the one that is written, and two older ones
_MOST_LINE_BYTES = 1 << 20  # of what is read; we never write a tenth of it
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class ErrorLog:
    """The log of one state folder; many processes may append to it.

    Args:
        state_dir: The state folder; it and the file are made at the first error, for this user
            only. None takes modelmedic's own.
        most_bytes: From this size on it is put aside as ``errors.1.jsonl`` and a new one begun.
    """

    def __init__(self, state_dir: Path | None = None, *, most_bytes: int = MOST_BYTES) -> None:
        self._state_dir = state_dir
        self._most_bytes = most_bytes

    @property
    def path(self) -> Path:
        """Return the file that is written."""
        if self._state_dir is None:
            from modelmedic import rooms

            self._state_dir = rooms.state_dir()
        return self._state_dir / NAME

    def add(self, context: EnhancedErrorContext) -> None:
        """Append one error by one write. It is not flushed to the disk: that would take longer.

        Raises:
            OSError: It cannot be written, or the file is not this user's alone.
        """
        line = json.dumps(to_json(context), ensure_ascii=True, allow_nan=False).encode()
        handle = self._open()
        try:
            # The line before may be torn by a kill or a full disk: ours begins on one of its own.
            written = os.write(handle, b"\n" + line + b"\n")
            size = os.fstat(handle).st_size
        finally:
            os.close(handle)
        if written != len(line) + 2:
            raise OSError("the disk took only a part of a line")
        if size > self._most_bytes:
            with contextlib.suppress(OSError):  # Windows, while somebody has it open: next time
                self._rotate()

    def _open(self) -> int:
        path = self.path
        flags = os.O_WRONLY | os.O_APPEND | _FLAGS
        try:
            handle = os.open(path, flags)
        except FileNotFoundError:
            from modelmedic.operations.durable import make_private_folders

            make_private_folders(path.parent)
            handle = os.open(path, flags | os.O_CREAT, 0o600)
        try:
            _refuse_foreign(os.fstat(handle))
        except OSError:
            os.close(handle)
            raise
        return handle

    def _rotate(self) -> None:
        """Put the file aside; who has it open still writes into it, and nothing is lost."""
        from modelmedic.healing.lock import file_lock
        from modelmedic.operations.durable import make_private_folders

        locks = self.path.parent / "locks"
        make_private_folders(locks)
        with file_lock(locks / "errors.lock").acquire(timeout=0):
            if self.path.stat().st_size <= self._most_bytes:
                return  # another process has just done it
            for number in range(KEPT_FILES - 1, 1, -1):
                with contextlib.suppress(FileNotFoundError):
                    self._older(number - 1).replace(self._older(number))
            self.path.replace(self._older(1))

    def _older(self, number: int) -> Path:
        return self.path.with_name(f"errors.{number}.jsonl")


def to_json(context: EnhancedErrorContext) -> dict[str, Any]:
    """Return a context as plain JSON values; a number that is not known is None."""
    return {"schema": SCHEMA, **{key: _plain(value) for key, value in _fields(context)}}


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the errors in a log, the oldest first; torn and foreign lines are passed over.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as stream:
        while line := stream.readline(_MOST_LINE_BYTES):
            value = _parsed(line)
            if value is not None:
                yield value


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and value.get("schema") == SCHEMA else None


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield name and value of each field of a dataclass."""
    return ((entry.name, getattr(value, entry.name)) for entry in dataclasses.fields(value))


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if dataclasses.is_dataclass(value):
        return {key: _plain(part) for key, part in _fields(value)}
    return value


def _refuse_foreign(found: os.stat_result) -> None:
    """Raise `OSError` for a file that somebody else could read or have written."""
    if not stat.S_ISREG(found.st_mode):
        raise OSError("it is no regular file")
    # Windows: the state folder lies in the user's own profile.
    if hasattr(os, "getuid") and (
        found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077
    ):
        raise OSError("it belongs to another user, or others may read or write it")
