"""How good the forecasts are: true warnings, false alarms and lead times on many series.

``python benchmarks/prediction_backtest.py [SEEDS] [--json]``. Three methods see the same values:
ours; ours without its track record; and least squares (`statistics.linear_regression`, as
Prometheus' predict_linear) through the same windows with the same reach. A warning is right if
what it says happens, in a third to three times of the time it says or within five minutes of it;
it is a false alarm if that has not happened until then. What comes sooner than said is neither.
Downloads that end are rated by how far the forecast of their end is off.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from prediction_series import Series, recorded, synthetic

from modelmedic.monitor import prediction
from modelmedic.monitor.announced import Announced
from modelmedic.monitor.prediction import LEAST_POINTS, Predictor

METHODS = ("ours", "without the track record", "least squares")
LEAST_LEAD_SECONDS = 60.0  # a warning that comes later is none
RIGHT_RATIO, RIGHT_SECONDS = 3.0, 300.0
EPOCH = 1_000_000_000.0


@dataclass(slots=True)
class Told:
    """What a method told of one series: the warnings that were right, and how many were false."""

    lead_seconds: float | None = None  # of the first right warning
    false_alarms: int = 0  # rows of false warnings without a pause
    _was_false: bool = False

    def take(self, now: float, arrival: float | None, event_at: float | None) -> None:
        """Take what was told at a moment; None: nothing."""
        if arrival is None:
            self._was_false = False
            return
        ahead = max(arrival - now, 1.0)
        left = math.inf if event_at is None else event_at - now
        is_near = abs(ahead - left) <= RIGHT_SECONDS
        is_false = left > ahead * RIGHT_RATIO and not is_near
        self.false_alarms += is_false and not self._was_false
        self._was_false = is_false
        is_right = not is_false and (is_near or left >= ahead / RIGHT_RATIO)
        if is_right and self.lead_seconds is None and left >= LEAST_LEAD_SECONDS:
            self.lead_seconds = left


@dataclass(slots=True)
class Row:
    """The sums of one sort of series for one method."""

    series: int = 0
    events: int = 0
    warned: int = 0
    with_false_alarm: int = 0
    false_alarms: int = 0
    hours: float = 0.0
    leads: list[float] = field(default_factory=list)

    def take(self, series: Series, told: Told) -> None:
        """Count a series."""
        self.series += 1
        self.events += series.event_at is not None
        self.warned += told.lead_seconds is not None
        self.with_false_alarm += told.false_alarms > 0
        self.false_alarms += told.false_alarms
        self.hours += series.points[-1][0] / 3600
        self.leads += [] if told.lead_seconds is None else [told.lead_seconds]

    def figures(self) -> dict[str, float | None]:
        """Return what is printed."""
        return {
            "series": self.series,
            "events": self.events,
            "warned_ratio": self.warned / self.events if self.events else None,
            "false_alarm_ratio": self.with_false_alarm / max(self.series, 1),
            "false_alarms_per_day": 24 * self.false_alarms / max(self.hours, 1e-9),
            "median_lead_seconds": statistics.median(self.leads) if self.leads else None,
        }


def main() -> int:
    """Print the figures; return 1 when ours has more false alarms than least squares."""
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    seeds = int(words[0]) if words else 10
    rows: dict[str, dict[str, Row]] = defaultdict(lambda: {name: Row() for name in METHODS})
    downloads = {}
    for series in (*synthetic(seeds), *recorded()):
        if series.kind == "download_finish":
            downloads[series.name] = finish_errors(series)
            continue
        for method, told in judged(series).items():
            rows[series.name][method].take(series, told)
    if "--json" in sys.argv:
        print(json.dumps({
            "warnings": {name: {m: row.figures() for m, row in each.items()}
                         for name, each in rows.items()},
            "downloads": downloads,
        }))  # fmt: skip
    else:
        _print(rows, downloads)
    total = {m: sum(each[m].with_false_alarm for each in rows.values()) for m in METHODS}
    return int(total["ours"] > total["least squares"])


def judged(series: Series) -> dict[str, Told]:
    """Return what each method told of a series."""
    ours = Predictor(series.kind, series.name, series.limit)
    told = {name: Told() for name in METHODS}
    peer = LeastSquares(ours)
    work = (
        [Announced("a download", series.announced_bytes, "/", EPOCH, 1)]
        if series.announced_bytes
        else []
    )
    for at, value in series.points:
        now, event = EPOCH + at, None if series.event_at is None else EPOCH + series.event_at
        ours.add(now, value)
        issue = ours.issue(now, work)
        told["ours"].take(now, issue.expected_at[1] if issue and issue.expected_at else None, event)
        if not work:  # what is held back is held back without a record, too
            free = ours.unproven(now)
            told[METHODS[1]].take(now, free.likely_at if free else None, event)
        told[METHODS[2]].take(now, peer.arrival(now), event)
    return told


class LeastSquares:
    """Least squares through the points of the same windows, with the same reach."""

    def __init__(self, ours: Predictor) -> None:
        self._ours = ours
        self._known: dict[int, tuple[float, float | None]] = {}

    def arrival(self, now: float) -> float | None:
        """Return when the limit will be reached; None: beyond the reach."""
        found = [
            arrival
            for number, window in enumerate(self._ours._windows)  # noqa: SLF001
            if (arrival := self._of(number, window)) is not None and arrival > now - 60
        ]
        return min(found, default=None)

    def _of(self, number: int, window: prediction.Window) -> float | None:
        points = list(window.points)
        if len(points) < LEAST_POINTS:
            return None
        last = points[-1][0]
        if self._known.get(number, (None, None))[0] != last:
            self._known[number] = (last, self._fitted(points))
        return self._known[number][1]

    def _fitted(self, points: list[tuple[float, float]]) -> float | None:
        last, kind = points[-1][0], self._ours.kind
        slope, base = statistics.linear_regression(
            [at - last for at, _ in points], [value for _, value in points]
        )
        gap = self._ours.limit - base
        if slope * kind.direction <= 0 or gap * kind.direction <= 0:
            return None
        ahead = gap / slope
        reach = min(kind.horizon_seconds, kind.reach_windows * (last - points[0][0]))
        return last + ahead if ahead <= reach else None


def finish_errors(series: Series) -> dict[str, float | None]:
    """Return the median error of the forecast end of a download, in parts of what is left."""
    ours = Predictor(series.kind, series.name, series.limit)
    peer = LeastSquares(ours)
    ends = EPOCH + series.points[-1][0]
    off: dict[str, list[float]] = {"ours": [], "least squares": [], "mean speed so far": []}
    for at, value in series.points[:-1]:
        now = EPOCH + at
        ours.add(now, value)
        forecast = ours.forecast(now)
        if forecast is None or ends - now < 10:
            continue
        mean = now + (series.limit - value) * at / value
        for name, end in (
            ("ours", forecast.likely_at), ("least squares", peer.arrival(now)),
            ("mean speed so far", mean),
        ):  # fmt: skip
            off[name] += [] if end is None else [abs(end - ends) / (ends - now)]
    return {name: statistics.median(each) if each else None for name, each in off.items()} | {
        "told": len(off["ours"]),
        "looks": len(series.points),
    }


def _print(rows: dict[str, dict[str, Row]], downloads: dict[str, dict[str, float | None]]) -> None:
    print(f"{'series':30} {'n':>3}  {'method':26} {'warned':>7} {'median lead':>12} "
          f"{'false alarms':>13} {'a day':>6}")  # fmt: skip
    for name, each in (*rows.items(), *_sums(rows)):
        for number, (method, row) in enumerate(each.items()):
            figures = row.figures()
            head = f"{name:30} {row.series:3}" if number == 0 else " " * 34
            print(f"{head}  {method:26} {_percent(figures['warned_ratio']):>7} "
                  f"{_minutes(figures['median_lead_seconds']):>12} "
                  f"{_percent(figures['false_alarm_ratio']):>13} "
                  f"{figures['false_alarms_per_day']:6.1f}")  # fmt: skip
    for name, found in downloads.items():
        print(f"{name}: told at {found.pop('told')} of {found.pop('looks')} looks; the end is off "
              "by "
              + ", ".join(f"{_percent(value)} ({method})" for method, value in found.items())
              + " of what is left (median)")  # fmt: skip


def _sums(rows: dict[str, dict[str, Row]]) -> Iterable[tuple[str, dict[str, Row]]]:
    def total(is_wanted: Callable[[str], bool]) -> dict[str, Row]:
        found = {name: Row() for name in METHODS}
        for name, each in rows.items():
            for method, row in each.items():
                if is_wanted(name):
                    for key in Row.__slots__:
                        value = getattr(found[method], key) + getattr(row, key)
                        setattr(found[method], key, value)
        return found

    yield "all synthetic", total(lambda name: not name.startswith("recorded"))
    yield "all recorded", total(lambda name: name.startswith("recorded"))


def _percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.0%}"


def _minutes(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds / 60:.1f} min"


if __name__ == "__main__":
    sys.exit(main())
