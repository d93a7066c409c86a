"""One alarm clock for the main thread: what takes too long is broken off, also in a system call.

On Unix it is the real-time timer and SIGALRM, which wakes a sleep, a read and a wait for a child.
Whoever used that timer before (pytest-timeout does) gets its ring at its time, and the timer back.
Windows has no such signal: there a timer thread asks Python for what Ctrl-C would do, which is
heard when the running call returns to Python.
"""

from __future__ import annotations

import _thread
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

# A ring in a destructor is lost, and a bare `except` may swallow it: then it rings once more. So
# much time has what cleans up.
AGAIN_SECONDS = 10.0
_POSTPONED_SECONDS = 0.01
_LEAST_SECONDS = 0.0001  # 0 would stop the timer
_LAST_RING_SECONDS = 1.0
# While these run nothing is raised: what they set up would stay behind.
_OURS = frozenset({"__enter__", "__exit__", "__aenter__", "__aexit__", "add", "remove", "_close"})
_HERE = (lambda: None).__code__.co_filename  # as frames name it, also from a compiled file
_FILES = frozenset({_HERE, _HERE.replace("interruption.py", "timelimit.py")})
_DEPTH = 8


class OutOfTime(BaseException):
    """What was limited took too long. No `Exception`: the code that hangs could catch that."""

    alarm: Alarm | None = None


class Alarm:
    """Raises `OutOfTime` in the main thread after ``seconds`` inside its ``with`` block.

    Args:
        seconds: From entering the block.
        is_running: Asked when it rings; while it says no, the alarm waits a little.
        before: Called with the interrupted frame right before the error is raised.
    """

    def __init__(
        self,
        seconds: float,
        is_running: Callable[[], bool] = lambda: True,
        before: Callable[[FrameType | None], None] = lambda _frame: None,
    ) -> None:
        self.seconds = seconds
        self.is_running = is_running
        self.before = before
        self.has_rung = False
        self.until = 0.0  # when its time is over
        self.at = 0.0  # when it rings next

    def __enter__(self) -> Self:
        self.until = self.at = time.monotonic() + self.seconds
        CLOCK.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        CLOCK.remove(self)

    def ring(self) -> None:
        """Ring now; any thread may ask for it. Nothing when its block was left."""
        CLOCK.ring(self)


class Clock:
    """The alarms of the main thread and the one timer behind them."""

    def __init__(self) -> None:
        self._bell: _Bell = (_TimerSignal if hasattr(signal, "setitimer") else _TimerThread)()
        self._alarms: list[Alarm] = []
        self._held = 0
        self._lock = threading.Lock()  # SIGALRM without a handler of ours would end the process

    def add(self, alarm: Alarm) -> None:
        """Begin to watch an alarm."""
        if not self._alarms:
            self._bell.take_over(self._hear)
        self._alarms.append(alarm)
        self._set()

    def remove(self, alarm: Alarm) -> None:
        """Forget an alarm; with the last one the timer is given back."""
        with self._lock:
            self._alarms.remove(alarm)
            if not self._alarms:
                self._bell.give_back()
                return
        self._set()

    def ring(self, alarm: Alarm) -> None:
        """Let an alarm ring now."""
        with self._lock:
            if alarm in self._alarms and not alarm.has_rung:
                alarm.until = alarm.at = 0.0
                self._bell.ring()

    def look(self) -> None:
        """Let those ring that are due; any thread may ask, should the timer have woken another."""
        with self._lock:
            if self._alarms:
                self._bell.ring()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let nothing ring inside: files are being put back."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    def _set(self) -> None:
        next_at = min(alarm.at for alarm in self._alarms)
        self._bell.set(max(_LEAST_SECONDS, next_at - time.monotonic()))

    def _hear(self, frame: FrameType | None) -> None:
        now = time.monotonic()
        due = [alarm for alarm in self._alarms if now >= alarm.at]
        if not due:
            if self._alarms:
                self._set()
            return
        due.sort(key=lambda alarm: alarm.until)  # of nested limits the one that was over first
        is_held = self._held or _must_not_break(frame)
        first = None if is_held else next((each for each in due if each.is_running()), None)
        if first is None:
            for alarm in due:
                alarm.at = now + _POSTPONED_SECONDS
            self._set()
            return
        first.has_rung = True
        first.at = now + AGAIN_SECONDS
        self._set()
        first.before(frame)
        error = OutOfTime()
        error.alarm = first
        raise error


