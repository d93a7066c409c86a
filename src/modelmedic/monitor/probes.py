"""Questions that may never be answered, asked through a helper process with a deadline.

A dead network drive or a wedged driver leaves its caller in uninterruptible sleep. The helper is
killed then and not waited for; what it hung at is set aside and tried again when the helper is
really gone, after a wait that doubles. So there is one stuck process for each dead thing at most.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from modelmedic import commands
from modelmedic.errors import CannotTell
from modelmedic.text import printable

_FIRST_WAIT_SECONDS = 10.0
_LONGEST_WAIT_SECONDS = 600.0
_END_SECONDS = 2.0
_STUCK_SECONDS = 0.5
_KEPT_LINES = 1000
_LINE_BYTES = 1 << 20

Begin = Callable[[Sequence[str]], commands.Child]


@dataclass(slots=True)
class _SetAside:
    """A subject that hung: with the process that hangs at it, and when it is tried again."""

    process: commands.Child
    again_at: float


class _Helper:
    """A running helper: what it has said comes through a thread of its own."""

    def __init__(self, process: commands.Child) -> None:
        self.process = process
        self.lines: deque[bytes] = deque(maxlen=_KEPT_LINES)
        threading.Thread(target=self._listen, name="probe", daemon=True).start()

    def _listen(self) -> None:
        out = self.process.stdout
        if out is None:
            return
        with contextlib.suppress(OSError, ValueError), out:
            while line := out.readline(_LINE_BYTES):
                self.lines.append(line)

    def say(self, text: str) -> bool:
        """Write one line; return whether somebody is there to read it."""
        try:
            if self.process.stdin is not None:
                self.process.stdin.write(text.encode() + b"\n")
                self.process.stdin.flush()
        except (OSError, ValueError):
            return False
        return True


class Prober:
    """Asks a helper for each of some subjects, again and again, and waits for nothing.

    Args:
        argv: The helper's command; it answers as `monitor.probe_child` does.
        subjects: What it is asked about.
        every_seconds: From one question to the next.
        deadline_seconds: How long one subject may take.
        begin: Starts the helper; replaced in tests.
    """

    def __init__(
        self,
        argv: Sequence[str],
        subjects: Sequence[str],
        *,
        every_seconds: float,
        deadline_seconds: float,
        begin: Begin = commands.begin,
    ) -> None:
        self.argv = tuple(argv)
        self.subjects = list(dict.fromkeys(subjects))
        self.blind: dict[str, str] = {}
        self._every_seconds, self._deadline_seconds = every_seconds, deadline_seconds
        self._begin = begin
        self._helper: _Helper | None = None
        self._pending: list[str] = []
        self._progress_at = 0.0
        self._ask_at = float("-inf")
        self._aside: dict[str, _SetAside] = {}
        self._wait_seconds: dict[str, float] = {}  # by subject; "" for the helper itself

    def step(self, now: float) -> dict[str, dict[str, Any]]:
        """Return what was answered since the last step, by subject; give up, and ask again.

        Args:
            now: On a clock that never goes back.
        """
        found = self._taken(now)
        self._judge(now)
        self._bring_back(now)
        if not self._pending and now >= self._ask_at:
            self._ask(now)
        return found

    @property
    def pids(self) -> list[int]:
        """Return the helpers that are there, the stuck ones included."""
        running = [self._helper.process] if self._helper else []
        running += [aside.process for aside in self._aside.values()]
        return [process.pid for process in running if process.poll() is None]

    def close(self) -> None:
        """End the helper, and wait for it a moment; those that are stuck are left behind."""
        if self._helper is not None:
            _end(self._helper.process, _END_SECONDS)
            self._helper = None
        for aside in self._aside.values():
            _end(aside.process, _STUCK_SECONDS)

    def _taken(self, now: float) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        lines = self._helper.lines if self._helper else deque[bytes]()
        while lines:
            try:
                answer = dict(json.loads(lines.popleft()))
            except (ValueError, TypeError, RecursionError):
                continue
            subject = answer.get("subject")
            if subject in self._pending:
                self._pending.remove(subject)
                self._progress_at = now
                self._wait_seconds.pop(subject, None)
                self._wait_seconds.pop("", None)
                self.blind.pop(subject, None)
                found[subject] = answer
        return found

    def _judge(self, now: float) -> None:
        if self._helper is None:
            return
        if self._helper.process.poll() is not None:
            code = self._helper.process.returncode
            _end(self._helper.process, 0.0)
            for subject in self._pending:
                self.blind[subject] = f"What looks at {printable(subject)} ended with {code}."
            self._drop(now + self._longer_wait(""))
        elif self._pending and now - self._progress_at > self._deadline_seconds:
            self._set_aside(self._pending[0], now)

    def _set_aside(self, subject: str, now: float) -> None:
        process = self._helper.process if self._helper else None
        if process is None:
            return
        _end(process, 0.0)
        self._aside[subject] = _SetAside(process, now + self._longer_wait(subject))
        self.blind[subject] = (
            f"{printable(subject)} gave no answer within {self._deadline_seconds:g} s; what asked "
            f"it was ended (process {process.pid})."
        )
        self._drop(now)

    def _drop(self, ask_at: float) -> None:
        self._helper, self._pending, self._ask_at = None, [], ask_at

    def _longer_wait(self, subject: str) -> float:
        wait = self._wait_seconds.get(subject, _FIRST_WAIT_SECONDS)
        self._wait_seconds[subject] = min(2 * wait, _LONGEST_WAIT_SECONDS)
        return wait

    def _bring_back(self, now: float) -> None:
        for subject, aside in list(self._aside.items()):
            if aside.process.poll() is not None:
                if now >= aside.again_at:
                    del self._aside[subject]
            elif now >= aside.again_at:
                self.blind[subject] = (
                    f"{printable(subject)} gives no answer, and process {aside.process.pid}, which "
                    "asked it, cannot be ended: the system itself waits."
                )

    def _ask(self, now: float) -> None:
        asked = [subject for subject in self.subjects if subject not in self._aside]
        if not asked:
            return
        try:
            self._helper = self._helper or _Helper(self._begin(self.argv))
        except CannotTell as error:
            self.blind |= dict.fromkeys(asked, error.what)
            self._ask_at = now + self._longer_wait("")
            return
        self._helper.say(json.dumps(asked))  # when nobody reads it, the next step sees why
        self._pending, self._progress_at = asked, now
        self._ask_at = now + self._every_seconds


def _end(process: commands.Child, grace_seconds: float) -> None:
    """Kill a helper; its pipes stay for the thread that reads them."""
    commands.end(process, grace_seconds=grace_seconds)
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
