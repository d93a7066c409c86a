"""The thread between an installer and its monitor's process: begins it, asks it, and ends it."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelmedic import commands
from modelmedic.errors import CannotTell
from modelmedic.monitor.settings import Settings

_START = (
    "import sys; sys.path[:0] = sys.argv[1:]; "
    "from modelmedic.monitor.process import main; sys.exit(main())"
)
_ANSWER_BYTES = 16 << 20
_END_SECONDS = 5.0

News = Callable[[], "list[dict[str, Any]]"]


class Link:
    """A monitor's process that runs, as seen from the process that began it.

    Args:
        settings: What the process is told.
        news: Returns the counts of components since the last call; None: there are none.
        tell: Hears each event, in the link's thread.
        every_seconds: How often news and events are exchanged unasked; None: never.

    Raises:
        CannotTell: The process cannot be started.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        news: News | None = None,
        tell: Callable[[dict[str, Any]], None] | None = None,
        every_seconds: float | None = None,
    ) -> None:
        self._news, self._tell, self._every_seconds = news, tell, every_seconds
        self._process = commands.begin(_argv())
        self._changed = threading.Condition()
        self._wanted = self._number = 0
        self._stopped = self._is_asking = False
        self._after = 0
        self._answer: dict[str, Any] | None = None
        self._write(settings.as_json())
        self._thread = threading.Thread(target=self._run, name="modelmedic-monitor", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Return the process's number."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Return its exit code; None while it runs."""
        return self._process.poll()

    @property
    def is_over(self) -> bool:
        """Return whether no answer will come any more."""
        return self._stopped or not self._thread.is_alive()

    def ask(self, deadline_seconds: float) -> dict[str, Any] | None:
        """Return a new answer; None when none comes in time."""
        if threading.current_thread() is self._thread:  # who hears an alert asks what is known
            return self._answer
        until = time.monotonic() + deadline_seconds
        with self._changed:
            wanted = self._wanted = self._number + 1 if not self._is_asking else self._number + 2
            self._changed.notify_all()
            while self._number < wanted or self._is_asking:
                left = until - time.monotonic()
                if left <= 0 or self.is_over:
                    return None
                self._changed.wait(min(left, 0.2))
            return self._answer

    def close(self) -> bool:
        """End the process; return whether it is gone."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        with contextlib.suppress(OSError, ValueError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        is_gone = commands.end(self._process)
        if is_gone and self._thread is not threading.current_thread():  # as who hears an alert
            self._thread.join(1.0)
        return is_gone

    def _run(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while self._wait():
                if not self._exchange():
                    break
        if self._process.stdout is not None:
            self._process.stdout.close()
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _wait(self) -> bool:
        """Wait until something is to be asked; return whether it still makes sense."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopped or self._wanted > self._number, self._every_seconds
            )
            self._is_asking = not self._stopped
            return self._is_asking

    def _exchange(self) -> bool:
        """Ask once and wait for the answer; return whether one came."""
        self._number += 1
        question: dict[str, Any] = {"number": self._number, "after": self._after}
        if self._news is not None:
            question["components"] = self._counts(self._news)
        self._write(question)
        out = self._process.stdout
        line = out.readline(_ANSWER_BYTES) if out is not None else b""
        if not line:
            return False
        answer = json.loads(line)
        with self._changed:
            self._answer, self._is_asking = answer, False
            self._changed.notify_all()
        for event in answer["events"]:
            self._after = max(self._after, event["number"])
            if self._tell is not None and not self._stopped:
                with contextlib.suppress(Exception):  # an installer's own code; it has been told
                    self._tell(event)
        return True

    def _counts(self, news: News) -> list[dict[str, Any]]:
        try:
            return news()
        except Exception:  # noqa: BLE001 - a manager of others; the watching goes on without it
            return []

    def _write(self, told: dict[str, Any]) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it has ended: no answer will tell
                self._process.stdin.write(json.dumps(told).encode() + b"\n")
                self._process.stdin.flush()


def _argv() -> list[str]:
    """Return the command of the process: our Python, with our package and that of psutil only.

    Without ``site`` (-S) it starts faster and holds 4 MB less.

    Raises:
        CannotTell: psutil is not installed, or there is no Python to start.
    """
    if getattr(sys, "frozen", False) or not sys.executable:  # it would start the installer again
        raise CannotTell(
            "The monitor cannot be started from a program that was frozen into one file.",
            "It runs in a Python of its own, and there is none here.",
            "Start `modelmedic monitor` beside it, with --pid.",
        )
    found = importlib.util.find_spec("psutil")
    if found is None or found.origin is None:
        raise CannotTell(
            "psutil is not installed beside modelmedic, which the monitor reads this machine with.",
            next_step=f'"{sys.executable}" -m pip install psutil',
        )
    ours = Path(__file__).resolve().parents[2]
    theirs = Path(found.origin).resolve().parents[1]
    paths = list(dict.fromkeys([str(ours), str(theirs)]))
    return [sys.executable, "-I", "-S", "-B", "-c", _START, *paths]
