"""The figures as JUnit XML: a test suite for each install, a test case for each check."""

from __future__ import annotations

import time
from xml.etree import ElementTree as ET

from modelmedic.reporter.clipping import MOST_LETTERS, clipped
from modelmedic.reporter.figures import CheckFigure, Figures, InstallFigures
from modelmedic.text import visible

_MOST_NAME = 300
_FAILURES, _ERRORS, _SKIPPED = ("failed",), ("unknown",), ("skipped", "blocked")


def text(found: Figures) -> str:
    """Return the document; a check that could not judge is an error, one that waits is skipped."""
    root = ET.Element("testsuites")
    for install in found.installs:
        root.append(_suite(install))
    ET.indent(root)
    xml = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{xml}\n'


def _suite(install: InstallFigures) -> ET.Element:
    checks = install.checks
    failures, errors, skipped = (
        str(sum(check.outcome in outcomes for check in checks))
        for outcomes in (_FAILURES, _ERRORS, _SKIPPED)
    )
    suite = ET.Element(
        "testsuite",
        name=_name(f"{install.profile} {install.install}".strip()),
        tests=str(len(checks)),
        failures=failures,
        errors=errors,
        skipped=skipped,
        time=f"{sum(check.seconds or 0.0 for check in checks):.3f}",
        timestamp=time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(install.started_at)),
        hostname=_name(install.machine),
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in (
        ("run", install.run_id),
        ("folder", install.folder),
        ("profile", install.profile),
        ("mode", install.mode),
    ):
        ET.SubElement(properties, "property", name=name, value=_name(value))
    suite.extend(_case(check) for check in checks)
    return suite


def _case(check: CheckFigure) -> ET.Element:
    case = ET.Element(
        "testcase",
        classname=_name(check.area),
        name=_name(check.check),
        time=f"{check.seconds or 0.0:.3f}",
    )
    message = _name(check.what)
    detail = _text("\n".join(filter(None, (check.what, check.why))))
    if check.outcome in _FAILURES:
        kind = _name(check.failure_id or check.category or "failed")
        ET.SubElement(case, "failure", message=message, type=kind).text = detail
    elif check.outcome in _ERRORS:
        ET.SubElement(case, "error", message=message, type="unknown").text = detail
    elif check.outcome in _SKIPPED:
        waits = f"waits on {check.blocked_by}" if check.blocked_by else ""
        ET.SubElement(case, "skipped", message=_name(waits or check.what))
    elif check.outcome != "passed":
        ET.SubElement(case, "system-out").text = f"{_text(check.outcome)}: {detail}"
    return case


def _name(value: str) -> str:
    return _text(clipped(value, _MOST_NAME)).replace("\n", " ").replace("\t", " ")


def _text(value: str) -> str:
    """Return a text without what XML 1.0 cannot hold; control characters are written out."""
    shown = visible(clipped(value, MOST_LETTERS))
    return "".join(char for char in shown if char not in _NO_CHARACTERS)


_NO_CHARACTERS = frozenset("\ufffe\uffff")