def _must_not_break(frame: FrameType | None) -> bool:
    """Return whether an error raised here would be lost, or leave our own work half done."""
    for _depth in range(_DEPTH):
        if frame is None:
            return False
        code = frame.f_code
        if code.co_name == "__del__" or (code.co_name in _OURS and code.co_filename in _FILES):
            return True
        frame = frame.f_back
    return False


class _Bell:
    """What calls ``hear(frame)`` in the main thread after some seconds."""

    def take_over(self, hear: Callable[[FrameType | None], None]) -> None:
        raise NotImplementedError

    def give_back(self) -> None:
        raise NotImplementedError

    def set(self, seconds: float) -> None:
        raise NotImplementedError

    def ring(self) -> None:
        raise NotImplementedError


if sys.platform != "win32":

    class _TimerSignal(_Bell):
        """The real-time timer of the process, and whoever used it before."""

        def __init__(self) -> None:
            self._hear: Callable[[FrameType | None], None] = lambda _frame: None
            self._their_handler: Any = None
            self._their_at: float | None = None
            self._their_interval = 0.0

        def take_over(self, hear: Callable[[FrameType | None], None]) -> None:
            left, self._their_interval = signal.setitimer(signal.ITIMER_REAL, 0)
            self._their_at = time.monotonic() + left if left else None
            self._hear = hear
            self._their_handler = signal.signal(signal.SIGALRM, self._handle)

        def give_back(self) -> None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            theirs = signal.SIG_DFL if self._their_handler is None else self._their_handler
            now = signal.signal(signal.SIGALRM, theirs)
            if now != self._handle:  # somebody took it over inside the block
                signal.signal(signal.SIGALRM, now)
            if self._their_at is not None:
                left = max(_LEAST_SECONDS, self._their_at - time.monotonic())
                signal.setitimer(signal.ITIMER_REAL, left, self._their_interval)

        def set(self, seconds: float) -> None:
            if self._their_at is not None:
                seconds = max(_LEAST_SECONDS, min(seconds, self._their_at - time.monotonic()))
            signal.setitimer(signal.ITIMER_REAL, seconds)

        def ring(self) -> None:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)

        def _handle(self, number: int, frame: FrameType | None) -> None:
            now = time.monotonic()
            if self._their_at is None or now < self._their_at:
                self._hear(frame)
                return
            self._their_at = now + self._their_interval if self._their_interval else None
            try:
                if callable(self._their_handler):
                    self._their_handler(number, frame)
            finally:
                self._hear(frame)


class _TimerThread(_Bell):
    """A thread that asks Python for what Ctrl-C does; Ctrl-C itself goes where it went before."""

    def __init__(self) -> None:
        self._hear: Callable[[FrameType | None], None] = lambda _frame: None
        self._theirs: Any = None
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()
        self._is_open = False
        self._is_rung = False  # it was asked for, and is about to be heard

    def take_over(self, hear: Callable[[FrameType | None], None]) -> None:
        self._hear = hear
        self._theirs = signal.signal(signal.SIGINT, self._handle)
        self._is_open = True

    def give_back(self) -> None:
        with self._lock:
            self._is_open = False
        self._stop()
        until = time.monotonic() + _LAST_RING_SECONDS
        while self._is_rung and time.monotonic() < until:  # heard by us, it hurts nobody
            time.sleep(_LEAST_SECONDS)
        theirs = signal.default_int_handler if self._theirs is None else self._theirs
        now = signal.signal(signal.SIGINT, theirs)
        if now != self._handle:
            signal.signal(signal.SIGINT, now)

    def set(self, seconds: float) -> None:
        self._stop()
        self._timer = threading.Timer(seconds, self.ring)
        self._timer.daemon = True
        self._timer.start()

    def ring(self) -> None:
        with self._lock:
            if self._is_open:
                self._is_rung = True
                _thread.interrupt_main()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._is_rung:
            self._is_rung = False
            self._hear(frame)
        elif callable(self._theirs):
            self._theirs(number, frame)


def is_main_thread() -> bool:
    """Return whether this is the thread that signals are heard in."""
    return threading.current_thread() is threading.main_thread()


CLOCK = Clock()
