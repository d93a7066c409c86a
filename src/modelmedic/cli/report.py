"""``modelmedic report``: the page of an old run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from modelmedic import rooms
from modelmedic.cli.parsing import EXIT_OK, Commands
from modelmedic.errors import ModelmedicError


def add(commands: Commands) -> None:
    """Add the command and its options."""
    report = commands.add_parser("report", help="render the HTML block of an old run")
    report.add_argument("run", help="a report folder, its report.json, or the id of a kept run")
    report.add_argument("--output", type=Path, help="where to (default: standard output)")
    report.set_defaults(call=_report)


def _report(options: argparse.Namespace) -> int:
    from modelmedic import runs

    path = runs.find(options.run, rooms.state_dir())
    html = rooms.load("reports", "html").render(runs.read(path))
    if options.output:
        _write(options.output, html)
    else:  # the page says utf-8, whatever the terminal speaks
        sys.stdout.buffer.write(html.encode("utf-8"))
    return EXIT_OK


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ModelmedicError(f"{path} cannot be written: {error.strerror or error}.") from error
