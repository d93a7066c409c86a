"""The words of a run for the terminal: header, findings, plan, last lines."""

from __future__ import annotations

import os
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from modelmedic import __version__, rooms, support
from modelmedic.endings import INTERRUPTED
from modelmedic.errors import ModelmedicError
from modelmedic.examination import Examination
from modelmedic.findings import Attempt, Finding, Outcome
from modelmedic.healing import journal
from modelmedic.operations.base import RISKS
from modelmedic.text import counted, duration, printable, quoted, size

WIDTH = 96
_SHOWN = (Outcome.HEALED, Outcome.DEGRADED, Outcome.UNKNOWN, Outcome.FAILED)

Markup = dict[str, bool]


def header(found: Examination) -> list[str]:
    """Return the lines that say what is examined and why it was chosen."""
    context = found.context
    install = printable(context.install_dir) if context.install_dir else "none"
    target = printable(context.target_python) if context.target_python else "none"
    target_reason = context.target_reason
    if context.target_python is None and not context.profile.python.is_required:
        target_reason = "this profile needs none"
    lines = [
        f"modelmedic {__version__} from {printable(rooms.home())}",
        f"profile: {context.profile.name} ({printable(context.profile.title)})",
        f"install: {install} ({context.install_reason})",
        f"target python: {target} ({target_reason})",
        f"stage: {context.stage} ({context.stage_reason}), mode: {found.mode}",
    ]
    return lines + [f"NOTE: {note}" for note in _interrupted(found)]


def _interrupted(found: Examination) -> Iterator[str]:
    if found.mode in {"apply", "ask"}:
        return  # it is put in order before the first check
    try:
        open_repairs = journal.pending(found.context.state_dir, found.context.place)
    except ModelmedicError as error:
        yield str(error)
        return
    for entry, repair in open_repairs:
        yield (
            f"the repair {repair.recovery} of run {entry.run_id} did not end (killed, or still "
            f"at work). The next --heal, or modelmedic undo, puts it in order."
        )


def legend(findings: list[Finding]) -> str:
    """Return what the letters of the progress line mean; empty when they need no words."""
    words = {"healed": "H", "degraded": "D", "blocked": "b", "unknown": "?"}
    seen = {finding.outcome for finding in findings}
    told = [f"{letter} {word}" for word, letter in words.items() if word in seen]
    return f"letters: {', '.join(told)}, F failed, s skipped, . passed" if told else ""


def to_show(findings: list[Finding]) -> list[tuple[Outcome, list[Finding]]]:
    """Return what is not fine, by outcome, the gravest last: that is where the eye ends."""
    groups = [(o, [f for f in findings if f.outcome == o.value]) for o in _SHOWN]
    return [(outcome, group) for outcome, group in groups if group]


def heading(outcome: Outcome, count: int) -> str:
    """Return the heading of a group."""
    words = {
        Outcome.HEALED: "healed",
        Outcome.DEGRADED: "usable with a stated loss",
        Outcome.UNKNOWN: "could not look",
        Outcome.FAILED: "does not hold",
    }
    return f"{words[outcome]}: {counted(count, 'check')}"


def finding_lines(finding: Finding) -> list[str]:
    """Return what / why / next and what was tried, wrapped."""
    lines = _wrapped(finding.what)
    lines += _wrapped(finding.why)
    for attempt in finding.attempts:
        if _is_worth_telling(attempt, finding):
            lines += attempt_lines(attempt)
    if finding.outcome != Outcome.HEALED.value and finding.next:
        lines += _wrapped(f"Next: {finding.next}")
    return [*lines, ""]


def _is_worth_telling(attempt: Attempt, finding: Finding) -> bool:
    """Leave out plans, which have a section of their own, and what came before a cure."""
    if finding.outcome == Outcome.HEALED.value:
        return attempt.verdict in {"healed", "rechecked"}
    return attempt.verdict != "planned"


def attempt_lines(attempt: Attempt) -> list[str]:
    """Return the lines of one attempt: the verdict, then each operation."""
    spent = f" in {duration(attempt.seconds)}" if attempt.verdict == "healed" else ""
    fetched = f", {size(attempt.bytes_fetched)} fetched" if attempt.bytes_fetched else ""
    lines = _wrapped(f"{attempt.recovery}: {attempt.verdict}{spent}{fetched}")
    for operation in attempt.operations:
        lines += _wrapped(f"- {operation['text']}", indent="  ")
    if attempt.error:
        lines += _wrapped(attempt.error, indent="    ")
    return lines


def plan_lines(plan: Mapping[str, Any]) -> list[str]:
    """Return what a recovery would do and what it costs; ``plan`` is `Plan.to_json`'s value."""
    spent = [f"fetch {size(plan['fetch_bytes'])}"] * bool(plan["fetch_bytes"])
    spent += [f"peak disk {size(plan['disk_bytes'])}"] * bool(plan["disk_bytes"])
    if plan["seconds"] != 0:
        told = "unknown" if plan["seconds"] is None else duration(plan["seconds"])
        spent.append(f"time {told}")
    first = f"{plan['recovery']} would ({', '.join([plan['risk'], *spent])}):"
    return [first] + [f"  - {operation['text']}" for operation in plan["operations"]]


