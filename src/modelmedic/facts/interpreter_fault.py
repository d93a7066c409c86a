"""How a target's Python fails to answer: each way a typed fault with its own words."""

from __future__ import annotations

import os
import re
from pathlib import Path

from modelmedic import commands
from modelmedic.errors import CannotTell
from modelmedic.facts import program
from modelmedic.facts.environment import environment_folder, last_link, look_at_environment
from modelmedic.text import printable

_VERSION_SECONDS = 5.0  # "-V" loads nothing; asked only when the report failed
_MAX_WORDS = 200  # of a child's own output in a message
_NO_ISOLATION = re.compile(r"Unknown option: -I\b|SyntaxError")


class InterpreterFault(CannotTell):
    """The target's Python gave no usable answer.

    ``kind``: "missing", "not-a-file", "not-executable", "base-gone", "not-startable" (wrong
    architecture, no program, loader gone), "crashed", "too-old", "garbage": proven faults; and
    "no-answer", which proves nothing.
    """

    def __init__(
        self, what: str, why: str = "", next_step: str = "", kind: str = "no-answer"
    ) -> None:
        super().__init__(what, why, next_step)
        self.kind = kind

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.what, self.why, self.next_step, self.kind))

    @property
    def is_proof(self) -> bool:
        """Return whether this proves that the interpreter is unhealthy."""
        return self.kind != "no-answer"


def child_environment() -> dict[str, str]:
    """Return our environment without what would steer another Python.

    ``-I`` ignores PYTHON* variables; ``__PYVENV_LAUNCHER__`` (macOS) it does not.
    """
    return {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("PYTHON") and key != "__PYVENV_LAUNCHER__"
    }


def first_line(text: str) -> str:
    """Return the first line with anything on it, printable and bounded."""
    return next((printable(x.strip())[:_MAX_WORDS] for x in text.splitlines() if x.strip()), "")


def last_line(text: str) -> str:
    """Return the last line with anything on it, printable and bounded."""
    lines = (printable(x.strip()) for x in reversed(text.splitlines()) if x.strip())
    return next(lines, "")[:_MAX_WORDS]


def look_before(target: Path) -> None:
    """Refuse what can be told without starting it.

    Raises:
        InterpreterFault: It is not there, is no file, or may not be run.
    """
    shown = printable(target)
    if not target.exists():
        raise _not_there(target)
    if not target.is_file():
        raise InterpreterFault(f"{shown} is no file, so it is no Python.", kind="not-a-file")
    if not os.access(target, os.X_OK):
        raise InterpreterFault(
            f"{shown} may not be run.",
            "It has no execute permission for this user, or lies on a disk mounted without it.",
            kind="not-executable",
        )


def _not_there(target: Path) -> InterpreterFault:
    shown = printable(target)
    if target.is_symlink():
        return InterpreterFault(
            f"{shown} is a link to {printable(last_link(target))}, which does not exist.",
            "The Python that this environment was made from was removed, moved or upgraded.",
            kind="base-gone",
        )
    folder = environment_folder(target)
    if folder is not None:
        what = f"The environment {printable(folder)} has no Python: {shown} is missing."
        return InterpreterFault(
            what, "It is half made, or a part of it was removed.", "", "missing"
        )
    return InterpreterFault(f"There is no Python at {shown}.", kind="missing")


def not_started(target: Path, error: CannotTell) -> InterpreterFault:
    """Return why a program did not start, or that it started and gave no answer in time."""
    cause = error.__cause__
    if not isinstance(cause, OSError):
        return InterpreterFault(printable(error.what), error.why, error.next_step)
    gone = _base_gone(target)
    if gone is not None:
        return gone
    return InterpreterFault(
        f"{printable(target)} could not be started: {program.start_error_words(cause)}.",
        f"It is {program.describe(target)}.",
        kind="not-startable",
    )


def no_report(target: Path, done: commands.Completed) -> InterpreterFault:
    """Return why a program that ran left no report."""
    shown, said = printable(target), last_line(done.stderr) or last_line(done.stdout)
    gone = _base_gone(target)
    if gone is not None and done.returncode != 0:
        return gone
    if _NO_ISOLATION.search(done.stderr):
        return InterpreterFault(
            f"{shown} is {_version_words(target)}, too old to be asked.",
            "Python 3.6 and later answer; the app needs a later one still.",
            kind="too-old",
        )
    said_words = f" It said: {said}" if said else " It printed nothing."
    if done.returncode != 0:
        ended = program.end_words(done.returncode)
        return InterpreterFault(
            f"{shown} started and {ended}.", "It did not get to our question." + said_words,
            kind="crashed",
        )  # fmt: skip
    return InterpreterFault(
        f"{shown} ended without an answer to our question.",
        "It is most often no Python, or something it loads at every start ends it." + said_words,
        kind="garbage",
    )


def _base_gone(target: Path) -> InterpreterFault | None:
    """Return the fault of an environment whose Python is not there any more, else None."""
    folder = environment_folder(target)
    if folder is None:
        return None
    found = look_at_environment(target)
    if found.has_home or not found.home:
        return None
    return InterpreterFault(
        f"The environment {printable(folder)} has lost its Python: {printable(found.home)} holds "
        "none any more.",
        "The Python that it was made from was removed, moved or upgraded.",
        kind="base-gone",
    )


def _version_words(target: Path) -> str:
    """Return "Python 2.7.18", or "a Python" when it does not tell."""
    try:
        done = commands.run(
            [target, "-V"], deadline_seconds=_VERSION_SECONDS, env=child_environment()
        )
    except CannotTell:
        return "a Python"
    match = re.search(r"Python \d+\.\d+\S*", done.stdout + done.stderr)
    return printable(match.group(0)) if match else "a Python"
