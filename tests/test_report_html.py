"""The page for people: what stands in it, in which order, and in a real browser."""

from __future__ import annotations

import base64
import hashlib
import html
import re

import pytest
from room_support import BAD, OUTCOMES

from modelmedic import rooms
from modelmedic.records import counts, root_causes

MEANINGS = (
    "does not hold", "could not look", "not judged, waits on a cause", "usable with a stated loss",
    "failed, was repaired, holds now", "holds", "does not apply here",
)  # fmt: skip


def a_finding(check="x.one", outcome="failed", **values) -> dict:
    return {
        "check": check, "nodeid": f"checks/test_x.py::{check}", "title": f"{check} holds.",
        "area": "system", "severity": "blocker", "outcome": outcome, "category": None,
        "failure_id": None, "what": "", "why": "", "next": "", "blocked_by": None, "facts": {},
        "attempts": [],
    } | values  # fmt: skip


def a_record(findings, **values) -> dict:
    return {
        "schema": 1, "run_id": "20260101-120000-abcdef", "modelmedic": "0.1.0",
        "profile": "demo", "install_dir": "~/Wan2.2", "target_python": None, "mode": "check",
        "stage": "installed", "started_at": "2026-01-01T12:00:00Z", "duration_seconds": 2.5,
        "counts": counts(f["outcome"] for f in findings), "exit_code": 0,
        "root_causes": root_causes(findings), "findings": findings,
        "environment": {
            "system": "Linux", "release": "6.1", "machine": "x86_64", "python": "3.12.1",
            "command": "pytest checks/", "next_command": "", "notes": [],
            "install_reason": "given", "target_reason": "none given", "stage_reason": "given",
            "is_deep": False, "is_offline": True,
        },
    } | values  # fmt: skip


def rendered(findings, **values) -> str:
    return rooms.load("reports", "html").render(a_record(findings, **values))


def words(page: str) -> str:
    """Return the text of a page, one space between words."""
    body = re.sub(r"(?s)<(style|script|template)\b.*?</\1>|<head>.*?</head>", " ", page)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


# -- what it says --------------------------------------------------------------------------------


def test_a_green_run_says_so_and_shows_no_causes():
    text = words(rendered([a_finding(outcome="passed")]))
    assert "The install is healthy." in text
    assert "What is wrong" not in text
    assert "2026-01-01 12:00:00 UTC" in text


def test_what_is_wrong_stands_before_what_is_fine():
    text = words(
        rendered(
            [
                a_finding("x.fine", "passed"),
                a_finding("x.rare", what="Rarely needed.", next="Mend rare."),
                a_finding("x.base", what="The base broke.", why="Because.", next="Mend base."),
                a_finding("x.wait", "blocked", blocked_by="x.base"),
            ],
            exit_code=1,
        )
    )
    order = ["Not ready: 2 causes", "The base broke. Because. Next: Mend base.",
             "1 check waited on it", "Rarely needed.", "All findings", "x.fine holds.",
             "What was examined"]  # fmt: skip
    place = 0
    for part in order:
        place = text.index(part, place)


def test_each_outcome_is_counted_as_the_findings_are():
    found = [a_finding(f"x.{i}", outcome) for i, outcome in enumerate(OUTCOMES * 3)]
    text = words(rendered([*found, a_finding("x.more", "passed")], exit_code=1))
    for outcome, meaning in zip(OUTCOMES, MEANINGS, strict=True):
        count = 4 if outcome == "passed" else 3
        assert f"{outcome} {count} {meaning}" in text
        assert f"{outcome} {count} checks: {meaning}" in text


def test_a_plan_is_shown_with_its_steps():
    attempt = {
        "recovery": "fetch_it", "verdict": "planned", "seconds": 0, "bytes_fetched": 0, "error": "",
        "operations": [{"kind": "fetch_file", "text": "fetch a.bin (1.0 GiB)"}],
    }  # fmt: skip
    text = words(rendered([a_finding(what="Gone.", attempts=[attempt])], mode="plan", exit_code=1))
    assert "What --heal would do x.one holds. fetch_it would: fetch a.bin (1.0 GiB)" in text
    assert "What was repaired" not in text


def test_a_repair_that_did_not_help_says_what_happened():
    attempt = {
        "recovery": "mend_it", "verdict": "not healed", "seconds": 3.0, "bytes_fetched": 2048,
        "error": "It broke x.two and was undone.", "operations": [],
    }  # fmt: skip
    text = words(rendered([a_finding(what="Gone.", attempts=[attempt])], mode="apply", exit_code=1))
    assert "failed Gone. Tried mend_it : not healed in 3.0 s, 2.0 KiB fetched" in text
    assert "It broke x.two and was undone." in text
    assert "The check does not hold. What had been changed for it was put back." in text


FACTS = {"cards": 0, "driver": None, "is_old": True, "size_bytes": 1000, "age_seconds": 180}


def test_evidence_is_there_in_plain_words():
    page = rendered([a_finding(what="x", facts=FACTS)])
    assert "cards 0 driver none is old yes size 1,000 bytes age 3 min" in words(page)
    assert re.search(r"<details><summary>Evidence</summary>", page)


@pytest.mark.parametrize(
    ("code", "outcome", "said"),
    [
        (None, "passed", "This run has not ended, or was killed: 1 check had ended"),
        (2, "passed", "Stopped before its end: 1 check judged, none of them bad"),
        (
            3,
            "passed",
            "This run proves nothing, because something in modelmedic itself is at fault",
        ),
        (3, "failed", "(exit code 3); 1 check did not hold or could not look."),
        (2, "failed", "Not ready: 1 cause. The run was stopped before its end."),
        (5, "skipped", "Nothing was checked"),
        (1, "failed", "Not ready"),
    ],
)
def test_no_run_is_called_healthy_that_was_not_proved_so(code, outcome, said):
    text = words(rendered([a_finding(outcome=outcome)], exit_code=code))
    assert said in text
    assert "healthy" not in text


