"""Child processes that are to be ended with all they started: TERM, then KILL, never for ever."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

from modelmedic.commands import running_pid

if TYPE_CHECKING:
    import psutil

GRACE_SECONDS = 2.0  # between TERM and KILL: an installer's child removes its temporary files
_LAST_SECONDS = 1.0  # a process in uninterruptible sleep survives SIGKILL: do not wait for it
_POLL_SECONDS = 0.02
_CLOCK_SECONDS = 0.02  # a start is told in ticks of 10 ms


def now() -> float:
    """Return the time on the clock that `is_younger` compares with."""
    if sys.platform.startswith("linux"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.time()


class Offspring:
    """Children of one block of code, and their end.

    Args:
        since: When the block began, on the clock of `now`; older children are not touched.
    """

    def __init__(self, since: float) -> None:
        self._since = since
        self._children: list[psutil.Process] = []  # not by number: that may be given anew
        self._new: list[psutil.Process] = []  # of them, those whose end has not begun
        self._threads: list[threading.Thread] = []
        self.ended: list[str] = []  # in words, for the error
        self.left: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._children)

    def add(self, pid: int) -> None:
        """Note a child that was started for this block, as it is now; not one that is gone."""
        import psutil

        with contextlib.suppress(psutil.Error):
            child = psutil.Process(pid)
            if child not in self._children:
                self._children.append(child)
                self._new.append(child)

    def add_waited_for(self, frame: FrameType | None) -> None:
        """Note the children that the code of a stack waits for and that began in this block."""
        for _depth in range(50):
            if frame is None:
                return
            self._add_process(_handle_of_a_wait(frame))
            frame = frame.f_back

    def add_awaited(self, awaited: Any) -> None:
        """Note the same of the coroutines that a task waits in."""
        for _depth in range(50):
            frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
            if frame is None:
                return
            self._add_process(_handle_of_a_wait(frame))
            awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)

    def _add_process(self, value: object) -> None:
        pid = running_pid(value)
        if pid is None or not _is_younger(pid, self._since):
            return
        with contextlib.suppress(Exception):  # in a signal handler, psutil may be half imported
            self.add(pid)

    def end(self) -> None:
        """Begin to end them, in a thread: whoever waits for a child is freed by it.

        Who belongs to them is read at once: when a child is gone, nobody knows its own children.
        Called again, it ends those that were added since.
        """
        new = list(self._taken())
        try:
            found = list(_families(new))
        except Exception:  # noqa: BLE001 - in a signal handler, psutil may be half imported
            self._new += new
            return
        if not found:
            return
        self.ended += [_words(process) for process in found]
        groups = [child for child in new if _leads_a_group(child)]
        thread = threading.Thread(
            target=self._end, args=(found, groups), name="limit-children", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def _taken(self) -> Iterator[psutil.Process]:
        """Take the new ones one by one: a signal handler may do the same in the midst of it."""
        with contextlib.suppress(IndexError):
            while True:
                yield self._new.pop(0)

    def join(self) -> None:
        """Wait until they are gone, or known not to go."""
        until = time.monotonic() + GRACE_SECONDS + 2 * _LAST_SECONDS
        for thread in list(self._threads):
            thread.join(max(0.0, until - time.monotonic()))

    def _end(self, found: list[psutil.Process], groups: list[psutil.Process]) -> None:
        _send(found, groups, "SIGTERM")
        if list(_alive(found, GRACE_SECONDS)):
            _send(found, groups, "SIGKILL")
        self.left += [_words(process) for process in _alive(found, _LAST_SECONDS)]


def _families(children: list[psutil.Process]) -> Iterator[psutil.Process]:
    import psutil

    for child in children:
        with contextlib.suppress(psutil.Error):
            if child.is_running():  # it and no other process that got its number
                yield child
                yield from child.children(recursive=True)


def _handle_of_a_wait(frame: FrameType) -> object:
    """Return the child that a frame of the library waits for.

    A name for a child in other code tells nothing: another thread may have started it, and use it.
    """
    module = frame.f_globals.get("__name__")
    name = {"subprocess": "self", "asyncio.subprocess": "self", "modelmedic.commands": "process"}
    return frame.f_locals.get(name[module]) if module in name else None


def _is_younger(pid: int, since: float) -> bool:
    try:
        return _began(pid) >= since - _CLOCK_SECONDS
    except (OSError, ValueError, IndexError):
        return False


def _began(pid: int) -> float:
    if sys.platform.startswith("linux"):
        # proc(5): field 22, counted behind the name, which may hold anything.
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            fields = file.read().rpartition(")")[2].split()
        return int(fields[19]) / os.sysconf("SC_CLK_TCK")
    import psutil

    try:
        return psutil.Process(pid).create_time()
    except psutil.Error as error:
        raise OSError(str(error)) from error


def _leads_a_group(child: psutil.Process) -> bool:
    if sys.platform == "win32" or not child.is_running():
        return False
    try:
        return os.getpgid(child.pid) == child.pid != os.getpgrp()
    except OSError:
        return False


def _is_given_anew(child: psutil.Process) -> bool:
    """Return whether its number is another process's; while its group has members, it is not."""
    import psutil

    try:
        return bool(psutil.Process(child.pid) != child)
    except psutil.Error:
        return False


def _send(found: list[psutil.Process], groups: list[psutil.Process], name: str) -> None:
    import psutil

    for process in found:
        with contextlib.suppress(psutil.Error):  # it knows a number that was given anew
            process.terminate() if name == "SIGTERM" else process.kill()
    if sys.platform != "win32":
        for leader in groups:
            if leader in found and not _is_given_anew(leader):
                with contextlib.suppress(OSError):
                    os.killpg(leader.pid, getattr(signal, name))


def _alive(found: list[psutil.Process], seconds: float) -> Iterator[psutil.Process]:
    """Give those that have not ended after some seconds; ends early when all have."""
    until = time.monotonic() + seconds
    while (alive := [each for each in found if _is_alive(each)]) and time.monotonic() < until:
        time.sleep(_POLL_SECONDS)
    yield from alive


def _is_alive(process: psutil.Process) -> bool:
    """Return whether it still runs; one that waits to be collected does not."""
    import psutil

    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _words(process: psutil.Process) -> str:
    import psutil

    try:
        stuck = ", in uninterruptible sleep" if process.status() == psutil.STATUS_DISK_SLEEP else ""
        return f"{process.pid} ({process.name()}{stuck})"
    except psutil.Error:
        return str(process.pid)
