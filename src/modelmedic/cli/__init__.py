"""The ``modelmedic`` command: the shipped checks from anywhere, undo, reports, profiles, scans."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from modelmedic import __version__, rooms
from modelmedic.cli.parsing import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_OWN_FAULT,
    EXIT_USAGE,
    Parser,
)
from modelmedic.errors import BadProfile, ModelmedicError

__all__ = [
    "EXIT_FAILED",
    "EXIT_INTERRUPTED",
    "EXIT_OK",
    "EXIT_OWN_FAULT",
    "EXIT_USAGE",
    "main",
    "run_checks",
]

_PYTEST_COMMANDS = {"check": [], "plan": ["--heal=plan"], "heal": ["--heal"]}
# The others, in the order of --help; a module each, which a run of checks need not wait for.
_COMMANDS = ("undo", "history", "report", "monitor", "bundle", "dashboard", "profile", "scan")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (docs/exit-codes)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in _PYTEST_COMMANDS:
        return run_checks(arguments[0], arguments[1:])
    options = _parser().parse_args(arguments)
    try:
        code = int(options.call(options))
        sys.stdout.flush()  # here, not at the end of Python, is where a closed pipe is heard of
    except BadProfile as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    except ModelmedicError as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
    except BrokenPipeError:  # who read it, `head` or a pager, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except KeyboardInterrupt:
        begun = " What undo had begun, the next undo or --heal ends." * (arguments[0] == "undo")
        print(f"Stopped.{begun}", file=sys.stderr)
        return EXIT_INTERRUPTED
    return code


def run_checks(command: str, arguments: Sequence[str]) -> int:
    """Run pytest on the shipped checks with our own ini file, root folder and plugins.

    Nothing of the current folder is loaded: no ini file, no conftest, no plugin of its own.
    """
    os.environ.setdefault("MODELMEDIC_INVOKED_AS", f"modelmedic {command}")
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS"):
        os.environ.pop(name, None)
    sys.path[:] = [entry for entry in sys.path if entry]
    pinned = [
        "-c", str(Path(__file__).parents[1] / "pytest.ini"),
        f"--rootdir={rooms.home()}",
        f"--confcutdir={rooms.room('checks')}",
        "-p", "modelmedic.entry",
        "-p", "xdist.plugin",
        "-p", "pytest_html.plugin",
        "-p", "pytest_metadata.plugin",
        "-p", "pytest_timeout",
    ]  # fmt: skip
    # By name: the library has no pytest of its own; only this command runs it.
    pytest = importlib.import_module("pytest")
    extra = [*_PYTEST_COMMANDS[command], *arguments]
    return int(pytest.main([*pinned, *extra, str(rooms.room("checks"))]))


def _parser() -> Parser:
    parser = Parser(
        prog="modelmedic",
        description="Find out why the installation of a large AI model fails, and repair it.",
    )
    parser.add_argument("--version", action="version", version=f"modelmedic {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, text in (
        ("check", "judge the machine and the install; change nothing"),
        ("plan", "say what heal would do; change nothing"),
        ("heal", "repair what fails, then check it again"),
    ):
        commands.add_parser(name, help=f"{text} (takes pytest's and modelmedic's options)")
    for name in _COMMANDS:
        importlib.import_module(f"modelmedic.cli.{name}").add(commands)
    return parser
