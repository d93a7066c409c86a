"""The journal of failed calls: JSON lines in the state folder, from the first failure on."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

NAME = "reliability.jsonl"
MOST_BYTES = 4 * 1024 * 1024  # then it becomes ``reliability.1.jsonl``, and that one goes
LINES_PER_MINUTE = 120  # a component that fails in a loop fills no disk
_FLAGS = (
    os.O_WRONLY
    | os.O_APPEND
    | os.O_CREAT
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
)


class CallJournal:
    """Failures and the strategies that were tried, masked, for this user only (0600).

    It is never worth a failed call: what keeps it from being written is in ``trouble``.

    Args:
        folder: The state folder, created on the first line; None takes `rooms.state_dir`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._window_ends = 0.0
        self._room = 0
        self.left_out = 0
        self.trouble = ""

    @property
    def path(self) -> Path:
        """Return where it is written."""
        if self._folder is None:
            from modelmedic import rooms

            self._folder = rooms.state_dir()
        return self._folder / NAME

    def write(self, kind: str, fields: Mapping[str, Any]) -> bool:
        """Append one line; returns whether it was written.

        Args:
            kind: "failure" or "attempt".
            fields: Plain JSON values; masked here.
        """
        try:
            with self._lock:
                return self._has_room() and self._append(kind, fields)
        except (OSError, ValueError) as error:  # a full disk; a value that is no text
            self.trouble = f"{type(error).__name__}: {error}"
            return False

    def _has_room(self) -> bool:
        now = time.monotonic()
        if now >= self._window_ends:
            self._window_ends, self._room = now + 60, LINES_PER_MINUTE
        self._room -= 1
        if self._room < 0:
            self.left_out += 1
        return self._room >= 0

    def _append(self, kind: str, fields: Mapping[str, Any]) -> bool:
        from modelmedic.operations.durable import make_private_folders, write_all

        line: dict[str, Any] = {"at": datetime.now(timezone.utc).isoformat(), "kind": kind}
        if self.left_out:
            line["left_out_before"] = self.left_out
        text = json.dumps(masker().mask_json({**line, **fields}), ensure_ascii=True)
        path = self.path
        make_private_folders(path.parent)
        self._rotate(path)
        handle = os.open(path, _FLAGS, 0o600)
        try:
            write_all(handle, text.encode() + b"\n")
        finally:
            os.close(handle)
        self.left_out = 0
        return True

    @staticmethod
    def _rotate(path: Path) -> None:
        if path.exists() and path.stat().st_size > MOST_BYTES:
            path.replace(path.with_name("reliability.1.jsonl"))


_MASKER: list[Any] = []


def masker() -> Any:
    """Return the masker of this machine, made when something must be masked first."""
    if not _MASKER:
        from modelmedic.masking import Masker

        _MASKER.append(Masker.of_this_machine())
    return _MASKER[0]
