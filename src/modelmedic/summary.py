"""The words of a run for the terminal: header, findings, plan, last lines."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from modelmedic import __version__, attempts, rooms, support
from modelmedic.endings import INTERRUPTED, OWN_FAULT
from modelmedic.errors import ModelmedicError
from modelmedic.examination import Examination
from modelmedic.findings import Attempt, Finding, Outcome
from modelmedic.healing import journal
from modelmedic.operations import kinds
from modelmedic.operations.base import RISKS
from modelmedic.operations.expiry import KEEP_BYTES, KEEP_SECONDS
from modelmedic.text import counted, duration, printable, size

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


def legend(seen: Collection[str]) -> str:
    """Return what the letters of the progress line mean; empty when they need no words.

    Args:
        seen: The outcomes whose letters stand there.
    """
    words = {"healed": "H", "degraded": "D", "blocked": "b", "unknown": "?"}
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


def finding_lines(finding: Finding, waiting: int = 0) -> list[str]:
    """Return what / why / next, what was tried, and how many checks waited on it, wrapped."""
    lines = wrapped(finding.what)
    lines += wrapped(finding.why)
    for attempt in finding.attempts:
        if _is_worth_telling(attempt, finding):
            lines += attempt_lines(attempt)
    if waiting:
        lines.append(f"{counted(waiting, 'check')} waited on it.")
    if finding.outcome != Outcome.HEALED.value and finding.next:
        lines += wrapped(f"Next: {finding.next}")
    return [*lines, ""]


def _is_worth_telling(attempt: Attempt, finding: Finding) -> bool:
    """Leave out plans, which have a section of their own, and what came before a cure."""
    if finding.outcome == Outcome.HEALED.value:
        return attempt.verdict in {"healed", "rechecked"}
    if attempt.verdict == "refused" and any(a.verdict == "planned" for a in finding.attempts):
        return False  # others can do it; the report has the reasons
    return attempt.verdict != "planned"


def attempt_lines(attempt: Attempt) -> list[str]:
    """Return the lines of one attempt: the verdict, then each operation."""
    spent = ""
    if attempt.verdict in {"healed", "degraded"}:
        spent = f" in {duration(attempt.seconds)}"
    fetched = f", {size(attempt.bytes_fetched)} fetched" if attempt.bytes_fetched else ""
    lines = wrapped(f"{attempt.recovery}: {attempt.verdict}{spent}{fetched}")
    for operation in attempt.operations:
        lines += _operation_lines(operation["text"])
    if attempt.error:
        lines += wrapped(attempt.error, indent="    ")
    if attempt.verdict == "not healed" and (now := attempts.recheck(asdict(attempt))):
        lines += wrapped(f"after it the check said: {now}", indent="    ")
    return lines


def plan_lines(plan: Mapping[str, Any]) -> list[str]:
    """Return what a recovery would do and what it costs; ``plan`` is `Plan.to_json`'s value.

    A time that is negligible, and a history that there is not, are not named.
    """
    spent = [f"fetch {size(plan['fetch_bytes'])}"] * bool(plan["fetch_bytes"])
    spent += [f"peak disk {size(plan['disk_bytes'])}"] * bool(plan["disk_bytes"])
    if plan["seconds"] is None or plan["seconds"] >= 1:
        spent.append(f"time {_time(plan)}")
    if plan["rate_interval"] is not None:
        spent.append(plan["worked"])
    first = f"{plan['recovery']} would ({', '.join([plan['risk'], *spent])}):"
    lines = [_operation_lines(operation["text"]) for operation in plan["operations"]]
    return [first, *(line for each in lines for line in each)]


def plans_lines(plans: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """Give the heading and the lines of each plan; one that was shown before only names its check.

    Where several different ones fetch, the last lines are of all together.
    """
    shown: dict[str, Mapping[str, Any]] = {}
    for plan in plans:
        like = shown.setdefault(json.dumps([plan["recovery"], plan["operations"]]), plan)
        if like is plan:
            lines = plan_lines(plan)
        else:
            lines = wrapped(f"{plan['recovery']} would do the same as for {like['check']}, once.")
        yield f"plan for {plan['check']}", lines
    fetched = [plan["fetch_bytes"] for plan in shown.values() if plan["fetch_bytes"]]
    if len(fetched) > 1:
        yield "all plans together", [f"fetch {size(sum(fetched))}"]


def question_lines(plan: dict[str, Any], error: BaseException, title: str) -> list[str]:
    """Return what a person is shown before being asked: the failure, the plan, the answers."""
    what = getattr(error, "what", "") or str(error)
    return [
        "",
        *wrapped(f"[{plan['check']}] {what}"),
        *wrapped(f"{plan['recovery']}: {title}"),
        *plan_lines(plan | {"seconds": 0, "rate_interval": None}),
        f"  time: {_time(plan)}",
        f"  history: {_history(plan)}",
        *wrapped(
            "yes applies it and checks again; no leaves this repair out; skip repairs nothing for "
            "this check; quit asks no more, and nothing else is repaired."
        ),
    ]


def _time(plan: Mapping[str, Any]) -> str:
    """Return how long a plan takes and where that is from."""
    seconds: float | None = plan["seconds"]
    if seconds is None:
        return "unknown"
    if seconds == 0:
        return "negligible"
    told = "under a second" if seconds < 1 else f"about {duration(seconds)}"
    return f"{told} {plan['time_source']}".strip()


def _history(plan: Mapping[str, Any]) -> str:
    """Return how often the recovery has worked here, and what that says about the next time."""
    if plan["rate_interval"] is None:
        return str(plan["worked"])
    low, high = (round(100 * end) for end in plan["rate_interval"])
    return f"{plan['worked']} (success rate {low} to {high} %, with 90 % probability)"


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
        lines += [(f"         {line}", {}) for line in wrapped(undo_until(found))]
    if found.mode in {"apply", "ask"} and _has_cause(found):
        path = printable(found.report_dir / support.NAME)
        lines.append((f"Support: {path} (masked; paste it where you ask for help)", {}))
    report = printable(found.report_dir / "report.html")
    lines.append((f"Report:  {report} (report.json and junit.xml lie beside it)", {}))
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
    if exit_code == OWN_FAULT:
        found = f"; {counted(bad, 'check')} did not hold or could not look" if bad else ""
        return (
            "this run proves nothing, because something in modelmedic itself is at fault "
            f"(exit code 3){found}."
        ), "bad"
    if bad:
        stopped = " The run was stopped before its end." if exit_code == INTERRUPTED else ""
        waited = f", {counted(counts['blocked'], 'check')} waited on " if counts["blocked"] else ""
        waited += ("it" if bad == 1 else "them") if waited else ""
        return f"not ready: {counted(bad, 'cause')}{waited}.{stopped}", "bad"
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
        return context.run_command("--heal", *options, *found.bounds()) if found.plans else ""
    refused = [a.error for f in bad for a in f.attempts if a.verdict == "not allowed"]
    if refused:
        named = {risk for risk in RISKS for error in refused if f"--allow={risk}" in error}
        allow = ",".join(sorted(named | found.allowed))
        command = context.run_command("--heal", f"--allow={allow}", *found.bounds())
        return command if allow else ""
    if found.mode == "check" and any(f.check in found.healable for f in bad):
        return context.run_command("--heal=plan")
    return ""


def _has_cause(found: Examination) -> bool:
    return any(Outcome(finding.outcome).is_cause_of_exit_1 for finding in found.findings)


def undo_command(found: Examination) -> str:
    """Return the command that puts back what this run repaired; empty when it repaired nothing."""
    healed = [a for f in found.findings for a in f.attempts if a.verdict == "healed"]
    if not any(kinds.is_lasting(each) for attempt in healed for each in attempt.operations):
        return ""
    from modelmedic.healing import undoing  # only a run that healed needs it

    return undoing.undo_command(found.context.place, found.context.run_id)


def undo_until(found: Examination) -> str:
    """Return how long `undo_command` works, in words; empty when there is none."""
    if not undo_command(found):
        return ""
    days = round(KEEP_SECONDS / 86_400)
    return (
        f"Works at least until a later run repairs something; after that, for {days} days, while "
        f"all files kept for undo take no more than {size(KEEP_BYTES)}. What somebody changed "
        "since is left alone and named."
    )


def _first_step(found: Examination) -> str:
    """Return what to do about the gravest cause when no command of ours helps; empty: nothing."""
    bad = [f for f in found.findings if Outcome(f.outcome).is_cause_of_exit_1 and f.next]
    waiting = Counter(f.blocked_by for f in found.findings if f.blocked_by)
    bad.sort(key=lambda finding: -waiting[finding.check])
    return f"{printable_lines(bad[0].next)} [{bad[0].check}]" if bad else ""


def _operation_lines(text: str) -> list[str]:
    """Return what an operation does; the lines of a diff that follows stay lines."""
    first, *rest = text.split("\n")
    return [*wrapped(f"- {first}", indent="  "), *(f"      {printable_lines(x)}" for x in rest)]


def wrapped(text: str, indent: str = "", hang: str = "  ") -> list[str]:
    """Return a paragraph in lines for a terminal; ``hang`` is before all indented but the first."""
    return textwrap.wrap(
        printable_lines(text),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + hang * bool(indent),
        break_long_words=False,
        break_on_hyphens=False,
    )


def printable_lines(text: str) -> str:
    """Return text safe for a terminal: no control characters, one paragraph."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
