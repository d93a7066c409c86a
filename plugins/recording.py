"""Writes the run record as checks end, and report.html and junit.xml beside it."""

from __future__ import annotations

import contextlib
import html
import re
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelmedic import attempts, examination, rooms, runs, summary, support
from modelmedic.endings import broken_off, exit_code
from modelmedic.errors import message
from modelmedic.examination import Examination
from modelmedic.findings import Attempt, Finding, Outcome
from modelmedic.records import Recorder, write_parts, write_text
from modelmedic.text import visible

_NAME = "modelmedic:record"
_CASE_NAMES = re.compile(r'(<testcase classname="[^"]*" name=)"([^"]*)"')
_WRITERS = frozenset({"LogXML", "SelfContainedReport"})  # of junit.xml and of pytest-html's table


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Send pytest's own reports to the report folder, before their plugins look where to."""
    found = _recorded(config)
    if found is None:
        return
    _try_folder(found.report_dir)
    if rooms.load("plugins", "html_table").is_there(config):
        config.option.htmlpath = str(found.report_dir / "report.html")
        config.option.self_contained_html = True
    else:
        config.option.htmlpath = None  # our own page stands alone
    config.option.xmlpath = str(found.report_dir / "junit.xml")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Write the beginning of the record, so that even a killed run leaves one."""
    found = _recorded(session.config)
    if found is None:
        return
    recording = Recording(found, session.config.pluginmanager)
    try:
        recording.recorder.begin()
    except OSError as error:
        raise _unusable(found.report_dir, error) from error
    session.config.pluginmanager.register(recording, _NAME)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """Let the other reports be written, then finish ours; a full disk is said, not raised."""
    recording: Recording | None = session.config.pluginmanager.get_plugin(_NAME)
    try:
        yield
    except OSError as error:
        if recording is None:
            raise
        recording.tell_unwritten(error)
    if recording is not None:
        recording.finish(session)


class Recording:
    """Hears every final report on the process that reports."""

    def __init__(self, found: Examination, plugins: pytest.PytestPluginManager) -> None:
        self.examination = found
        self.recorder = Recorder(found)
        self._plugins = plugins
        self._told: dict[str, Finding] = {}  # by the node id of the report, as first told
        self._selected: set[str] = set()  # what is to be judged
        self._judged: set[str] = set()  # what a report came of
        self._open: dict[str, pytest.TestReport] = {}  # reports whose teardown has not come
        self._has_unloadable = False
        self._was_stopped = False
        self._is_unwritten = False

    def told(self, nodeid: str) -> Finding | None:
        """Return the finding that a report brought, by its node id."""
        return self._told.get(nodeid)

    # -- as checks end -------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Mask why a check could not be loaded."""
        if report.failed:
            self._has_unloadable = True
            report.longrepr = self.recorder.mask(report.longreprtext)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Remember what is to be judged: a run that leaves some of it out did not end well."""
        self._selected.update(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Remember it where workers collect."""
        self._selected.update(ids)

    def pytest_deselected(self) -> None:
        """Remember that some checks were left out."""
        self.examination.is_partial = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the finding that a report carries, once per check; mask what others will write."""
        self._judged.add(report.nodeid)
        told: dict[str, Any] | None = getattr(report, "modelmedic", None)
        finding = self._finding(told, report) if told is not None else self._of_stranger(report)
        if report.longrepr is not None or report.sections:  # most have nothing to mask
            self._mask(report, finding if told is not None or report.when != "teardown" else None)
        if finding is not None:
            self._add(report, finding)
        report.user_properties = self._properties(report.nodeid)
        if report.when == "teardown":
            self._open.pop(report.nodeid, None)
        else:
            self._open[report.nodeid] = report

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Close a check that had no teardown: junit.xml and pytest-html wait for one."""
        report = self._open.pop(nodeid, None)
        if report is None:
            return
        closing = _closed(report)
        closing.user_properties = self._properties(nodeid)
        self._tell_writers(closing)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Remember that a person, or a signal, stopped the run: pytest stops itself, too."""
        self._was_stopped |= not isinstance(excinfo.value, pytest.Session.Interrupted)

    def _add(self, report: pytest.TestReport, finding: Finding) -> None:
        findings = self.examination.findings
        earlier = self._told.get(report.nodeid)
        if earlier is not None and earlier in findings:  # seldom; the list is long
            findings[findings.index(earlier)] = finding
        else:
            findings.append(finding)
        self._told[report.nodeid] = finding
        if getattr(report, "modelmedic_healable", False):
            self.examination.healable.add(finding.check)
        self._remember(finding)
        try:
            self.recorder.add(finding)
        except OSError as error:
            self.tell_unwritten(error)

    def _of_stranger(self, report: pytest.TestReport) -> Finding | None:
        """Return the finding of a failure that no check stated; None when it is none.

        A worker that died tells no finding, nor does a teardown that fails after its check.
        """
        if not report.failed:
            return None
        reason = report.longreprtext.strip().rpartition("\n")[2].removeprefix("E").strip()
        return broken_off(report.nodeid, reason, self._told.get(report.nodeid))

    def _finding(self, told: dict[str, Any], report: pytest.TestReport) -> Finding:
        tried = tuple(Attempt(**attempt) for attempt in told["attempts"])
        began: float | None = getattr(report, "modelmedic_began", None)
        if began is not None:  # a worker on another machine may have another time of day
            began = round(max(0.0, began - self.examination.started_at), 3)
        return self._advised(Finding(**{**told, "attempts": tried, "started": began}))

    def _advised(self, finding: Finding) -> Finding:
        return attempts.advised(finding, self.examination.context.command)

    def _properties(self, nodeid: str) -> list[tuple[str, object]]:
        """Return what junit.xml says of a check beside pytest's three words."""
        finding = self._told.get(nodeid)
        if finding is None:
            return []
        properties: list[tuple[str, object]] = [
            ("modelmedic.check", finding.check),
            ("modelmedic.outcome", finding.outcome),
        ]
        if finding.outcome in {Outcome.HEALED.value, Outcome.DEGRADED.value}:
            properties.append(("modelmedic.what", finding.what))
            properties += [("modelmedic.why", finding.why)] if finding.why else []
        properties += [("modelmedic.tried", attempts.sentence(a)) for a in finding.attempts]
        return [(name, visible(self.recorder.mask(str(value)))) for name, value in properties]

    def _mask(self, report: pytest.TestReport, finding: Finding | None) -> None:
        """Replace a traceback by the finding's words (with -v: keep it) and mask the rest."""

        def mask(text: str) -> str:
            return visible(self.recorder.mask(text))

        if isinstance(report.longrepr, tuple):
            path, line, reason = report.longrepr
            report.longrepr = (mask(str(path)), line, mask(str(reason)))
        elif report.longrepr is not None:
            report.longrepr = mask(self._words(report.longreprtext, finding))
        report.sections = [(name, mask(text)) for name, text in report.sections]

    def _words(self, text: str, finding: Finding | None) -> str:
        if finding is None:
            return text
        words = message(finding.what, finding.why, finding.next)
        if finding.outcome == Outcome.UNKNOWN.value:
            words = f"Could not look: {words}"
        return f"{words}\n\n{text}" if self.examination.is_verbose else words

    def _remember(self, finding: Finding) -> None:
        """Keep a copy of a config file that was found good; its repair starts from there."""
        if finding.check.startswith("config.keys[") and finding.outcome == Outcome.PASSED.value:
            from modelmedic import goodcopies  # reads config files; listing the checks does not

            path = finding.check.partition("[")[2].removesuffix("]")
            goodcopies.remember(self.examination.context, path)

    # -- at the end ----------------------------------------------------------------------------

    def pytest_sessionfinish(self) -> None:
        """Tell junit.xml and pytest-html what only the closing pass found.

        Runs after it (it is ``tryfirst``) and before those write: `LogXML` was registered before
        this object, and pytest-html is ``trylast``.
        """
        found = self.examination
        found.findings[:] = [self._advised(finding) for finding in found.findings]
        now = {finding.nodeid: finding for finding in found.findings}
        for nodeid, told in list(self._told.items()):
            finding = now.get(told.nodeid, told)
            if finding.outcome != told.outcome and finding.outcome == Outcome.FAILED.value:
                self._tell_late(nodeid, finding)
        xml = next((p for p in self._plugins.get_plugins() if type(p).__name__ == "LogXML"), None)
        if xml is not None:
            for name, value in self._of_the_run():
                xml.add_global_property(name, visible(self.recorder.mask(value)))

    def _of_the_run(self) -> Iterator[tuple[str, str]]:
        """Yield what junit.xml says of the whole run: who reads it has nothing else."""
        found = self.examination
        yield "modelmedic.run", found.context.run_id
        yield "modelmedic.profile", found.context.profile.name
        yield "modelmedic.install_dir", str(found.context.install_dir or "none")
        for note in found.notes:
            yield "modelmedic.note", note
        if undo := summary.undo_command(found):
            yield "modelmedic.undo", undo

    def _tell_late(self, nodeid: str, finding: Finding) -> None:
        path, _, name = nodeid.rpartition("::")
        words = message(finding.what, finding.why, finding.next)
        report = pytest.TestReport(
            nodeid=f"{path}::closing_pass_{name}",
            location=(path, None, name),
            keywords={},
            outcome="failed",
            longrepr=self.recorder.mask(f"The closing pass after repairs: {words}"),
            when="call",
        )
        vars(report)["modelmedic"] = finding.to_json()
        self._told[report.nodeid] = finding
        self._tell_writers(report)
        closing = _closed(report)
        closing.user_properties = self._properties(report.nodeid)
        self._tell_writers(closing)

    def _tell_writers(self, report: pytest.TestReport) -> None:
        """Hand a report of ours to the two that write files, and to nobody who counts."""
        for plugin in self._plugins.get_plugins():
            if type(plugin).__name__ in _WRITERS:
                plugin.pytest_runtest_logreport(report)

    def finish(self, session: pytest.Session) -> None:
        """Write the whole record with the exit code of the run, then the other two files."""
        found = self.examination
        code = self._exit_code(int(session.exitstatus))
        try:
            record = found.record = self.recorder.finish(code)
            self._finish_html(record)
            self._finish_junit()
            self._finish_support(record)
        except OSError as error:
            self.tell_unwritten(error)
            code = self._exit_code(code)
            with contextlib.suppress(OSError):
                found.record = self.recorder.finish(code)
        session.exitstatus = code
        found.exit_code = code
        if found.report_dir == runs.folder(found.context.state_dir) / found.context.run_id:
            runs.prune(found.report_dir.parent)

    def tell_unwritten(self, error: OSError) -> None:
        """Say once at the end of the run that, and why, the report is not whole."""
        if not self._is_unwritten:
            self._is_unwritten = True
            self.examination.notes.append(str(_unusable(self.examination.report_dir, error)))

    def _exit_code(self, code: int) -> int:
        found = self.examination
        return exit_code(
            code,
            {finding.outcome for finding in found.findings},
            is_strict=found.strict_degraded,
            is_unloadable=self._has_unloadable,
            is_unwritten=self._is_unwritten,
            is_stopped=self._was_stopped or found.interrupts.heard > 0,
            is_incomplete=not self._selected <= self._judged,
        )

    def _finish_html(self, record: dict[str, Any]) -> None:
        """Put our block on top of pytest-html's file, or stand alone where there is none."""
        path = self.examination.report_dir / "report.html"
        renderer = rooms.load("reports", "html")
        try:
            below = path.read_bytes()
        except FileNotFoundError:
            write_text(path, renderer.render(record), is_private=False)
        else:
            write_parts(path, renderer.on_top_of(below, record), is_private=False)

    def _finish_junit(self) -> None:
        """Mask the names in junit.xml: the host's, and of the checks; the rest came masked."""
        path = self.examination.report_dir / "junit.xml"
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            text = re.sub(r' hostname="[^"]*"', ' hostname="masked"', text, count=1)
            text = _CASE_NAMES.sub(self._masked_attribute, text)
            write_text(path, text, is_private=False)

    def _finish_support(self, record: dict[str, Any]) -> None:
        """Write what a person pastes when asking for help; nothing when all is well."""
        if text := support.text(record, summary.record_verdict(record)[0]):
            write_text(self.examination.report_dir / support.NAME, text, is_private=False)

    def _masked_attribute(self, match: re.Match[str]) -> str:
        name = html.unescape(match[2])
        return f'{match[1]}"{html.escape(self.recorder.mask(name))}"'


def _recorded(config: pytest.Config) -> Examination | None:
    """Return the examination if this process records it: no worker, no mere listing."""
    found = examination.of(config)
    if found is None or found.is_worker:
        return None
    return None if found.is_listing else found


def _try_folder(folder: Path) -> None:
    """Create the folder and try a file in it, before anything is examined.

    Raises:
        pytest.UsageError: It cannot be used; exit code 4.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(b"x")
    except OSError as error:
        raise _unusable(folder, error) from error


def _unusable(folder: Path, error: OSError) -> pytest.UsageError:
    reason = error.strerror or str(error)
    return pytest.UsageError(
        message(
            f"The report cannot be written to {folder}: {reason}.",
            next_step="Name another folder with --report-dir, or make room in this one.",
        )
    )


def _closed(report: pytest.TestReport) -> pytest.TestReport:
    """Return the passed teardown of a report, from the same worker."""
    kept = {
        name: value
        for name, value in vars(report).items()
        if name in {"node", "worker_id", "item_index", "testrun_uid"}
    }
    return pytest.TestReport(
        nodeid=report.nodeid,
        location=report.location,
        keywords={},
        outcome="passed",
        longrepr=None,
        when="teardown",
        **kept,
    )
