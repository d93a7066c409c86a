"""Faults that an installer's or app's Python code shows before it runs: read, never imported."""

from __future__ import annotations

from modelmedic.scan.finding import ScanFinding
from modelmedic.scan.scanning import ScanReport, examine, scan

__all__ = ["ScanFinding", "ScanReport", "examine", "scan"]
