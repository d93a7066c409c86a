"""What a person reads: header, one word per check, causes first, one next command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest

from modelmedic import examination, summary
from modelmedic.examination import Examination
from modelmedic.findings import Attempt, Finding, Outcome

# Letter and markup of the outcomes pytest has no word for.
_WORDS: dict[str, tuple[str, dict[str, bool]]] = {
    Outcome.HEALED.value: ("H", {"green": True, "bold": True}),
    Outcome.DEGRADED.value: ("D", {"yellow": True}),
    Outcome.BLOCKED.value: ("b", {"yellow": True}),
    Outcome.UNKNOWN.value: ("?", {"red": True}),
}
_LEAST_MASKED = 8  # letters; dots and percents have no secret
# How the lines begin with which others name their file in the report folder.
_PATH_LINES = ("generated xml file: ", "generated html report: ")


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
        config.pluginmanager.register(OneReportLine(), "modelmedic:one-report-line")


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
        self._made: list[Any] = []  # the masker, once something is masked

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Write every finding that is not fine, causes first.

        Masked before it is broken into lines: half a secret has no form by which it is known.
        """
        for report in terminalreporter.stats.get("error", []):
            if getattr(report, "when", None) == "collect":
                terminalreporter.section("a check could not be loaded: our own fault", "-")
                terminalreporter.write_line(str(report.longrepr))
        if letters := summary.legend(terminalreporter.stats):
            terminalreporter.write_line(letters)
        self._recount(terminalreporter.stats)
        steps = terminalreporter.config.pluginmanager.get_plugin("modelmedic:steps")
        seen = steps.checks if steps is not None else frozenset()
        shown = summary.to_show([self._masked(each) for each in self.examination.findings])
        waiting = Counter(finding.blocked_by for finding in self.examination.findings)
        for outcome, findings in shown:
            terminalreporter.section(summary.heading(outcome, len(findings)), "-")
            for finding in findings:
                is_known = outcome is Outcome.HEALED and finding.check in seen
                if is_known:  # a person has just read it
                    terminalreporter.write_line(f"{finding.title}  [{finding.check}]")
                else:
                    self._write(terminalreporter, finding, waiting[finding.check])
        for heading, lines in summary.plans_lines(self.examination.plans):
            terminalreporter.section(heading, "-")
            for line in lines:
                terminalreporter.write_line(line)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Mask credentials in whatever pytest and its plugins write; names and paths stay."""
        if session.config.option.collectonly:
            return  # a list of checks: nothing was looked at
        writer, mask = session.config.get_terminal_writer(), self._masker().mask
        write = writer.write

        def masked(message: str, **options: Any) -> None:
            write(mask(message) if len(message) >= _LEAST_MASKED else message, **options)

        setattr(writer, "write", masked)  # noqa: B010 - mypy knows it for a method

    def _masker(self) -> Any:
        if not self._made:
            from modelmedic.masking import Masker

            self._made.append(Masker.of_this_machine().of_credentials())
        return self._made[0]

    def _masked(self, finding: Finding) -> Finding:
        told = self._masker().mask_json(finding.to_json())
        tried = tuple(Attempt(**attempt) for attempt in told["attempts"])
        return Finding(**{**told, "attempts": tried})

    def _recount(self, stats: dict[str, list[Any]]) -> None:
        """Let pytest's own last line count what the closing pass found, not what was before it."""
        now = {finding.nodeid: finding.outcome for finding in self.examination.findings}
        for word in (Outcome.HEALED.value, Outcome.DEGRADED.value, Outcome.PASSED.value):
            for report in list(stats.get(word, ())):
                outcome = now.get(getattr(report, "nodeid", ""), word)
                if outcome in {Outcome.FAILED.value, Outcome.UNKNOWN.value}:
                    stats[word].remove(report)
                    stats.setdefault(outcome, []).append(report)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Write the last lines: verdict, next command, where the report is."""
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None or self.examination.exit_code is None:
            return
        reporter.write_line("")
        for line, markup in summary.last_lines(self.examination):
            reporter.write_line(line, **markup)

    def _write(self, reporter: Any, finding: Finding, waiting: int) -> None:
        reporter.write_line(f"{finding.title}  [{finding.check}]", bold=True)
        for line in summary.finding_lines(finding, waiting):
            reporter.write_line(f"  {line}" if line else "")


class OneReportLine:
    """Keeps pytest-html and pytest's JUnit writer from naming the report folder once more each."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> Generator[None, object, object]:
        """Leave out their lines: the last line of the run names the folder."""
        write_sep = terminalreporter.write_sep

        def without_paths(sep: str, title: str | None = None, *args: Any, **markup: Any) -> None:
            if title is None or not title.lower().startswith(_PATH_LINES):
                write_sep(sep, title, *args, **markup)

        terminalreporter.write_sep = without_paths
        try:
            return (yield)
        finally:
            del terminalreporter.write_sep
