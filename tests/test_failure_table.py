"""The table of known failures says what the checks really name and what is really done."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

import failure_reach
import pytest
from support import CHECKOUT

from modelmedic.findings import EnhancedErrorCategory as Category
from modelmedic.healing import tables

TABLE = tables.read("failures.toml")
each = pytest.mark.parametrize("name", TABLE)
# Of the sorted ids of the catalogue, joined by line feeds: no id is lost, renamed or added.
CATALOGUE_SHA256 = "bc1f55aeb8ad46a635543aade260d9f4fbcff638af4645962368d118e25b7c93"


@pytest.fixture(scope="module")
def generate():
    sys.path.insert(0, str(CHECKOUT / "docs"))
    try:
        import generate
    finally:
        sys.path.pop(0)
    return generate


@pytest.fixture(scope="module")
def checks(generate):
    return {check.id: check for check in generate.checks()}


@pytest.fixture(scope="module")
def recoveries(generate):
    return generate.recoveries()


def offered_by(check, recoveries):
    """Return the recoveries that a check may use: those it names, else all of its family."""
    of_family = [entry.name for entry in recoveries.values() if entry.family == check.family]
    return check.using or of_family


def test_every_failure_of_the_catalogue_stands_in_it_once():
    assert len(TABLE) == 108  # a second table of one name is an error of TOML
    joined = "\n".join(sorted(TABLE)).encode()
    assert hashlib.sha256(joined).hexdigest() == CATALOGUE_SHA256


@each
def test_a_row_says_what_is_done_or_why_nothing_is(name):
    row = TABLE[name]
    assert set(row) <= {"category", "reason", "checks", "recoveries", "guidance"}
    assert Category(row["category"])
    assert row["reason"]
    assert bool(row.get("recoveries")) != bool(row.get("guidance")), "recoveries or guidance"
    assert re.match(r"because [a-z\w']", row.get("guidance", "because x"), re.IGNORECASE)
    assert "|" not in row.get("guidance", "") + row["reason"]


@each
def test_every_check_and_recovery_of_a_row_exists(name, checks, recoveries):
    row = TABLE[name]
    assert set(row["checks"]) <= set(checks)
    assert len(row["checks"]) == len(set(row["checks"]))
    offered = {using for check in row["checks"] for using in offered_by(checks[check], recoveries)}
    assert set(row.get("recoveries", ())) <= offered, "no check of the row offers it"
    assert set(row.get("recoveries", ())) <= set(recoveries)


@each
def test_every_check_that_can_name_a_failure_stands_in_its_row(name):
    naming = {check for check, ids in failure_reach.of_checks().items() if name in ids}
    assert naming <= set(TABLE[name]["checks"]), f"add to [{name}]: {sorted(naming)}"


@each
def test_a_check_in_a_row_can_name_it_where_any_check_can(name):
    naming = {check for check, ids in failure_reach.of_checks().items() if name in ids}
    if naming:
        assert set(TABLE[name]["checks"]) <= naming


def test_no_id_stands_in_the_code_where_no_check_reaches_it():
    reached = frozenset().union(*failure_reach.of_checks().values())
    assert set(failure_reach.literals()) <= reached


def test_the_reading_of_the_code_finds_direct_and_distant_ids():
    ids = failure_reach.of_checks()
    assert "video-encoder-broken" in ids["install.video-encoder"]  # in the check itself
    assert "ckpt-dir-relative-wrong" in ids["install.layout"]  # a function of another module
    assert "gpu-fell-off-bus" in ids["hardware.nvml"]  # a constant of another module
    assert "video-encoder-broken" not in ids["install.layout"]


def test_the_page_is_up_to_date_and_its_links_lead_somewhere(generate):
    page = (CHECKOUT / "docs" / "failures.md").read_text(encoding="utf-8")
    assert page == generate.failures_page(), "run: python3 docs/generate.py"
    target = Path(generate.PAGE).read_text(encoding="utf-8")
    for anchor in re.findall(r"\(checks\.md#([^)]+)\)", page):
        assert f'<a id="{anchor}"></a>' in target
    assert page.count("\n| <a id=") == len(TABLE)
