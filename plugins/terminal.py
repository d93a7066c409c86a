"""What a person reads: header, one word per check, causes first, one next command."""

from __future__ import annotations

from typing import Any

import pytest

from modelmedic import examination, summary
from modelmedic.examination import Examination
from modelmedic.findings import Finding, Outcome

# Letter and markup of the outcomes pytest has no word for.
_WORDS: dict[str, tuple[str, dict[str, bool]]] = {
    Outcome.HEALED.value: ("H", {"green": True, "bold": True}),
    Outcome.DEGRADED.value: ("D", {"yellow": True}),
    Outcome.BLOCKED.value: ("b", {"yellow": True}),
    Outcome.UNKNOWN.value: ("?", {"red": True}),
}


def pytest_configure(config: pytest.Config) -> None:
    """Replace tracebacks by words; -v still shows one."""
    found = examination.of(config)
    if found is None or not config.pluginmanager.hasplugin("terminal"):
        return
    option = config.option
    if option.verbose <= 0 and option.tbstyle == "auto":
        option.tbstyle = "no"
    option.reportchars = "N"
    if not found.is_worker:
        config.pluginmanager.register(Terminal(found), "modelmedic:words")


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what is examined and why it was chosen."""
    found = examination.of(config)
    return summary.header(found) if found is not None else []


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: Any) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """Name the seven outcomes."""
    told = getattr(report, "modelmedic", None)
    if told is None or told["outcome"] not in _WORDS:
        return None
    letter, markup = _WORDS[told["outcome"]]
    return told["outcome"], letter, (told["outcome"].upper(), markup)


class Terminal:
    """Writes the end of a run."""

    def __init__(self, found: Examination) -> None:
        self.examination = found

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Write every finding that is not fine, causes first."""
        for report in terminalreporter.stats.get("error", []):
            if getattr(report, "when", None) == "collect":
                terminalreporter.section("a check could not be loaded: our own fault", "-")
                terminalreporter.write_line(str(report.longrepr))
        if letters := summary.legend(self.examination.findings):
            terminalreporter.write_line(letters)
        steps = terminalreporter.config.pluginmanager.get_plugin("modelmedic:steps")
        seen = steps.checks if steps is not None else frozenset()
        shown = summary.to_show(self.examination.findings)
        for outcome, findings in shown:
            terminalreporter.section(summary.heading(outcome, len(findings)), "-")
            for finding in findings:
                is_known = outcome is Outcome.HEALED and finding.check in seen
                self._write(terminalreporter, finding, is_known=is_known)
        for plan in self.examination.plans:
            terminalreporter.section(f"plan for {plan['check']}", "-")
            for line in summary.plan_lines(plan):
                terminalreporter.write_line(line)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Write the last lines: verdict, next command, where the report is."""
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None or self.examination.exit_code is None:
            return
        reporter.write_line("")
        for line, markup in summary.last_lines(self.examination):
            reporter.write_line(line, **markup)

    def _write(self, reporter: Any, finding: Finding, *, is_known: bool) -> None:
        """Write a finding; in short what a person has just read when it was healed."""
        if is_known:
            reporter.write_line(f"{finding.title}  [{finding.check}]")
            return
        reporter.write_line(f"{finding.title}  [{finding.check}]", bold=True)
        for line in summary.finding_lines(finding):
            reporter.write_line(f"  {line}" if line else "")
