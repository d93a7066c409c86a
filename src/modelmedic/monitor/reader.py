"""Files that others write, logs and announcements, read in a thread: their disk may not answer."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from modelmedic.monitor import announced
from modelmedic.monitor.announced import Announced
from modelmedic.monitor.interfaces import PotentialIssue
from modelmedic.monitor.log_patterns import Patterns
from modelmedic.monitor.log_tail import LogTail
from modelmedic.text import printable, size

_ANNOUNCED_SECONDS = 5.0
_HELD_SECONDS = 600.0  # a log says when trouble is there, never when it is over
_MOST_ISSUES = 50
_STUCK_SECONDS = 30.0


class Reader:
    """Reads logs and announcements again and again; a dead disk stops only this.

    Args:
        logs: Files whose new lines are judged.
        state_dir: Where work is announced.
        interval_seconds: From one look to the next.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        logs: Sequence[str],
        state_dir: Path,
        *,
        interval_seconds: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.announced: list[Announced] = []
        self._names, self._state_dir = logs, state_dir
        self._interval_seconds, self._clock = interval_seconds, clock
        self._tails: list[LogTail] | None = None  # made in the thread: to open one may hang too
        self._patterns = Patterns()
        self._found: deque[PotentialIssue] = deque(maxlen=_MOST_ISSUES)
        self._held: dict[str, tuple[float, PotentialIssue]] = {}
        self._announced_at = float("-inf")
        self._looked_at = time.monotonic()
        self._trouble = ""
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to read in a thread."""
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Read no more; a look that hangs is left behind."""
        self._stopped.set()

    @property
    def blind(self) -> Mapping[str, str]:
        """Return which logs cannot be read, and why."""
        found = {
            tail.path: f"The log {printable(tail.path)}: {tail.trouble}."
            for tail in list(self._tails or ())
            if tail.trouble
        }
        for tail in list(self._tails or ()):
            if tail.skipped_at is not None and self._clock() - tail.skipped_at < _HELD_SECONDS:
                found.setdefault(tail.path, _passed_over(tail))
        if self._trouble:
            found["reader"] = self._trouble
        if self._thread is not None and time.monotonic() - self._looked_at > _STUCK_SECONDS:
            found[""] = "Logs and announcements are not read: a disk they lie on does not answer."
        return found

    def step(
        self,
        now: float,
        wall: float,  # noqa: ARG002 - as the other judges
        readings: Mapping[str, float],  # noqa: ARG002
    ) -> list[PotentialIssue]:
        """Return what the logs told in the last minutes."""
        while self._found:
            issue = self._found.popleft()
            self._held[issue.key] = now, issue
        self._held = {
            key: (at, issue) for key, (at, issue) in self._held.items() if now - at < _HELD_SECONDS
        }
        while len(self._held) > _MOST_ISSUES:
            del self._held[next(iter(self._held))]
        return [issue for _, issue in self._held.values()]

    def look(self) -> None:
        """Read what came since the last look."""
        if self._tails is None:
            self._tails = [LogTail(name, clock=self._clock) for name in self._names]
        for tail in self._tails:
            for line in tail.read():
                if issue := self._patterns.add(line):
                    self._found.append(issue)
        now = self._clock()
        if abs(now - self._announced_at) >= _ANNOUNCED_SECONDS:
            self._announced_at = now
            self.announced = announced.read(self._state_dir)

    def _run(self) -> None:
        while not self._stopped.wait(self._interval_seconds):
            try:
                self.look()
                self._trouble = ""
            except Exception as error:  # noqa: BLE001 - one bad look must not end the reading
                self._trouble = f"Logs cannot be judged: {type(error).__name__}: {error}."
            self._looked_at = time.monotonic()


def _passed_over(tail: LogTail) -> str:
    return (
        f"The log {printable(tail.path)}: {size(tail.skipped_bytes)} came faster than a log is "
        "read, and were passed over."
    )
