"""Each rule of the scan on a shelf of specimens: what it must find, line by line, and what not.

A specimen begins with ``=== title``; ``--- path`` begins a file of it. A line that a rule must
find ends with a comment: the rule, then ``likely`` where that is the certainty.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from modelmedic.scan import scan
from modelmedic.scan.finding import RULES

SHELF = Path(__file__).with_name("scan_shelf")
_RULE = re.compile(r"(scan\.[\w-]+)( likely)?")


def specimens():
    for shelf in sorted(SHELF.glob("*.txt")):
        for text in shelf.read_text(encoding="utf-8").split("=== ")[1:]:
            title, _, body = text.partition("\n")
            yield pytest.param(body, id=f"{shelf.stem}: {title}")


SPECIMENS = list(specimens())
HEALTHY = [each for each in SPECIMENS if ": healthy: " in each.id]
FAULTY = [each for each in SPECIMENS if each not in HEALTHY]


def lay_out(folder, body):
    """Write the files of a specimen; return what is to be found: (path, line, rule, certainty)."""
    first, *named = re.split(r"(?m)^--- ", body)
    texts = {"specimen.py": first} if first.strip() else {}
    texts |= dict(each.split("\n", 1) for each in named)
    expected = Counter()
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
        for number, line in enumerate(text.splitlines(), 1):
            for rule, likely in _RULE.findall(line.partition("#")[2]):
                expected[path, number, rule, "likely" if likely else "certain"] += 1
    return expected


def found_in(folder):
    place = folder.name + "/"
    return Counter(
        (each.path.partition(place)[2], each.line, each.rule, each.certainty)
        for each in scan([folder])
    )


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
