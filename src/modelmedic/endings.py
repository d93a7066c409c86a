"""How a run ends, and what is said of a check that did not end in order."""

from __future__ import annotations

import dataclasses
from collections.abc import Set as AbstractSet

from modelmedic.findings import Finding, Outcome

FINE, BAD, INTERRUPTED, OWN_FAULT, WRONG_USE, NOTHING_CHECKED = range(6)  # docs/exit-codes.md
_BAD = frozenset({Outcome.FAILED.value, Outcome.UNKNOWN.value})


def exit_code(
    code: int,
    outcomes: AbstractSet[str],
    *,
    is_strict: bool = False,
    is_unloadable: bool = False,
    is_unwritten: bool = False,
    is_stopped: bool = False,
    is_incomplete: bool = False,
) -> int:
    """Return the exit code of a run.

    Args:
        code: What pytest makes of it.
        outcomes: Those that occur among the findings.
        is_strict: Degraded counts as bad.
        is_unloadable: A check could not be loaded; pytest calls that interrupted, or failed.
        is_unwritten: The report could not be written whole. Bad news about the install comes
            first.
        is_stopped: A person or a signal stopped the run, whatever pytest made of it.
        is_incomplete: A check that was to be judged was not.
    """
    has_bad = bool(outcomes & _BAD)
    if is_unloadable and (code == INTERRUPTED or (code == BAD and not has_bad)):
        code = OWN_FAULT
    is_cut_short = code in {FINE, NOTHING_CHECKED} or (code == BAD and not has_bad)
    if is_stopped or (is_incomplete and is_cut_short):
        code = INTERRUPTED
    if code == FINE and has_bad:
        code = BAD
    if code == FINE and outcomes <= {Outcome.SKIPPED.value}:
        code = NOTHING_CHECKED
    if code == FINE and is_strict and Outcome.DEGRADED.value in outcomes:
        code = BAD
    if code in {FINE, NOTHING_CHECKED} and is_unwritten:
        code = OWN_FAULT
    return code


def broken_off(nodeid: str, reason: str, earlier: Finding | None) -> Finding | None:
    """Return the finding of a check that died, or whose teardown failed after its verdict.

    It was not judged for sure: *unknown*. None when the earlier finding already says *failed*.
    """
    if earlier is not None and earlier.outcome == Outcome.FAILED.value:
        return None
    finding = earlier or Finding(
        check=nodeid.rpartition("::")[2],
        nodeid=nodeid,
        title="The check runs to its end.",
        area="system",
        severity="blocker",
        outcome=Outcome.UNKNOWN.value,
    )
    return dataclasses.replace(
        finding,
        outcome=Outcome.UNKNOWN.value,
        what=f"The check did not end in order: {reason}",
        why="This says nothing about the install; it is a fault of the check or of its process.",
        next="Report it with this run's report.json.",
    )
