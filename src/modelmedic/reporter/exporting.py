"""The newest figures as a text in one of the formats that others read."""

from __future__ import annotations

from modelmedic.reporter import as_csv, as_json, as_junit, as_prometheus
from modelmedic.reporter.figures import Figures

_WRITERS = {
    "json": as_json.text,
    "csv": as_csv.text,
    "prometheus": as_prometheus.text,
    "junit": as_junit.text,
}


def exported(found: Figures, format_: str) -> str:
    """Return the figures in a format of `interfaces.FORMATS`; masked figures stay masked."""
    return _WRITERS[format_](found)
