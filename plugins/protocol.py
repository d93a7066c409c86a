"""How a check is run: judged once, offered to healing, recorded as one finding."""

from __future__ import annotations

import dataclasses
import re
import time
from typing import Any

import pytest

from modelmedic import examination, purity, verdicts
from modelmedic.errors import CannotTell
from modelmedic.examination import Examination
from modelmedic.findings import Finding, Outcome
from modelmedic.operations.run_environment import OF_THIS_RUN
from modelmedic.verdicts import Judged, Verdict

_OF_ONE_ATTEMPT = {"modelmedic.degraded", "modelmedic.stated"}
Phase = tuple[pytest.CallInfo[None], pytest.TestReport]


class ProtocolHooks:
    """Hooks of our own that other plugins may implement."""

    @pytest.hookspec(firstresult=True)
    def pytest_heal_classify(self, item: pytest.Item, error: BaseException) -> str | None:
        """Return the recovery family for a failing check, or None to leave it to its marker."""

    @pytest.hookspec(firstresult=True)
    def pytest_heal_check(
        self, item: pytest.Item, judged: Judged, verdict: Verdict, runner: Any
    ) -> Any:
        """Repair a failing check and run it again through ``runner.attempt``.

        Returns:
            None when nothing was tried, else the phases that count, their verdict, and the
            attempts in order.
        """


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare our hooks."""
    pluginmanager.add_hookspecs(ProtocolHooks)


def pytest_configure(config: pytest.Config) -> None:
    """Take over how a check is run."""
    found = examination.of(config)
    if found is None:
        return
    if _is_traced(config) and found.mode != "check":
        raise pytest.UsageError(
            "--trace and --heal exclude each other: who leaves a traced check keeps it from being "
            "judged, and on that nothing may be repaired. Use --pdb."
        )
    config.pluginmanager.register(Protocol(config, found), "modelmedic:protocol-owner")


def _is_traced(config: pytest.Config) -> bool:
    return bool(getattr(config.option, "trace", False))  # -p no:debugging takes the option away


class _Again(pytest.Item):
    """A sibling of the item: torn down "towards" it, only the item itself goes."""

    def runtest(self) -> None:
        """Never run."""


class Protocol:
    """Owns ``pytest_runtest_protocol`` for checks."""

    def __init__(self, config: pytest.Config, found: Examination) -> None:
        self.config = config
        self.examination = found
        self.generation = 0  # of the install, before the check at hand was judged
        self._began = (0.0, 0.0)  # the check at hand: time of day, and of a clock that never jumps

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Any:
        """Judge one check; return True because nobody else may run it."""
        option = self.config.option
        marker = item.get_closest_marker("check")
        if marker is None or option.setuponly or not isinstance(item, pytest.Function):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        self._disarm(item)
        self._tell(item, *self._judge(item, nextitem))
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    # -- one check -----------------------------------------------------------------------------

    def _judge(
        self, item: pytest.Function, nextitem: pytest.Item | None
    ) -> tuple[list[pytest.TestReport], list[Phase]]:
        """Return the reports of one check, and the phases of the attempt that counts."""
        judged = _judged(item)
        self._began = (time.time(), time.perf_counter())
        self.examination.names[judged.nodeid] = judged.check
        stopped = self._not_judged(item, judged)
        if stopped is not None:
            self._leave(item, nextitem, judged)
            return [stopped], []
        if self.examination.mode != "check":
            self._adopt()
            self.generation = self.examination.engine.generation()
        phases = self.attempt(item)
        verdict = self.verdict(item, phases)
        healing = None
        if verdict.is_bad:
            try:
                healing = self.config.hook.pytest_heal_check(
                    item=item, judged=judged, verdict=verdict, runner=self
                )
            except (KeyboardInterrupt, pytest.exit.Exception):
                self._tell_stopped(item, phases, verdict.finding(judged, attempts=self._tried()))
                raise
            except (OSError, MemoryError) as error:  # the machine is out of something
                self.examination.notes.append(
                    f"{judged.check} could not be healed: {type(error).__name__}: {error}."
                )
        finding = verdict.finding(judged)
        if healing is not None:
            phases, now, attempts = healing[0] or phases, healing[1], healing[2]
            is_healed = now.outcome is Outcome.PASSED
            source, outcome = (verdict, Outcome.HEALED) if is_healed else (now, now.outcome)
            finding = source.finding(judged, outcome=outcome, attempts=attempts)
        problem = self._leave(item, nextitem, judged)
        return self._stamped(item, phases, finding, problem), phases

    def _adopt(self) -> None:
        """Take over what another worker has set for this run, before a check is judged."""
        engine = self.examination.engine
        if self.examination.is_worker and engine.generation() != self.generation and engine.adopt():
            self.examination.facts.forget()

    def _tell(
        self, item: pytest.Item, reports: list[pytest.TestReport], phases: list[Phase]
    ) -> None:
        """Report a check, then show its failure to a debugger: who leaves one ends the run."""
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        for call, report in phases:
            if call.excinfo is not None and report.failed:
                item.ihook.pytest_exception_interact(node=item, call=call, report=report)

    def _tried(self) -> list[Any]:
        """Return what was tried on the check at hand until now."""
        healer = self.config.pluginmanager.get_plugin("modelmedic:healer")
        return list(healer.attempts) if healer is not None else []

    def _tell_stopped(self, item: pytest.Function, phases: list[Phase], finding: Finding) -> None:
        """Report that a check failed although its healing was stopped: it is not healthy."""
        self._tell(item, self._stamped(item, phases, finding, None), [])

    def _not_judged(self, item: pytest.Function, judged: Judged) -> pytest.TestReport | None:
        """Return the report of a check that a cause keeps from being judged, or None."""
        found = self.examination
        nodeid = item.nodeid
        reason = found.needs.blocking(nodeid, found.outcomes, found.roots)
        if reason is None:
            return None
        outcome, root = reason
        found.outcomes[nodeid] = outcome
        found.roots[nodeid] = root
        verb = "was not judged: it needs" if outcome is Outcome.BLOCKED else "needs"
        state = "does not hold" if outcome is Outcome.BLOCKED else "does not apply here"
        cause = found.names.get(root, root)
        what = f"{judged.check} {verb} {cause}, which {state}."
        finding = Verdict(outcome, what).finding(
            judged, blocked_by=cause if outcome is Outcome.BLOCKED else None
        )
        path, line, _name = item.location
        report = pytest.TestReport(
            nodeid=item.nodeid,
            location=item.location,
            keywords={},
            outcome="skipped",
            longrepr=(path, line or 0, what),
            when="setup",
        )
        vars(report)["modelmedic"] = finding.to_json()
        return report

    def verdict(self, item: pytest.Function, phases: list[Phase]) -> Verdict:
        """Return what the phases of one attempt say."""
        failing = next((phase for phase in phases if phase[1].failed), None)
        if failing is not None:
            excinfo = failing[0].excinfo
            error = excinfo.value if excinfo else AssertionError("no reason")
            return verdicts.of_error(_late(error) or error)
        if _is_traced(self.config) and len(phases) > 2:  # noqa: PLR2004 - it came to its call
            return verdicts.of_error(
                CannotTell(
                    "The check was traced by hand, and pytest does not tell whether it ran to its "
                    "end.",
                    "Leaving the debugger ends a check without a verdict.",
                    "Start again without --trace.",
                )
            )
        last = phases[-1] if phases[-1][1].when != "teardown" else phases[-2]
        if last[1].skipped:
            excinfo = last[0].excinfo
            reason = getattr(excinfo.value, "msg", "") if excinfo else ""
            return Verdict(Outcome.SKIPPED, str(reason))
        losses = [value for key, value in item.user_properties if key == "modelmedic.degraded"]
        if loss := self.examination.worked_around.get(_judged(item).check):
            losses = [loss, *losses]
        if losses:
            return verdicts.of_degraded(losses)  # type: ignore[arg-type]
        said = [str(value) for key, value in item.user_properties if key == "modelmedic.stated"]
        if _judged(item).area == "network" and (names := OF_THIS_RUN.names()):
            said.append(f"Judged with {', '.join(names)} as this run set them for itself.")
        return Verdict(Outcome.PASSED, " ".join(said))

    # -- running an item -----------------------------------------------------------------------

    def attempt(
        self, item: pytest.Function, *, first: str | None = None, only_first: bool = False
    ) -> list[Phase]:
        """Set up, call and tear down an item once, with everything of its own made afresh.

        Args:
            item: The check.
            first: A fixture set up before all others and torn down after them: a recovery.
            only_first: Set up only that fixture and run nothing: a plan.
        """
        _make_fresh(item)
        saved = item.fixturenames
        extra = [first] if first else []
        # A fresh list: the items of one parametrized function share theirs.
        item.fixturenames = extra if only_first else [*extra, *saved]
        item.user_properties[:] = [
            entry for entry in item.user_properties if entry[0] not in _OF_ONE_ATTEMPT
        ]
        parent = item.parent
        assert parent is not None
        again = _Again.from_parent(parent, name=f"{item.name}[again]")
        try:
            phases = [self._phase(item, "setup", is_timed=first is None)]
            if phases[0][1].passed and not only_first:
                phases.append(self._phase(item, "call", is_timed=True))
            phases.append(self._phase(item, "teardown", is_timed=first is None, nextitem=again))
        finally:
            item.fixturenames = saved
            item._request = False  # type: ignore[assignment]  # noqa: SLF001 - as runtestprotocol
            item.funcargs = None  # type: ignore[assignment]
        return phases

    def _phase(self, item: pytest.Function, when: Any, *, is_timed: bool, **kwargs: Any) -> Phase:
        hook = getattr(item.ihook, f"pytest_runtest_{when}")

        def body() -> None:  # a timeout may only ring inside a CallInfo
            if is_timed:  # a repair has the limits of its operations instead
                self._arm(item)
            try:
                hook(item=item, **kwargs)
            finally:
                self._disarm(item)

        reraise = (pytest.exit.Exception, KeyboardInterrupt)
        call = pytest.CallInfo.from_call(body, when=when, reraise=reraise)
        report: pytest.TestReport = item.ihook.pytest_runtest_makereport(item=item, call=call)
        if report.skipped and hasattr(report, "wasxfail"):
            # Nobody may declare away that an install is not healthy: xfail counts as its failure.
            report.outcome = "failed"
            del report.wasxfail
        return call, report

    def _leave(
        self, item: pytest.Function, nextitem: pytest.Item | None, judged: Judged
    ) -> Phase | None:
        """Tear down what the next item does not share; return the failing phase, if any.

        No hook of a phase goes round this, so the check is held to its promise here.
        """
        state = item.session._setupstate  # noqa: SLF001 - there is no public way to leave
        watch = purity.Watch(f"the check {judged.check}")

        def body() -> None:
            with purity.watching(watch):
                state.teardown_exact(nextitem)

        reraise = (pytest.exit.Exception, KeyboardInterrupt)
        call = pytest.CallInfo.from_call(body, when="teardown", reraise=reraise)
        if call.excinfo is None:
            return None
        return call, pytest.TestReport.from_item_and_call(item, call)

    def _stamped(
        self, item: pytest.Function, phases: list[Phase], finding: Finding, problem: Phase | None
    ) -> list[pytest.TestReport]:
        """Put the finding on the report that decides, and on the properties of all."""
        outcome = Outcome(finding.outcome)
        self.examination.outcomes[item.nodeid] = outcome
        reports = [report for _call, report in phases]
        deciding = next((r for r in reports if r.failed or r.skipped), None)
        deciding = deciding or next((r for r in reports if r.when == "call"), reports[0])
        began, began_counter = self._began
        spent = round(time.perf_counter() - began_counter, 4)
        finding = dataclasses.replace(finding, seconds=spent)
        vars(deciding)["modelmedic"] = finding.to_json()  # crosses xdist with the report
        vars(deciding)["modelmedic_began"] = began  # who reports knows when the run began
        healer = self.config.pluginmanager.get_plugin("modelmedic:healer")
        if healer is not None and finding.attempts:
            vars(deciding)["modelmedic_plans"] = healer.planned
        vars(deciding)["modelmedic_healable"] = item.get_closest_marker("recover") is not None
        for report in reports:
            report.user_properties = [("modelmedic.outcome", outcome.value)]
        if problem is not None:
            reports.append(problem[1])
        return reports

    # -- pytest-timeout: one single-shot timer round the whole protocol would cut repairs short --

    def _timeout_plugin(self) -> Any:
        manager = self.config.pluginmanager
        return manager.get_plugin("timeout") or manager.get_plugin("pytest_timeout")

    def _disarm(self, item: pytest.Item) -> None:
        if self._timeout_plugin() is not None:
            self.config.hook.pytest_timeout_cancel_timer(item=item)

    def _arm(self, item: pytest.Item) -> None:
        plugin = self._timeout_plugin()
        if plugin is None:
            return
        settings = plugin._get_item_settings(item)  # noqa: SLF001 - has no public form
        if settings.timeout and not settings.func_only:
            self.config.hook.pytest_timeout_set_timer(item=item, settings=settings)


def _make_fresh(item: pytest.Function) -> None:
    """Forget what an earlier attempt left on the item, also failed fixtures of wider scopes."""
    if not bool(item._request):  # noqa: SLF001 - runtestprotocol does the same for a second run
        item._initrequest()  # noqa: SLF001
    if getattr(item, "_instance", None) is not None:
        del item._instance  # noqa: SLF001
        item._obj = None  # noqa: SLF001
    item._report_sections.clear()  # noqa: SLF001 - else old output shows under the new attempt
    for definitions in item._fixtureinfo.name2fixturedefs.values():  # noqa: SLF001
        for definition in definitions:
            cached = definition.cached_result
            if cached is not None and cached[2] is not None:
                definition.cached_result = None
                definition._finalizers.clear()  # noqa: SLF001


def _late(error: BaseException) -> CannotTell | None:
    """Return what pytest-timeout's alarm says about the install; None when it did not ring."""
    found = re.match(r"Timeout \(>([\d.]+)s\)", str(error))
    if not isinstance(error, pytest.fail.Exception) or found is None:
        return None
    return CannotTell(
        f"The check did not end within {float(found[1]):g} s, the limit of --timeout.",
        "Most often a disk, a network share or a device that does not answer.",
        "Start again with a larger --timeout, or without one.",
    )


def _judged(item: pytest.Function) -> Judged:
    marker = item.get_closest_marker("check")
    assert marker is not None
    check_id = marker.args[0] if marker.args else marker.kwargs["id"]
    callspec = getattr(item, "callspec", None)
    return Judged(
        check=f"{check_id}[{callspec.id}]" if callspec else check_id,
        nodeid=item.nodeid,
        title=(item.function.__doc__ or item.name).strip().partition("\n")[0],
        area=marker.kwargs.get("area", check_id.partition(".")[0]),
        severity=marker.kwargs.get("severity", "blocker"),
    )
