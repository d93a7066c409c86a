"""Where the value of a setting comes from: what is written down in place of a value with a secret.

A journal, a plan and a report hold the source and the masked value; the value itself is read again
from its source, in this process or in the next one, and is never written.
"""

from __future__ import annotations

import os
from pathlib import Path

from modelmedic import commands
from modelmedic.errors import CannotTell, RecoveryRefused
from modelmedic.facts import pip_config
from modelmedic.text import printable

VALUE = "value"  # it is shown whole: there is no secret in it
UNSET = "unset"  # the variable is taken away
FROM_VARIABLE = "variable:"  # and its name
FROM_PIP = "pip:"  # the name of the setting, a colon, and the interpreter whose pip is asked
FROM_GIT = "git:"  # and the name of the setting
FROM_TERMINAL = "terminal:"  # asked from a person; lives in the memory of this process alone
ASK_SECONDS = 20.0

_typed: dict[str, str] = {}


def keep_typed(value: str) -> str:
    """Keep what a person typed for this process, and return the source that stands for it."""
    known = next((source for source, typed in _typed.items() if typed == value), "")
    source = known or f"{FROM_TERMINAL}{len(_typed) + 1}"
    _typed[source] = value
    return source


def forget_typed() -> None:
    """Forget all that was typed: the run is over."""
    _typed.clear()


def value_of(source: str, shown: str) -> str | None:
    """Return the value a source has now; None when the variable is to be taken away.

    Raises:
        RecoveryRefused: The source has none any more, or cannot be asked.
    """
    if source in {VALUE, UNSET}:
        return shown if source == VALUE else None
    try:
        value = _read(source)
    except CannotTell as error:
        raise RecoveryRefused(f"{_named(source)} could not be asked: {error}") from error
    if not value:
        raise RecoveryRefused(
            f"{_named(source)} has no value here any more; {printable(shown)} was meant.",
            "What holds a password is never written down, and so cannot be had from elsewhere.",
        )
    return value


def words(source: str) -> str:
    """Return where a value comes from, for a sentence; "" when it is shown whole."""
    return "" if source in {VALUE, UNSET} else _named(source)


def _named(source: str) -> str:
    if source.startswith(FROM_VARIABLE):
        return f"the variable {printable(source.removeprefix(FROM_VARIABLE))}"
    if source.startswith(FROM_PIP):
        name, _colon, python = source.removeprefix(FROM_PIP).partition(":")
        return f"pip's setting {printable(name)} of {printable(python)}"
    if source.startswith(FROM_GIT):
        return f"git's setting {printable(source.removeprefix(FROM_GIT))}"
    return "what was typed in another process"


def _read(source: str) -> str:
    if source.startswith(FROM_VARIABLE):
        return os.environ.get(source.removeprefix(FROM_VARIABLE), "").strip()
    if source.startswith(FROM_PIP):
        _name, _colon, python = source.removeprefix(FROM_PIP).partition(":")
        return pip_config.ask(Path(python), ASK_SECONDS).proxy
    if source.startswith(FROM_GIT):
        return git_setting(source.removeprefix(FROM_GIT))
    return _typed.get(source, "")


def git_setting(name: str) -> str:
    """Return one of git's settings of this user and machine; "" without git or without it.

    The settings of a repository do not count: git is asked in a folder that is none.
    """
    try:
        done = commands.run(["git", "config", "--get", name], deadline_seconds=ASK_SECONDS)
    except CannotTell:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
