"""Commands that a person can type to reach a set or to make a change; runnable as printed."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from modelmedic.compat import rows, versions
from modelmedic.compat.change import Change
from modelmedic.compat.sets import ConsistentSet
from modelmedic.compat.table import Table
from modelmedic.facts import interpreter, packages
from modelmedic.facts.book import FactBook
from modelmedic.facts.pip_commands import install_command, new_environment, uninstall_command
from modelmedic.profile.model import Profile

PYTORCH_WHEELS = "https://download.pytorch.org/whl"
_TAG = re.compile(r"(cu\d+|cpu)")
_LAST_PATCH = 99  # no release of Python 3 came near


def wheel_index(profile: Profile, tag: str) -> str:
    """Return the index that has torch's builds of one tag.

    The profile's own wheels server, with the tag in the place of its last part; else PyTorch's.
    """
    url = next((each.url for each in profile.endpoints if each.kind == "wheels"), PYTORCH_WHEELS)
    begin, _, last = url.rstrip("/").rpartition("/")
    return f"{begin}/{tag}" if _TAG.fullmatch(last) else f"{url.rstrip('/')}/{tag}"


def of_change(
    change: Change, facts: FactBook, found: interpreter.Interpreter, profile: Profile
) -> str:
    """Return the commands that make a change in the target, as one sentence or one command."""
    if found.is_externally_managed:
        return new_environment(facts)
    commands = []
    gone = [name for name in change.removed if not (change.flash_attn_wheel and _is_flash(name))]
    if gone:
        commands.append(uninstall_command(facts, found, gone))
    if change.torch_pins:
        tag = change.wheels_endpoint_tag
        index = ["--index-url", wheel_index(profile, tag)] if tag else []
        commands.append(install_command(facts, found, [*change.torch_pins, *index]))
    if change.other_pins:
        commands.append(install_command(facts, found, list(change.other_pins)))
    if change.flash_attn_wheel:
        commands.append(install_command(facts, found, ["--no-deps", change.flash_attn_wheel]))
    return in_turn(commands)


def of_set(entry: ConsistentSet, profile: Profile, folder: Path, python: str) -> str:
    """Return the commands that make an environment with a set: torch first, from its index.

    Args:
        entry: What to install.
        profile: Whose wheels server is used.
        folder: Where the environment is to be made.
        python: The Python to make it with: "python3.12".
    """
    program = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    pip: list[str | Path] = [program, "-m", "pip", "install"]
    index = ["--index-url", wheel_index(profile, entry.cuda_tag)]
    commands: list[list[str | Path]] = [
        [python, "-m", "venv", folder],
        [*pip, *entry.torch_pins, *index],
    ]
    if entry.flash_attn_wheel:
        commands.append([*pip, "--no-deps", entry.flash_attn_wheel])
    if entry.other_pins:
        commands.append([*pip, *entry.other_pins])
    return in_turn([packages.shell_words(command) for command in commands])


def in_turn(commands: Sequence[str]) -> str:
    """Return commands as one sentence; one alone as it is."""
    if len(commands) == 1:
        return commands[0]
    return f"{', then '.join(f'`{command}`' for command in commands)}."


def pythons(table: Table, requires: str) -> tuple[str, ...]:
    """Return the Pythons ("3.12") that some torch has wheels for and an app supports, newest first.

    Args:
        table: Of what goes together.
        requires: The app's version range, "" for any.
    """
    known: Iterable[str] = {minor for release in table.torch for minor in release.python}
    allowed = [
        minor
        for minor in known
        if any(versions.is_in(f"{minor}.{patch}", requires) for patch in (0, _LAST_PATCH))
    ]
    return tuple(sorted(allowed, key=rows.pair, reverse=True))


def _is_flash(name: str) -> bool:
    return name == "flash-attn"
