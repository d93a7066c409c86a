"""The text of an issue for the tracker of the app's own people, and a link that opens it filled in.

A tracker makes names after @ into calls, numbers after # into links, and shows markup and pictures.
All that does not come from us stands in fenced blocks, where CommonMark (0.31.2, section 4.5) and
the trackers built on it take nothing for anything; the title has letters of ids only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from modelmedic import attempts
from modelmedic.bundle.collecting import verdict
from modelmedic.text import counted, duration, visible

MOST_LINK_LETTERS = 8_000  # GitHub answers 414 a little above 8,192
_MOST_BLOCK_LETTERS = 4_000  # of one fenced block of the printed text
_STEPS = (4_000, 2_000, 1_000, 500, 250, 120, 60)  # letters of a block of the text in the link
_MOST_CAUSES = 10
_MOST_PACKAGES = 60
_INTRODUCTION = (
    "This was written by modelmedic, which checked the installation. Names and secrets are masked."
)
_NO_ID = re.compile(r"[^A-Za-z0-9._\[\]/ -]+")
_MOST_ID = 80  # letters of an id in the title


@dataclass(frozen=True, slots=True)
class Issue:
    """An issue: a title of one line, a body in Markdown."""

    title: str
    body: str


def issue(record: Mapping[str, Any], *, most_letters: int = _MOST_BLOCK_LETTERS) -> Issue:
    """Return the issue for a run.

    Args:
        record: Its record, masked.
        most_letters: Of each block of foreign text; what is longer is cut, and says so.
    """
    causes = _causes(record)
    parts = [
        _INTRODUCTION,
        _part("Verdict", [verdict(record)], most_letters),
        *(_cause(finding, most_letters) for finding in causes[:_MOST_CAUSES]),
    ]
    if rest := causes[_MOST_CAUSES:]:
        parts.append(f"And {counted(len(rest), 'more cause', 'more causes')}.")
    parts.append(_part("Environment", list(_environment(record)), most_letters))
    return Issue(_title(record, causes), "\n\n".join(parts) + "\n")


def link(record: Mapping[str, Any], issues_url: str) -> str:
    """Return the address that opens the tracker with the issue filled in, 8,000 letters at most.

    Args:
        record: The record of the run, masked.
        issues_url: As the profile says it.
    """
    for letters in _STEPS:
        found = issue(record, most_letters=letters)
        address = _address(issues_url, found.title, found.body)
        if len(address) <= MOST_LINK_LETTERS:
            return address
    return _address(issues_url, found.title, "The text is too long for a link.")


def issues_url(profile: str) -> str:
    """Return where issues for a profile go; "" when it does not say.

    Args:
        profile: Its name, or the path of its file.

    Raises:
        BadProfile: There is none, or it is wrong.
    """
    from modelmedic.profile.loader import load_profile

    return load_profile(profile, cwd=Path.cwd()).support.issues_url


def issues_url_of(record: Mapping[str, Any]) -> str:
    """Return where issues for the profile of a run go; "" when it is none of the shipped ones.

    The record may come from a stranger: no path in it is followed.
    """
    from modelmedic.profile.loader import available

    return issues_url(record["profile"]) if record["profile"] in available() else ""


def _address(issues_url: str, title: str, body: str) -> str:
    return f"{issues_url}?title={quote(title, safe='')}&body={quote(body, safe='')}"


def _causes(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the findings that are causes, in the order of the record's own list of them."""
    by_check = {finding["check"]: finding for finding in record["findings"]}
    return [by_check[cause["check"]] for cause in record["root_causes"]]


def _title(record: Mapping[str, Any], causes: list[Mapping[str, Any]]) -> str:
    first = causes[0]["failure_id"] or causes[0]["check"] if causes else "no fault found"
    more = f" and {len(causes) - 1} more" if len(causes) > 1 else ""
    profile, told = (_NO_ID.sub("-", word)[:_MOST_ID] for word in (record["profile"], first))
    return f"modelmedic ({profile}): {told}{more}"


def _cause(finding: Mapping[str, Any], most_letters: int) -> str:
    lines = [f"{finding['outcome']}: {finding['check']}"]
    if finding["failure_id"]:
        lines.append(f"known failure: {finding['failure_id']}")
    lines += [finding["what"], finding["why"]]
    for attempt in finding["attempts"]:
        if attempt["verdict"] != "planned":
            lines += _tried(attempt)
    return _part("Cause", [line for line in lines if line], most_letters)


def _tried(attempt: Mapping[str, Any]) -> Iterator[str]:
    begun = "tried" if attempts.is_begun(attempt) else "not tried"
    spent = f" ({duration(attempt['seconds'])})" if attempt["seconds"] >= 1 else ""
    error = f": {attempt['error']}" if attempt["error"] else ""
    yield f"{begun}: {attempt['recovery']}, {attempt['verdict']}{spent}{error}"
    yield from (f"  - {operation['text']}" for operation in attempt["operations"])


def _environment(record: Mapping[str, Any]) -> Iterator[str]:
    about = record["environment"]
    yield f"modelmedic {record['modelmedic']}, profile {record['profile']}, {record['stage']}"
    yield f"system: {about['system']} {about['release']}"
    known = about.get("inventory")
    known = known if isinstance(known, dict) else {}
    for name in ("python", "driver", "gpus", "memory_bytes"):
        if value := known.get(name):
            yield f"{name.replace('_', ' ')}: {_plain(value)}"
    packages = known.get("packages")
    if isinstance(packages, dict) and packages:
        shown = [f"{name}=={version}" for name, version in sorted(packages.items())]
        more = f" and {len(shown) - _MOST_PACKAGES} more" if len(shown) > _MOST_PACKAGES else ""
        yield f"packages: {' '.join(shown[:_MOST_PACKAGES])}{more}"


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _part(heading: str, lines: list[str], most_letters: int) -> str:
    """Return a heading of ours and a fenced block that no text in it can end."""
    raw = "\n".join(line[: most_letters + 1] for line in lines)  # one may have megabytes
    text = visible(raw[: most_letters + 1]).expandtabs(2)
    if len(text) > most_letters:
        text = f"{text[:most_letters].rstrip()}\n... cut here; modelmedic's report has the rest"
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"### {heading}\n\n{fence}text\n{text}\n{fence}"
