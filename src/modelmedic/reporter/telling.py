"""Reports and trends in plain words, for a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from modelmedic.reporter.clipping import clipped
from modelmedic.reporter.interfaces import Effect, InstallationReport, Trend, TrendAnalysis
from modelmedic.reporter.trends import SHARES
from modelmedic.text import counted, duration, printable, size

_MOST_CAUSES = 20
_MOST_LETTERS = 1_000  # of one line
_MOST_LINES = 20  # of any other part; --json has them all


def report_text(report: InstallationReport) -> str:
    """Return an installation report for people; every text from outside is on one line."""
    return "\n".join(_report_lines(report)) + "\n"


def trends_text(analysis: TrendAnalysis) -> str:
    """Return a trend analysis for people."""
    return "\n".join(_analysis_lines(analysis)) + "\n"


def _report_lines(report: InstallationReport) -> Iterator[str]:
    if report.run_id:
        folder = f" in {printable(report.folder)}" if report.folder else ""
        yield f"{printable(report.profile)}{folder} on {printable(report.machine)}"
    yield printable(report.verdict)
    if not report.run_id:
        return
    counts = ", ".join(f"{n} {printable(name)}" for name, n in report.counts.items() if n)
    yield (
        f"Newest of {counted(report.runs, 'run')}: {printable(report.run_id)}, "
        f"{_minute(report.at)}: {counts or 'no check'}."
    )
    yield from _causes(report)
    yield from _part("Changed between the last good run and the first bad one", report.changed)
    yield from _part("Repairs on this machine", map(_effect, report.effects))
    yield from _part("Patterns", (pattern.text for pattern in report.patterns))
    yield from _part("Suggestions", report.suggestions)


def _analysis_lines(analysis: TrendAnalysis) -> Iterator[str]:
    yield (
        f"From {_minute(analysis.since)} to {_minute(analysis.until)}: "
        f"{counted(analysis.runs, 'run')}."
    )
    yield from _part("Trends", map(_trend, analysis.trends))
    yield from _part("Repairs", map(_effect, analysis.effects))
    yield from _part("Patterns", (pattern.text for pattern in analysis.patterns))
    yield from _part("Suggestions", analysis.suggestions)


def _causes(report: InstallationReport) -> Iterator[str]:
    if not report.causes:
        return
    yield ""
    yield "Wrong now"
    for cause in report.causes[:_MOST_CAUSES]:
        since = time.strftime("%Y-%m-%d", time.gmtime(cause["since"]))
        waits = f", {counted(cause['blocks'], 'check waits', 'checks wait')} on it"
        yield (
            f"- {printable(cause['check'])}: {printable(cause['outcome'])} since {since}"
            f"{waits if cause['blocks'] else ''}"
        )
        yield from (f"  {_line(cause[key])}" for key in ("what", "why") if cause[key])
        if cause["next"]:
            yield f"  Next: {_line(cause['next'])}"
    if len(report.causes) > _MOST_CAUSES:
        yield f"- and {len(report.causes) - _MOST_CAUSES} more"


def _part(title: str, lines: Iterable[str]) -> Iterator[str]:
    shown = [_line(line) for line in lines]
    if shown:
        yield ""
        yield title
        yield from (f"- {line}" for line in shown[:_MOST_LINES])
    if len(shown) > _MOST_LINES:
        yield f"- and {len(shown) - _MOST_LINES} more; --json has all"


def _effect(effect: Effect) -> str:
    low, high = effect.interval
    of = f" on {printable(effect.category)}" if effect.category else ""
    took = effect.median_seconds
    return (
        f"{printable(effect.recovery)}{of}: worked {effect.healed} of "
        f"{counted(effect.tries, 'time')} (95 % interval {low:.0%} to {high:.0%})"
        f"{f', median {duration(took)}' if took is not None else ''}"
    )


def _trend(trend: Trend) -> str:
    unit = "share" if trend.name in SHARES else trend.unit
    newest = _value(trend.points[-1][1], unit) if trend.points else "no value"
    text = f"{printable(trend.name)}: {newest}, {counted(len(trend.points), 'point')}"
    if trend.slope_per_day is None:
        return f"{text}; too few for a trend"
    if trend.direction == "none" or trend.interval is None:
        return f"{text}; no trend"
    low, high = (_value(end, unit) for end in sorted(map(abs, trend.interval)))
    per_day = _value(abs(trend.slope_per_day), unit)
    return f"{text}; {trend.direction} by {per_day} a day (95 % interval {low} to {high})"


def _value(value: float, unit: str) -> str:
    if unit == "bytes":
        return size(value)
    if unit == "share":
        return f"{value:.1%}"
    return f"{value:.3g}{f' {unit}' if unit else ''}"


def _minute(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))


def _line(text: str) -> str:
    """Return sentences on one line, longer than a name may be."""
    shown = clipped(text, _MOST_LETTERS)
    return "".join(printable(shown[start : start + 30]) for start in range(0, len(shown), 30))
