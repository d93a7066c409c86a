"""Where the time of a run went: bars, lanes, and the longest by name."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from test_report_html import a_finding

from modelmedic import timeline


def timed(
    name: str, started: float, seconds: float, *, repair: float = 0.0, outcome="passed"
) -> dict:
    attempts = [{"seconds": repair}] if repair else []
    return a_finding(name, outcome, started=started, seconds=seconds, attempts=attempts)


def boxes(drawing: str) -> list[tuple[str, float, int, float]]:
    """Return class, left edge, lane and width of each bar."""
    root = ET.fromstring(drawing)
    return [
        (each.get("class", ""), float(each.get("x", "")), int(each.get("y", "")) // 14,
         float(each.get("width", "")))
        for each in root.iter("rect")
    ]  # fmt: skip


def test_bars_lie_where_their_checks_were():
    told = timeline.of([timed("x.a", 0, 50), timed("x.b", 50, 25, outcome="failed")], 100)
    assert boxes(told.overview) == [
        ("mm-bar-passed", 0, 0, 500), ("mm-bar-failed", 500, 0, 250),
    ]  # fmt: skip
    assert told.told == "2 checks in 100 s. The last ended 25 s before the run did."
    assert [bar.finding["check"] for bar, _drawing in told.named] == ["x.a", "x.b"]


def test_a_repair_is_the_end_of_its_bar():
    told = timeline.of([timed("x.a", 0, 10, repair=8, outcome="healed")], 10)
    assert boxes(told.overview) == [("mm-bar-healed", 0, 0, 200), ("mm-bar-repair", 200, 0, 800)]
    assert told.has_repairs


def test_checks_at_the_same_time_lie_in_lanes_of_their_own():
    told = timeline.of([timed("x.a", 0, 9), timed("x.b", 1, 2), timed("x.c", 4, 5)], 10)
    assert [lane for _class, _left, lane, _wide in boxes(told.overview)] == [0, 1, 1]


def test_many_checks_are_bounded_and_the_rest_is_counted():
    found = [timed(f"x.{n}", n / 10, 0.1 + n / 1e6) for n in range(5000)]
    told = timeline.of(found, 500)
    assert len(boxes(told.overview)) == 300
    assert len(told.named) == 12
    assert told.named[0][0].finding["check"] == "x.4999"
    assert "The 4988 that are not named took 9 min together." in told.told
    assert len(told.overview) < 40_000


def test_a_thousand_at_a_time_stay_in_eight_lanes_inside_the_drawing():
    told = timeline.of([timed(f"x.{n}", 99.99, 1e9) for n in range(1000)], 1)
    drawn = boxes(told.overview)
    assert {lane for _class, _left, lane, _wide in drawn} == set(range(8))
    assert all(left >= 0 and left + wide <= 1000.1 for _class, left, _lane, wide in drawn)


def test_short_checks_are_not_named_and_that_is_said():
    told = timeline.of([timed("x.a", 0.01, 0.02)], 0.05)
    assert told.named == ()
    assert told.told.endswith("None took longer than 0.1 s.")


def test_without_times_there_is_no_timeline():
    assert timeline.of([a_finding(), timed("x", 0, 1) | {"seconds": None}], 5) is None


def test_a_drawing_holds_numbers_and_names_of_ours_alone():
    evil = timed('"><script>', 0, 1, outcome="passed")
    assert not re.search("script", timeline.of([evil], 1).overview)
