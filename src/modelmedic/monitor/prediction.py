"""When a disk, a memory or a table of open files will be full, and when a download will be done.

A forecast is told only if all of this holds: the 95 % interval of the robust slope excludes 0
and points at the limit; the last quarter of the window still moves (a step or a ramp that has
ended does not); the likely arrival lies within the horizon and within a few windows (no trend of
five minutes says anything about tomorrow), and the latest within three times that; the forecasts
of that window beat the naive guesses on their own past, and the series does not usually turn back
from there (`modelmedic.monitor.track_record`). Windows of different length watch each series; of
those that tell, the one with the earliest arrival speaks.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence

from modelmedic.monitor import forecast_words as words
from modelmedic.monitor.announced import Announced
from modelmedic.monitor.forecast_words import Forecast, Kind
from modelmedic.monitor.interfaces import PotentialIssue
from modelmedic.monitor.slopes import Slope, median, theil_sen
from modelmedic.monitor.track_record import TrackRecord, TurningPoints

POINTS = 60  # of a window; a slope of them takes half a millisecond
LEAST_POINTS = 12  # to tell anything
_LEAST_JUDGED_POINTS = 8  # to forecast something that is judged, but not told
# How far ahead a forecast is judged, in parts of its window: far enough that "it stays" is wrong
# when there is a trend, near enough to be judged before the disk is full.
_AHEAD_RATIO = 1 / 4
_MOST_UNSURE = 3.0  # the latest arrival is at most this many times as far away as the likely one
_STILL_MOVING_RATIO = 1 / 3  # of the slope, that its last quarter must still have
_FAR = 3.0  # times as far as is told: no slope is computed for what is further away
_SLACK_RATIO, _SLACK_BYTES = 0.05, 64 << 20  # of an announced download: logs, other programs
_GAP_BUCKETS = 5.0  # a pause this long (a sleeping laptop) ends a window


class Window:
    """Medians of equal spans of a series, the slopes through them, and how well those did.

    Args:
        bucket_seconds: Length of a span.
        reach_windows: How far ahead is told, in lengths of the window.
    """

    __slots__ = ("_bucket", "_ends", "_far_windows", "bucket_seconds", "points", "record", "slope")

    def __init__(self, bucket_seconds: float, reach_windows: float = 2.0) -> None:
        self._far_windows = _FAR * reach_windows
        self.bucket_seconds = bucket_seconds
        self.points: deque[tuple[float, float]] = deque(maxlen=POINTS)
        self.record = TrackRecord()
        self.slope: Slope | None = None  # of the points, if they still move to the limit
        self._bucket: list[tuple[float, float]] = []
        self._ends = -math.inf

    def add(self, at: float, value: float, limit: float) -> None:
        """Take a value; one that is a little late is passed over, a clock set back begins anew.

        Args:
            at: Seconds since the epoch.
            value: What was measured.
            limit: Whose arrival is of interest: what is far from it costs next to nothing.
        """
        if self._bucket and at < self._bucket[-1][0]:
            if self._bucket[-1][0] - at <= _GAP_BUCKETS * self.bucket_seconds:
                return
            self.clear()
        if at >= self._ends:
            if self._bucket:
                self._close(limit)
            if at - self._ends > _GAP_BUCKETS * self.bucket_seconds:
                self.clear()
            self._ends = at + self.bucket_seconds
        if len(self._bucket) < POINTS:
            self._bucket.append((at, value))
        else:  # faster than anybody samples: the newest replace one another
            self._bucket[-1] = (at, value)

    def clear(self) -> None:
        """Forget the points: what comes has nothing to do with them. The record stays."""
        self.points.clear()
        self._bucket.clear()
        self.record.drop_open()
        self.slope = None
        self._ends = -math.inf

    def _close(self, limit: float) -> None:
        at, value = self._bucket[-1][0], median([value for _at, value in self._bucket])
        at = (self._bucket[0][0] + at) / 2
        self._bucket.clear()
        self.points.append((at, value))
        self.record.settle(at, value)
        slope = _slope_towards(self.points, limit, self._far_windows)
        if slope is not None:
            self._note(slope, at, value)
        self.slope = slope if slope and _is_told(slope, self.points) else None

    def _note(self, slope: Slope, at: float, value: float) -> None:
        ahead = max(self.bucket_seconds, slope.seconds * _AHEAD_RATIO)
        before_at, before = self.points[-2]
        rate = (value - before) / (at - before_at) if at > before_at else 0.0
        self.record.note(
            at + ahead,
            from_line=slope.intercept_at(at + ahead),
            from_value=value + slope.per_second * ahead,
            stays=value,
            lately=_parts(self.points, 3)[-1][1],
            rate=value + rate * ahead,
        )


class Predictor:
    """Forecasts one series against its limit; bounded memory (about 40 KB).

    Args:
        kind: Name of an entry of `modelmedic.monitor.forecast_words.KINDS`: "disk_full",
            "memory_leak", "memory_full", "vram_leak", "open_files" or "download_finish".
        series: Name of the series, as "disk.free_bytes[/models]".
        limit: What is reached: 0 for free bytes, else the most there is; may be set anew.
        subject: What people call it: "/models", "process 4711 (python)"; empty: the series.
    """

    def __init__(self, kind: str, series: str, limit: float, *, subject: str = "") -> None:
        self.kind: Kind = words.KINDS[kind]
        self.series = series
        self.limit = limit
        self.subject = subject or series
        self._windows = tuple(
            Window(each, self.kind.reach_windows) for each in self.kind.bucket_seconds
        )
        self._turns = TurningPoints()
        self._value: float | None = None
        self._since: float | None = None  # when the present row of forecasts began
        self._expected: dict[tuple[int, float], float] = {}  # value when the work was first seen

    def add(self, at: float, value: float) -> None:
        """Take a value; what is no finite number is passed over."""
        if not (math.isfinite(at) and math.isfinite(value)):
            return
        self._value = value
        self._turns.add(at, abs(self.limit - value))
        for window in self._windows:
            window.add(at, value, self.limit)

    def forecast(self, now: float) -> Forecast | None:
        """Return when the limit will be reached; None: no trend, or none that has proven itself."""
        forecast = self._earliest(now, [each for each in self._windows if each.record.is_better])
        if forecast is None:
            return None
        gap = abs(self.limit - forecast.value)
        self._turns.told(gap, forecast.latest_at)
        return None if self._turns.is_usual(gap) else forecast

    def sentence(self, now: float) -> str:
        """Return the forecast in words, also of what is no trouble: a download; empty for none."""
        forecast = self.forecast(now)
        return words.sentence(self.kind, self.subject, forecast) if forecast else ""

    def unproven(self, now: float) -> Forecast | None:
        """Return what would be forecast without a track record; for back-tests."""
        return self._earliest(now, self._windows)

    def issue(self, now: float, announced: Sequence[Announced] = ()) -> PotentialIssue | None:
        """Return the forecast as what the monitor tells; None when there is nothing to tell.

        Args:
            now: Seconds since the epoch.
            announced: Expected work on this disk (`announced.on_mount`). While it lasts, only
                whether it fits is told, until more was written than announced.
        """
        if self.kind.knows_announced and self._value is not None:
            held, issue = self._of_announced(self._value, now, announced)
            if held:
                self._since = None if issue is None else (self._since or now)
                return issue
        forecast = self.forecast(now) if self.kind.is_trouble else None
        if forecast is None:
            self._since = None
            return None
        self._since = self._since or now
        return words.issue(self.kind, self.series, self.subject, forecast, since=self._since)

    def _earliest(self, now: float, windows: Iterable[Window]) -> Forecast | None:
        found = [each for window in windows if (each := self._of_window(window, now)) is not None]
        return min(found, key=lambda each: each.likely_at, default=None)

    def _of_window(self, window: Window, now: float) -> Forecast | None:
        slope = window.slope
        at, value = max((each.points[-1] for each in self._windows if each.points), default=(0, 0))
        if slope is None or now - at > _GAP_BUCKETS * window.bucket_seconds:
            return None  # no trend, or nobody looks any more
        way = self.kind.direction
        begin = value if window.record.is_value_better else slope.intercept_at(at)
        gap = (self.limit - begin) * way
        slow, likely, fast = sorted(
            each * way for each in (slope.low, slope.per_second, slope.high)
        )
        if gap <= 0 or slow <= 0 or likely > _MOST_UNSURE * slow:
            return None
        if gap / likely > min(self.kind.horizon_seconds, self.kind.reach_windows * slope.seconds):
            return None
        early, expected, late = (max(now, at + gap / speed) for speed in (fast, likely, slow))
        told = str(window.record)
        return Forecast(value, self.limit, slope, early, expected, late, now, told)

    def _of_announced(
        self, value: float, now: float, announced: Sequence[Announced]
    ) -> tuple[bool, PotentialIssue | None]:
        """Return whether the extrapolation is held back, and what is told instead."""
        known = {(each.pid, each.since): each for each in announced}
        if self._expected and not known:  # it has ended, and the trend with it
            for window in self._windows:
                window.clear()
        self._expected = {key: self._expected.get(key, value) for key in known}
        if not known:
            return False, None
        planned = sum(each.planned_bytes for each in announced)
        free_before = max(self._expected.values())
        written = max(0.0, free_before - value)
        if written > planned * (1 + _SLACK_RATIO) + _SLACK_BYTES:
            return False, None
        left = max(0.0, planned - written)
        if left <= value - self.limit:
            return True, None
        return True, words.does_not_fit(
            self.series, self.subject, list(announced), left, value - self.limit, now
        )


def _slope_towards(
    points: deque[tuple[float, float]], limit: float, far_windows: float
) -> Slope | None:
    """Return the slope of a window that goes to a limit which is not far away.

    Nearly always the medians of the thirds say already that it does not, and none is computed.
    """
    if len(points) < _LEAST_JUDGED_POINTS:
        return None
    first, _middle, last = _parts(points, 3)
    overall = (last[1] - first[1]) / (last[0] - first[0])
    gap, span = limit - last[1], points[-1][0] - points[0][0]
    if overall * gap <= 0 or gap / overall > far_windows * span:
        return None
    slope = theil_sen(list(points))
    return slope if slope and slope.per_second * gap > 0 else None


def _is_told(slope: Slope, points: deque[tuple[float, float]]) -> bool:
    """Return whether enough points say it, and the last quarter still goes that way."""
    if len(points) < LEAST_POINTS:
        return False
    before, last = _parts(points, 4)[-2:]
    recent = (last[1] - before[1]) / (last[0] - before[0])
    return recent / slope.per_second >= _STILL_MOVING_RATIO


def _parts(points: deque[tuple[float, float]], count: int) -> list[tuple[float, float]]:
    """Return the medians of so many equal parts; what is left over lies before them."""
    kept, length = list(points), len(points) // count
    parts = [
        kept[len(kept) - length * n : len(kept) - length * (n - 1)] for n in range(count, 0, -1)
    ]
    return [
        (median([at for at, _ in part]), median([value for _, value in part])) for part in parts
    ]
