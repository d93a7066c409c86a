"""``modelmedic history report``, ``trends`` and ``metrics``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelmedic import rooms
from modelmedic.errors import ModelmedicError
from modelmedic.reporter.interfaces import FORMATS
from modelmedic.text import printable

if TYPE_CHECKING:
    from modelmedic.reporter.health_reporter import HealthReporter

_OK, _FAILED = 0, 1  # docs/exit-codes
_DAYS = 30.0
_MOST_DAYS = 3650.0


def add(verbs: Any) -> None:
    """Add the three verbs to the parser of ``modelmedic history``."""
    report = verbs.add_parser("report", help="say how an installation does, and since when")
    _about(report)
    report.add_argument("--json", action="store_true", help="as JSON")
    report.set_defaults(call=_report)
    trends = verbs.add_parser("trends", help="say how runs, durations and disks move over days")
    trends.add_argument("--days", type=_days, default=_DAYS, help="to look back (default: 30)")
    trends.add_argument("--machine", default="", help="one that was imported (default: all)")
    trends.add_argument("--json", action="store_true", help="as JSON")
    trends.set_defaults(call=_trends, install_dir=None)
    metrics = verbs.add_parser("metrics", help="write the newest figures for other programs")
    _about(metrics)
    metrics.add_argument("--format", choices=FORMATS, required=True)
    metrics.add_argument(
        "--output", type=Path, help="file to replace in one step (default: standard output)"
    )
    metrics.set_defaults(call=_metrics)


def _about(parser: argparse.ArgumentParser) -> None:
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--install-dir", help="the install (default: that of the newest run)")
    chosen.add_argument("--machine", default="", help="one that was imported, by name or label")


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = 0.0
    if not 0 < days <= _MOST_DAYS:
        raise argparse.ArgumentTypeError(f"a number of days up to {_MOST_DAYS:.0f}, not {text!r}")
    return days


def _reporter(options: argparse.Namespace) -> HealthReporter:
    from modelmedic.reporter.health_reporter import HealthReporter

    return HealthReporter(
        state_dir=rooms.state_dir(), install_dir=options.install_dir, machine=options.machine
    )


def _report(options: argparse.Namespace) -> int:
    from modelmedic.reporter.telling import report_text

    with _reporter(options) as reporter:
        report = reporter.generate_installation_report()
        _say(_as_json(report) if options.json else _labelled(reporter, report_text(report)))
        return _ended(reporter, is_empty=not report.run_id)


def _trends(options: argparse.Namespace) -> int:
    from modelmedic.reporter.telling import trends_text

    with _reporter(options) as reporter:
        analysis = reporter.generate_trend_analysis(days=options.days)
        _say(_as_json(analysis) if options.json else _labelled(reporter, trends_text(analysis)))
        return _ended(reporter)


def _metrics(options: argparse.Namespace) -> int:
    from modelmedic.records import write_text

    with _reporter(options) as reporter:
        text = reporter.export_metrics(options.format)
        if options.output is None:  # the formats say utf-8, whatever the terminal speaks
            sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
        else:
            try:
                write_text(options.output, text, is_private=False)
            except OSError as error:
                raise ModelmedicError(
                    f"{options.output} cannot be written: {error.strerror or error}."
                ) from error
        return _ended(reporter)


def _ended(reporter: HealthReporter, *, is_empty: bool = False) -> int:
    """Say what is wrong with the history; nobody takes an empty report for a healthy one then."""
    if reporter.trouble:
        sys.stderr.write(f"{reporter.trouble}\n")
    return _FAILED if reporter.trouble or is_empty else _OK


def _as_json(value: Any) -> str:
    from modelmedic.reporter.as_json import plain

    return json.dumps(plain(dataclasses.asdict(value)), indent=1, ensure_ascii=True) + "\n"


def _labelled(reporter: HealthReporter, text: str) -> str:
    """Return a text with the administrator's own names of machines beside their stand-ins.

    Only for this terminal: labels stay in the history.
    """
    for name, label in reporter.labels().items():
        text = text.replace(name, f"{printable(label)} ({name})")
    return text


def _say(text: str) -> None:
    """Write a text; what the terminal's encoding does not have is written as an escape."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
