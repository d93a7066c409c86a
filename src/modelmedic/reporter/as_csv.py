"""The figures as CSV: one line for each check of each install, for a spreadsheet."""

from __future__ import annotations

import csv
import io
import time
from typing import Any

from modelmedic.reporter.clipping import clipped
from modelmedic.reporter.figures import CheckFigure, Figures, InstallFigures
from modelmedic.text import visible

COLUMNS = (
    "machine", "install", "folder", "profile", "run", "started_at", "check", "title", "area",
    "outcome", "severity", "category", "failure", "seconds", "since", "flaps", "blocked_by",
    "what",
)  # fmt: skip
# What a spreadsheet takes for the begin of a formula. Source: OWASP, "CSV Injection". Also behind
# white space, which some of them drop, and in the wide letters of East Asian keyboards.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", *"\uff1d\uff0b\uff0d\uff20")
_MOST_LETTERS = 1_000  # of a cell; a spreadsheet shows no more


def text(found: Figures) -> str:
    """Return a table with a head line, by RFC 4180."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for install in found.installs:
        for check in install.checks:
            writer.writerow([_cell(value) for value in _row(install, check)])
    return stream.getvalue()


def _row(install: InstallFigures, check: CheckFigure) -> tuple[Any, ...]:
    return (
        install.machine, install.install, install.folder, install.profile, install.run_id,
        _moment(install.started_at), check.check, check.title, check.area, check.outcome,
        check.severity, check.category, check.failure_id, check.seconds, _moment(check.since),
        check.flaps, check.blocked_by, check.what,
    )  # fmt: skip


def _cell(value: Any) -> Any:
    """Return a value for a cell; a text that a spreadsheet would run gets an apostrophe first."""
    if not isinstance(value, str):
        return value
    is_formula = value.startswith(_FORMULA) or value.lstrip().startswith(_FORMULA)
    shown = visible(clipped(value, _MOST_LETTERS)).replace("\n", "\\n").replace("\t", "\\t")
    return f"'{shown}" if is_formula else shown


def _moment(at: float | None) -> str:
    return "" if at is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
