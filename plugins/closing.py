"""After repairs: a closing read-only pass decides, and a repair that broke a check is undone."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from modelmedic import closing, examination
from modelmedic.errors import ModelmedicError
from modelmedic.examination import Examination
from modelmedic.findings import Attempt, Finding, Outcome
from modelmedic.healing import evidence_log, undoing
from modelmedic.healing import journal as journals
from modelmedic.healing.engine import Plan, undo_repair
from modelmedic.operations import kinds
from modelmedic.text import counted, size

_GOOD = frozenset({Outcome.PASSED.value, Outcome.HEALED.value, Outcome.DEGRADED.value})
_KEPT = frozenset({"healed", "degraded"})  # verdicts of attempts whose changes stand
_BAD = frozenset({Outcome.FAILED.value, Outcome.UNKNOWN.value})
# What no change inside an install can break: a check of these that fails now failed by itself. A
# repair may take the last room on a disk; undoing it would cure nothing that the person wants.
_OUTSIDE = frozenset({"network", "hardware", "system", "disk"})


def pytest_configure(config: pytest.Config) -> None:
    """In the closing pass, know what holds in the environment of the run before it only."""
    found = examination.of(config)
    if found is not None and found.is_closing:
        found.worked_around.update(closing.recalled_losses(found.report_dir))


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Put in order what a killed run left, before anything is judged and after the header."""
    found = examination.of(session.config)
    if found is None or found.is_worker or found.is_listing or session.config.option.setuponly:
        return
    if found.is_closing or not found.context.place.is_dir():
        return
    state_dir, place = found.context.state_dir, found.context.place
    if found.mode not in {"apply", "ask"}:
        with contextlib.suppress(ModelmedicError):  # the header says why they cannot be read
            found.notes += undoing.left_elsewhere(state_dir, place)
        return
    try:
        if not journals.pending(state_dir, place):
            found.notes += undoing.left_elsewhere(state_dir, place)
            return
        _say(session, "a repair has no verdict: waiting for its run, if that is still at work ...")
        with found.engine.locked():
            found.notes += found.engine.finish_interrupted()
    except (ModelmedicError, OSError) as error:
        found.notes.append(f"What an earlier run left could not be put in order: {error}")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Judge everything once more if anything was repaired; this may only make the exit worse."""
    found = examination.of(session.config)
    if found is None or found.is_worker or found.is_closing:
        return
    if session.config.pluginmanager.hasplugin("dsession"):
        _finish_dead_workers(found)
    if not any(attempt.verdict in _KEPT for f in found.findings for attempt in f.attempts):
        return
    if exitstatus not in {0, 1} or found.interrupts.heard:
        found.notes.append(
            "There was no closing pass, because the run was stopped: what was healed was judged "
            "only by the check itself."
        )
        return
    try:
        _close(session, found)
    except KeyboardInterrupt:
        found.notes.append(
            "The closing pass was stopped: what was healed was judged only by the check itself."
        )
        session.exitstatus = pytest.ExitCode.INTERRUPTED
        return
    except (ModelmedicError, OSError) as error:
        found.notes.append(f"The closing pass could not judge: {error}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if any(finding.outcome in _BAD for finding in found.findings):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _finish_dead_workers(found: Examination) -> None:
    """Undo the repairs that workers left without a verdict: all have ended by now."""
    try:
        if all(repair.verdict for repair in found.engine.journal.repairs()):
            return
        with found.engine.locked():
            found.notes += found.engine.finish_interrupted()
    except (ModelmedicError, OSError) as error:
        found.notes.append(f"What a dead worker left could not be put in order: {error}")


def _close(session: pytest.Session, found: Examination) -> None:
    """Run the closing pass, undo what broke a check, and retire what is kept too long."""
    count = counted(len(found.findings), "check")
    _say(session, f"closing pass: a fresh process judges the {count} once more, read-only ...")
    # Private, but it knows option, environment and ini file: what hung here would hang there.
    found.check_seconds = getattr(session.config, "_env_timeout", None)
    with found.engine.locked():
        found.engine.adopt()  # what workers set for this run
        left = ClosingPass(found).judge()
    _correct_evidence(found)
    found.notes.append(
        f"Closing pass: {', '.join(left)} no longer holds."
        if left
        else "Closing pass: a fresh process judged the same checks again, and agrees."
    )
    if freed := found.engine.expire(found.notes.append):
        found.notes.append(f"Kept for undo no longer: {size(freed)} of replaced files.")


def _say(session: pytest.Session, line: str) -> None:
    """Say what a person waits for, where one looks on."""
    steps = session.config.pluginmanager.get_plugin("modelmedic:steps")
    if steps is not None:
        steps.say(line)


def _correct_evidence(found: Examination) -> None:
    """Tell the record of repairs which ones did not stand: they are no successes."""
    failed = {f.check for f in found.findings if f.outcome == Outcome.FAILED.value}
    log = evidence_log.EvidenceLog(found.context.state_dir)
    for repair in found.engine.journal.repairs():
        if repair.check in failed:
            log.revise(repair.number, "not healed", is_lasting=repair.verdict == "undone")


class ClosingPass:
    """Finds the checks that held in this run and do not any more, and the repair that broke them.

    Work with it under the lock of the install.
    """

    def __init__(self, found: Examination) -> None:
        self.found = found
        self.engine = found.engine
        self._was_undone = False

    def judge(self) -> list[str]:
        """Return the checks that no longer hold, with their findings changed to say so.

        Raises:
            CannotTell: A pass did not end, or left no record.
        """
        broken = self._broken(None)
        if broken:
            broken = self._twice(broken)
        blamed = {
            check
            for check, now in broken.items()
            if now["outcome"] == Outcome.FAILED.value and now["area"] not in _OUTSIDE
        }
        if blamed:
            for check in self._undo_what_broke(blamed):
                broken.pop(check, None)
        self._mark_failed(broken)
        if self._was_undone:  # what was undone and done again must hold, and so must all others
            later = self._broken(None)
            self._mark_failed(later)
            broken.update(later)
        return sorted(broken)

    def _broken(self, checks: Iterable[str] | None) -> dict[str, dict[str, Any]]:
        """Return what a fresh process finds bad of the checks (None: all) that held in this run."""
        wanted = None if checks is None else set(checks)
        chosen = [f for f in self.found.findings if wanted is None or f.check in wanted]
        now = closing.run(self.found, [str(self.found.rootdir / f.nodeid) for f in chosen])
        held = {finding.check for finding in chosen if finding.outcome in _GOOD}
        return {
            check: told for check, told in now.items() if check in held and told["outcome"] in _BAD
        }

    def _twice(self, broken: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Ask again: one bad answer of a flaky thing is no reason to undo a repair."""
        still = self._broken(broken)
        for check in set(broken) - set(still):
            self._change({check}, _wavering(broken[check]))
        return still

    def _undo_what_broke(self, blamed: set[str]) -> set[str]:
        """Undo repairs of this run, newest first; one that cures nothing is done again.

        Returns:
            The checks that hold again.
        """
        cured: set[str] = set()
        for repair in reversed(self.engine.journal.repairs()):
            left = blamed - cured
            if not left:
                break
            if repair.verdict != "kept" or left == {repair.check}:
                continue
            kept = self._of(repair.check)
            self._mark_undone(repair, sorted(left))
            try:
                with self.found.interrupts.deferred():
                    undo_repair(self.engine.journal, repair, self.engine.shop)
            except ModelmedicError as error:
                self.found.notes.append(
                    f"{repair.recovery} for {repair.check} may have broken "
                    f"{', '.join(sorted(left))}, and could not be undone: {error}"
                )
                self._restore(kept)  # it still stands, or a part of it: the last pass judges
                self._mark_not_undone(repair, str(error))
                self._was_undone = True
                continue
            self._was_undone = True
            now = left - set(self._broken(left))
            if now:
                self._mark_undone(repair, sorted(now))
                self.found.notes.append(
                    f"{repair.recovery} for {repair.check} broke {', '.join(sorted(now))}; it was "
                    "undone."
                )
                cured |= now
            elif kept is not None:
                self._again(repair, kept)
        return cured

    def _again(self, repair: journals.Repair, kept: Finding) -> None:
        """Apply a repair again that was undone in vain, and restore its finding."""
        operations = [kinds.from_json(step.operation) for step in repair.steps]
        plan = Plan(repair.recovery, repair.check, kept.nodeid, operations=operations)
        try:
            applied = self.engine.apply(plan, is_again=True)
            self.engine.keep(applied)
        except ModelmedicError as error:
            self.found.notes.append(
                f"{repair.recovery} for {repair.check} was undone in search of what broke "
                f"another check, and could not be done again: {error}"
            )
            return
        self._restore(kept)

    def _restore(self, kept: Finding | None) -> None:
        if kept is not None:
            self._change({kept.check}, lambda _finding: kept)

    def _of(self, check: str) -> Finding | None:
        return next((f for f in self.found.findings if f.check == check), None)

    def _mark_undone(self, repair: journals.Repair, broken: list[str]) -> None:
        def change(finding: Finding) -> Finding:
            attempts = tuple(
                _undone(attempt, broken) if attempt.recovery == repair.recovery else attempt
                for attempt in finding.attempts
            )
            return dataclasses.replace(finding, outcome=Outcome.FAILED.value, attempts=attempts)

        self._change({repair.check}, change)

    def _mark_not_undone(self, repair: journals.Repair, reason: str) -> None:
        def change(finding: Finding) -> Finding:
            attempts = tuple(
                dataclasses.replace(attempt, error=f"It could not be undone: {reason}")
                if attempt.recovery == repair.recovery
                else attempt
                for attempt in finding.attempts
            )
            return dataclasses.replace(finding, attempts=attempts)

        self._change({repair.check}, change)

    def _mark_failed(self, broken: dict[str, dict[str, Any]]) -> None:
        for check, now in broken.items():
            self._change({check}, _no_longer(now))

    def _change(self, checks: set[str], change: Callable[[Finding], Finding]) -> None:
        self.found.findings[:] = [
            change(finding) if finding.check in checks else finding
            for finding in self.found.findings
        ]


def _undone(attempt: Attempt, broken: list[str]) -> Attempt:
    return dataclasses.replace(
        attempt, verdict="not healed", error=f"It broke {', '.join(broken)} and was undone."
    )


def _no_longer(now: dict[str, Any]) -> Callable[[Finding], Finding]:
    """Return the change of a finding that a later pass contradicts, in that pass's words."""

    def change(finding: Finding) -> Finding:
        return dataclasses.replace(
            finding,
            outcome=now["outcome"],
            what=f"It held in this run before, and not in the closing pass: {now['what']}",
            why=now["why"],
            next=now["next"],
        )

    return change


def _wavering(now: dict[str, Any]) -> Callable[[Finding], Finding]:
    def change(finding: Finding) -> Finding:
        if finding.outcome == Outcome.HEALED.value:
            return finding  # healed, and held twice out of three times
        return dataclasses.replace(
            finding,
            outcome=Outcome.DEGRADED.value,
            what=f"It held, then not, then held again within this run: {now['what']}",
            why=now["why"],
            next=now["next"],
        )

    return change
