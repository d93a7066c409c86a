"""Ctrl-C, SIGTERM and time limits while files may be changed: heard once, never in putting back."""

from __future__ import annotations

import _thread
import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

# After the first one everything unwinds by itself; a person presses Ctrl-C again and again. Only
# when so many had no effect is something stuck that is worth breaking.
PATIENCE = 4


_POLL_SECONDS = 0.001


class OutOfTime(BaseException):
    """What was limited took too long. No `Exception`: the code that hangs could catch that."""


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
        self._is_late = False
        self._bell = threading.Lock()

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
            yield
        finally:
            self._depth -= 1
            if self._is_waiting and not self._depth:
                self._is_waiting = False
                raise KeyboardInterrupt("interrupted")

    @contextlib.contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        """Break off what is inside after ``seconds``; does nothing while not installed.

        It goes the way of Ctrl-C, so on Windows not into a system call that waits.

        Raises:
            OutOfTime: It took longer.
        """
        if not self._before:
            yield
            return
        is_over = threading.Event()
        timer = threading.Timer(seconds, self._ring, [is_over])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            with self._bell:
                is_over.set()
            timer.cancel()
            while self._is_late:  # it rang at the last moment, and is about to be heard here
                time.sleep(_POLL_SECONDS)

    def _ring(self, is_over: threading.Event) -> None:
        with self._bell:
            if is_over.is_set():
                return
            self._is_late = True
            if hasattr(signal, "pthread_kill"):
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            else:
                _thread.interrupt_main()

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if self._is_late and number == signal.SIGINT:
            self._is_late = False
            raise OutOfTime
        self.heard += 1
        if self.heard == 1 and self._depth:
            self._is_waiting = True
        elif self.heard == 1 or (self.heard > PATIENCE and not self._depth):
            raise KeyboardInterrupt(signal.Signals(number).name)
