"""Ctrl-C, SIGTERM and time limits while files may be changed: heard once, never in putting back."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any

from modelmedic.interruption import CLOCK, Alarm, OutOfTime

__all__ = ["PATIENCE", "Interrupts", "OutOfTime"]

# After the first one everything unwinds by itself; a person presses Ctrl-C again and again. Only
# when so many had no effect is something stuck that is worth breaking.
PATIENCE = 4


class Interrupts:
    """Turns SIGINT and SIGTERM into one `KeyboardInterrupt`, and later ones into nothing.

    A second interrupt would break off what the first one set going: putting files back, and
    writing the report. ``heard`` counts the signals.
    """

    def __init__(self) -> None:
        self.heard = 0
        self._depth = 0
        self._is_waiting = False
        self._before: dict[int, Any] = {}

    def install(self) -> None:
        """Take over both signals; does nothing outside the main thread, which Python asks for."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._hear)

    def remove(self) -> None:
        """Give both signals back."""
        for number, before in self._before.items():
            if before is not None:  # None: set by something that is not Python
                signal.signal(number, before)
        self._before.clear()

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Let what is inside end first; then raise `KeyboardInterrupt` if one came."""
        self._depth += 1
        try:
            with CLOCK.held():
                yield
        finally:
            self._depth -= 1
            if self._is_waiting and not self._depth:
                self._is_waiting = False
                raise KeyboardInterrupt("interrupted")

    def limited(self, seconds: float) -> AbstractContextManager[object]:
        """Break off what is inside after ``seconds``; does nothing while not installed.

        See `modelmedic.interruption`: on Windows not inside a system call that waits.

        Raises:
            OutOfTime: It took longer.
        """
        return Alarm(seconds) if self._before else contextlib.nullcontext()

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        self.heard += 1
        if self.heard == 1 and self._depth:
            self._is_waiting = True
        elif self.heard == 1 or (self.heard > PATIENCE and not self._depth):
            raise KeyboardInterrupt(signal.Signals(number).name)
