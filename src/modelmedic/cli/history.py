"""``modelmedic history``: earlier runs, what changed between two, and how to forget them."""

from __future__ import annotations

import argparse
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from modelmedic import rooms
from modelmedic.cli.parsing import EXIT_FAILED, EXIT_OK, EXIT_USAGE, Commands
from modelmedic.errors import CannotTell
from modelmedic.reporter import cli_verbs
from modelmedic.text import counted, visible

if TYPE_CHECKING:
    from modelmedic.history.difference import Change, Difference
    from modelmedic.history.queries import Run
    from modelmedic.history.store import History
    from modelmedic.masking import Masker

_SHOWN = 30  # runs in the list: a month of daily ones
_MOST_SHOWN = 1_000_000  # ten times as many as are kept
_MOST_LETTERS = 600  # of one line
# What a run is asked for, the gravest first.
_TOLD = {"failed": 0, "unknown": 1, "degraded": 2, "healed": 3, "blocked": 4}
_WORDS = {"machine": "the machine", "package": "packages", "file": "files", "check": "checks"}


def add(commands: Commands) -> None:
    """Add the command, its verbs and their options."""
    history = commands.add_parser("history", help="list earlier runs, compare or forget them")
    history.add_argument("--limit", type=int, default=_SHOWN, help=f"so many (default {_SHOWN})")
    history.add_argument("--machine", default="", help="of this machine only: its name or label")
    history.set_defaults(call=_list)
    verbs = history.add_subparsers(metavar="VERB")
    show = verbs.add_parser("show", help="what one run found")
    show.add_argument("run", metavar="RUN", help="its id, or how that begins")
    show.set_defaults(call=_show)
    diff = verbs.add_parser(
        "diff", help="what changed between two runs (default: the last good and the first bad one)"
    )
    diff.add_argument("runs", nargs="*", metavar="RUN", help="two ids: the earlier one first")
    diff.set_defaults(call=_diff)
    _add_forget(verbs)
    taken = verbs.add_parser("import", help="take in run records of other machines")
    taken.add_argument(
        "paths", nargs="+", type=Path, metavar="FILE|DIR",
        help="report.json, folders of them, or support bundles",
    )  # fmt: skip
    taken.set_defaults(call=_import)
    machines = verbs.add_parser("machines", help="list the machines, or label one")
    machines.add_argument(
        "label", nargs="*", metavar="label NAME TEXT", help="call a machine by a name of yours"
    )
    machines.set_defaults(call=_machines)
    cli_verbs.add(verbs)


def _add_forget(verbs: Commands) -> None:
    forget = verbs.add_parser("forget", help="remove runs from the history for good")
    forget.add_argument("run", nargs="?", metavar="RUN")
    forget.add_argument("--machine", dest="of_machine", metavar="NAME", help="all of a machine")
    forget.add_argument("--before", metavar="DATE", help="what is older than YYYY-MM-DD (UTC)")
    forget.add_argument("--all", action="store_true", dest="everything", help="everything")
    forget.add_argument("--yes", action="store_true", help="do not ask")
    forget.set_defaults(call=_forget)


# -- verbs -----------------------------------------------------------------------------------------


def _list(options: argparse.Namespace) -> int:
    from modelmedic.history import queries

    with _opened(is_read_only=True) as history:
        name = queries.find_machine(history, options.machine).name if options.machine else ""
        found = queries.runs(history, limit=min(max(0, options.limit), _MOST_SHOWN), machine=name)
    if not found:
        _print("No run is stored yet. `modelmedic check` makes one.")
        return EXIT_OK
    rows = [
        (run.run_id, _when(run.started_at), run.profile, _who(run), _verdict(run)) for run in found
    ]
    _print(*_columns([("run", "when", "profile", "machine", "verdict"), *rows]))
    return EXIT_OK


