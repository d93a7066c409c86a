"""What earlier repairs showed: how often, how long, in which order, and what is not repeated."""

from __future__ import annotations

import pytest
from evidence_support import NOW, entry
from support import make_context

from modelmedic.errors import CannotTell, RecoveryFailed, Unhealthy
from modelmedic.findings import Outcome
from modelmedic.healing.effectiveness import (
    RATE_BYTES,
    RECENT_SECONDS,
    Effectiveness,
    TriedBefore,
    fingerprint,
)
from modelmedic.healing.engine import Applied, Plan
from modelmedic.healing.evidence_log import NAME
from modelmedic.healing.posterior import Posterior
from modelmedic.healing.registry import Recovery
from modelmedic.healing.repair import Repair
from modelmedic.operations.fetch_file import FetchFile
from modelmedic.operations.kinds import MakeDir, SetAside, SetRunEnvironment, WaitForServer


def repair_of(*operations, name="mend", check="try.it[a/b.bin]", risk="safe", error=None):
    recovery = Recovery(name, "system", 50, risk, "quick_repair", "Mends.", lambda: None)
    plan = Plan(name, check, "node", declared_risk=risk, operations=list(operations))
    return Repair(recovery, plan, "a/b.bin", error or Unhealthy("It is broken.", subject="a/b.bin"))


def fetch(size_bytes, path="a/b.bin"):
    return FetchFile(path, size_bytes, "0" * 64, "", ("https://example.invalid/x",), None)


@pytest.fixture
def context(tmp_path):
    (tmp_path / "install").mkdir()
    return make_context(tmp_path / "install")


@pytest.fixture
def known(context):
    return Effectiveness(context, clock=lambda: NOW)


# --- how well it works


def test_how_often_it_worked_is_told_in_words(known):
    assert known.worked("mend") == "no history yet"
    for number in range(44):
        known.log.add(entry(number, verdict="healed" if number < 41 else "failed"))
    assert known.worked("mend") == "worked 41 of 44 times here"
    assert known.posterior("mend") == Posterior(41, 3)
    assert known.worked("other") == "no history yet"


def test_another_platform_says_nothing_about_this_one(known):
    known.log.add(entry(1, system="Plan9"))
    assert known.worked("mend") == "no history yet"


@pytest.mark.parametrize("verdict", ["refused", "not allowed", "interrupted", "planned"])
def test_what_was_not_judged_is_no_evidence(known, verdict):
    repair = repair_of(MakeDir("x"))
    repair.applied = Applied("abc", repair.plan)
    known.record(repair, verdict)
    assert known.worked("mend") == "no history yet"


def test_time_is_told_only_as_measured(known):
    assert known.expected("mend", 0).seconds is None
    for number, seconds in enumerate((1.0, 2.0, 30.0)):
        known.log.add(entry(number, seconds=seconds))
    assert known.expected("mend", 0).seconds == 2.0
    assert known.expected("mend", 100 * RATE_BYTES).seconds is None
    assert known.expected("mend", None).seconds is None
    for number, seconds in enumerate((1.0, 10.0, 100.0)):
        known.log.add(entry(10 + number, seconds=seconds, fetched_bytes=11 * 10 * RATE_BYTES))
    told = known.expected("mend", 22 * RATE_BYTES)
    assert told.seconds == pytest.approx(2.0)
    assert told.source.startswith("at the 11.0 MiB/s measured here on 20")
    assert known.expected("mend", 0).seconds == 2.0


def test_a_measured_time_above_the_limit_makes_a_plan_costly(known):
    known.log.add(entry(1, seconds=100.0, fetched_bytes=10 * RATE_BYTES))
    plan = repair_of(fetch(100 * RATE_BYTES)).plan
    assert plan.risk == "safe"
    known.inform(plan)
    assert plan.risk == "costly"
    assert plan.to_json()["seconds"] == pytest.approx(1000.0)
    assert plan.to_json()["worked"] == "worked 1 of 1 time here"


# --- the order of a chain


def test_risk_goes_before_bytes_before_success_before_the_declared_order(known):
    for number in range(20):
        known.log.add(entry(number, recovery="proven"))
        known.log.add(entry(100 + number, recovery="hopeless", verdict="not healed"))
    costly = repair_of(fetch(2_000_000_000), name="proven")
    large = repair_of(fetch(2_000_000), name="proven")
    unknown = repair_of(fetch(None), name="proven")
    hopeless = repair_of(MakeDir("x"), name="hopeless")
    first, second = (repair_of(MakeDir("x"), name=name) for name in ("new", "newer"))
    proven = repair_of(MakeDir("x"), name="proven")
    chain = [costly, unknown, large, hopeless, first, second, proven]
    assert known.ranked(chain) == [proven, first, second, hopeless, large, unknown, costly]


