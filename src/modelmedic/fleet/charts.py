"""Small charts as inline SVG: columns of days, intervals. Safe markup, no style, no script."""

from __future__ import annotations

import html
from collections.abc import Sequence

from modelmedic.text import visible

_TALL = 28
_COLUMN = 6
_WIDE = 120


def columns(values: Sequence[int], label: str, most: int | None = None) -> str:
    """Return one column a value.

    Args:
        values: None below 0.
        label: What a screen reader says; it may come from a stranger.
        most: The value as tall as the chart; None: the largest there is.
    """
    top = max(most or 0, *values, 1)
    bars = "".join(
        f'<rect x="{_COLUMN * place}" y="{_TALL - tall:.1f}" width="{_COLUMN - 1}" '
        f'height="{tall:.1f}"/>'
        for place, value in enumerate(values)
        if (tall := value * (_TALL - 1) / top)
    )
    wide = _COLUMN * max(len(values), 1)
    return _svg("columns", (min(wide, 2 * _WIDE), _TALL), (wide, _TALL), label, bars)


def shares(whole: Sequence[int], part: Sequence[int], label: str) -> str:
    """Return a wide chart: columns of a whole, and of a part of each in front of it."""
    tall, wide = 120, 12
    top = max(*whole, 1)

    def bars(values: Sequence[int], name: str) -> str:
        return "".join(
            f'<rect class="{name}" x="{wide * place + 1}" y="{tall - high:.1f}" '
            f'width="{wide - 2}" height="{high:.1f}"/>'
            for place, value in enumerate(values)
            if (high := value * (tall - 2) / top)
        )

    drawn = bars(whole, "whole") + bars(part, "part")
    size = (wide * max(len(whole), 1), tall)
    return _svg("shares", size, size, label, drawn)


def interval(low: float, middle: float, high: float, label: str, least: float = 0.0) -> str:
    """Return where a value and its interval lie between ``least`` and 1."""
    tall = 14

    def x(value: float) -> float:
        return 4 + (min(max(value, least), 1.0) - least) / (1 - least) * (_WIDE - 8)

    zero = f'<path class="zero" d="M{x(0):.1f},1v{tall - 2}"/>' if least < 0 else ""
    drawn = (
        f'<path class="axis" d="M4,{tall // 2}H{_WIDE - 4}"/>{zero}'
        f'<path class="range" d="M{x(low):.1f},{tall // 2}H{max(x(high), x(low) + 1):.1f}"/>'
        f'<circle cx="{x(middle):.1f}" cy="{tall // 2}" r="4"/>'
    )
    return _svg("interval", (_WIDE, tall), (_WIDE, tall), label, drawn)


def _svg(kind: str, shown: tuple[int, int], box: tuple[int, int], label: str, drawn: str) -> str:
    said = html.escape(visible(" ".join(label.split())[:300]))
    return (
        f'<svg class="chart {kind}" role="img" width="{shown[0]}" height="{shown[1]}" '
        f'viewBox="0 0 {box[0]} {box[1]}" preserveAspectRatio="none">'
        f"<title>{said}</title>{drawn}</svg>"
    )
