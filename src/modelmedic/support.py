"""The text a person pastes when asking for help: what is wrong, what was tried, on what machine."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from modelmedic import attempts
from modelmedic.findings import Outcome
from modelmedic.text import counted, duration, fact, visible

NAME = "support.txt"
_WIDTH = 96
_MOST_CAUSES = 20  # a request for help, no dump: the record beside it has everything


def text(record: Mapping[str, Any], verdict: str) -> str:
    """Return the text for a finished run.

    Args:
        record: The run record as written: masked.
        verdict: The sentence of the whole run.

    Returns:
        Paragraphs for any forum or mail; empty when the run found nothing wrong.
    """
    causes = [
        finding for finding in record["findings"] if Outcome(finding["outcome"]).is_cause_of_exit_1
    ]
    if not causes:
        return ""
    waiting = Counter(finding.get("blocked_by") for finding in record["findings"])
    causes.sort(key=lambda finding: -waiting[finding["check"]])
    parts = [_head(record, verdict)]
    parts += [
        "\n".join(_cause(finding, waiting[finding["check"]])) for finding in causes[:_MOST_CAUSES]
    ]
    if rest := causes[_MOST_CAUSES:]:
        parts.append(f"... and {len(rest)} more causes; they stand in report.json.")
    if healed := [finding for finding in record["findings"] if finding["outcome"] == "healed"]:
        parts.append("\n".join(_repaired(healed, record["environment"])))
    if notes := record["environment"]["notes"]:
        told = (line for note in notes for line in _wrapped(note, "- ", "  "))
        parts.append("\n".join(["Notes of the run:", *told]))
    parts.append(
        "Secrets and names are masked. report.html and report.json beside this hold the rest."
    )
    return visible("\n\n".join(parts)) + "\n"


def _head(record: Mapping[str, Any], verdict: str) -> str:
    about = record["environment"]
    install, target = (record.get(name) or "none" for name in ("install_dir", "target_python"))
    lines = [
        f"modelmedic {record['modelmedic']}, run {record['run_id']}: {verdict}",
        f"Profile {record['profile']}, stage {record['stage']}, mode {record['mode']}.",
        f"Exit code {record['exit_code']}.",
        f"{about['system']} {about['release']} ({about['machine']}), Python {about['python']}.",
        f"Install folder: {install}. Python of the app: {target}.",
        f"Command: {about['command']}",
    ]
    return "\n".join(lines)


def _cause(finding: Mapping[str, Any], waiting: int) -> Iterator[str]:
    known = f", known failure {finding['failure_id']}" if finding["failure_id"] else ""
    yield f"{finding['outcome'].upper()}: {finding['check']} ({finding['category']}{known})"
    yield from _wrapped(f"{finding['what']} {finding['why']}")
    facts = [fact(*each) for each in finding.get("facts", {}).items() if each[1] is not None]
    if facts:
        yield from _wrapped(f"Evidence: {'; '.join(f'{name}: {told}' for name, told in facts)}.")
    if waiting:
        yield f"  {counted(waiting, 'check')} waited on it."
    tried = [attempt for attempt in finding["attempts"] if attempt["verdict"] != "planned"]
    for attempt in tried:
        yield from _tried(attempt)
    if tried:
        yield from _wrapped(attempts.aftermath(finding))
    if finding["next"]:
        yield from _wrapped(f"To do by hand: {finding['next']}")
    yield f"  More: {attempts.anchor(finding['check'])}"


def _tried(attempt: Mapping[str, Any]) -> Iterator[str]:
    spent = f" It took {duration(attempt['seconds'])}." if attempt["seconds"] >= 1 else ""
    begun = "Tried" if attempts.is_begun(attempt) else "Not tried:"
    yield from _wrapped(
        f"{begun} {attempt['recovery']}: {attempt['verdict']}. {attempt['error']}{spent}"
    )
    for operation in attempt["operations"]:
        yield from _wrapped(f"- {operation['text']}", "    ")
    if now := attempts.recheck(attempt):
        yield from _wrapped(f"After it the same check said: {now}", "    ")


def _repaired(healed: list[Mapping[str, Any]], about: Mapping[str, Any]) -> Iterator[str]:
    yield f"Repaired in this run, and the same check holds now ({len(healed)}):"
    for finding in healed[:_MOST_CAUSES]:
        yield from _wrapped(f"{finding['check']}: {finding['what']}", "- ", "  ")
        for attempt in finding["attempts"]:
            for operation in attempt["operations"] if attempt["verdict"] == "healed" else ():
                yield from _wrapped(f"{attempt['recovery']}: {operation['text']}", "  ")
    if rest := healed[_MOST_CAUSES:]:
        yield f"... and {len(rest)} more; they stand in report.json."
    if undo := about.get("undo_command"):
        yield f"Undo: {undo}"
        yield from _wrapped(about.get("undo_until", ""))


def _wrapped(line: str, indent: str = "  ", hang: str = "") -> list[str]:
    return textwrap.wrap(
        " ".join(line.split()),
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=hang or indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
