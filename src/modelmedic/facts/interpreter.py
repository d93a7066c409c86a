"""The target's Python, asked in its own process: what it is and what is installed in it."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from modelmedic import commands
from modelmedic.errors import CannotTell
from modelmedic.facts.book import FactBook, probe
from modelmedic.facts.interpreter_fault import (
    InterpreterFault,
    child_environment,
    first_line,
    last_line,
    look_before,
    no_report,
    not_started,
)
from modelmedic.facts.packages import (
    Distribution,
    effective,
    in_range,
    name_from_entry,
    requires_from_egg,
)
from modelmedic.limits import TimeoutManager
from modelmedic.purity import TARGET_PYTHON
from modelmedic.text import printable

_LIMIT = "interpreter_probe"
_CANDIDATE_SECONDS = 3.0
_LAST_PATCH = 99  # no release of Python 3 came near
_CANDIDATES = ("python3", "python", *(f"python3.{minor}" for minor in range(14, 7, -1)))
# Debian's Python has a venv module that fails for want of ensurepip, so both are loaded.
_CAN_MAKE_ENVIRONMENTS = "import ensurepip, venv, platform; print(platform.python_version())"
_OWN_SHARE = 0.9  # of the probe's limit: our own message comes before the book's


@dataclass(frozen=True, slots=True)
class Interpreter:
    """What a target Python said about itself. Paths are texts, as it sees them."""

    target: Path  # as it was asked for, links not followed
    executable: str
    version: str  # PEP 440: "3.12.1"
    implementation: str  # sys.implementation.name: "cpython"
    bits: int
    platform: str  # sys.platform
    machine: str
    prefix: str
    base_prefix: str
    purelib: str
    stdlib: str
    has_ensurepip: bool
    has_managed_marker: bool  # an EXTERNALLY-MANAGED file lies in its standard library
    is_conda: bool
    user_site: str
    is_user_site_active: bool  # the folder exists and an ordinary start searches it
    missing_path_entries: tuple[str, ...]
    markers: tuple[tuple[str, str], ...]
    distributions: tuple[Distribution, ...]  # in the order of its search path
    leftovers: tuple[str, ...]  # "~umpy" paths that an aborted pip left behind
    noise: str = ""  # first line it printed unasked while starting

    @property
    def is_venv(self) -> bool:
        """Return whether it runs in a virtual environment."""
        return self.prefix != self.base_prefix

    @property
    def is_externally_managed(self) -> bool:
        """Return whether pip refuses to install into it (PEP 668)."""
        return self.has_managed_marker and not self.is_venv

    @property
    def marker_environment(self) -> dict[str, str]:
        """Return the values that dependency markers are judged with."""
        return dict(self.markers)

    @property
    def installed(self) -> dict[str, Distribution]:
        """Return the distribution that each normalised name stands for."""
        return effective(d for d in self.distributions if d.folder != self.user_site)


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
    return ask(_target(facts), deadline_seconds=_deadline_seconds())


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


def ask(target: Path, *, deadline_seconds: float) -> Interpreter:
    """Start an interpreter, isolated, and return its report.

    ``-I``: no PYTHON* variables, no current folder, no user site. ``-B``: no ``__pycache__`` is
    written into what we examine. Its own site-packages are searched as on every start.

    Raises:
        InterpreterFault: See ``kind``.
    """
    look_before(target)
    nonce = secrets.token_hex(16)
    argv: list[str | Path] = [target, "-I", "-B", "-c", script(), nonce]
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
    return Path(__file__).with_name("interpreter_report.py").read_text(encoding="utf-8")


def find_document(text: str, nonce: str) -> tuple[str | None, str]:
    """Return the report between its two marks, and everything printed around it.

    The report is None when it is not there or not complete.
    """
    before, start, rest = text.partition(f"<report {nonce}>")
    document, end, after = rest.partition(f"</report {nonce}>")
    return (document, before + after) if start and end else (None, text)


def parse_report(document: str, *, target: Path, noise: str = "") -> Interpreter:
    """Return a report as a fact.

    Raises:
        InterpreterFault: A value is missing or of another type: kind "garbage".
    """
    try:
        report = json.loads(document)
        if "error" in report:
            raise InterpreterFault(
                f"{printable(target)} could not describe itself: {printable(report['error'])}.",
                "Its standard library is most often damaged.",
                kind="crashed",
            )
        return _interpreter(report, target, noise)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InterpreterFault(
            f"{printable(target)} answered with a report that cannot be read.",
            f"{type(error).__name__}: {printable(error)}.",
            kind="garbage",
        ) from error


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


def _interpreter(report: dict[str, object], target: Path, noise: str) -> Interpreter:
    bits = report["bits"]
    return Interpreter(
        target=target,
        bits=bits if isinstance(bits, int) else 0,
        markers=tuple(sorted(_texts_by_name(report["markers"]).items())),
        distributions=tuple(_distribution(item) for item in _list(report["distributions"])),
        leftovers=_texts(report["leftovers"]),
        missing_path_entries=_texts(report["missing_path_entries"]),
        noise=noise,
        **{name: printable(_text(report[name])) for name in _WORDS},  # type: ignore[arg-type]
        **{name: _text(report[name]) for name in _PATHS},  # type: ignore[arg-type]
        **{name: report[name] is True for name in _FLAGS},  # type: ignore[arg-type]
    )


_WORDS = ("version", "implementation", "platform", "machine")
_PATHS = ("executable", "prefix", "base_prefix", "purelib", "stdlib", "user_site")
_FLAGS = ("has_ensurepip", "has_managed_marker", "is_conda", "is_user_site_active")


def _distribution(item: object) -> Distribution:
    if not isinstance(item, dict):
        raise TypeError("a distribution is no object")
    entry = _text(item["entry"])
    name, version = name_from_entry(entry)
    egg = requires_from_egg(_text(item["requires_txt"]))
    return Distribution(
        name=printable(_text(item["name"]) or name),
        version=printable(_text(item["version"]) or version),
        folder=_text(item["folder"]),
        entry=entry,
        requires=_texts(item["requires"]) or egg,
        installer=_text(item["installer"]),
        has_record=item["has_record"] is True,
        problem=_text(item["problem"]),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where a text was expected")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} where a list was expected")
    return value


def _texts(value: object) -> tuple[str, ...]:
    return tuple(_text(item) for item in _list(value))


def _texts_by_name(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError(f"{type(value).__name__} where an object was expected")
    return {_text(key): _text(item) for key, item in value.items()}
