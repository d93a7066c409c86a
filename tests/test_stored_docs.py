"""docs/stored.md names every file that a run leaves, and the numbers that the code keeps to."""

from __future__ import annotations

import re

import pytest
from support import CHECKOUT
from test_healing_runs import HEALS, desk, run  # noqa: F401 - fixture

from modelmedic import runs
from modelmedic.healing import evidence_log
from modelmedic.history import database
from modelmedic.history.retention import DAY_SECONDS, LIMITS
from modelmedic.operations import expiry

PAGE = (CHECKOUT / "docs" / "stored.md").read_text(encoding="utf-8")
TOLD = set(re.findall(r"`([^`]+)`", PAGE))


@pytest.mark.once
def test_whatever_a_healing_run_leaves_is_on_the_page(desk):  # noqa: F811
    (desk.install / ".modelmedic").mkdir()
    run(desk, HEALS, "--heal")
    state = desk.folder.parent / "state"
    left = {path.name + "/" * path.is_dir() for path in state.iterdir()}
    assert {"history.db", "pseudonyms.key", "journals/", "effectiveness.jsonl"} <= left
    assert left <= TOLD, "docs/stored.md does not name it"
    inside = {f".modelmedic/{each.name}" for each in (desk.install / ".modelmedic").iterdir()}
    assert inside <= {name.rstrip("/") for name in TOLD}


@pytest.mark.parametrize(
    ("words", "number"),
    [
        (r"(\d+) days; the newest word", LIMITS.findings / DAY_SECONDS),
        (r"\| (\d+) years, and no more", LIMITS.runs / DAY_SECONDS / 365),
        (r"no more than ([\d,]+) runs", LIMITS.most_runs),
        (r"judged repairs \| (\d+) years", LIMITS.heals / DAY_SECONDS / 365),
        (r"(\d+) days as minutes", LIMITS.minutes / DAY_SECONDS),
        (r"as hours for (\d+) days", LIMITS.hours / DAY_SECONDS),
        (r"components \| (\d+) days", LIMITS.events / DAY_SECONDS),
        (r"whole file \| (\d+) GiB", LIMITS.most_bytes >> 30),
        (r"locked for more than (\d+) seconds", database.WAIT_SECONDS),
        (r"the newest (\d+) runs \|", runs.KEPT),
        (r"(\d+) KiB; older ones", evidence_log.MOST_BYTES >> 10),
        (r"(\d+) days and 2 GB", expiry.KEEP_SECONDS / DAY_SECONDS),
    ],
)
def test_the_numbers_of_the_page_are_those_of_the_code(words, number):
    (told,) = {found.replace(",", "") for found in re.findall(words, PAGE)}
    assert int(told) == number
