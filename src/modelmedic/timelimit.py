"""A limit of time that interrupts: what `TimeoutManager.limit` gives.

How what is inside is broken off depends on where the block runs; see `Limit`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextvars import ContextVar, Token
from types import FrameType
from typing import TYPE_CHECKING, Any

from modelmedic.errors import CannotTell, OperationTimedOut
from modelmedic.interruption import AGAIN_SECONDS, CLOCK, Alarm, OutOfTime, is_main_thread
from modelmedic.offspring import Offspring, now

if TYPE_CHECKING:
    from typing_extensions import Self

    from modelmedic.commands import Completed

_LEAST_SECONDS = 0.001
_current: ContextVar[Limit | None] = ContextVar("modelmedic_limit", default=None)


class Limit:
    """Breaks off what is inside its ``with`` or ``async with`` block after some seconds.

    In the main thread a timer signal ends what waits: a sleep, a read, a wait for a child (on
    Windows it is heard when the running call returns to Python). In a task of asyncio the task is
    cancelled. Children that the interrupted code waits for, and those of `run` and `adopt`, are
    ended with their process groups. No other thread can be interrupted by anybody: there the block
    goes on to its end, and then the error says by how much it ran over.

    Of nested limits the tighter one ends the block. What cleans up after it has ten seconds.

    Args:
        operation: What is limited, for the error.
        seconds: Above 0.

    Raises:
        OperationTimedOut: By the block, when its time is over.
    """

    def __init__(self, operation: str, seconds: float) -> None:
        self.operation = operation
        self.seconds = seconds
        self._reason: BaseException | None = None  # given to `interrupt`
        self._others: list[Limit] = []
        self._task: _Task | None = None
        self._alarm: Alarm | None = None
        self._timer: threading.Timer | None = None
        self._is_open = False

    # -- the block -------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._is_open:
            raise RuntimeError("A limit is for one block at a time; ask for another one.")
        self._is_open = True
        self._parent = _current.get()
        self._token: Token[Limit | None] = _current.set(self)
        self._offspring = Offspring(now())
        self._started = time.monotonic()
        self._task = _Task.running()
        if is_main_thread():
            task = self._task
            is_running = task.is_running if task is not None else lambda: True
            self._alarm = Alarm(self.seconds, is_running, self._before_alarm)
            self._alarm.__enter__()
        if self._task is not None:
            self._task.cancel_after(self.seconds, self._before_cancel)
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._close()
        took = time.monotonic() - self._started
        told = self._told(error, took)
        if told is not None:
            raise told from error  # also from `OutOfTime`: its traceback shows what hung

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.__exit__(kind, error, trace)

    # -- inside it -------------------------------------------------------------------------------

    @property
    def ends_at(self) -> float:
        """Return when its time is over, on the monotonic clock."""
        return self._started + self.seconds

    @property
    def left_seconds(self) -> float:
        """Return what is left of the time, 0 when it is over; of nested limits the least."""
        ends_at = min((each.ends_at for each in _around(self)), default=self.ends_at)
        return max(0.0, ends_at - time.monotonic())

    def check(self) -> None:
        """Raise when the time is over, or `interrupt` was called: for loops in other threads.

        Raises:
            OperationTimedOut: It is over.
        """
        if self._reason is not None:
            raise self._reason
        if time.monotonic() > self.ends_at:
            raise self._timed_out("check")

    def run(self, argv: Sequence[str | os.PathLike[str]], **options: Any) -> Completed:
        """Run a program within the limit; takes what `modelmedic.commands.run` takes.

        Raises:
            OperationTimedOut: It did not end in time; its process group was killed.
            CannotTell: It could not be run.
        """
        from modelmedic import commands

        self.check()
        try:
            return commands.run(
                argv, deadline_seconds=max(_LEAST_SECONDS, self.left_seconds), **options
            )
        except CannotTell as error:
            if self.left_seconds > 0 or error.__cause__ is None:
                raise
            raise self._over()._timed_out("children") from error  # noqa: SLF001 - its own class

    def adopt(self, pid: int) -> None:
        """End this child, and a group it leads, when the time is over: at once if it is."""
        self._offspring.add(pid)
        if self._reason is not None or self.left_seconds == 0:
            self._offspring.end()
        elif self._timer is None:
            self._timer = threading.Timer(self.left_seconds, self._end_adopted)
            self._timer.daemon = True
            self._timer.start()

    def _end_adopted(self) -> None:
        self._offspring.end()
        CLOCK.look()  # with two threads awake the timer's signal may have gone to this one

    def interrupt(self, reason: BaseException) -> None:
        """Break off the block from another thread; ``reason`` is raised instead.

        In a thread that cannot be interrupted it is raised by `check`, and at the block's end.
        """
        if not self._is_open or self._reason is not None:
            return
        self._reason = reason
        if self._alarm is not None:
            self._alarm.ring()
        if self._task is not None:  # after the ring, which holds it back if it is heard
            self._task.cancel_soon(self._before_cancel)
        elif self._alarm is None:
            self._offspring.end()  # what the thread may be waiting for

    # -- its end ---------------------------------------------------------------------------------

    def _before_alarm(self, frame: FrameType | None) -> None:
        self._others = [limit for limit in _around(_current.get()) if limit is not self]
        self._offspring.add_waited_for(frame)
        self._offspring.end()
        if self._task is not None:
            self._task.hold_back(self._before_cancel)

    def _before_cancel(self, coroutine: Any) -> None:
        if self._alarm is not None:  # what cleans up has its time
            self._alarm.at = time.monotonic() + AGAIN_SECONDS
        self._others = [limit for limit in _around(self._parent) if limit is not self]
        self._offspring.add_awaited(coroutine)
        self._offspring.end()

    def _close(self) -> None:
        self._is_open = False
        if self._alarm is not None:
            self._alarm.__exit__()
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.close()
        with contextlib.suppress(ValueError):  # left in another context than entered
            _current.reset(self._token)
        self._offspring.join()

    def _told(self, error: BaseException | None, took: float) -> BaseException | None:
        """Return what the block ends with instead of ``error``; None to let that be."""
        is_cancelled = self._task is not None and self._task.was_cancelled_by_us(error)
        has_rung = self._alarm is not None and self._alarm.has_rung
        if isinstance(error, OutOfTime) and error.alarm is not self._alarm:
            return None  # of a limit around this one
        if not (has_rung or is_cancelled):
            return self._told_late(error, took)
        is_stronger = error is not None and not isinstance(error, OutOfTime | Exception)
        if is_stronger and not is_cancelled:
            return None  # Ctrl-C, or the task was cancelled by somebody else
        if isinstance(error, OperationTimedOut):
            return None  # by its own check
        return self._reason or self._timed_out("task" if is_cancelled else "main thread")

    def _told_late(self, error: BaseException | None, took: float) -> BaseException | None:
        """Return the error of a block that could not be interrupted."""
        is_ours = error is None or (isinstance(error, Exception) and bool(self._offspring.ended))
        if not is_ours or isinstance(error, OperationTimedOut) or error is self._reason is not None:
            return None
        if self._reason is not None:
            return self._reason
        if took <= self.seconds:
            return None
        return self._timed_out(
            "children" if self._offspring.ended else "",
            "" if self._alarm or self._task else threading.current_thread().name,
        )

    def _over(self) -> Limit:
        """Return the limit that is over: this one, or one around it."""
        now_seconds = time.monotonic()
        over = (each for each in _around(self) if each.ends_at <= now_seconds)
        return next(over, self)

    def _timed_out(self, interrupted: str, thread: str = "") -> OperationTimedOut:
        return OperationTimedOut(
            self.operation,
            self.seconds,
            time.monotonic() - self._started,
            interrupted=interrupted,
            thread=thread,
            children=tuple(self._offspring.ended),
            left=tuple(self._offspring.left),
            others=tuple(f"{each.operation} ({each.seconds:g} s)" for each in self._others),
        )


def _around(limit: Limit | None) -> Iterator[Limit]:
    """Give a limit and those around it that are open, from the innermost."""
    while limit is not None:
        if limit._is_open:  # noqa: SLF001 - its own module
            yield limit
        limit = limit._parent  # noqa: SLF001


class _Task:
    """The task of asyncio that a block runs in."""

    def __init__(self, task: Any, loop: Any) -> None:
        self._task, self._loop = task, loop
        self._handle: Any = None
        self._is_asked = False
        self._is_held_back = False
        self._cancelling = task.cancelling() if hasattr(task, "cancelling") else 0

    @classmethod
    def running(cls) -> _Task | None:
        """Return the task that runs in this thread; None outside of asyncio."""
        asyncio = sys.modules.get("asyncio")  # not imported: then nothing of it can run
        if asyncio is None or (loop := asyncio._get_running_loop()) is None:  # noqa: SLF001
            return None
        task = asyncio.current_task(loop)
        return cls(task, loop) if task is not None else None

    def is_running(self) -> bool:
        """Return whether it is this task that runs now, and not another one or the loop."""
        asyncio = sys.modules["asyncio"]
        return asyncio.current_task(self._loop) is self._task

    def cancel_after(self, seconds: float, before: Any) -> None:
        """Cancel it when the loop finds that the time is over."""
        self._handle = self._loop.call_later(seconds, self._cancel, before)

    def cancel_soon(self, before: Any) -> None:
        """Cancel it now; any thread may ask."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._cancel, before)

    def hold_back(self, before: Any) -> None:
        """Leave what cleans up its time, and cancel it only then.

        Called in a signal handler: the loop may be at work on its timers, they are set later.
        """
        if self._handle is not None and not self._is_asked:
            self._is_held_back = True
            self._loop.call_soon_threadsafe(self._cancel_again, before)

    def close(self) -> None:
        """The block was left."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = None

    def was_cancelled_by_us(self, error: BaseException | None) -> bool:
        """Return whether it was cancelled here; take that back if nobody else asked for it too.

        Before 3.11 a task does not tell how often it was asked: there ours alone is assumed.
        """
        if not self._is_asked:
            return False
        self._is_asked = False
        asyncio = sys.modules["asyncio"]
        is_ours_alone = True
        if hasattr(self._task, "uncancel"):
            is_ours_alone = self._task.uncancel() <= self._cancelling
        return is_ours_alone or not isinstance(error, asyncio.CancelledError)

    def _cancel_again(self, before: Any) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = self._loop.call_later(AGAIN_SECONDS, self._let_go, before)

    def _let_go(self, before: Any) -> None:
        self._is_held_back = False
        self._cancel(before)

    def _cancel(self, before: Any) -> None:
        if self._handle is None or self._is_asked or self._is_held_back:  # left, or asked already
            return
        self._is_asked = True
        before(self._task.get_coro())
        self._task.cancel()
