"""Findings as JSON values: the same as the general way gives, and the finding's own stay its own."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from modelmedic.findings import Attempt, Finding, Outcome

ATTEMPT = Attempt("refetch-shard", "healed", ({"kind": "fetch", "bytes": [1, 2]},), 2.5, 10)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"outcome": Outcome.FAILED, "failure_id": "F-1", "what": "It is cut.", "blocked_by": "a"},
        {"facts": {"bytes": 1, "ratio": 0.5, "name": "x", "is_there": False, "none": None}},
        {"facts": {"names": ["a", {"b": ("c", 1)}], "outcome": Outcome.PASSED}},
        {"attempts": (ATTEMPT, Attempt("other", "refused", error="no"))},
        {"attempts": (ATTEMPT,), "facts": {"names": ["a"]}},
    ],
)
def test_the_json_of_a_finding_is_what_dataclasses_make_of_it(more):
    base = {"check": "a.b", "nodeid": "n", "title": "t", "area": "a", "severity": "error"}
    finding = Finding(**{**base, "outcome": "passed", **more})
    assert finding.to_json() == asdict(finding)
    assert list(finding.to_json()) == list(asdict(finding))
    assert repr(finding.to_json()) == repr(asdict(finding))  # 1 is not True, a tuple no list


def test_who_changes_the_json_does_not_change_the_finding():
    nested = {"names": ["a"]}
    for facts in ({"bytes": 1}, nested):
        finding = Finding("a.b", "n", "t", "a", "error", "failed", facts=facts, attempts=())
        plain = finding.to_json()
        plain["facts"]["more"] = 2
        plain["facts"].get("names", []).append("b")
        assert "more" not in finding.facts
    assert nested == {"names": ["a"]}
