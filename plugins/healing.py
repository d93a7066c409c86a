"""Heals a failing check: repair, the same check again on fresh facts, then keep or undo."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

import pytest

from modelmedic import examination, rooms
from modelmedic.errors import ModelmedicError, RecoveryRefused
from modelmedic.examination import Examination
from modelmedic.findings import Attempt, Outcome
from modelmedic.healing.engine import Plan
from modelmedic.healing.interrupts import Interrupts
from modelmedic.healing.registry import FAMILIES, Recovery
from modelmedic.healing.repair import NotAllowed, Repair
from modelmedic.verdicts import Judged, Verdict

_GOOD = frozenset({Outcome.PASSED, Outcome.DEGRADED})


def pytest_configure(config: pytest.Config) -> None:
    """Load the recovery room; in a healing mode, offer its recoveries to failing checks."""
    found = examination.of(config)
    if found is None:
        return
    _load_recoveries(config, found)
    if found.mode != "check":
        config.pluginmanager.register(Healer(config, found), "modelmedic:healer")
    if found.mode in {"apply", "ask"}:
        found.interrupts.install()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Give the signals back: somebody else may call pytest from a longer program."""
    found = examination.of(config)
    if found is not None:
        found.interrupts.remove()


def _load_recoveries(config: pytest.Config, found: Examination) -> None:
    for module in rooms.load_all("recoveries"):
        for name, value in list(vars(module).items()):
            entry = getattr(value, "recovery", None) if callable(value) else None
            if isinstance(entry, Recovery):
                found.registry.add(entry)
                setattr(module, name, pytest.fixture(value))
        config.pluginmanager.register(module, f"modelmedic:{module.__name__.rpartition('.')[2]}")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse at collection what could only fail at heal time: unknown families and recoveries."""
    found = examination.of(session.config)
    if found is None:
        return
    for item in session.items:
        marker = item.get_closest_marker("recover")
        if marker is None:
            continue
        family = marker.args[0] if marker.args else None
        if family not in FAMILIES:
            raise pytest.UsageError(
                f"{item.nodeid}: recover() names the family {family!r}; known are "
                f"{', '.join(FAMILIES)}."
            )
        for name in marker.kwargs.get("using", ()):
            if name not in found.registry.names():
                raise pytest.UsageError(
                    f"{item.nodeid}: recover() names the recovery {name!r}, which no plugin "
                    f"brings; known are {', '.join(found.registry.names())}."
                )


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
        self.active: Repair | None = None
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
        generation = self.engine.generation()
        for entry in self._chain(item, verdict):
            repair = self._repair(entry, judged, verdict)
            if self.examination.mode == "plan":
                attempts.append(self._plan(item, repair, runner))
                continue
            try:
                with self.engine.locked():
                    if self.engine.generation() != generation:
                        phases = runner.attempt(item)
                        now = runner.verdict(item, phases)
                        generation = self.engine.generation()
                        if now.outcome in _GOOD:
                            return phases, now, [*attempts, repair.attempt("rechecked")]
                    phases, now = self._apply(item, repair, runner)
                    generation = self.engine.generation()
            except RecoveryRefused as error:
                attempts.append(repair.attempt("refused", str(error)))
                continue
            if now is not None:
                return phases, now, attempts
        return (None, verdict, attempts) if attempts else None

    def _chain(self, item: pytest.Function, verdict: Verdict) -> list[Recovery]:
        marker = item.get_closest_marker("recover")
        assert verdict.error is not None
        told = self.config.hook.pytest_heal_classify(item=item, error=verdict.error)
        if marker is None:
            return self.examination.registry.for_family(told) if told else []
        using = marker.kwargs.get("using", ())
        return self.examination.registry.chain(told or marker.args[0], using)

    def _repair(self, entry: Recovery, judged: Judged, verdict: Verdict) -> Repair:
        assert verdict.error is not None
        plan = Plan(entry.name, judged.check, judged.nodeid, declared_risk=entry.risk)
        return Repair(entry, plan, verdict.subject, verdict.error)

    def _plan(self, item: pytest.Function, repair: Repair, runner: Any) -> Attempt:
        """Let the recovery say what it would do; nothing is changed."""
        self.active = repair
        try:
            runner.attempt(item, first=repair.recovery.name, only_first=True)
        finally:
            self.active = None
        if repair.problem is not None:
            return repair.attempt("refused", _reason(repair.problem))
        self.planned.append(repair.plan.to_json())
        return repair.attempt("planned")

    def _apply(
        self, item: pytest.Function, repair: Repair, runner: Any
    ) -> tuple[Any, Verdict | None]:
        """Run the check with the recovery set up before it; keep or undo what it changed.

        Returns:
            The phases, and the verdict if the repair was kept, else None.
        """
        kept = None
        is_stopped = True
        self.active = repair
        try:
            phases = runner.attempt(item, first=repair.recovery.name)
            now = runner.verdict(item, phases)
            if self.interrupts.heard:  # the recovery may have turned it into its own error
                raise KeyboardInterrupt("interrupted")
            if repair.applied is not None and repair.problem is None and now.outcome in _GOOD:
                with self.interrupts.deferred():
                    self.engine.keep(repair.applied)
                    kept = now
            is_stopped = False
        finally:
            self.active = None
            with self.interrupts.deferred():
                trouble = "" if kept else self._undo(repair)
                told = _attempt_of(repair, kept is not None, is_stopped=is_stopped, trouble=trouble)
                self.attempts.append(told)
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
        try:
            value = yield
            repair.refuse_empty()
            if self.examination.mode != "plan":
                if self.examination.accepted is not None:
                    self.examination.accepted.bind(repair.plan)
                self._consent(repair)
                with self._shown(repair):
                    repair.applied = self.engine.apply(repair.plan)
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
            return
        if risk != "safe" and risk not in self.examination.allowed:
            allow = ",".join(sorted({*self.examination.allowed, risk}))
            raise NotAllowed(
                f"{repair.recovery.name} was not applied: it is {risk} and --allow={risk} was "
                "not given.",
                "",
                self.examination.context.run_command("--heal", f"--allow={allow}"),
            )

    def _ask(self, repair: Repair) -> None:
        ask = self.config.pluginmanager.get_plugin("modelmedic:ask")
        if ask is None or not ask.is_terminal():
            raise NotAllowed(
                f"{repair.recovery.name} was not applied: --heal=ask needs a terminal to ask on.",
                "",
                self.examination.context.run_command("--heal"),
            )
        if not ask.wants(repair):
            raise NotAllowed(f"{repair.recovery.name} was not applied: the answer was no.")


def _attempt_of(repair: Repair, healed: bool, *, is_stopped: bool, trouble: str) -> Attempt:
    if healed:
        return repair.attempt("healed")
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
