"""``modelmedic scan``: find faults in Python code before it runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from modelmedic.cli.parsing import EXIT_FAILED, EXIT_OK, EXIT_USAGE, Commands
from modelmedic.errors import BadInstall


def add(commands: Commands) -> None:
    """Add the command and its options."""
    scan = commands.add_parser("scan", help="find faults in Python code before it runs")
    scan.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a file or a folder")
    scan.add_argument("--json", action="store_true", help="as one JSON document")
    scan.add_argument(
        "--exclude", action="append", default=[], metavar="GLOB",
        help="leave out what matches, as tests or *_pb2.py; may be given more than once",
    )  # fmt: skip
    scan.set_defaults(call=_scan)


def _scan(options: argparse.Namespace) -> int:
    from modelmedic.masking import Masker
    from modelmedic.scan import examine, report

    try:
        found = examine([path.expanduser() for path in options.paths], exclude=options.exclude)
    except BadInstall as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    render = report.as_json if options.json else report.as_text
    sys.stdout.buffer.write(f"{render(found, Masker.of_this_machine())}\n".encode())
    return EXIT_FAILED if found.outcome.is_cause_of_exit_1 else EXIT_OK
