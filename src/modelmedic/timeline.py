"""Where the time of a run went: each check as a bar, the longest by name, as inline SVG."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelmedic.findings import Outcome
from modelmedic.text import counted, duration

_WIDE = 1000  # units of the drawing; it is stretched to the width of the page
_HIGH = 14
_MOST_BARS = 300  # drawn; more would be thinner than a pixel
_MOST_LANES = 8  # checks at a time: workers of xdist
_MOST_NAMED = 12
_LEAST_SECONDS = 0.1  # shorter is not worth a name
_COLOURS = frozenset(outcome.value for outcome in Outcome)


@dataclass(frozen=True, slots=True)
class Bar:
    """One check in time; ``repair_seconds`` is the part that recoveries took, at its end."""

    finding: Mapping[str, Any]
    started: float
    seconds: float
    repair_seconds: float

    @property
    def end(self) -> float:
        """Return when it ended, in seconds after the run began."""
        return self.started + self.seconds


@dataclass(frozen=True, slots=True)
class Timeline:
    """What the page shows. ``named`` are the longest checks, longest first, each with its bar."""

    overview: str
    whole_seconds: float
    told: str
    named: tuple[tuple[Bar, str], ...]
    has_repairs: bool


def of(findings: Iterable[Mapping[str, Any]], whole_seconds: float) -> Timeline | None:
    """Return the timeline of a run; None when no finding says when its check began.

    Args:
        findings: Of a run record; older ones have no times.
        whole_seconds: How long the run took.
    """
    bars = sorted((bar for f in findings if (bar := _bar(f))), key=lambda bar: bar.started)
    if not bars:
        return None
    whole = max(whole_seconds, 0.001, *(bar.end for bar in bars))
    longest = sorted(bars, key=lambda bar: -bar.seconds)
    named = [bar for bar in longest[:_MOST_NAMED] if bar.seconds >= _LEAST_SECONDS]
    return Timeline(
        _overview(bars, set(map(id, longest[:_MOST_BARS])), whole),
        whole,
        _told(bars, named, whole),
        tuple((bar, _drawing(_rects([(0, bar)], whole), 1)) for bar in named),
        any(bar.repair_seconds for bar in bars),
    )


def _bar(finding: Mapping[str, Any]) -> Bar | None:
    started, seconds = finding.get("started"), finding.get("seconds")
    if started is None or seconds is None:
        return None
    tried = sum(attempt["seconds"] for attempt in finding["attempts"])
    return Bar(finding, started, seconds, min(tried, seconds))


def _told(bars: Sequence[Bar], named: Sequence[Bar], whole: float) -> str:
    """Return in words what the drawing shows, for who does not see it."""
    first, last = bars[0].started, max(bar.end for bar in bars)
    parts = [f"{counted(len(bars), 'check')} in {duration(whole)}."]
    if first >= _LEAST_SECONDS:
        parts.append(f"The first began after {duration(first)}.")
    if whole - last >= _LEAST_SECONDS:
        parts.append(f"The last ended {duration(whole - last)} before the run did.")
    if not named:
        parts.append(f"None took longer than {duration(_LEAST_SECONDS)}.")
    rest = _others(bars, named)
    if named and rest:
        spent = duration(sum(bar.seconds for bar in rest))
        parts.append(f"The {len(rest)} that are not named took {spent} together.")
    return " ".join(parts)


def _others(bars: Sequence[Bar], named: Sequence[Bar]) -> list[Bar]:
    """Return the bars that are not named."""
    known = set(map(id, named))
    return [bar for bar in bars if id(bar) not in known]


def _overview(bars: Sequence[Bar], drawn: set[int], whole: float) -> str:
    ends: list[float] = []
    placed: list[tuple[int, Bar]] = []
    for bar in bars:
        lane = next((n for n, end in enumerate(ends) if end <= bar.started + 0.001), len(ends))
        if lane == len(ends) and lane < _MOST_LANES:
            ends.append(0.0)
        lane = min(lane, _MOST_LANES - 1)
        ends[lane] = bar.end
        if id(bar) in drawn:
            placed.append((lane, bar))
    return _drawing(_rects(placed, whole), len(ends))


def _rects(placed: Iterable[tuple[int, Bar]], whole: float) -> str:
    return "".join(part for lane, bar in placed for part in _rect(lane, bar, whole))


def _rect(lane: int, bar: Bar, whole: float) -> Iterable[str]:
    outcome = bar.finding["outcome"]
    colour = outcome if outcome in _COLOURS else "skipped"
    own = bar.seconds - bar.repair_seconds
    yield _box(lane, bar.started, own if bar.repair_seconds else bar.seconds, colour, whole)
    if bar.repair_seconds:
        yield _box(lane, bar.started + own, bar.repair_seconds, "repair", whole)


def _box(lane: int, started: float, seconds: float, colour: str, whole: float) -> str:
    left, wide = _WIDE * started / whole, max(_WIDE * seconds / whole, 1)
    left = min(left, _WIDE - wide)
    return (
        f'<rect class="mm-bar-{colour}" x="{left:.1f}" y="{lane * _HIGH + 1}" '
        f'width="{wide:.1f}" height="{_HIGH - 2}"/>'
    )


def _drawing(rects: str, lanes: int) -> str:
    """Return a drawing that says nothing to a screen reader: the words beside it say it all."""
    high = lanes * _HIGH
    return (
        f'<svg class="mm-bars" aria-hidden="true" viewBox="0 0 {_WIDE} {high}" '
        f'height="{high}" preserveAspectRatio="none">{rects}</svg>'
    )
