"""The target's Python, asked in its own process: what it is and what is installed in it."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from modelmedic import caller, commands
from modelmedic.errors import CannotTell
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.interpreter_answer import Interpreter, Shadow, find_document, parse_report
from modelmedic.facts.interpreter_fault import (
    InterpreterFault,
    child_environment,
    first_line,
    last_line,
    look_before,
    no_report,
    not_started,
)
from modelmedic.facts.packages import in_range
from modelmedic.limits import TimeoutManager
from modelmedic.purity import TARGET_PYTHON

__all__ = [
    "Interpreter", "Pip", "Shadow", "ask", "find_document", "parse_pip", "parse_report",
    "read_interpreter", "read_pip", "read_suitable_python", "script",
]  # fmt: skip

_LIMIT = "interpreter_probe"
_CANDIDATE_SECONDS = 3.0
_SCRIPTS = ("record_report.py", "interpreter_report.py")
# What an ordinary start obeys and an isolated one does not.
_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "PYTHONNOUSERSITE", "PYTHONUSERBASE", "PYTHONUTF8")
_LAST_PATCH = 99  # no release of Python 3 came near
_CANDIDATES = ("python3", "python", *(f"python3.{minor}" for minor in range(14, 7, -1)))
# Debian's Python has a venv module that fails for want of ensurepip, so both are loaded.
_CAN_MAKE_ENVIRONMENTS = "import ensurepip, venv, platform; print(platform.python_version())"
_OWN_SHARE = 0.9  # of the probe's limit: our own message comes before the book's


@dataclass(frozen=True, slots=True)
class Pip:
    """The answer of ``python -m pip --version``; ``version`` is "" when pip does not work."""

    version: str
    location: str
    returncode: int
    error: str  # last line it printed when it failed


@probe(_LIMIT, spawns=(TARGET_PYTHON,))
def read_interpreter(facts: FactBook) -> Interpreter:
    """Return what the target's Python says about itself.

    Raises:
        InterpreterFault: It cannot be started, ended badly, or gave no usable answer in time.
    """
    place = facts.context.place if facts.context.is_installed else None
    return ask(_target(facts), deadline_seconds=_deadline_seconds(), place=place)


@probe(_LIMIT, spawns=(TARGET_PYTHON,))
def read_pip(facts: FactBook) -> Pip:
    """Return whether the target's pip starts; nothing is installed or fetched by it.

    Raises:
        CannotTell: The interpreter could not be started or gave no answer in time.
    """
    argv: list[str | Path] = [_target(facts), "-I", "-B", "-m", "pip", "--version"]
    done = commands.run(argv, deadline_seconds=_deadline_seconds(), env=child_environment())
    return parse_pip(done)


@probe(_LIMIT, spawns=("python*",))
def read_suitable_python(_facts: FactBook, requires: str) -> str:
    """Return the name of a Python on PATH that is in a version range and can make environments.

    Asked only to print a next step that works. "" when there is none.

    Args:
        requires: A PEP 440 range, "" for any version.
    """
    ends_at = time.monotonic() + _deadline_seconds() / 2
    for name in _CANDIDATES:
        found = shutil.which(name) if _may_suit(name, requires) else None
        if found and time.monotonic() < ends_at and _suits(Path(found), requires):
            return name
    return ""


def ask(target: Path, *, deadline_seconds: float, place: Path | None = None) -> Interpreter:
    """Start an interpreter, isolated, and return its report.

    ``-I``: no PYTHON* variables, no current folder, no user site. ``-B``: no ``__pycache__`` is
    written into what we examine. Its own site-packages are searched as on every start.

    Args:
        target: The interpreter.
        deadline_seconds: After this it is ended.
        place: The folder that the app is started in, whose modules come before installed ones;
            None when there is none.

    Raises:
        InterpreterFault: See ``kind``.
    """
    look_before(target)
    nonce = secrets.token_hex(16)
    argv: list[str | Path] = [target, "-I", "-B", "-c", script(), _question(place), nonce]
    try:
        done = commands.run(argv, deadline_seconds=deadline_seconds, env=child_environment())
    except CannotTell as error:
        raise not_started(target, error) from error
    document, noise = find_document(done.stdout, nonce)
    if document is None:
        raise no_report(target, done)
    return parse_report(document, target=target, noise=first_line(noise + done.stderr))


@cache
def script() -> str:
    """Return the text of the script that the target runs."""
    folder = Path(__file__).parent
    return "".join((folder / name).read_text(encoding="utf-8") for name in _SCRIPTS)


def parse_pip(done: commands.Completed) -> Pip:
    """Return what ``pip --version`` said.

    Source: pip prints one line, "pip 24.0 from <path> (python 3.12)".
    """
    match = re.search(
        r"^pip (\S+) from (.+?)(?: \(python [\d.]+\))?\s*$", done.stdout, re.MULTILINE
    )
    if done.returncode == 0 and match:
        return Pip(match.group(1), match.group(2), 0, "")
    return Pip("", "", done.returncode, last_line(done.stderr or done.stdout))


def _question(place: Path | None) -> str:
    environ = caller.as_started(os.environ)
    variables = {name: environ[name] for name in _VARIABLES if environ.get(name)}
    return json.dumps({"variables": variables, "place": "" if place is None else str(place)})


def _target(facts: FactBook) -> Path:
    target = facts.target_python
    if target is None:
        raise InterpreterFault("There is no target Python to ask.", facts.context.target_reason)
    return target


def _deadline_seconds() -> float:
    return TimeoutManager().get_timeout(_LIMIT) * _OWN_SHARE


def _may_suit(name: str, requires: str) -> bool:
    """Return whether a name such as python3.12 can stand for a version of the range."""
    minor = name.removeprefix("python")
    if "." not in minor:
        return True
    try:
        return any(in_range(f"{minor}.{patch}", requires) for patch in (0, _LAST_PATCH))
    except CannotTell:
        return False


def _suits(python: Path, requires: str) -> bool:
    argv: list[str | Path] = [python, "-I", "-B", "-c", _CAN_MAKE_ENVIRONMENTS]
    try:
        done = commands.run(argv, deadline_seconds=_CANDIDATE_SECONDS, env=child_environment())
        return done.returncode == 0 and in_range(done.stdout.strip(), requires)
    except CannotTell:
        return False
