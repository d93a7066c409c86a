"""A word-sized line chart as inline SVG: reads in mail, in print, with scripts off, read aloud."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence

from modelmedic.text import size, visible

_MOST_LABEL = 120  # characters; a longer name is cut
_MOST_DIGITS = 1e18  # more is no reading of a machine
_PAD = 2.0  # pixels round the line, so that its stroke is not cut

Point = tuple[float, float]


def svg(
    points: Iterable[Sequence[float | None]],
    *,
    label: str,
    unit: str = "",
    width: int = 240,
    height: int = 40,
    low: float | None = None,
    high: float | None = None,
) -> str:
    """Return a chart as one ``<svg>`` element that is safe in any page; its colour is the text's.

    Its size is bounded by ``width``, however many points there are: of each column of pixels the
    lowest and the highest stay.

    Args:
        points: Pairs of seconds (or any growing number) and value, in any order. A value that is
            None or not finite is a gap in the line.
        label: What is shown, in words; it may come from a stranger.
        unit: "bytes", "bytes/s", "%", or any text that follows a number.
        width: In pixels.
        height: In pixels.
        low: Value at the lower edge; None: the lowest there is.
        high: Value at the upper edge; None: the highest there is.

    Returns:
        The element. Without any value it has no line, and says so.
    """
    parts = _parts(points)
    told = [value for part in parts for _at, value in part]
    name, words = html.escape(_clipped(label)), html.escape(_summary(told, unit))
    drawn = _path(parts, told, (width, height), (low, high)) if told else ""
    line = (
        f'<path vector-effect="non-scaling-stroke" class="mm-spark-line" d="{drawn}"/>'
        if drawn
        else ""
    )
    return (
        f'<svg class="mm-spark" role="img" width="{width:d}" height="{height:d}" '
        f'viewBox="0 0 {width:d} {height:d}" fill="none" stroke="currentColor" stroke-width="1.5" '
        f'preserveAspectRatio="none" stroke-linejoin="round" stroke-linecap="round">'
        f"<title>{name}</title><desc>{words}</desc>{line}</svg>"
    )


def words(points: Iterable[Sequence[float | None]], unit: str = "") -> str:
    """Return what the chart of these points says, for whoever does not see it."""
    return _summary([value for part in _parts(points) for _at, value in part], unit)


def amount(value: float, unit: str) -> str:
    """Return a value with its unit as people read it: "1.5 GiB", "3.0 MiB/s", "42 %"."""
    if unit in {"bytes", "bytes/s"} and abs(value) < _MOST_DIGITS:
        return size(value) + unit.removeprefix("bytes")
    if unit == "%":
        value = round(value, 1)
    is_plain = 100 <= abs(value) < _MOST_DIGITS or value == 0  # noqa: PLR2004 - tenths do not matter there
    number = f"{value:,.0f}" if is_plain else f"{value:.3g}"
    return f"{number} {_clipped(unit)}".strip()


def _summary(values: Sequence[float], unit: str) -> str:
    if not values:
        return "no value"
    low, high, last = (amount(value, unit) for value in (min(values), max(values), values[-1]))
    return f"from {low} to {high}, last {last}" if low != high else f"{last} throughout"


def _clipped(text: str) -> str:
    short = text if len(text) <= _MOST_LABEL else f"{text[: _MOST_LABEL - 1]}…"
    return " ".join(visible(short).split())


def _parts(points: Iterable[Sequence[float | None]]) -> list[list[Point]]:
    """Return the points in order of time, parted where a value is missing."""
    parts: list[list[Point]] = [[]]
    pairs = [(at, _number(value)) for when, value in points if (at := _number(when)) is not None]
    for at, value in sorted(pairs, key=lambda pair: pair[0]):
        if value is None:
            parts.append([])
        else:
            parts[-1].append((at, value))
    return [part for part in parts if part]


def _number(value: float | None) -> float | None:
    """Return a finite number or None: a stranger's JSON may hold one of a thousand digits."""
    try:
        number = math.nan if value is None else float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _path(
    parts: Sequence[Sequence[Point]],
    values: Sequence[float],
    box: tuple[int, int],
    ends: tuple[float | None, float | None],
) -> str:
    """Return the line as SVG path data; a lone point becomes a dot."""
    first, last = parts[0][0][0], parts[-1][-1][0]
    edges = [*values, *(end for end in ends if end is not None)]
    low, high = min(edges), max(edges)
    wide, tall = box[0] - 2 * _PAD, box[1] - 2 * _PAD
    drawn: list[str] = []
    for part in parts:
        there = [
            (_PAD + _share(at, first, last) * wide, _PAD + (1 - _share(value, low, high)) * tall)
            for at, value in part
        ]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in _thinned(there))
        drawn.append(f"M{line}" if " " in line else f"M{line}h0")
    return "".join(drawn)


def _share(value: float, low: float, high: float) -> float:
    """Return where a value lies between two, 0 to 1; in the middle when they are one."""
    spread = high / 2 - low / 2  # halves: the difference of two doubles may be infinite
    return (value / 2 - low / 2) / spread if spread > 0 else 0.5


def _thinned(there: Sequence[Point]) -> list[Point]:
    """Return the lowest and the highest point of each column of pixels, in order of time."""
    columns: dict[int, list[Point]] = {}
    for point in there:
        columns.setdefault(int(point[0]), []).append(point)
    kept: list[Point] = []
    for column in columns.values():
        ends = {min(column, key=lambda p: p[1]), max(column, key=lambda p: p[1])}
        kept += sorted(ends, key=column.index)
    return kept
