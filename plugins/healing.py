"""Heals a failing check: repair, the same check again on fresh facts, then keep or undo."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

import pytest

from modelmedic import examination, verdicts
from modelmedic.errors import (
    CannotTell,
    ModelmedicError,
    NotItsCase,
    RecoveryFailed,
    RecoveryRefused,
)
from modelmedic.examination import Examination
from modelmedic.findings import Attempt, Outcome
from modelmedic.healing import effectiveness, extensions
from modelmedic.healing.classify import classify
from modelmedic.healing.engine import Plan
from modelmedic.healing.interrupts import Interrupts, OutOfTime
from modelmedic.healing.registry import Recovery, family_of
from modelmedic.healing.repair import NotAllowed, Repair
from modelmedic.limits import TimeoutManager
from modelmedic.operations.run_environment import OF_THIS_RUN
from modelmedic.verdicts import Judged, Verdict

_GOOD = frozenset({Outcome.PASSED, Outcome.DEGRADED})


def pytest_configure(config: pytest.Config) -> None:
    """In a healing mode, offer the recoveries to failing checks."""
    found = examination.of(config)
    if found is None:
        return
    if found.mode != "check":
        config.pluginmanager.register(Healer(config, found), "modelmedic:healer")
        found.interrupts.install()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Give signals and environment back: somebody may call pytest from a longer program."""
    found = examination.of(config)
    if found is not None:
        found.interrupts.remove()
        OF_THIS_RUN.put_all_back()


@pytest.fixture
def repair(pytestconfig: pytest.Config) -> Repair:
    """The failing check's error and subject, and where a recovery puts its operations."""
    healer = pytestconfig.pluginmanager.get_plugin("modelmedic:healer")
    if healer is None or healer.active is None:
        raise pytest.UsageError("The repair fixture works only inside a recovery.")
    active: Repair = healer.active
    return active


