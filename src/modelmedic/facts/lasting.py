"""The commands that make a setting of one run last: for a POSIX shell, and for Windows."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable

from modelmedic.facts.setting_source import (
    FROM_GIT,
    FROM_PIP,
    FROM_VARIABLE,
    UNSET,
    VALUE,
)

Setting = tuple[str, ...]  # variable, source of its value, the value as it may be shown

# Asks for user and password where the value had them: they are written nowhere. getpass asks on
# the terminal itself, so what stands on standard output is the quoted pair alone.
_ASK = (
    "import getpass, urllib.parse; print(*[urllib.parse.quote(getpass.getpass(w), safe='') "
    "for w in ('User: ', 'Password: ')], sep=':')"
)


def commands(settings: Iterable[Setting], platform: str = sys.platform) -> tuple[str, ...]:
    """Return one command for each setting, runnable as printed.

    Args:
        settings: As `modelmedic.operations.run_environment.SetRunEnvironment` holds them.
        platform: "win32" for lines of PowerShell, anything else for those of a POSIX shell.
    """
    # What is read from another variable comes first: a later command may take that one away.
    ordered = sorted(settings, key=lambda each: not each[1].startswith(FROM_VARIABLE))
    if platform != "win32":
        return tuple(_shell(*setting) for setting in ordered)
    # Windows has one variable where others have two that differ in case.
    by_name = {name.upper(): (name.upper(), *rest) for name, *rest in reversed(ordered)}
    return tuple(_powershell(*setting) for setting in reversed(by_name.values()))


def sentence(settings: Iterable[Setting], platform: str = sys.platform) -> str:
    """Return the next step of a check that was worked around."""
    lines = "; ".join(commands(settings, platform))
    where = (
        "in PowerShell; programs started after it see it"
        if platform == "win32"
        else "in this shell; at the end of ~/.profile it holds in every later one"
    )
    return f"{lines}   makes it last ({where})."


def _shell(name: str, source: str, shown: str) -> str:
    if source == UNSET:
        return f"unset {name}"
    if source == VALUE:
        return f"export {name}={shlex.quote(shown)}"
    if source.startswith(FROM_VARIABLE):
        return f'export {name}="${source.removeprefix(FROM_VARIABLE)}"'
    if source.startswith(FROM_PIP):
        setting, _colon, python = source.removeprefix(FROM_PIP).partition(":")
        return f'export {name}="$({shlex.quote(python)} -m pip config get {shlex.quote(setting)})"'
    if source.startswith(FROM_GIT):
        setting = shlex.quote(source.removeprefix(FROM_GIT))
        return f'export {name}="$(git config --get {setting})"'
    before, _stars, after = shown.partition("***")
    asked = f"{shlex.quote(sys.executable)} -c {shlex.quote(_ASK)}"
    return f'export {name}={shlex.quote(before)}"$({asked})"{shlex.quote(after)}'


def _powershell(name: str, source: str, shown: str) -> str:
    if source == UNSET:
        value = "$null"
    elif source == VALUE:
        value = _quoted(shown)
    elif source.startswith(FROM_VARIABLE):
        value = f"$env:{source.removeprefix(FROM_VARIABLE)}"
    elif source.startswith(FROM_PIP):
        setting, _colon, python = source.removeprefix(FROM_PIP).partition(":")
        value = f"(& {_quoted(python)} -m pip config get {_quoted(setting)})"
    elif source.startswith(FROM_GIT):
        value = f"(git config --get {_quoted(source.removeprefix(FROM_GIT))})"
    else:
        before, _stars, after = shown.partition("***")
        asked = f"(& {_quoted(sys.executable)} -c {_quoted(_ASK)})"
        value = f"({_quoted(before)} + {asked} + {_quoted(after)})"
    return f"[Environment]::SetEnvironmentVariable({_quoted(name)}, {value}, 'User')"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
