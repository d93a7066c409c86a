"""Renders a run record as HTML: verdict, causes, what to do, healing, findings, environment."""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from modelmedic import attempts, inventory_rows, sparkline, timeline
from modelmedic.findings import Outcome
from modelmedic.summary import record_verdict
from modelmedic.text import counted, duration, fact, size, visible

_TEMPLATES = Path(__file__).parent / "templates"

# The order people read in: what is wrong first, what is fine last.
_ORDER = (
    Outcome.FAILED,
    Outcome.UNKNOWN,
    Outcome.BLOCKED,
    Outcome.DEGRADED,
    Outcome.HEALED,
    Outcome.PASSED,
    Outcome.SKIPPED,
)
_MEANING = {
    "failed": "does not hold",
    "unknown": "could not look",
    "blocked": "not judged, waits on a cause",
    "degraded": "usable with a stated loss",
    "healed": "failed, was repaired, holds now",
    "passed": "holds",
    "skipped": "does not apply here",
}
_MODES = {
    "check": "looked only, changed nothing",
    "plan": "said what it would repair, changed nothing",
    "ask": "repaired what was agreed to",
    "apply": "repaired what fails",
}
_EXITS = {
    0: "nothing is wrong",
    1: "something does not hold, or could not be looked at",
    2: "interrupted",
    3: "a fault of modelmedic itself",
    4: "wrong use",
    5: "nothing was checked",
}

_BAD = frozenset({Outcome.FAILED.value, Outcome.UNKNOWN.value})
_PLAIN = {None: "none", True: "yes", False: "no"}
_MOST_TEXT = 2000  # characters of one text on the page; report.json has all of it
_MOST_CODES = 20  # commands in one text; more is no sentence of ours
_MOST_AREA = 60

# What goes round pytest-html's part; `str.format` is enough for it.
_HEAD = """\
<meta http-equiv="Content-Security-Policy" content="{}">
<meta name="viewport" content="width=device-width, initial-scale=1">
"""
_BEFORE = """
<details class="mm-raw">
<summary>Raw test table, as pytest-html made it ({}; can be sorted and filtered)</summary>
<noscript><p>This table needs scripts. Everything in it also stands above.</p></noscript>
<div class="mm-scroll">
"""
_AFTER = """
</div>
</details>
"""
# A button of pytest-html that is hidden in a finished report; the policy forbids it, and a browser
# would complain of it.
_INLINE = b' onclick="location.reload()"'
_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
_BODY = re.compile(rb"<body[^>]*>")


def render(record: Mapping[str, Any]) -> str:
    """Return a whole HTML page for one run record; its only script filters the findings."""
    policy = _policy([_script().encode()])
    return _encodable(
        _template("page.html.j2").render(block=block(record), record=record, policy=policy)
    )


def on_top_of(below: bytes, record: Mapping[str, Any]) -> tuple[bytes | memoryview, ...]:
    """Return pytest-html's page with our block on top and its own part folded below, in parts.

    A content policy is added that lets run only the scripts the page already has and lets nothing
    be fetched: even if a name from outside were not escaped somewhere, it could do nothing.

    Bytes, and views of them: the page of a long run is large, and text would be many copies of it.
    """
    scripts = [match.group(1) for match in _SCRIPT.finditer(below)] + [_script().encode()]
    policy = _encoded(_HEAD.format(html.escape(_policy(scripts))))
    opening = _BODY.search(below)
    start, rest = opening.span() if opening is not None else (0, 0)
    footer = below.rfind(b"<footer>", rest)
    if footer < 0:  # a later pytest-html: it goes below, unfolded
        footer = rest
    view = memoryview(below)
    return (
        below[:start]
        .replace(b"<html>", b'<html lang="en">', 1)
        .replace(b"</head>", policy + b"</head>", 1),
        view[start:rest],
        _encoded(block(record)),
        _encoded(_BEFORE.format(counted(len(record["findings"]), "check"))),
        *_without(_INLINE, below, rest, footer),
        _encoded(_AFTER),
        view[footer:],
    )


def _without(words: bytes, page: bytes, start: int, end: int) -> tuple[memoryview, memoryview]:
    """Return a part of a page in two views, without the first of these words in it."""
    view = memoryview(page)
    place = page.find(words, start, end)
    return (
        (view[start:place], view[place + len(words) : end])
        if place >= 0
        else (view[start:end], view[:0])
    )


