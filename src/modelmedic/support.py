"""The text a person pastes when asking for help: what is wrong, what was tried, on what machine."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from modelmedic.findings import Outcome
from modelmedic.text import visible

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
    parts = [_head(record, verdict)]
    parts += ["\n".join(_cause(finding)) for finding in causes[:_MOST_CAUSES]]
    if rest := causes[_MOST_CAUSES:]:
        parts.append(f"... and {len(rest)} more causes; they stand in report.json.")
    if notes := record["environment"]["notes"]:
        parts.append("\n".join(["Notes of the run:", *(f"- {note}" for note in notes)]))
    parts.append(
        "Secrets and names are masked. report.html and report.json beside this hold the rest."
    )
    return visible("\n\n".join(parts)) + "\n"


def _head(record: Mapping[str, Any], verdict: str) -> str:
    about = record["environment"]
    lines = [
        f"modelmedic {record['modelmedic']}, run {record['run_id']}: {verdict}",
        f"Profile {record['profile']}, stage {record['stage']}, mode {record['mode']}.",
        f"Exit code {record['exit_code']}.",
        f"{about['system']} {about['release']} ({about['machine']}), Python {about['python']}.",
        f"Command: {about['command']}",
    ]
    return "\n".join(lines)


def _cause(finding: Mapping[str, Any]) -> Iterator[str]:
    known = f", known failure {finding['failure_id']}" if finding["failure_id"] else ""
    yield f"{finding['outcome'].upper()}: {finding['check']} ({finding['category']}{known})"
    yield from _wrapped(f"{finding['what']} {finding['why']}")
    for attempt in finding["attempts"]:
        if attempt["verdict"] == "planned":
            continue
        yield from _wrapped(
            f"Tried {attempt['recovery']}: {attempt['verdict']}. {attempt['error']}"
        )
    if finding["next"]:
        yield from _wrapped(f"To do by hand: {finding['next']}")
    anchor = finding["check"].partition("[")[0].replace(".", "-")
    yield f"  More: docs/checks.md#{anchor}"


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(
        " ".join(line.split()),
        _WIDTH,
        initial_indent="  ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
