"""The small line chart: what it draws, what it says, and what a stranger may put into it."""

from __future__ import annotations

import math
import random
import re
import xml.etree.ElementTree as ET

import pytest

from modelmedic import sparkline

EVIL = '</title><script>x</script>"\x1b[31m\n\u202e' + "=1+1" * 100_000


def parts(text: str) -> tuple[str, str, str]:
    """Return title, description and path of a chart; it is well-formed by that."""
    root = ET.fromstring(text)
    path = root.find("path")
    assert root.get("role") == "img"
    return (
        root.findtext("title", ""),
        root.findtext("desc", ""),
        "" if path is None else path.get("d", ""),
    )


def places(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+),(-?[\d.]+)", path)]


def test_a_rising_line_rises_from_edge_to_edge_and_is_told_in_words():
    title, told, path = parts(sparkline.svg([(0, 0), (1, 50), (2, 100)], label="CPU", unit="%"))
    assert (title, told) == ("CPU", "from 0 % to 100 %, last 100 %")
    assert places(path) == [(2, 38), (120, 20), (238, 2)]


def test_given_ends_keep_small_changes_small():
    _title, _told, path = parts(sparkline.svg([(0, 49), (1, 51)], label="", low=0, high=100))
    ys = [y for _x, y in places(path)]
    assert 18 < ys[1] < ys[0] < 22


def test_a_gap_parts_the_line_and_a_lone_value_is_a_dot():
    points = [(0, 1), (1, 2), (2, None), (3, math.nan), (4, 3)]
    assert parts(sparkline.svg(points, label="x"))[2].count("M") == 2
    assert parts(sparkline.svg([(5, 1)], label="x"))[2].endswith("h0")


@pytest.mark.parametrize("points", [[], [(0, None)], [(math.inf, 1)], [(10**400, 1)]])
def test_without_a_value_it_has_no_line_and_says_so(points):
    assert parts(sparkline.svg(points, label="x"))[1:] == ("no value", "")


def test_bounded_whatever_comes_and_peaks_stay():
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    points = [(at, chance.random()) for at in range(100_000)]
    points[chance.randrange(100_000)] = (points[0][0], 1000.0)
    text = sparkline.svg(points, label=EVIL, unit=EVIL)
    assert len(text) < 12_000, f"seed {seed}"
    assert min(y for _x, y in places(parts(text)[2])) == 2, f"seed {seed}"
    assert "<script" not in text


def test_numbers_no_machine_has_are_still_drawn_inside_the_frame():
    points = [(-1e308, -1e308), (0, 10**400), (1e308, 1e308)]
    text = sparkline.svg(points, label="x", unit="bytes")
    assert len(text) < 1000
    assert all(0 <= x <= 240 and 0 <= y <= 40 for x, y in places(parts(text)[2]))


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [(1536, "bytes", "1.5 KiB"), (2**20, "bytes/s", "1.0 MiB/s"), (0.257, "s", "0.257 s"),
     (1234.5, "", "1,234"), (0, "%", "0 %"), (7, "\x1b", "7 \\x1b")],
)  # fmt: skip
def test_amounts_are_told_with_their_unit(value, unit, said):
    assert sparkline.amount(value, unit) == said
