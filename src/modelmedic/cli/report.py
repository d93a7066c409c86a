"""``modelmedic report``: the page of an old run, or of the run in a support bundle."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from modelmedic import rooms
from modelmedic.cli.parsing import EXIT_OK, Commands
from modelmedic.errors import ModelmedicError


def add(commands: Commands) -> None:
    """Add the command and its options."""
    report = commands.add_parser("report", help="render the HTML block of an old run")
    report.add_argument(
        "run",
        help="a report folder, its report.json, the id of a kept run, or a support bundle",
    )
    report.add_argument("--output", type=Path, help="where to (default: standard output)")
    report.set_defaults(call=_report)


def _report(options: argparse.Namespace) -> int:
    from modelmedic import runs
    from modelmedic.bundle import reading

    path = runs.find(options.run, rooms.state_dir())
    record = _of_bundle(path) if reading.is_bundle(path) else runs.read(path)
    html = rooms.load("reports", "html").render(record)
    if options.output:
        _write(options.output, html)
    else:  # the page says utf-8, whatever the terminal speaks
        sys.stdout.buffer.write(html.encode("utf-8"))
    return EXIT_OK


def _of_bundle(path: Path) -> dict[str, Any]:
    """Return the record in a bundle; what was changed in it is said where it cannot be missed."""
    from modelmedic.bundle import reading

    bundle = reading.read(path)
    for warning in bundle.warnings():
        print(f"NOTE: {warning}", file=sys.stderr)
    return bundle.record()


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ModelmedicError(f"{path} cannot be written: {error.strerror or error}.") from error