def block(record: Mapping[str, Any]) -> str:
    """Return the block alone: a style, one section, a script; every value escaped and clipped."""
    findings = [
        {**finding, "anchor": f"mm-{n}", "place": finding["area"][:_MOST_AREA]}
        for n, finding in enumerate(record["findings"], 1)
    ]
    for finding in findings:
        is_repaired = finding["outcome"] == "healed" and _with_attempts([finding], planned=False)
        finding["has_article"] = finding["outcome"] in _BAD or bool(is_repaired)
    groups = {outcome.value: [] for outcome in _ORDER}  # type: dict[str, list[dict[str, Any]]]
    waiting: dict[str, list[dict[str, Any]]] = {}
    for finding in findings:
        groups[finding["outcome"]].append(finding)
        if finding["blocked_by"]:
            waiting.setdefault(finding["blocked_by"], []).append(finding)
    causes = [
        {**finding, "tried": [a for a in finding["attempts"] if a["verdict"] != "planned"]}
        for finding in groups["failed"] + groups["unknown"]
    ]
    causes.sort(key=lambda finding: -len(waiting.get(finding["check"], ())))
    verdict, tone = _verdict(record)
    rendered: str = _template("block.html.j2").render(
        record=record,
        verdict=verdict,
        tone=tone,
        groups=groups,
        causes=causes,
        waiting=waiting,
        repaired=[f for f in _with_attempts(findings, planned=False) if f["outcome"] not in _BAD],
        planned=_each_once(_with_attempts(findings, planned=True)),
        meaning=_MEANING,
        modes=_MODES,
        exits=_EXITS,
        size=size,
        duration=duration,
        counted=counted,
        attempts=attempts,
        areas=sorted({finding["place"] for finding in findings}),
        timeline=timeline.of(findings, record["duration_seconds"]),
        charts=list(_charts(record.get("resources", {}))),
        inventory=inventory_rows.of(record["environment"].get("inventory")),
        first=_first,
        script=_markup(_script()),
    )
    return rendered


def _charts(resources: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield what is shown of each quantity: its name, what it did in words, its chart."""
    for series in itertools.islice(resources.values(), 12):
        points = [point for point in series["points"] if len(point) == 2]  # noqa: PLR2004 - a pair
        name, unit = series["name"], series["unit"]
        low, high = (0.0, 100.0) if unit == "%" else (None, None)
        drawing = sparkline.svg(points, label=name, unit=unit, low=low, high=high)
        yield {"name": name, "told": sparkline.words(points, unit), "drawing": drawing}


def _first(items: Iterable[Any], most: int) -> list[Any]:
    return list(itertools.islice(items, most))


def _verdict(record: Mapping[str, Any]) -> tuple[str, str]:
    """Return the sentence of the whole run and its tone: "good", "bad" or "none"."""
    if record["exit_code"] is not None:
        return record_verdict(record)
    counts = record["counts"]
    bad = counts["failed"] + counts["unknown"]
    judged = f"{counted(sum(counts.values()), 'check')} had ended, {bad} of them not well"
    return f"This run has not ended, or was killed: {judged}.", "bad" if bad else "none"


def _with_attempts(findings: list[dict[str, Any]], *, planned: bool) -> list[dict[str, Any]]:
    """Return the findings that have planned (or else tried) attempts, with only those."""
    chosen = []
    for finding in findings:
        attempts = [a for a in finding["attempts"] if (a["verdict"] == "planned") is planned]
        if attempts:
            chosen.append({**finding, "attempts": attempts})
    return chosen


def _each_once(planned: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the findings; a plan that an earlier one has too is only named: ``same_as``."""
    first: dict[str, dict[str, Any]] = {}
    for finding in planned:
        told = []
        for attempt in finding["attempts"]:
            like = first.setdefault(
                json.dumps([attempt["recovery"], attempt["operations"]]), finding
            )
            told.append({**attempt, "same_as": None if like is finding else like})
        finding["attempts"] = told
    return planned


def _policy(scripts: list[bytes] | tuple[()]) -> str:
    """Return a content security policy: inline styles, these scripts, no network."""
    # A browser hashes a script after it has made each end of a line a newline.
    lines = (text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") for text in scripts)
    hashes = [base64.b64encode(hashlib.sha256(text).digest()) for text in lines]
    allowed = " ".join(f"'sha256-{digest.decode()}'" for digest in hashes) or "'none'"
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {allowed}; "
        "form-action 'none'; base-uri 'none'"
    )


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _encodable(page: str) -> str:
    return _encoded(page).decode("utf-8")


def _shown(value: Any) -> Any:
    """Return a value for the page: clipped; what cannot be seen in text is shown as its escape."""
    if isinstance(value, list | dict | tuple):
        value = str(value)
    if type(value) is str:  # markup is a subclass, and ours
        return visible(_clipped(value))
    return _PLAIN.get(value, value) if value is None or type(value) is bool else value


def _coded(value: Any) -> Any:
    """Return a text with what stands between backticks as code, the rest escaped."""
    parts = str(_shown(value)).split("`")
    if len(parts) % 2 == 0 or len(parts) > 2 * _MOST_CODES:
        return value
    code = _markup("<code>{}</code>")
    shown = (
        code.format(part) if n % 2 else _markup("{}").format(part) for n, part in enumerate(parts)
    )
    return _markup("").join(shown)


def _clipped(text: str) -> str:
    left = len(text) - _MOST_TEXT
    if left <= 0:
        return text
    return f"{text[:_MOST_TEXT]}... ({counted(left, 'more character')}; report.json has them)"


@functools.cache
def _script() -> str:
    """Return our one script, as it stands in the page."""
    return (_TEMPLATES / "block.js").read_text(encoding="utf-8")


def _markup(text: str) -> Any:
    import markupsafe

    return markupsafe.Markup(text)  # noqa: S704 - our own file


def _moment(value: str) -> str:
    """Return an ISO time as people read it, with its zone said."""
    return value.replace("T", " ").replace("Z", " UTC")


@functools.cache
def _template(name: str) -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        optimized=False,  # it is rendered once; folding constants costs more than it saves
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["coded"] = _coded
    environment.filters["moment"] = _moment
    environment.filters["fact"] = lambda item: fact(*item)
    return environment.get_template(name)