class Healer:
    """Offers each failing check its recoveries, one after the other, under the install's lock."""

    def __init__(self, config: pytest.Config, found: Examination) -> None:
        self.config = config
        self.examination = found
        self.engine = found.engine
        self.effectiveness = effectiveness.Effectiveness(found.context, again=found.heal_again)
        self.active: Repair | None = None
        self._is_planning = False
        # Of the check at hand, for its report; a signal may end the healing before it returns.
        self.planned: list[dict[str, Any]] = []
        self.attempts: list[Attempt] = []

    @property
    def interrupts(self) -> Interrupts:
        """Return what hears Ctrl-C and SIGTERM."""
        return self.examination.interrupts

    def pytest_heal_check(
        self, item: pytest.Function, judged: Judged, verdict: Verdict, runner: Any
    ) -> tuple[Any, Verdict, list[Attempt]] | None:
        """Try the chain of recoveries; return the phases and verdict that count."""
        attempts = self.attempts = []
        self.planned = []
        families = self._families(item, judged, verdict)
        chain = [self._repair(entry, judged, verdict) for entry in self._chain(item, families)]
        if not chain:
            attempts += self.examination.registry.refusals(families)
        if self.examination.mode == "plan":
            chain = self._ranked(item, judged, chain, runner)
            self.planned += [repair.plan.to_json() for repair in chain]
            attempts += [repair.attempt("planned") for repair in chain]
            return (None, verdict, attempts) if attempts else None
        generation = runner.generation
        is_ranked = len(chain) <= 1
        while chain:
            repair = chain.pop(0)
            try:
                with self.engine.locked():
                    self._finish_interrupted()
                    if self.engine.generation() != generation:
                        phases = runner.attempt(item)
                        now = runner.verdict(item, phases)
                        generation = self.engine.generation()
                        if now.outcome in _GOOD:
                            return phases, now, [*attempts, repair.attempt("rechecked")]
                    if not is_ranked:
                        is_ranked = True
                        planned = self._ranked(item, judged, [repair, *chain], runner)
                        chain = [self._repair(each.recovery, judged, verdict) for each in planned]
                        continue
                    phases, now = self._apply(item, judged, verdict, repair, runner)
                    generation = self.engine.generation()
            except (RecoveryRefused, CannotTell) as error:  # CannotTell: the journals
                attempts.append(repair.attempt("refused", str(error)))
                continue
            if now is not None:
                return phases, now, attempts
        return (None, verdict, attempts) if attempts else None

    def _finish_interrupted(self) -> None:
        """Undo what a run left that was killed while this one waited for its lock."""
        notes = self.examination.notes
        notes += [told for told in self.engine.finish_interrupted() if told not in notes]

    def _chain(self, item: pytest.Function, families: list[str]) -> list[Recovery]:
        marker = item.get_closest_marker("recover")
        using = marker.kwargs.get("using", ()) if marker else ()
        return self.examination.registry.chain(families, using)

    def _families(self, item: pytest.Function, judged: Judged, verdict: Verdict) -> list[str]:
        """Return whose recoveries may be tried: what a plugin says, else error, then marker.

        A check without the marker is repaired only if a plugin says so.
        """
        marker = item.get_closest_marker("recover")
        assert verdict.error is not None
        implementations = item.ihook.pytest_heal_classify.get_hookimpls()
        if told := extensions.told_family(implementations, item=item, error=verdict.error):
            return [told]
        if marker is None:
            return []
        category = classify(verdict.error, failure_id=verdict.failure_id)
        of_error = [family_of(category, judged.area)] if category else []
        return list(dict.fromkeys([*of_error, marker.args[0]]))

    def _repair(self, entry: Recovery, judged: Judged, verdict: Verdict) -> Repair:
        assert verdict.error is not None
        plan = Plan(entry.name, judged.check, judged.nodeid, declared_risk=entry.risk)
        return Repair(entry, plan, verdict.subject, verdict.error)

    def _ranked(
        self, item: pytest.Function, judged: Judged, chain: list[Repair], runner: Any
    ) -> list[Repair]:
        """Plan every recovery of a chain, and return those that can be tried, the best first.

        Planning changes nothing; what it costs is known only after it.
        """
        for repair in chain:
            self._plan(item, repair, runner)
        strangers = [r for r in chain if isinstance(r.problem, NotItsCase)]
        told_of = [r for r in chain if r not in strangers] or strangers
        for repair in told_of:
            if repair.problem is not None:
                if self.examination.mode == "plan":
                    told = repair.attempt("refused", _reason(repair.problem))
                else:
                    told = _attempt_of(repair, healed=False, is_stopped=False, trouble="")
                    self.effectiveness.record(repair, told.verdict, area=judged.area)
                self.attempts.append(told)
        return self.effectiveness.ranked(r for r in chain if r.problem is None)

    def _plan(self, item: pytest.Function, repair: Repair, runner: Any) -> None:
        """Let the recovery say what it would do; nothing is changed."""
        self.active = repair
        self._is_planning = True
        try:
            phases = runner.attempt(item, first=repair.recovery.name, only_first=True)
        finally:
            self.active = None
            self._is_planning = False
        if self.interrupts.heard:  # the recovery may have turned it into its own error
            raise KeyboardInterrupt("interrupted")
        if repair.problem is None:
            repair.problem = _own_error(repair, phases)

    def _apply(
        self,
        item: pytest.Function,
        judged: Judged,
        first: Verdict,
        repair: Repair,
        runner: Any,
    ) -> tuple[Any, Verdict | None]:
        """Run the check with the recovery set up before it; keep or undo what it changed.

        Returns:
            The phases, and the verdict if the repair was kept, else None.
        """
        kept = now = None
        is_stopped = True
        self.active = repair
        try:
            phases = runner.attempt(item, first=repair.recovery.name)
            now = runner.verdict(item, phases)
            if repair.problem is None:
                repair.problem = _own_error(repair, phases)
            repair.recheck = now.recheck(repair.error)
            if self.interrupts.heard:  # the recovery may have turned it into its own error
                raise KeyboardInterrupt("interrupted")
            if repair.applied is not None and repair.problem is None and now.outcome in _GOOD:
                with self.interrupts.deferred():
                    self.engine.keep(repair.applied)
                    kept = now
                    if repair.plan.is_for_this_run:  # a cure of our own environment heals nothing
                        kept = verdicts.of_worked_around(first, now, repair.plan)
            is_stopped = False
        finally:
            self.active = None
            with self.interrupts.deferred():
                trouble = "" if kept else self._undo(repair)
                told = _attempt_of(
                    repair, healed=kept is not None, is_stopped=is_stopped, trouble=trouble
                )
                self.attempts.append(told)
                self.effectiveness.record(
                    repair,
                    "healed" if kept else told.verdict,  # worked around, the recovery did its work
                    area=judged.area,
                    outcome=now.outcome if now else None,
                    error=now.error if now else None,
                )
                progress = self.config.pluginmanager.get_plugin("modelmedic:steps")
                if progress is not None:
                    progress.ended(repair, told)
        return phases, kept

    def _undo(self, repair: Repair) -> str:
        """Undo what was applied; return what could not be, in words."""
        if repair.applied is None:
            return ""
        try:
            self.engine.undo(repair.applied)
        except ModelmedicError as error:
            return str(error)
        finally:
            self.examination.facts.forget()
        return ""

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any]
    ) -> Generator[None, object, object]:
        """Apply the plan where the recovery yields, before the check's own fixtures are made."""
        repair = self.active
        if repair is None or fixturedef.argname != repair.recovery.name:
            return (yield)
        seconds = TimeoutManager().get_timeout(repair.recovery.limit)
        try:
            with self.interrupts.limited(seconds):
                value = yield
            repair.refuse_empty()
            self.effectiveness.inform(repair.plan)
            self.effectiveness.refuse_tried(repair, self._command(repair, "--heal-again"))
            if not self._is_planning:
                if self.examination.accepted is not None:
                    self.examination.accepted.bind(repair.plan)
                self._consent(repair)
                with self._shown(repair):
                    repair.applied = self.engine.apply(repair.plan)
        except OutOfTime as error:
            repair.problem = _too_long(repair, seconds)
            raise repair.problem from error
        except BaseException as error:
            repair.problem = error
            raise
        finally:
            self.examination.facts.forget()
        return value

    def _shown(self, repair: Repair) -> contextlib.AbstractContextManager[None]:
        progress = self.config.pluginmanager.get_plugin("modelmedic:steps")
        return progress.shown(repair) if progress is not None else contextlib.nullcontext()

    def _consent(self, repair: Repair) -> None:
        """Refuse what the person did not allow.

        Raises:
            NotAllowed: The risk class needs --allow, or the answer was no.
        """
        risk = repair.plan.risk
        if self.examination.mode == "ask":
            self._ask(repair)
        elif risk != "safe" and risk not in self.examination.allowed:
            raise NotAllowed(
                f"{repair.recovery.name} was not applied: it is {risk} and --allow={risk} was "
                "not given.",
                "",
                self._command(repair),
            )

    def _ask(self, repair: Repair) -> None:
        name = repair.recovery.name
        context = self.examination.context
        ask = self.config.pluginmanager.get_plugin("modelmedic:ask")
        if self.examination.is_worker:
            raise NotAllowed(
                f"{name} was not applied: --heal=ask cannot ask from the workers of -n.",
                "",
                f"Start it without -n: {context.run_command('--heal=ask')}",
            )
        if ask is None or not ask.is_terminal():
            raise NotAllowed(
                f"{name} was not applied: --heal=ask needs a terminal to ask on.",
                "",
                context.run_command("--heal"),
            )
        self.engine.refuse(repair.plan)  # nobody is asked about what could not be done anyway
        if reason := ask.refusal(repair):
            raise NotAllowed(f"{name} was not applied: {reason}.")

    def _command(self, repair: Repair, *options: str) -> str:
        """Return the command that would make this repair, with what it needs to be allowed.

        What this run was kept to holds there as well: no more is repaired than was asked for.
        """
        found = self.examination
        classes = sorted({*found.allowed, repair.plan.risk} - {"safe"})
        allow = [f"--allow={','.join(classes)}"] if classes and found.mode != "ask" else []
        again = ["--heal-again"] if found.heal_again else []
        mode = "--heal=ask" if found.mode == "ask" else "--heal"
        return found.context.run_command(mode, *allow, *again, *found.bounds(), *options)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Say that the record of repairs was not used, on the process that reports."""
        found = self.examination
        if found.is_worker or not any(finding.attempts for finding in found.findings):
            return
        self.effectiveness.log.read()  # workers repaired, and cannot tell
        if trouble := self.effectiveness.log.trouble:
            found.notes.append(trouble)


def _too_long(repair: Repair, seconds: int) -> RecoveryFailed:
    return RecoveryFailed(
        f"{repair.recovery.name} did not say within {seconds} s what it would change, and was "
        "ended; nothing was touched.",
        "Most often a dead network drive or a very slow disk.",
    )


def _own_error(repair: Repair, phases: Any) -> BaseException | None:
    """Return what failed outside the check itself: what a recovery asks for, or after its yield."""
    failed = [(call, report) for call, report in phases if report.failed]
    if repair.applied is None or all(report.when == "teardown" for _call, report in failed):
        return next((call.excinfo.value for call, _report in failed), None)
    return None


def _attempt_of(repair: Repair, *, healed: bool, is_stopped: bool, trouble: str) -> Attempt:
    if healed:
        return repair.attempt("degraded" if repair.plan.is_for_this_run else "healed")
    problem = repair.problem
    if is_stopped and not isinstance(problem, ModelmedicError):
        done = trouble or ("It was put back." if repair.applied or problem else "")
        return repair.attempt("interrupted", f"A person or the system stopped it. {done}".strip())
    if problem is None:
        return repair.attempt("not healed", trouble)
    if isinstance(problem, NotAllowed):
        return repair.attempt("not allowed", _reason(problem))
    if isinstance(problem, RecoveryRefused):
        return repair.attempt("refused", _reason(problem))
    return repair.attempt("failed", " ".join(part for part in (_reason(problem), trouble) if part))


def _reason(error: BaseException) -> str:
    if isinstance(error, ModelmedicError):
        return str(error)
    return f"{type(error).__name__}: {error}"
