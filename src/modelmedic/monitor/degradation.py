"""Lasting changes of response times: when they began, and by how much; lone spikes are none.

Times are judged by their logarithm: twice as slow is the same step at 1 ms and at 10 s. After a
baseline is learned (median and MAD of the first values), two sums are kept of how far the values
lie above and below it (Page's CUSUM, which is the test of Page and Hinkley with a known mean).
What began when the sum last stood at 0 is the change. Source: Page, "Continuous inspection
schemes", 1954; Hinkley, "Inference about the change-point from cumulative sum tests", 1971.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from modelmedic.monitor.interfaces import PotentialIssue
from modelmedic.monitor.slopes import MAD_TO_SIGMA, Ewma, mad, median
from modelmedic.text import duration, printable

LEARN = 20  # values of the baseline. Source: a MAD of fewer is worth little (guide's measurement)
SLACK = 0.75  # what a value lies off the baseline, in its deviations, without counting
CLIP = 4.0  # no value counts for more: a spike alone is far from the bar
BAR = 25.0  # at least eight values in a row, however slow they are
LEAST_RATIO = 1.25  # less than a quarter slower is nobody's trouble
_LEAST_SIGMA = 0.05  # 5 %: a baseline of equal values has a MAD of 0
_LEAST_SECONDS = 1e-6
_RECENT = 64
_HALF_LIFE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Change:
    """A lasting change.

    Args:
        name: What was measured.
        began: When, seconds since the epoch.
        before_seconds: Median of the baseline.
        after_seconds: Median since it began.
        n: How many values since it began.
    """

    name: str
    began: float
    before_seconds: float
    after_seconds: float
    n: int

    @property
    def ratio(self) -> float:
        """Return how many times as long it takes now; below 1 it got faster."""
        return self.after_seconds / self.before_seconds

    @property
    def is_slower(self) -> bool:
        """Return whether it is a degradation."""
        return self.ratio > 1

    def issue(self, command: str = "modelmedic check") -> PotentialIssue:
        """Return it as what the monitor tells."""
        before, after = duration(self.before_seconds), duration(self.after_seconds)
        if before == after:
            before, after = f"{self.before_seconds:.3g} s", f"{self.after_seconds:.3g} s"
        return PotentialIssue(
            key=f"slower[{self.name}]",
            kind="degradation",
            severity="warning",
            subject=self.name,
            what=f"{printable(self.name)} takes {self.ratio:.1f} times as long as before: {after} "
            f"instead of {before}.",
            why=f"A lasting shift, seen in {self.n} values since it began; lone spikes do not "
            "count.",
            command=command,
            since=self.began,
        )


class Watch:
    """Watches the response times of one thing; bounded memory.

    Args:
        name: What is measured.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.change: Change | None = None  # the slower state that lasts now
        self.average = Ewma(_HALF_LIFE_SECONDS)
        self._learning: list[float] = []
        self._middle = self._sigma = 0.0
        self._first = 0.0  # the baseline that a person would call normal
        self._up, self._down = _Sum(), _Sum()

    def add(self, at: float, seconds: float) -> Change | None:
        """Take a response time; return a change at the value that shows it, None otherwise.

        Both ways are returned: a change that is not `Change.is_slower` ends the one before. What
        is no positive finite number is passed over.
        """
        if not math.isfinite(seconds) or seconds < 0:
            return None
        self.average.add(at, seconds)
        value = math.log(max(seconds, _LEAST_SECONDS))
        if len(self._learning) < LEARN:
            self._learning.append(value)
            if len(self._learning) == LEARN:
                self._learn(self._learning)
                self._first = self._middle
            return None
        z = (value - self._middle) / self._sigma
        for total, off in ((self._up, z), (self._down, -z)):
            total.add(at, value, off)
            if total.total > BAR:
                return self._shown(total)
        return None

    @property
    def baseline_seconds(self) -> float | None:
        """Return the time that counts as usual now; None while it is learned."""
        return math.exp(self._middle) if len(self._learning) == LEARN else None

    def _learn(self, values: list[float]) -> None:
        self._middle = median(values)
        self._sigma = max(_LEAST_SIGMA, MAD_TO_SIGMA * mad(values))
        self._up, self._down = _Sum(), _Sum()

    def _shown(self, total: _Sum) -> Change | None:
        """Return the change that a sum shows, if it is large enough, and learn the new level."""
        values = list(total.values)
        after = median(values)
        if abs(after - self._middle) < math.log(LEAST_RATIO):
            self._up, self._down = _Sum(), _Sum()
            return None
        change = Change(self.name, total.began, math.exp(self._middle), math.exp(after), total.n)
        self._middle = after
        self._sigma = max(_LEAST_SIGMA, self._sigma, MAD_TO_SIGMA * mad(values))
        self._up, self._down = _Sum(), _Sum()
        is_still_slow = after - self._first >= math.log(LEAST_RATIO)
        self.change = change if change.is_slower else (self.change if is_still_slow else None)
        return change


class _Sum:
    """How far values lay on one side, since they last did not."""

    __slots__ = ("began", "n", "total", "values")

    def __init__(self) -> None:
        self.total, self.began, self.n = 0.0, 0.0, 0
        self.values: deque[float] = deque(maxlen=_RECENT)

    def add(self, at: float, value: float, off: float) -> None:
        grown = self.total + min(off, CLIP) - SLACK
        if grown <= 0:
            self.total, self.n = 0.0, 0
            self.values.clear()
            return
        if self.total == 0:
            self.began = at
        self.total = grown
        self.n += 1
        self.values.append(value)
