"""After repairs: a closing read-only pass decides, and a repair that broke a check is undone."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from modelmedic import closing, examination
from modelmedic.errors import ModelmedicError
from modelmedic.examination import Examination
from modelmedic.findings import Attempt, Finding, Outcome
from modelmedic.healing.engine import undo_repair
from modelmedic.text import size

_GOOD = frozenset({Outcome.PASSED.value, Outcome.HEALED.value, Outcome.DEGRADED.value})
_BAD = frozenset({Outcome.FAILED.value, Outcome.UNKNOWN.value})


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Put in order what a killed run left, before anything is judged."""
    found = examination.of(session.config)
    if found is None or found.is_worker or found.mode not in {"apply", "ask"}:
        return
    if not found.context.place.is_dir():
        return
    try:
        with found.engine.locked():
            found.notes += found.engine.finish_interrupted()
    except ModelmedicError as error:
        found.notes.append(str(error))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Judge everything once more if anything was repaired."""
    found = examination.of(session.config)
    if found is None or found.is_worker or found.is_closing or exitstatus not in {0, 1}:
        return
    healed = [a for f in found.findings for a in f.attempts if a.verdict == "healed"]
    if not healed:
        return
    try:
        broken = _broken(found, closing.run(found, _nodeids(found, found.findings)))
        if broken:
            broken = _undo_what_broke(found, broken)
    except ModelmedicError as error:
        found.notes.append(f"The closing pass could not judge: {error}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return
    found.notes.append(
        "Closing pass: a fresh process judged the same checks again, and agrees."
        if not broken
        else f"Closing pass: {', '.join(broken)} no longer holds."
    )
    if freed := found.engine.expire():
        found.notes.append(f"Kept for undo no longer: {size(freed)} of replaced files.")
    bad = any(finding.outcome in _BAD for finding in found.findings)
    session.exitstatus = pytest.ExitCode.TESTS_FAILED if bad else pytest.ExitCode.OK


def _nodeids(found: Examination, findings: list[Finding]) -> list[str]:
    return [str(found.rootdir / finding.nodeid) for finding in findings]


def _broken(found: Examination, now: dict[str, str]) -> list[str]:
    """Return the checks that held in this run and do not hold in the closing pass."""
    return [
        finding.check
        for finding in found.findings
        if finding.outcome in _GOOD and now.get(finding.check) in _BAD
    ]


def _undo_what_broke(found: Examination, broken: list[str]) -> list[str]:
    """Undo this run's repairs, newest first, until the broken checks hold; return what is left."""
    before = {finding.check for finding in found.findings if finding.check in broken}
    nodeids = _nodeids(found, [f for f in found.findings if f.check in before])
    for repair in reversed(found.engine.journal.repairs()):
        if repair.verdict != "kept":
            continue
        with found.engine.locked():
            undo_repair(found.engine.journal, repair, found.engine.shop)
        found.notes.append(
            f"{repair.recovery} for {repair.check} broke {', '.join(broken)}; it was undone."
        )
        _mark_undone(found, repair.check, repair.recovery, broken)
        broken = _broken(found, closing.run(found, nodeids))
        if not broken:
            break
    _mark_failed(found, broken)
    return broken


def _mark_undone(found: Examination, check: str, recovery: str, broken: list[str]) -> None:
    def change(finding: Finding) -> Finding:
        attempts = tuple(
            _undone(attempt, broken) if attempt.recovery == recovery else attempt
            for attempt in finding.attempts
        )
        return dataclasses.replace(finding, outcome=Outcome.FAILED.value, attempts=attempts)

    _change(found, {check}, change)


def _undone(attempt: Attempt, broken: list[str]) -> Attempt:
    return dataclasses.replace(
        attempt, verdict="not healed", error=f"It broke {', '.join(broken)} and was undone."
    )


def _mark_failed(found: Examination, broken: list[str]) -> None:
    def change(finding: Finding) -> Finding:
        return dataclasses.replace(
            finding,
            outcome=Outcome.FAILED.value,
            what=f"{finding.title} It held before the repairs of this run and does not any more.",
        )

    _change(found, set(broken), change)


def _change(found: Examination, checks: set[str], change: Any) -> None:
    found.findings[:] = [
        change(finding) if finding.check in checks else finding for finding in found.findings
    ]
