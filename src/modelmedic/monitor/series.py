"""The newest values of a series in a ring, and what one minute of all series comes to."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping
from typing import NamedTuple

KEPT = 120  # two minutes at one a second
MOST_SERIES = 256
_MINUTE_SECONDS = 60


class Minute(NamedTuple):
    """One row of the history's table ``minute``; ``at`` is its start, seconds since the epoch."""

    series: str
    at: int
    least: float
    mean: float
    most: float
    last: float
    samples: int


class Ring:
    """The newest numbers with their moments, in memory that does not grow."""

    __slots__ = ("_at", "_count", "_values")

    def __init__(self, kept: int = KEPT) -> None:
        self._at = array("d", bytes(8 * kept))
        self._values = array("d", bytes(8 * kept))
        self._count = 0

    def __len__(self) -> int:
        return min(self._count, len(self._at))

    def add(self, at: float, value: float) -> None:
        """Put a number in the place of the oldest."""
        place = self._count % len(self._at)
        self._at[place], self._values[place] = at, value
        self._count += 1

    @property
    def newest_at(self) -> float:
        """Return the moment of the newest number; NaN where there is none."""
        return self._get(-1)[0]

    def points(self) -> Iterator[tuple[float, float]]:
        """Yield (moment, value), the oldest first."""
        length = len(self)
        for number in range(self._count - length, self._count):
            place = number % len(self._at)
            yield self._at[place], self._values[place]

    def change_per_second(self, seconds: float) -> float:
        """Return the newest value less the one that is ``seconds`` older, for each second.

        NaN while that much time has not been seen.
        """
        last_at, last = self._get(-1)
        for back in range(2, len(self) + 1):
            at, value = self._get(-back)
            if last_at - at >= seconds:
                return (last - value) / (last_at - at)
        return math.nan

    def _get(self, back: int) -> tuple[float, float]:
        if not len(self):
            return math.nan, math.nan
        place = (self._count + back) % len(self._at)
        return self._at[place], self._values[place]


class _Sums:
    __slots__ = ("last", "least", "most", "samples", "total")

    def __init__(self) -> None:
        self.least, self.most, self.total, self.last = math.inf, -math.inf, 0.0, 0.0
        self.samples = 0

    def add(self, value: float) -> None:
        self.least, self.most = min(self.least, value), max(self.most, value)
        self.total += value
        self.last = value
        self.samples += 1


class Minutes:
    """Adds readings up by the minute of the wall clock."""

    def __init__(self) -> None:
        self._start = 0
        self._sums: dict[str, _Sums] = {}

    def add(self, wall: float, readings: Mapping[str, float]) -> list[Minute]:
        """Count readings; return the rows of the minute that is over, if one is."""
        start = int(wall // _MINUTE_SECONDS) * _MINUTE_SECONDS
        rows = self.close() if self._sums and start != self._start else []
        self._start = start
        for name, value in readings.items():
            sums = self._sums.get(name)
            if sums is None and len(self._sums) < MOST_SERIES:
                sums = self._sums[name] = _Sums()
            if sums is not None and math.isfinite(value):
                sums.add(value)
        return rows

    def close(self) -> list[Minute]:
        """Return the rows of the minute that was begun, and forget it."""
        rows = [
            Minute(name, self._start, s.least, s.total / s.samples, s.most, s.last, s.samples)
            for name, s in self._sums.items()
            if s.samples
        ]
        self._sums = {}
        return rows
