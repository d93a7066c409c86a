"""Each rule of the scan on a shelf of specimens: what it must find, line by line, and what not."""

from __future__ import annotations

import pytest
from scan_support import found_in, lay_out, specimens

from modelmedic.scan.finding import RULES

SPECIMENS = [pytest.param(body, id=title) for title, body in specimens()]
HEALTHY = [each for each in SPECIMENS if ": healthy: " in each.id]
FAULTY = [each for each in SPECIMENS if each not in HEALTHY]


@pytest.mark.once
@pytest.mark.parametrize("body", FAULTY)
def test_each_fault_of_a_specimen_is_found_on_its_line_and_nothing_else(tmp_path, body):
    expected = lay_out(tmp_path, body)
    assert expected
    assert found_in(tmp_path) == expected


@pytest.mark.once
@pytest.mark.parametrize("body", HEALTHY)
def test_healthy_code_gives_no_finding(tmp_path, body):
    assert not lay_out(tmp_path, body)
    assert not found_in(tmp_path)


def test_every_rule_has_a_specimen_and_more_healthy_code_stands_beside_it():
    text = "".join(each.values[0] for each in FAULTY)
    assert {rule for rule in RULES if rule not in text} == {"scan.could-not-look"}
    assert len(HEALTHY) > len(FAULTY)
