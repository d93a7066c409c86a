"""Every recovery of ours keeps every promise of the kit; none is without a case."""

from __future__ import annotations

import pytest
from conformance_cases import CASES

from modelmedic import rooms
from modelmedic.healing.registry import Recovery
from modelmedic.testing.conformance import conformance

for _case in CASES:
    globals()[f"test_{_case.recovery}"] = conformance(_case)
    globals()[f"test_{_case.recovery}_in_full"] = pytest.mark.slow(conformance(_case, full=True))


def test_every_recovery_has_a_case():
    entries = [
        entry
        for module in rooms.load_all("recoveries")
        for value in vars(module).values()
        if isinstance(entry := getattr(value, "recovery", None), Recovery)
    ]
    cases = {case.recovery for case in CASES}
    assert {entry.name for entry in entries} == cases, "add a Case in conformance_cases.py"
