"""``modelmedic bundle``: one file for support, masked; and what is in one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from modelmedic import rooms
from modelmedic.cli.parsing import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, Commands
from modelmedic.text import counted, printable

_USAGE = """\
modelmedic bundle [RUN] [--output FILE] [--drop FILE]... [--yes]
       modelmedic bundle show BUNDLE
       modelmedic bundle diff BUNDLE BUNDLE|RUN
       modelmedic bundle [RUN] --issue"""


def add(commands: Commands) -> None:
    """Add the command and its options."""
    bundle = commands.add_parser(
        "bundle", help="make one masked file for support, or read one", usage=_USAGE
    )
    bundle.add_argument(
        "words", nargs="*", metavar="RUN",
        help="a report folder, its report.json, or the id of a kept run (default: the newest "
        "kept); or show BUNDLE; or diff BUNDLE BUNDLE",
    )  # fmt: skip
    bundle.add_argument("--output", type=Path, help="where to (default: modelmedic-bundle-RUN.zip)")
    bundle.add_argument(
        "--drop", action="append", default=[], metavar="FILE",
        help="leave out a file of it; may be given more than once",
    )  # fmt: skip
    bundle.add_argument("--yes", action="store_true", help="write it without asking")
    bundle.add_argument(
        "--issue", action="store_true",
        help="print the text of an issue for the app's own tracker, and a link that fills it in",
    )  # fmt: skip
    bundle.add_argument("--profile", help="with --issue: the profile that names the tracker")
    bundle.set_defaults(call=_bundle)


def _bundle(options: argparse.Namespace) -> int:
    words = options.words
    is_reading = options.issue or words[:1] in (["show"], ["diff"])
    if is_reading and (options.output or options.drop or options.yes):
        return _misused("--output, --drop and --yes are for writing a bundle")
    if options.profile and not options.issue:
        return _misused("--profile goes with --issue")
    if words[:1] == ["show"]:
        return _show(words[1:])
    if words[:1] == ["diff"]:
        return _diff(words[1:])
    if len(words) > 1:
        return _misused("name one run, or show BUNDLE, or diff BUNDLE BUNDLE")
    run = words[0] if words else ""
    return _issue(run, options.profile) if options.issue else _make(options, run)


def _make(options: argparse.Namespace, run: str) -> int:
    from modelmedic.bundle import making

    made = making.make(run, rooms.state_dir(), dropped=options.drop)
    path = options.output or Path(f"modelmedic-bundle-{made.run_id}.zip")
    _print(*making.listing(made))
    if not options.yes and not _is_agreed(path):
        return EXIT_INTERRUPTED if sys.stdin.isatty() else EXIT_USAGE
    if made.found:
        _print(f"The second look masked {counted(made.found, 'thing')} more.")
    making.write(made, path)
    _print(f"{printable(path)} is written. Nothing was sent; it is yours to pass on.")
    return EXIT_OK


def _is_agreed(path: Path) -> bool:
    """Ask on a terminal; elsewhere say how it is done."""
    if not sys.stdin.isatty():
        _print(
            "Nothing was written: there is no terminal to ask on.",
            "Next: the same command with --yes, once you have looked at the list.",
        )
        return False
    try:
        answer = input(f"Write this to {ascii(str(path))[1:-1]}? [y/N] ")
    except EOFError:  # Ctrl-D
        answer = ""
    is_agreed = answer.strip().lower() in {"y", "yes"}
    if not is_agreed:
        _print("Nothing was written.")
    return is_agreed


def _show(words: Sequence[str]) -> int:
    from modelmedic.bundle import reading, showing

    if len(words) != 1:
        return _misused("show takes one bundle")
    bundle = reading.read(Path(words[0]))
    _print(*showing.lines(bundle))
    return EXIT_OK if bundle.is_whole else EXIT_FAILED


def _diff(words: Sequence[str]) -> int:
    from modelmedic.bundle import differing, making

    if len(words) != 2:  # noqa: PLR2004 - the two
        return _misused("diff takes two of: a bundle, a report folder, the id of a kept run")
    before, after = (making.record_of(word, rooms.state_dir()) for word in words)
    _print(*differing.lines(before, after))
    return EXIT_OK


def _issue(run: str, profile: str | None) -> int:
    """Print the issue as it may be pasted; it went through the second look, too."""
    from modelmedic.bundle import issue, making

    record = making.masked_record(run, rooms.state_dir())
    found = issue.issue(record)
    _print(f"Title: {found.title}", "", found.body)
    page = issue.issues_url(profile) if profile else issue.issues_url_of(record)
    if page:
        _print("Open this to file it:", issue.link(record, page))
    else:
        _print(
            "No link: the profile names no tracker ([support] issues_url), or is none of ours. "
            "The file of a profile of your own is named by --profile."
        )
    return EXIT_OK


def _print(*lines: str) -> None:
    """Print text whatever letters the terminal knows; it is printable already."""
    encoding = sys.stdout.encoding or "utf-8"
    for line in lines:
        print(line.encode(encoding, "backslashreplace").decode(encoding))


def _misused(why: str) -> int:
    print(f"usage: {_USAGE}\nmodelmedic bundle: {why}", file=sys.stderr)
    return EXIT_USAGE