def _show(options: argparse.Namespace) -> int:
    from modelmedic.history import queries

    with _opened(is_read_only=True) as history:
        run = queries.find_run(history, options.run)
        rows = history.connection.execute(
            "SELECT check_name.name, outcome, what, why FROM finding JOIN check_name "
            "ON check_name.id = check_id WHERE run = ? ORDER BY check_name.name",
            (run.id,),
        ).fetchall()
    counts = ", ".join(f"{count} {outcome}" for outcome, count in run.counts.items() if count)
    _print(
        f"run:     {run.run_id} of {_when(run.started_at)} ({run.mode}, {run.stage})",
        f"machine: {_who(run)}",
        f"install: {run.folder or 'none'}, profile {run.profile}, modelmedic {run.modelmedic}",
        f"verdict: {_verdict(run)}",
        f"checks:  {counts or 'none'}",
    )
    for row in sorted(
        (row for row in rows if row["outcome"] in _TOLD), key=lambda row: _TOLD[row["outcome"]]
    ):
        _print(f"{row['outcome']}: [{row['name']}] {row['what'] or ''} {row['why'] or ''}".strip())
    return EXIT_OK


def _diff(options: argparse.Namespace) -> int:
    from modelmedic.history import difference, queries

    if len(options.runs) not in {0, 2}:
        _print("Name two runs, or none: modelmedic history diff [RUN RUN].", stream=sys.stderr)
        return EXIT_USAGE
    with _opened(is_read_only=True) as history:
        if options.runs:
            first, second = (queries.find_run(history, text) for text in options.runs)
        else:
            first, second = difference.green_and_red(history)
        found = difference.between(history, first, second)
    _print(*_difference_lines(found))
    return EXIT_OK


def _forget(options: argparse.Namespace) -> int:
    from modelmedic.history import forgetting, queries

    chosen = [options.run, options.of_machine, options.before, options.everything]
    if sum(bool(each) for each in chosen) != 1:
        _print("Name one of RUN, --machine NAME, --before DATE and --all.", stream=sys.stderr)
        return EXIT_USAGE
    if options.everything and not options.yes and not sys.stdin.isatty():
        _print("Nobody can be asked here: --all needs --yes.", stream=sys.stderr)
        return EXIT_USAGE
    if options.everything and not options.yes and not _is_sure():
        _print("Nothing was forgotten.")
        return EXIT_OK
    with _opened() as history:
        if options.everything:
            done = forgetting.forget_all(history)
        elif options.before:
            done = forgetting.forget_before(history, _moment(options.before))
        elif options.of_machine:
            machine = queries.find_machine(history, options.of_machine)
            done = forgetting.forget_machine(history, machine)
        else:
            done = forgetting.forget_runs(history, [queries.find_run(history, options.run)])
    _print(f"Forgotten: {counted(done.runs, 'run')}.", *done.left)
    _print("Report folders and the log of repairs are other files: docs/stored.md names them.")
    return EXIT_OK


def _import(options: argparse.Namespace) -> int:
    from modelmedic.bundle import reading

    with _opened() as history:
        paths = [path.absolute() for path in options.paths]
        done = history.import_paths(paths, read_bundle=reading.records)
    others = f", {done.others} other JSON files passed over" if done.others else ""
    _print(f"Imported: {done.stored} new, {done.known} known, {len(done.refused)} refused{others}.")
    for refused in done.refused:
        _print(f"refused: {refused.path}: {refused.why}", stream=sys.stderr)
    return EXIT_FAILED if done.refused else EXIT_OK


def _machines(options: argparse.Namespace) -> int:
    from modelmedic.history import queries

    if options.label:
        return _label(options.label)
    with _opened(is_read_only=True) as history:
        found = queries.machines(history)
    rows = [
        (each.name, each.label or ("this machine" if each.is_own else ""), str(each.runs),
         _when(each.last_seen))
        for each in found
    ]  # fmt: skip
    _print(*_columns([("machine", "label", "runs", "last run"), *rows]))
    return EXIT_OK


