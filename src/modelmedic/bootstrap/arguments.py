"""Read pytest's arguments the way a person means them, whatever the current folder is."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

# design: "The command line (fixed names)"; a test compares them with the options plugin.
OWN_VALUE_OPTIONS = frozenset(
    {
        "--profile",
        "--install-dir",
        "--target-python",
        "--stage",
        "--allow",
        "--heal-budget-count",
        "--heal-budget-bytes",
        "--heal-budget-seconds",
        "--bandwidth",
        "--retry-tries",
        "--retry-first-seconds",
        "--retry-most-seconds",
        "--retry-asked-seconds",
        "--retry-budget-count",
        "--retry-budget-seconds",
        "--retry-per-minute",
        "--plan-file",
        "--report-dir",
    }
)
# Options of pytest and of the plugins we install whose value may be the next argument.
# Source: `pytest --help` of pytest 9.2, xdist 3.8, html 4.2, timeout 2.4, hypothesis 6.170.
_PYTEST_VALUE_OPTIONS = """
    --tb --maxfail --durations --durations-min --verbosity --color --code-highlight --capture
    --show-capture --log-level --log-format --log-date-format --log-file --log-file-level
    --log-file-mode --log-file-format --log-file-date-format --log-cli-level --log-cli-format
    --log-cli-date-format --log-disable --junitxml --junit-xml --junitprefix --junit-prefix
    --html --css --rootdir --confcutdir --basetemp --ignore --ignore-glob --deselect
    --import-mode --override-ini --config-file --timeout --timeout_method --timeout-method
    --session-timeout --numprocesses --maxprocesses --max-worker-restart --maxschedchunk --dist
    --tx --px --rsyncdir --rsyncignore --testrunuid --pastebin --assert --lfnf
    --last-failed-no-failures --pythonwarnings --pdbcls --metadata --metadata-from-json
    --metadata-from-json-file --hypothesis-seed --hypothesis-profile --hypothesis-verbosity
"""
PYTEST_VALUE_OPTIONS = frozenset(_PYTEST_VALUE_OPTIONS.split())
_SHORT_VALUE_OPTION = re.compile(r"-[vqxslh]*[kmpcnoWr]")  # -k NAME, -xk NAME; but not -n2


class Request(NamedTuple):
    """Pytest's arguments made absolute, and whether they reach the project's own tests."""

    arguments: list[str]
    wants_tests: bool


def read(arguments: Sequence[str], *, cwd: Path, root: Path) -> Request:
    """Return what ``arguments`` mean for a checkout.

    Without a path ``checks`` is named, since pytest reads ``testpaths`` only in its root folder.
    """
    result, paths = _split(arguments, cwd=cwd, root=root)
    if not paths:
        result.append(str(root / "checks"))
    tests = root / "tests"
    return Request(result, any(path == root or tests in (path, *path.parents) for path in paths))


def join_own_values(arguments: Sequence[str]) -> list[str]:
    """Return ``arguments`` with ``--profile demo`` and its like written as ``--profile=demo``.

    Until our plugins are loaded pytest does not know these options, takes the value for a path,
    and would load a ``conftest.py`` lying there: that of the install under test.
    """
    result: list[str] = []
    for argument in arguments:
        if result and result[-1] in OWN_VALUE_OPTIONS:
            result[-1] += f"={argument}"
        else:
            result.append(argument)
    return result


def locate(name: str, *, cwd: Path, root: Path) -> Path:
    """Return the absolute path that a path argument means.

    Outside the checkout the current folder is the install under test, whose own ``tests/`` is not
    run by accident: there our folder of that name goes first, unless the name starts with a dot.
    What exists nowhere is left for pytest to complain about.
    """
    ours, theirs = (Path(os.path.abspath(folder / name)) for folder in (root, cwd))  # noqa: PTH100 - resolve() would follow links
    theirs_first = root in (cwd, *cwd.parents) or name.startswith(".")
    first, second = (theirs, ours) if theirs_first else (ours, theirs)
    return first if first.exists() or not second.exists() else second


def _split(arguments: Sequence[str], *, cwd: Path, root: Path) -> tuple[list[str], list[Path]]:
    result: list[str] = []
    paths: list[Path] = []
    is_value = False
    for argument in join_own_values(arguments):
        if is_value or argument.startswith("-"):
            is_value = not is_value and _takes_value(argument)
            result.append(argument)
            continue
        name, separator, test = argument.partition("::")
        paths.append(locate(name, cwd=cwd, root=root))
        result.append(f"{paths[-1]}{separator}{test}")
    return result, paths


def _takes_value(option: str) -> bool:
    return option in PYTEST_VALUE_OPTIONS or _SHORT_VALUE_OPTION.fullmatch(option) is not None