def last_lines(found: Examination) -> list[tuple[str, Markup]]:
    """Return the verdict, one next command, and where the report is."""
    verdict, markup = verdict_of(found)
    lines: list[tuple[str, Markup]] = [(note, {}) for note in found.notes]
    waiting = sum(finding.outcome == Outcome.BLOCKED.value for finding in found.findings)
    if found.mode == "plan" and waiting:
        many = counted(waiting, "check")
        told = "could not be planned yet; what heals their cause may make more repairs needed."
        lines.append((f"{many} {told}", {}))
    lines.append((f"Verdict: {verdict}", markup))
    if step := next_command(found) or _first_step(found):
        lines.append((f"Next:    {step}", {"bold": True}))
    if back := undo_command(found):
        lines.append((f"Undo:    {back}", {}))
    if found.mode in {"apply", "ask"} and _has_cause(found):
        path = printable(found.report_dir / support.NAME)
        lines.append((f"Support: {path} (masked; paste it where you ask for help)", {}))
    lines.append((f"Report:  {printable(found.report_dir / 'report.html')}", {}))
    return lines


def verdict_of(found: Examination) -> tuple[str, Markup]:
    """Return one sentence on the whole run and how it is coloured on a terminal."""
    counts = Counter(finding.outcome for finding in found.findings)
    text, tone = _verdict(counts, found.exit_code, _subject(found.context.stage, found.is_partial))
    colour = {"good": "green", "bad": "red", "none": "yellow"}[tone]
    return text, {colour: True, "bold": True}


def record_verdict(record: Mapping[str, Any]) -> tuple[str, str]:
    """Return the same sentence for a run record, and its tone: "good", "bad" or "none"."""
    is_partial = bool(record["environment"].get("is_partial"))
    subject = _subject(record["stage"], is_partial)
    text, tone = _verdict(Counter(record["counts"]), record["exit_code"], subject)
    return text[:1].upper() + text[1:], tone


def _subject(stage: str, is_partial: bool) -> str:
    """Return what a good run may claim: nothing of what it was told to leave out."""
    if is_partial:
        return "what was chosen holds; the other checks were left out"
    return "the install is healthy" if stage == "installed" else "this machine can take the model"


def _verdict(counts: Counter[str], exit_code: int | None, subject: str) -> tuple[str, str]:
    bad = counts["failed"] + counts["unknown"]
    if counts.total() == counts["skipped"]:
        return "nothing was checked.", "none"
    if bad:
        waited = f", {counted(counts['blocked'], 'check')} waited on " if counts["blocked"] else ""
        waited += ("it" if bad == 1 else "them") if waited else ""
        return f"not ready: {counted(bad, 'cause')}{waited}.", "bad"
    if exit_code == INTERRUPTED:
        judged = counted(counts.total(), "check")
        return f"stopped before its end: {judged} judged, none of them bad.", "bad"
    if exit_code not in {0, None}:
        return f"the run did not end well (exit code {exit_code}).", "bad"
    extra = [f"{counts[word]} {word}" for word in ("healed", "degraded") if counts[word]]
    return f"{subject}{' (' + ', '.join(extra) + ')' if extra else ''}.", "good"


def next_command(found: Examination) -> str:
    """Return the one command that helps most now; empty when there is nothing to do."""
    bad = [f for f in found.findings if f.outcome in {"failed", "unknown"}]
    if not bad:
        return ""
    context = found.context
    if found.mode == "plan":
        classes = {plan["risk"] for plan in found.plans} - {"safe"} | found.allowed
        options = [f"--allow={','.join(sorted(classes))}"] if classes else []
        return context.run_command("--heal", *options) if found.plans else ""
    refused = [a.error for f in bad for a in f.attempts if a.verdict == "not allowed"]
    if refused:
        named = {risk for risk in RISKS for error in refused if f"--allow={risk}" in error}
        allow = ",".join(sorted(named | found.allowed))
        return context.run_command("--heal", f"--allow={allow}") if allow else ""
    if found.mode == "check" and any(f.check in found.healable for f in bad):
        return context.run_command("--heal=plan")
    return ""


def _has_cause(found: Examination) -> bool:
    return any(Outcome(finding.outcome).is_cause_of_exit_1 for finding in found.findings)


def undo_command(found: Examination) -> str:
    """Return the command that puts back what this run repaired; empty when it repaired nothing."""
    if not any(attempt.verdict == "healed" for f in found.findings for attempt in f.attempts):
        return ""
    is_command = os.environ.get("MODELMEDIC_INVOKED_AS", "").startswith("modelmedic ")
    form = "modelmedic" if is_command else f"{quoted(sys.executable)} -m modelmedic"
    place = quoted(str(found.context.place))
    return f"{form} undo {found.context.run_id} --install-dir={place}"


def _first_step(found: Examination) -> str:
    """Return what to do about the gravest cause when no command of ours helps; empty: nothing."""
    bad = [f for f in found.findings if Outcome(f.outcome).is_cause_of_exit_1 and f.next]
    waiting = Counter(f.blocked_by for f in found.findings if f.blocked_by)
    bad.sort(key=lambda finding: -waiting[finding.check])
    return f"{printable_lines(bad[0].next)} [{bad[0].check}]" if bad else ""


def _wrapped(text: str, indent: str = "") -> list[str]:
    if not text:
        return []
    shown = printable_lines(text)
    return textwrap.wrap(
        shown,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "  " * bool(indent),
        break_long_words=False,
        break_on_hyphens=False,
    )


def printable_lines(text: str) -> str:
    """Return text safe for a terminal: no control characters, one paragraph."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