def _label(words: list[str]) -> int:
    from modelmedic.history import queries

    if len(words) != 3 or words[0] != "label":  # noqa: PLR2004 - label NAME TEXT
        _print("It is: modelmedic history machines label NAME TEXT.", stream=sys.stderr)
        return EXIT_USAGE
    with _opened() as history:
        machine = queries.find_machine(history, words[1])
        history.label(machine.id, words[2])
        _print(f"{machine.name} is called {words[2]}.")
    return EXIT_OK


# -- words -----------------------------------------------------------------------------------------


@contextmanager
def _opened(*, is_read_only: bool = False) -> Iterator[History]:
    from modelmedic.history.store import History

    with History.open(rooms.state_dir(), is_read_only=is_read_only) as history:
        if history.trouble and not history.is_kept:  # nothing can be told of it, or removed
            raise CannotTell(history.trouble, next_step="docs/stored.md says what may be wrong.")
        if history.trouble:
            _print(history.trouble, stream=sys.stderr)
        try:
            yield history
        except sqlite3.Error as error:
            raise CannotTell(
                f"The history cannot be read or written: {error}.",
                next_step="See what it holds: modelmedic history",
            ) from error


def _difference_lines(found: Difference) -> Iterator[str]:
    for name, run in (("from", found.first), ("to", found.second)):
        yield f"{name:<5} {run.run_id} of {_when(run.started_at)}, {_who(run)}: {_verdict(run)}"
    for kind in ("run", *_WORDS):
        changes = found.of(kind)
        if changes:
            yield f"{_WORDS.get(kind, 'the run')}:"
        yield from (f"  {_change_words(change)}" for change in changes)
    yield from found.unknown
    if not found.changes and not found.unknown:
        yield "Nothing that is stored of them differs."


def _change_words(change: Change) -> str:
    before, after = _value(change.before), _value(change.after)
    what = f" ({change.what})" if change.what else ""
    if change.before is None:
        return f"{change.name}: new, {after}{what}"
    if change.after is None:
        return f"{change.name}: gone, was {before}"
    return f"{change.name}: {before} -> {after}{what}"


def _value(value: str | int | None) -> str:
    if isinstance(value, int):
        return f"{value:,} bytes"
    return value or "none"


def _verdict(run: Run) -> str:
    from modelmedic.summary import record_verdict

    record = {
        "counts": run.counts,
        "exit_code": run.exit_code,
        "stage": run.stage,
        "environment": {"is_partial": run.is_partial},
    }
    killed = " It was killed, or has not ended." if run.exit_code is None else ""
    return record_verdict(record)[0] + killed


def _who(run: Run) -> str:
    return run.label or ("this machine" if run.is_own else run.machine)


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at)) if at else "never"


def _moment(text: str) -> float:
    import calendar

    try:
        return float(calendar.timegm(time.strptime(text, "%Y-%m-%d")))
    except ValueError as error:
        raise CannotTell(f"--before={text} is no day.", next_step="It is YYYY-MM-DD.") from error


def _is_sure() -> bool:
    answer = input("Forget every run, repair and minute of the history? [y/N] ")
    return answer.strip().lower() in {"y", "yes"}


def _columns(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Return rows as lines, each column as wide as its widest word."""
    clean = [[_clean(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*clean, strict=True)]
    for row in clean:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _print(*lines: str, stream: TextIO | None = None) -> None:
    """Print masked text, one line each, without what a terminal would obey."""
    out = stream or sys.stdout
    encoding = out.encoding or "utf-8"
    for line in lines:
        print(_clean(line).encode(encoding, "backslashreplace").decode(encoding), file=out)


def _clean(text: str) -> str:
    line = " ".join(visible(_masker().mask(text)).split("\n")).replace("\t", " ")
    return line if len(line) <= _MOST_LETTERS else f"{line[: _MOST_LETTERS - 3]}..."


@cache
def _masker() -> Masker:
    from modelmedic.masking import Masker

    return Masker.of_this_machine()
