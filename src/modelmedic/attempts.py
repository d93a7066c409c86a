"""What was tried on a check and what became of it, in words for screen, page and support text."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from modelmedic.findings import Attempt, Finding, Outcome

# What a verdict means, for whoever reads it for the first time. Keys: `Attempt.verdict`.
MEANING = {
    "healed": "",
    "degraded": "worked around for this run only",
    "not healed": "the check still did not hold",
    "planned": "",
    "refused": "",
    "failed": "it could not be done",
    "interrupted": "",
    "not allowed": "",
    "rechecked": "not needed: the check already held again when its turn came",
}
_IN_VAIN = frozenset({"not healed", "failed", "refused"})
_UNTOUCHED = frozenset({"refused", "not allowed", "planned", "rechecked"})
_EXHAUSTED = "Repairing it did not succeed."


def anchor(check: str) -> str:
    """Return where the documentation says what a person can do about a check."""
    return f"docs/checks.md#{check.partition('[')[0].replace('.', '-')}"


def advised(finding: Finding, command: str) -> Finding:
    """Return a finding whose next step is no repair that was just tried in vain.

    Args:
        finding: As the check and its healing left it.
        command: What repeats the run, without the mode.
    """
    is_open = Outcome(finding.outcome).is_cause_of_exit_1
    verdicts = {attempt.verdict for attempt in finding.attempts}
    is_tried = bool(verdicts & _IN_VAIN) and "planned" not in verdicts
    if not is_open or not is_tried or " --heal" not in finding.next:
        return finding
    if finding.next.startswith(_EXHAUSTED):
        return finding
    step = (
        f"{_EXHAUSTED} When the reason given for it is gone, start again: `{command} --heal`. "
        f"By hand: see {anchor(finding.check)}."
    )
    return dataclasses.replace(finding, next=step)


def meaning(attempt: Mapping[str, Any]) -> str:
    """Return what an attempt's verdict means; "" when the word and its error say it."""
    return MEANING.get(attempt["verdict"], "")


def sentence(attempt: Attempt) -> str:
    """Return one line: what was tried, what came of it, each change."""
    gloss = MEANING.get(attempt.verdict, "")
    told = [f"{attempt.recovery}: {attempt.verdict}{f' ({gloss})' if gloss else ''}."]
    told += [f"{operation['text']}." for operation in attempt.operations]
    return " ".join([*told, attempt.error]).strip()


def is_begun(attempt: Mapping[str, Any]) -> bool:
    """Return whether anything was done: else it was refused, not allowed, or not needed."""
    return attempt["verdict"] not in _UNTOUCHED


def aftermath(finding: Mapping[str, Any]) -> str:
    """Return one sentence on what the attempts on a check that does not hold left behind."""
    tried = [a for a in finding["attempts"] if a["verdict"] not in _UNTOUCHED]
    left = {attempt.get("put_back", True) for attempt in tried}
    if False in left:
        return "The check does not hold. Not all that had been changed for it could be put back."
    if True in left:
        return "The check does not hold. What had been changed for it was put back."
    return "The check does not hold. Nothing was changed for it."


def recheck(attempt: Mapping[str, Any]) -> str:
    """Return what the same check said after a repair; "" when it holds or was not asked."""
    told = attempt.get("recheck")
    if not told or told["outcome"] == Outcome.PASSED.value:
        return ""
    if told["what"] == told["before"]:
        return "the same as before."
    return " ".join(part for part in (told["what"], told["why"]) if part)


def before(finding: Mapping[str, Any]) -> str:
    """Return what a repaired check said at first, when its finding now says something else."""
    told = [a["recheck"]["before"] for a in finding["attempts"] if a.get("recheck")]
    return told[0] if told and finding["outcome"] == Outcome.DEGRADED.value else ""