def test_what_lasts_goes_before_a_cure_for_this_run_however_well_that_worked(known):
    for number in range(20):
        known.log.add(entry(number, recovery="proven"))
        known.log.add(entry(100 + number, recovery="hopeless", verdict="not healed"))
    passing = repair_of(SetRunEnvironment.of({"A": "1"}), name="proven")
    lasting = repair_of(WaitForServer("hub", "http://h", "GET /", (2,)), name="hopeless")
    assert known.ranked([passing, lasting]) == [lasting, passing]


# --- the same state


def test_equal_states_have_equal_fingerprints_and_others_have_not(context, tmp_path):
    one = fingerprint(context, repair_of(SetAside("a/b.bin", (10, 99))))
    assert one == fingerprint(context, repair_of(SetAside("a/b.bin", (10, 99))))
    (tmp_path / "elsewhere").mkdir()
    other_place = make_context(tmp_path / "elsewhere")
    others = [
        fingerprint(context, repair_of(SetAside("a/b.bin", (10, 100)))),
        fingerprint(context, repair_of(SetAside("a/c.bin", (10, 99)))),
        fingerprint(context, repair_of(SetAside("a/b.bin", (10, 99)), check="try.that")),
        fingerprint(context, repair_of(SetAside("a/b.bin", (10, 99)), name="other")),
        fingerprint(context, repair_of(SetAside("a/b.bin", (10, 99)), error=CannotTell("Dark."))),
        fingerprint(other_place, repair_of(SetAside("a/b.bin", (10, 99)))),
    ]
    assert len({one, *others}) == 7


def test_numbers_in_the_words_of_a_check_make_no_other_state(context):
    told = [
        fingerprint(context, repair_of(MakeDir("x"), error=Unhealthy(f"{free} bytes are free.")))
        for free in (1000, 2000)
    ]
    assert told[0] == told[1]


def tried(known, **judged):
    repair = repair_of(MakeDir("x"))
    repair.applied = Applied("abc", repair.plan)
    values = {"outcome": Outcome.FAILED, "error": repair.error, "area": "install"}
    known.record(repair, "not healed", **values | judged)


def test_what_did_not_help_is_not_tried_again_in_the_same_state(context, known):
    tried(known)
    with pytest.raises(TriedBefore, match=r"did not help.*Next: .*type this"):
        known.refuse_tried(repair_of(MakeDir("x")), "type this")
    known.refuse_tried(repair_of(MakeDir("y")), "")
    Effectiveness(context, again=True, clock=lambda: NOW).refuse_tried(repair_of(MakeDir("x")), "")


@pytest.mark.parametrize("later", [RECENT_SECONDS, -1.0], ids=["long-ago", "clock-set-back"])
def test_it_is_tried_again_after_some_days_or_when_the_clock_is_wrong(context, known, later):
    tried(known)
    Effectiveness(context, clock=lambda: NOW + later).refuse_tried(repair_of(MakeDir("x")), "")


@pytest.mark.parametrize(
    "judged",
    [
        {"outcome": Outcome.UNKNOWN},
        {"outcome": None},
        {"error": ConnectionResetError("gone")},
        {"error": TimeoutError("late")},
        {"area": "network"},
        {"area": "disk"},
    ],
)
def test_what_may_be_otherwise_in_an_hour_is_no_reason_to_refuse(known, judged):
    tried(known, **judged)
    assert known.posterior("mend").failures == 1
    known.refuse_tried(repair_of(MakeDir("x")), "")


def failed(known, operation):
    repair = repair_of(operation, check="try.it")
    repair.problem = RecoveryFailed("It broke.")
    known.record(repair, "failed")


def test_changes_that_failed_are_not_tried_again_in_this_run_for_any_check(context, known):
    failed(known, MakeDir("x"))
    with pytest.raises(TriedBefore, match="failed in this run"):
        known.refuse_tried(repair_of(MakeDir("x"), check="try.another"), "")
    Effectiveness(context, clock=lambda: NOW).refuse_tried(repair_of(MakeDir("x")), "")


def test_a_fetch_that_failed_may_be_tried_again_at_once(known):
    failed(known, fetch(1000))
    known.refuse_tried(repair_of(fetch(1000)), "")
    assert known.worked("mend") == "worked 0 of 1 time here"


def test_no_path_and_no_parameter_gets_into_the_log(context, known):
    repair = repair_of(MakeDir("secret/place"))
    repair.applied = Applied("abc", repair.plan, seconds=2.0)
    known.record(repair, "healed", area="weights")
    text = (context.state_dir / NAME).read_text()
    for private in ("secret", "b.bin", str(context.place)):
        assert private not in text
    assert '"check": "try.it"' in text
