"""What the monitor keeps: a log of alerts and rows of the history, written in a thread of its own.

A disk that is full or does not answer costs what is written, never the watching: the queue is
bounded, what does not fit is counted, and the trouble is said once.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelmedic.errors import CannotTell
from modelmedic.monitor.alerts import Alert
from modelmedic.monitor.series import Minute

if TYPE_CHECKING:
    from modelmedic.history.store import History

LOG_NAME = "alerts.jsonl"
LOG_BYTES = 1 << 20  # then it begins anew; the one before is kept
_QUEUED = 1000
_SLOW_SECONDS = 60.0
_END_SECONDS = 3.0
_AGAIN_SECONDS = 600.0  # after a failure the history is opened anew, not at each minute
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)

Component = tuple[float, str, str, int, int, int, "float | None", "float | None"]


class AlertLog:
    """A file of JSON lines that only this user can read, and that does not grow for ever."""

    def __init__(self, path: Path, *, most_bytes: int = LOG_BYTES) -> None:
        self.path = path
        self._most_bytes = most_bytes

    def add(self, told: dict[str, Any]) -> None:
        """Append one line.

        Raises:
            OSError: It cannot be written; what was there is as it was.
        """
        line = json.dumps(told).encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileNotFoundError):
            if self.path.lstat().st_size + len(line) > self._most_bytes:
                self.path.replace(self.path.with_name(f"{self.path.name}.1"))
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _FLAGS, 0o600)
        try:
            before = os.fstat(handle).st_size
            if os.write(handle, line) != len(line):  # a part of a line is none
                os.ftruncate(handle, before)
                raise OSError(28, os.strerror(28))
        finally:
            os.close(handle)


class Writer:
    """Takes what is to be kept, and never lets its giver wait.

    Args:
        state_dir: Where the log and the history are.
        open_history: Opens the history; replaced in tests.
        log: The log of alerts; None takes the one in the state folder.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        open_history: Callable[[Path], History] | None = None,
        log: AlertLog | None = None,
    ) -> None:
        self._state_dir = state_dir
        self._open = open_history or _open_history
        self._log = log or AlertLog(state_dir / "monitor" / LOG_NAME)
        self._queue: queue.Queue[tuple[str, Any] | None] = queue.Queue(_QUEUED)
        self._history: History | None = None
        self._again_at = float("-inf")
        self._begun_at: float | None = None
        self._thread: threading.Thread | None = None
        self._troubles: dict[str, str] = {}
        self.lost = 0
        self.lines = 0
        self.rows = 0

    @property
    def blind(self) -> list[str]:
        """Return what cannot be kept, as sentences."""
        found = list(self._troubles.values())
        begun = self._begun_at
        if begun is not None and time.monotonic() - begun > _SLOW_SECONDS:
            found.append(f"{self._state_dir} has not taken what was written for over a minute.")
        if self.lost:
            found.append(f"{self.lost} entries were not kept: writing is too slow.")
        return found

    def open(self) -> None:
        """Open the history now: what is wrong with it is known from the beginning."""
        self._put("minutes", [])

    def add_alerts(self, alerts: Sequence[Alert]) -> None:
        """Keep alerts, in the log and in the history."""
        for alert in alerts:
            self._put("alert", alert)

    def add_minutes(self, minutes: Sequence[Minute]) -> None:
        """Keep rows of minutes."""
        if minutes:
            self._put("minutes", list(minutes))

    def add_components(self, metrics: Sequence[Component]) -> None:
        """Keep counts of components."""
        if metrics:
            self._put("components", list(metrics))

    def close(self) -> None:
        """Write what is left, for a few seconds at most."""
        if self._thread is None:
            return
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)
        self._thread.join(_END_SECONDS)

    def _put(self, kind: str, value: Any) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait((kind, value))
        except queue.Full:
            self.lost += 1

    def _run(self) -> None:
        while (given := self._queue.get()) is not None:
            self._begun_at = time.monotonic()
            self._write(*given)
            self._begun_at = None
        if self._history is not None:
            self._history.close()

    def _write(self, kind: str, value: Any) -> None:
        if kind == "alert" and value.event != "last":
            try:
                self._log.add(value.as_json())
                self.lines += 1
                self._troubles.pop("log", None)
            except OSError as error:
                told = error.strerror or error
                self._troubles["log"] = f"{self._log.path} cannot be written: {told}."
        self._keep(kind, value)

    def _keep(self, kind: str, value: Any) -> None:
        import sqlite3

        if time.monotonic() < self._again_at:
            return
        try:
            history = self._history = self._history or self._opened()
            if kind == "alert":
                history.add_alert(**_row(value))
            elif kind == "minutes":
                history.add_minutes(value)
            else:
                history.add_component_metrics(value)
            self.rows += 1 if kind == "alert" else len(value)
        except (sqlite3.Error, OSError, CannotTell) as error:
            self._troubles["history"] = (
                str(error)
                if isinstance(error, CannotTell)
                else f"The history in {self._state_dir} takes nothing: {error}."
            )
            self._again_at = time.monotonic() + _AGAIN_SECONDS
            if self._history is not None:
                with contextlib.suppress(sqlite3.Error):
                    self._history.close()
                self._history = None

    def _opened(self) -> History:
        """Return the history.

        Raises:
            CannotTell: What it takes would lie in memory only, and grow there.
        """
        history = self._open(self._state_dir)
        self._troubles.pop("history", None)
        if history.trouble:
            self._troubles["history"] = history.trouble
        if not history.is_kept:
            history.close()
            raise CannotTell(history.trouble)
        return history


def _open_history(state_dir: Path) -> History:
    from modelmedic.history.store import History

    return History.open(state_dir)


def _row(alert: Alert) -> dict[str, Any]:
    """Return the columns of the history, whose texts are masked."""
    from modelmedic.masking import Masker

    told, mask = alert.as_json(), Masker.of_this_machine().mask
    return {
        "key": mask(told["key"]),
        "severity": told["severity"],
        "text": mask(f"{told['what']} {told['why']}".strip()),
        "command": mask(told["command"]),
        "first_at": told["since"],
        "last_at": told["at"],
        "times": alert.times,
        "ended_at": told["at"] if alert.event == "end" else None,
    }
