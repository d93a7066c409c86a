"""Causes come first, blocked checks name their root, components stay together."""

from __future__ import annotations

import pytest

from modelmedic.findings import Outcome
from modelmedic.needs import Need, Needs

A = Need("a", "x.a", None, ("x.b",))
B = Need("b", "x.b", None, ())
C = Need("c", "x.c", None, ("x.a",))
D = Need("d", "x.d", None, ("x.unselected",))
P1 = Need("p[1]", "x.p", "1", ())
P2 = Need("p[2]", "x.p", "2", ())
Q1 = Need("q[1]", "x.q", "1", ("x.p",))
ALL = Need("all", "x.all", None, ("x.p",))


def test_causes_come_before_what_needs_them():
    assert Needs([A, D, C, B]).order() == ["b", "a", "d", "c"]


def test_an_unselected_need_is_not_waited_for():
    assert Needs([A, D]).causes("d") == ()
    assert Needs([A, D]).causes("a") == ()


def test_a_parametrized_need_waits_for_the_same_parameter():
    needs = Needs([P1, P2, Q1, ALL])
    assert needs.causes("q[1]") == ("p[1]",)
    assert needs.causes("all") == ("p[1]", "p[2]")


def test_parameters_of_one_check_stay_together():
    q2 = Need("q[2]", "x.q", "2", ("x.p",))
    assert Needs([Q1, P1, q2, P2]).order() == ["p[1]", "p[2]", "q[1]", "q[2]"]


def test_a_circle_is_refused_by_name():
    with pytest.raises(ValueError, match="in a circle"):
        Needs([A, Need("b", "x.b", None, ("x.a",))]).order()


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.UNKNOWN])
def test_a_blocked_check_names_the_root_cause(outcome):
    needs = Needs([A, B, C])
    outcomes, roots = {"b": outcome}, {}
    assert needs.blocking("a", outcomes, roots) == (Outcome.BLOCKED, "b")
    outcomes["a"], roots["a"] = Outcome.BLOCKED, "b"
    assert needs.blocking("c", outcomes, roots) == (Outcome.BLOCKED, "b")


@pytest.mark.parametrize("outcome", [Outcome.PASSED, Outcome.HEALED, Outcome.DEGRADED])
def test_a_cause_that_holds_blocks_nothing(outcome):
    assert Needs([A, B]).blocking("a", {"b": outcome}, {}) is None


def test_a_skipped_cause_skips_unless_one_of_its_kind_was_judged():
    needs = Needs([A, B, P1, P2, ALL])
    assert needs.blocking("a", {"b": Outcome.SKIPPED}, {}) == (Outcome.SKIPPED, "b")
    half = {"p[1]": Outcome.SKIPPED, "p[2]": Outcome.PASSED}
    assert needs.blocking("all", half, {}) is None
    both = {"p[1]": Outcome.SKIPPED, "p[2]": Outcome.SKIPPED}
    assert needs.blocking("all", both, {}) == (Outcome.SKIPPED, "p[1]")


def test_what_is_connected_by_needs_shares_a_component():
    needs = Needs([A, B, C, D, P1])
    assert needs.component("a") == needs.component("b") == needs.component("c")
    assert len({needs.component(n) for n in ("a", "d", "p[1]")}) == 3
