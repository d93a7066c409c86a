"""pytest-html's table: a column for our outcomes, names masked and escaped, nothing of a CI's."""

from __future__ import annotations

import html
from typing import Any

import pytest

from modelmedic import examination
from modelmedic.examination import Examination

_METADATA = frozenset({"Python", "Platform"})  # the rest names plugins, or a CI's variables
_RECORDING = "modelmedic:record"


def pytest_configure(config: pytest.Config) -> None:
    """Be there where pytest-html is; the recording joins when the session starts."""
    found = examination.of(config)
    if found is not None and not found.is_worker and is_there(config):
        config.pluginmanager.register(HtmlTable(config, found), "modelmedic:table")


def is_there(config: pytest.Config) -> bool:
    """Return whether pytest-html can write: it needs pytest-metadata, which -p no: may forbid."""
    has = config.pluginmanager.hasplugin
    return all(
        any(has(name) for name in names)  # loaded by entry point, or by our command with -p
        for names in (("html", "pytest_html.plugin"), ("metadata", "pytest_metadata.plugin"))
    )


class HtmlTable:
    """Its Result column knows three words; a column of ours shows all seven."""

    def __init__(self, config: pytest.Config, found: Examination) -> None:
        self.config = config
        self.examination = found
        self._report: Any = None  # pytest-html's own data
        self._cell = ("", "")  # node id, its cell: each phase of a check asks for the same

    @property
    def recording(self) -> Any:
        """Return what knows the findings by report; None when nothing is recorded."""
        return self.config.pluginmanager.get_plugin(_RECORDING)

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_report_title(self, report: Any) -> None:
        """Name the page after what was examined."""
        report.title = f"modelmedic: {self.examination.context.profile.name}"
        self._report = report

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_header(self, cells: list[str]) -> None:
        """Add a column for the outcome."""
        cells.insert(1, '<th class="sortable" data-column-type="outcome">Outcome</th>')

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_row(self, report: Any, cells: list[str]) -> None:
        """Show the outcome, and the test id masked and escaped: pytest-html does neither."""
        if _has_no_row(report):
            cells.clear()  # else pytest-html makes the whole row before it drops it
            return
        recording = self.recording
        finding = recording.told(report.nodeid)
        outcome = finding.outcome if finding is not None else report.outcome
        if report.nodeid != self._cell[0]:
            nodeid = html.escape(recording.recorder.mask(report.nodeid))
            self._cell = (report.nodeid, f'<td class="col-testId">{nodeid}</td>')
        cells[1] = self._cell[1]
        cells.insert(1, f'<td class="col-outcome">{html.escape(outcome)}</td>')

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_html(self, report: Any, data: list[str]) -> None:
        """Say the reason of a skip alone, not where in the code it stands."""
        if isinstance(report.longrepr, tuple):
            data[0] = html.escape(report.longrepr[2].removeprefix("Skipped: "))

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_summary(self, prefix: list[str]) -> None:
        """Say what pytest-html's words mean here, and mask what no report brought it.

        Now, not earlier: workers add a CI's variables to the environment when they end.
        """
        if self._report is not None:
            data = self._report.data
            for key in [key for key in data["environment"] if key not in _METADATA]:
                del data["environment"][key]
            tests, mask = data["tests"], self.recording.recorder.mask
            for nodeid in list(tests):
                tests[mask(nodeid)] = tests.pop(nodeid)
        prefix.append(
            "<p>Result is pytest's own word; Outcome is modelmedic's. The filters below know "
            "pytest's words only.</p>"
        )


def _has_no_row(report: Any) -> bool:
    """Return whether pytest-html drops a report's row: it takes at most output of a teardown."""
    if report.outcome != "passed":
        return False
    return report.when == "setup" or (report.when == "teardown" and not report.sections)