def test_an_empty_run_is_rendered():
    assert "No check had ended." in words(rendered([], exit_code=None))


# -- strangers' text -----------------------------------------------------------------------------


def test_every_text_of_a_record_is_escaped():
    evil = BAD + "{{ 7 * 7 }}" + "\x1b[31m\u202e\udcff"
    attempt = {
        "recovery": evil, "verdict": "healed", "seconds": 1, "bytes_fetched": 1, "error": evil,
        "operations": [{"kind": evil, "text": evil}],
    }  # fmt: skip
    texts = dict.fromkeys(("nodeid", "title", "area", "failure_id", "what", "why", "next"), evil)
    found = [
        a_finding(f"x.{outcome}{evil}", outcome, facts={evil: evil}, attempts=[attempt],
                  blocked_by=f"x.failed{evil}" if outcome == "blocked" else None, **texts)
        for outcome in OUTCOMES
    ]  # fmt: skip
    record = a_record(found, profile=evil, install_dir=evil, target_python=evil, modelmedic=evil)
    record["environment"] |= {
        key: [evil] if key == "notes" else evil
        for key, value in record["environment"].items()
        if not isinstance(value, bool)
    }
    page = rooms.load("reports", "html").render(record)
    page.encode("utf-8")
    assert page.count("<script") == 1, "our own"
    assert "<img" not in page
    assert "49" not in words(page)
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e\ud800-\udfff]", page)
    assert page.count("<article") == page.count("</article>") >= 7


def test_the_pages_fetch_nothing_and_name_no_other_script():
    below = b"".join(rooms.load("reports", "html").on_top_of(PAGE.encode(), a_record([]))).decode()
    for page in (rendered([]), below):
        policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
        rules = dict(rule.split(None, 1) for rule in html.unescape(policy).split("; "))
        assert rules["default-src"] == "'none'"
        assert "unsafe" not in rules["script-src"]
        assert not re.search(r"<link|@import|url\(|\bsrc=\"[^\"]", page)


PAGE = (
    "<html><head><title>x</title></head><body class='y'>\n<h1>Gr\u00fcn</h1>\n"
    "<script>\n  const a = 1\n</script>\n<footer><script>b()</script></footer></body></html>\n"
)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_our_block_lies_on_top_of_a_page_of_which_nothing_is_lost(newline):
    below = PAGE.replace("\n", newline).encode()
    page = b"".join(rooms.load("reports", "html").on_top_of(below, a_record([]))).decode()
    before, opening, rest = page.partition("<body class='y'>")
    block, raw, after = rest.partition('<details class="mm-raw">')
    assert opening
    assert raw
    assert re.search("<head>.*Content-Security-Policy.*</head>", before, re.DOTALL)
    assert '<section class="mm"' in block
    assert after.index("Gr\u00fcn") < after.index("</details>") < after.index("<footer>")
    own = re.search(r"(?s)<script>(// Search.*?)</script>", block)[1]
    for script in ("\n  const a = 1\n", "b()", own):  # hashed as a browser does: newlines alone
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert html.escape(f"'sha256-{digest}'") in before


@pytest.mark.parametrize("below", ["", "<p>no body, no footer</p>", "<body><p>no footer</p>"])
def test_a_page_of_another_make_still_lies_below_our_block(below):
    parts = rooms.load("reports", "html").on_top_of(below.encode(), a_record([]))
    page = b"".join(parts).decode()
    start = page.index('<section class="mm"')
    assert below.removeprefix("<body>") in page[start:]


# -- colours -------------------------------------------------------------------------------------

ON = {  # on what each text or mark stands; 4.5 for text, 3 for marks. Source: WCAG 2.2, 1.4.3, 1.4.11
    "ink": ("page", "panel", "code", "good-page", "bad-page"), "soft": ("page", "panel"),
    "link": ("page", "panel"), "tag-ink": OUTCOMES,
}  # fmt: skip
MARKS = {
    **dict.fromkeys((*OUTCOMES, "link"), ("panel",)), "edge": ("page", "panel"),
    "good": ("page", "good-page"), "bad": ("page", "bad-page"),
}  # fmt: skip
CSS = (rooms.room("reports") / "templates" / "block.css").read_text(encoding="utf-8")


def luminance(colour: str) -> float:
    """Source: WCAG 2.2, relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lights = sorted((luminance(one), luminance(other)))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def test_the_contrast_is_computed_as_the_standard_says():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_all_text_can_be_read_and_each_mark_be_seen(scheme):
    roots = re.findall(r"(?s):root \{(.*?)\}", CSS)
    assert len(roots) == 2
    colours = dict(re.findall(r"--mm-([\w-]+): (#[0-9a-f]{6})", roots[scheme]))
    weak = [
        (front, back, round(contrast(colours[front], colours[back]), 2))
        for least, pairs in ((4.5, ON), (3, MARKS))
        for front, backs in pairs.items()
        for back in backs
        if contrast(colours[front], colours[back]) < least
    ]
    assert weak == []


def test_no_colour_stands_outside_the_table_that_is_judged():
    rules = re.sub(r"(?s):root \{.*?\}", "", CSS)
    known = {
        line for line in rules.splitlines() if re.search(r"#[0-9a-f]{3,8}\b|rgb|opacity", line)
    }
    assert [line.split()[0] for line in known] == [".mm-scroll"], "pytest-html's own, always light"
    named = set(re.findall(r"var\(--mm-([\w-]+)\)", CSS))
    assert named <= set(ON) | set(MARKS) | {back for backs in ON.values() for back in backs} | {
        "line"
    }
