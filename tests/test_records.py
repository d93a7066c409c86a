"""The run record fits its published schema, and the page shows it to a person."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET

import jsonschema
import pytest
from demo_support import Desk
from support import CHECKOUT
from test_healing_runs import BREAKS, HEALS, NEVER, UNKNOWN, desk, start  # noqa: F401 - fixture

SCHEMA = json.loads((CHECKOUT / "reports/run-record.schema.json").read_text())
SEVEN = (
    """
@pytest.mark.check("try.skip", area="install")
def test_skip():
    '''Skips.'''
    pytest.skip("No need.")

@pytest.mark.check("try.pass", area="install")
def test_pass():
    '''Passes.'''

@pytest.mark.check("try.fail", area="install")
def test_fail():
    '''Fails <script>alert(1)</script>.'''
    raise Unhealthy("It has <img src=x onerror=alert(2)> \\x1b[31m \\udcff", "Why & how.", "Do.",
                    evidence={"<b>": "hf_abcdefghijklmnopqrst"})

@pytest.mark.check("try.wait", area="install", needs=["try.fail"])
def test_wait():
    '''Waits.'''
"""
    + HEALS
    + UNKNOWN
)
TOP = [
    "schema",
    "run_id",
    "modelmedic",
    "profile",
    "install_dir",
    "target_python",
    "mode",
    "stage",
    "started_at",
    "duration_seconds",
    "counts",
    "exit_code",
    "root_causes",
    "findings",
    "environment",
]
FINDING = [
    "check",
    "nodeid",
    "title",
    "area",
    "severity",
    "outcome",
    "category",
    "failure_id",
    "what",
    "why",
    "next",
    "blocked_by",
    "facts",
    "attempts",
]
ATTEMPT = [
    "recovery", "verdict", "operations", "seconds", "bytes_fetched", "error", "history", "recheck",
    "put_back",
]  # fmt: skip
OPERATION = ["kind", "text", "before", "after"]
INVENTORY = [
    "hash", "system", "python", "driver", "gpus", "memory_bytes", "packages", "files",
]  # fmt: skip


def finished(desk, checks, *options):  # noqa: F811
    process, reports = start(
        desk, checks, *options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    process.communicate(timeout=100)
    return reports


@pytest.fixture(scope="module")
def seven(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seven") / "desk"
    (folder / "demo-install").mkdir(parents=True)
    return finished(Desk(folder), SEVEN, "--heal")


def test_the_keys_are_frozen():
    definitions = SCHEMA["$defs"]
    assert list(SCHEMA["properties"]) == TOP
    assert list(definitions["finding"]["properties"]) == FINDING
    assert list(definitions["attempt"]["properties"]) == ATTEMPT
    assert list(definitions["operation"]["properties"]) == OPERATION
    assert list(definitions["inventory"]["properties"]) == INVENTORY
    assert SCHEMA["additionalProperties"] is False


@pytest.mark.parametrize(
    "checks", [HEALS, NEVER, BREAKS, SEVEN], ids=["heals", "never", "breaks", "seven"]
)
def test_real_records_fit_the_schema(request, checks):
    if checks == SEVEN:
        reports = request.getfixturevalue("seven")
    else:
        reports = finished(request.getfixturevalue("desk"), checks, "--heal")
    record = json.loads((reports / "report.json").read_text())
    jsonschema.validate(record, SCHEMA)
    assert list(record) == TOP
    assert all(list(finding) == FINDING for finding in record["findings"])
    assert list(record["environment"]["inventory"]) == INVENTORY
    assert record["environment"]["machine_id"].startswith("machine:")
    assert sum(record["counts"].values()) == len(record["findings"])


def test_all_seven_outcomes_are_recorded_and_shown(seven):
    record = json.loads((seven / "report.json").read_text())
    counts = record["counts"]
    assert set(counts) == {
        "passed", "healed", "degraded", "skipped", "blocked", "unknown", "failed",
    }  # fmt: skip
    assert all(counts.values()), counts
    cause = next(c for c in record["root_causes"] if c["check"] == "try.fail")
    assert cause["blocks"] == 1
    page = (seven / "report.html").read_text(encoding="utf-8")
    table = html.unescape(page[page.index('data-jsonblob="') :])
    for outcome in counts:
        assert outcome in page
        assert f'\\"col-outcome\\">{outcome}' in table or f">{outcome}<" in table


@pytest.mark.once
def test_the_page_is_self_contained_and_inert(seven):
    page = (seven / "report.html").read_text(encoding="utf-8")
    assert not re.search(r'\bsrc="(?:https?:)?//|<link|@import|url\((?!data:)', page)
    assert "<script>alert(1)" not in page
    assert "<img src=x" not in page
    assert "hf_abcdefghijklmnopqrst" not in page + (seven / "report.json").read_text()


def test_junit_parses_and_carries_the_words(seven):
    root = ET.parse(seven / "junit.xml").getroot()
    cases = {case.get("name"): case for case in root.iter("testcase")}
    failure = cases["test_fail"].find("failure")
    assert "Why & how." in "".join(failure.itertext()) + failure.get("message", "")
    skipped = cases["test_wait"].find("skipped")
    assert "try.fail" in skipped.get("message", "") + "".join(skipped.itertext())


@pytest.mark.once
def test_with_scripts_off_our_block_still_says_all(seven):
    page = (seven / "report.html").read_text(encoding="utf-8")
    still = re.sub(r"(?s)<script.*?</script>|<template.*?</template>|data-jsonblob=.*?>", "", page)
    for text in (
        "Not ready",
        "Why &amp; how.",
        "No light.",
        "create_missing_folder",
        "It is slow.",
    ):
        assert text in still


CHROMIUM = shutil.which("chromium")


@pytest.mark.once
@pytest.mark.skipif(
    not CHROMIUM and not os.environ.get("MODELMEDIC_TOOLS_REQUIRED"), reason="no chromium"
)
def test_chromium_renders_it(seven, tmp_path):
    assert CHROMIUM, ".ci/apt.txt lists chromium: it must be there"
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync",
         f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
         (seven / "report.html").as_uri()],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert "Not ready" in done.stdout
    for outcome in ("failed", "unknown", "blocked", "degraded", "healed", "passed", "skipped"):
        assert outcome in done.stdout
