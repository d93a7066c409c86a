"""Every recovery of ours keeps every promise of the kit; none is without a case."""

from __future__ import annotations

import pytest
from conformance_cases import CASES

from modelmedic import rooms
from modelmedic.testing.conformance import conformance, missing

# They are carried out by the operation of others that run always; minutes each, by -m full.
FULL_ONLY = frozenset(
    {
        "fall_back_to_consistent_set",
        "install_from_alternative_index",
        "install_from_wheelhouse",
        "install_missing_package",
        "recreate_environment",
        "settle_duplicates",
    }
)

for _case in CASES:
    _when = pytest.mark.full if _case.recovery in FULL_ONLY else pytest.mark.slow
    globals()[f"test_{_case.recovery}"] = _when(conformance(_case))
    globals()[f"test_{_case.recovery}_in_full"] = pytest.mark.full(conformance(_case, full=True))


def test_every_recovery_has_a_case():
    room = rooms.load_all("recoveries")
    assert missing(room, CASES) == [], "add a Case in conformance_cases.py"
    assert missing(room, CASES[1:]) == [CASES[0].recovery]


def test_every_case_is_of_a_recovery_and_of_one_only():
    names = [case.recovery for case in CASES]
    assert len(set(names)) == len(names)
    assert sorted(names) == missing(rooms.load_all("recoveries"), ())
