"""What a person decides after a first failure, asked on a terminal and nowhere else."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from enum import Enum
from typing import TextIO

from modelmedic.text import printable

ANSWER_SECONDS = 60.0  # then nobody is there: it goes on as without a person
_WRONG_ANSWERS = 3
_POLL_SECONDS = 0.05
_MAX_TEXT = 600
# Set by the usual build services; also where they run with a terminal.
_CI = ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL", "TF_BUILD", "TEAMCITY_VERSION")


class Choice(Enum):
    """What to do about a failure.

    ``RETRY``: try on, as the policy says. ``FEWER``: try once more and no further. ``SKIP``: go on
    without this operation. ``ABORT``: stop.
    """

    RETRY = "retry"
    FEWER = "fewer"
    SKIP = "skip"
    ABORT = "abort"


class TerminalChooser:
    """Asks on the terminal of this process; one question at a time, whatever thread asks.

    A thread that waits while another one's question is answered takes that answer: most often one
    cause (no network) made both fail. End of input and Ctrl-C mean abort. Where nobody answers in
    time, or there is no terminal, the answer is `Choice.RETRY`.

    Args:
        stdin: Answers come from it; None is that of the process.
        stderr: Questions go to it; None is that of the process.
        environ: Says whether this is a build service.
        seconds: How long a question stands.
    """

    _asking = threading.Lock()  # there is one terminal

    def __init__(
        self,
        *,
        stdin: TextIO | None = None,
        stderr: TextIO | None = None,
        environ: Mapping[str, str] | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._stdin = stdin
        self._stderr = stderr
        self._environ = os.environ if environ is None else environ
        self._seconds = seconds
        self._last: Choice | None = None
        self._answers = 0

    def can_ask(self) -> bool:
        """Return whether a person may be there: two terminals, and no build service."""
        if any(self._environ.get(name, "").lower() not in {"", "0", "false"} for name in _CI):
            return False
        return _is_terminal(self._stdin or sys.stdin) and _is_terminal(self._stderr or sys.stderr)

    def choose(self, failure_text: str) -> Choice:
        """Return what the person wants.

        Args:
            failure_text: What failed, in a sentence or two.
        """
        if not self.can_ask():
            return Choice.RETRY
        before = self._answers
        with self._asking:
            if self._answers != before and self._last is not None:
                return self._last
            self._last = self._ask(failure_text)
            self._answers += 1
            return self._last

    def _ask(self, failure_text: str) -> Choice:
        stderr = self._stderr or sys.stderr
        shown = printable(failure_text)[:_MAX_TEXT]
        stderr.write(f"\n{shown}\n  [r]etry, one [f]ewer: only once more, [s]kip it, [a]bort\n")
        until = time.monotonic() + self._seconds
        for _answer in range(_WRONG_ANSWERS):
            stderr.write("What now? [r/f/s/a] ")
            stderr.flush()
            try:
                line = _read_line(self._stdin or sys.stdin, until)
            except (KeyboardInterrupt, EOFError):
                stderr.write("\n")
                return Choice.ABORT
            if line is None:
                stderr.write(f"\nNo answer within {self._seconds:g} s: it is tried again.\n")
                return Choice.RETRY
            if found := _meant(line):
                return found
        stderr.write("That is none of them: stopped.\n")
        return Choice.ABORT


def _meant(line: str) -> Choice | None:
    word = line.strip().lower()
    return next((each for each in Choice if word and each.value.startswith(word)), None)


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def _read_line_unix(stream: TextIO, until: float) -> str | None:
    """Return a line; None when none was finished in time. A terminal hands on whole lines.

    Raises:
        EOFError: The input has ended.
    """
    import select

    while True:
        left = until - time.monotonic()
        if left <= 0:
            return None
        ready, _, _ = select.select([stream], [], [], left)
        if ready:
            line = stream.readline()
            if not line:
                raise EOFError
            return line


def _read_line_windows(_stream: TextIO, until: float) -> str | None:
    """Return what was typed on the console up to Enter; None when that was not in time."""
    import msvcrt

    typed = ""
    while time.monotonic() < until:
        if not msvcrt.kbhit():  # type: ignore[attr-defined,unused-ignore]
            time.sleep(_POLL_SECONDS)
            continue
        key: str = msvcrt.getwche()  # type: ignore[attr-defined,unused-ignore]
        if key == "\x03":
            raise KeyboardInterrupt
        if key == "\x1a":
            raise EOFError
        if key in "\r\n":
            return typed
        typed = typed[:-1] if key == "\b" else typed + key
    return None


_read_line: Callable[[TextIO, float], str | None] = (
    _read_line_windows if sys.platform == "win32" else _read_line_unix
)
