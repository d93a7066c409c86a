"""``modelmedic dashboard``: pages that show how all machines are, from the history."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from modelmedic import rooms
from modelmedic.cli.parsing import EXIT_FAILED, EXIT_OK, Commands

if TYPE_CHECKING:
    from modelmedic.history.store import History

_FOLDER = "dashboard"  # in the state folder
_DAYS = 30
_NOTHING = """\
There is no run in the history yet, so there is nothing to show.
Next: modelmedic check, which stores its run; or take in reports of other machines: modelmedic \
dashboard --import FOLDER"""


def add(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "dashboard",
        help="write pages that show how all machines in the history are",
        description="Write a folder of static pages: which machines are sick, since when and why, "
        "what separates them from the healthy ones, trends, repairs, slow checks, and who stopped "
        "reporting. The exit code says whether the pages were written, not how the machines are.",
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="where to (default: in the state folder)"
    )
    parser.add_argument(
        "--days", type=_days, default=_DAYS, help=f"for trends and repairs (default: {_DAYS})"
    )
    parser.add_argument(
        "--import", type=Path, nargs="+", action="extend", metavar="FILE|DIR", dest="imported",
        default=[], help="take in reports or bundles first, as modelmedic history import does",
    )  # fmt: skip
    parser.add_argument(
        "--labels", action="store_true", help="show the names that you gave your machines"
    )
    parser.set_defaults(call=_dashboard)


def _days(text: str) -> int:
    from modelmedic.fleet.trend import MOST_DAYS

    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= MOST_DAYS:
        raise argparse.ArgumentTypeError(f"a number from 1 to {MOST_DAYS}, not {text[:20]!r}")
    return int(text)


def _dashboard(options: argparse.Namespace) -> int:
    import sqlite3

    from modelmedic.errors import ModelmedicError

    state = rooms.state_dir()
    try:
        with _opened(state, is_read_only=not options.imported) as history:
            is_refused = bool(options.imported) and not _import(history, options.imported)
            if history.trouble:
                print(history.trouble, file=sys.stderr)
            if not _is_any(history):
                print(_NOTHING)
                return EXIT_FAILED if history.trouble or is_refused else EXIT_OK
            return _write(history, options)
    except sqlite3.Error as error:
        raise ModelmedicError(
            f"The history in {state} cannot be read: {error}. Next: modelmedic history"
        ) from error


def _opened(state: Path, *, is_read_only: bool) -> History:
    """Return the history; one of an older version is brought up to date first."""
    from modelmedic.history.store import History

    history = History.open(state, is_read_only=is_read_only)
    if not history.trouble or not is_read_only:
        return history
    history.close()
    return History.open(state)


def _import(history: History, paths: list[Path]) -> bool:
    """Take in reports and bundles; return whether none was refused."""
    from modelmedic.bundle import reading
    from modelmedic.text import counted, printable

    found = history.import_paths(
        [path.expanduser().absolute() for path in paths], read_bundle=reading.records
    )
    for each in found.refused[:20]:
        print(f"not taken: {printable(each.path)}: {each.why}", file=sys.stderr)
    if len(found.refused) > 20:  # noqa: PLR2004 - a screen of them
        print(f"and {len(found.refused) - 20} more were not taken.", file=sys.stderr)
    print(f"{counted(found.stored, 'new run')}, {found.known} known already.")
    return not found.refused


def _is_any(history: History) -> bool:
    return history.connection.execute("SELECT 1 FROM run LIMIT 1").fetchone() is not None


def _write(history: History, options: argparse.Namespace) -> int:
    from modelmedic.fleet import site, survey
    from modelmedic.masking import Masker
    from modelmedic.text import counted, printable, size

    history.connection.execute("BEGIN")  # one view of it, whatever a monitor writes meanwhile
    found = survey.survey(history.connection, now=history.clock(), days=options.days)
    room = rooms.load("reports", "dashboard")
    pages = room.pages(
        history.connection, found, mask=Masker.of_this_machine().mask, labels=options.labels
    )
    folder = options.output or rooms.state_dir() / _FOLDER
    written = site.write(folder.expanduser().absolute(), pages)
    print(f"{room.verdict(found)} {counted(written.pages, 'page')}, {size(written.size_bytes)}.")
    print(printable(written.index))
    return EXIT_OK
