"""Tells what went wrong, and keeps a log beside the install."""

from __future__ import annotations

import sys
from pathlib import Path


class ErrorHandler:
    """The installer's own words: a log, and the last sentence."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def note(self, text: str) -> None:
        """Add a line to the log."""
        with self.log.open("a", encoding="utf-8") as stream:
            stream.write(text + "\n")

    def report(self, error: BaseException) -> None:
        """Say why the installation stopped, with what was noted on the error."""
        notes = getattr(error, "__notes__", [])
        lines = [f"stopped: {type(error).__name__}: {error}", *(f"  {note}" for note in notes)]
        sys.stderr.write("\n".join(lines) + "\n")
