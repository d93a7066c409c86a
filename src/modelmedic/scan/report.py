"""What a scan found, as lines for people and as one JSON document for programs; both masked."""

from __future__ import annotations

import json

from modelmedic import __version__
from modelmedic.masking import Masker
from modelmedic.scan.finding import COULD_NOT_LOOK
from modelmedic.scan.scanning import ScanReport
from modelmedic.text import counted

SCHEMA = 1  # of reports/scan.schema.json


def as_text(report: ScanReport, masker: Masker) -> str:
    """Return one line for each finding, and a last one that says how much was looked at."""
    lines = [" ".join(str(finding).split()) for finding in report.findings]
    return masker.mask("\n".join([*lines, _summary(report)]))


def as_json(report: ScanReport, masker: Masker) -> str:
    """Return the scan as JSON that keeps to ``reports/scan.schema.json``."""
    value = {
        "schema": SCHEMA,
        "modelmedic": __version__,
        "outcome": report.outcome.value,
        "files": report.files,
        "lines": report.lines,
        "left_out": list(report.left_out),
        "findings": [finding.to_json() for finding in report.findings],
    }
    return json.dumps(masker.mask_json(value), indent=2)


def _summary(report: ScanReport) -> str:
    unread = sum(finding.rule == COULD_NOT_LOOK for finding in report.findings)
    faults = len(report.findings) - unread
    seen = f"{counted(report.files, 'file')}, {counted(report.lines, 'line')}"
    parts = [counted(faults, "fault") if faults else "no fault found"]
    if unread:
        parts.append(f"{counted(unread, 'file')} could not be looked at")
    if report.left_out:
        parts.append(f"left out: {', '.join(report.left_out[:5])}")
    if len(report.left_out) > 5:  # noqa: PLR2004 - a line that a person reads
        parts[-1] += f" and {len(report.left_out) - 5} more"
    return f"{seen}: {'; '.join(parts)}."
