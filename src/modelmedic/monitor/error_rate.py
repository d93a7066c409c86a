"""Whether a log tells errors faster than it used to."""

from __future__ import annotations

import math
from collections import deque

MINUTE_SECONDS = 60.0
LEAST_LINES = 10  # fewer in a minute are no flood, whatever was usual
_SIGMAS = 4.0  # above what is usual, as counts spread (Poisson: the root of the mean)
_KEEP = 0.98  # of a minute: half after about half an hour
_LEARN_MINUTES = 3  # before these have passed, nothing is usual
_MOST_LINES = 500  # more in a minute are as bad as that


class ErrorRate:
    """Counts errors by the minute against their exponential average; bounded memory."""

    __slots__ = ("_begun", "_minute", "_recent", "_told", "_usual", "_weight")

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=_MOST_LINES)
        self._begun: float | None = None
        self._minute: int | None = None
        self._usual = self._weight = 0.0
        self._told = -math.inf

    def add(self, at: float) -> tuple[int, float, float] | None:
        """Take an error; return (errors in the last minute, the usual number, since) once a rise.

        It is told again after a minute at the earliest.
        """
        self._begun = at if self._begun is None else self._begun
        while self._recent and self._recent[0] <= at - MINUTE_SECONDS:
            self._recent.popleft()
        self._learn(int(at // MINUTE_SECONDS))
        self._recent.append(at)
        count = len(self._recent)
        usual = self._usual / self._weight if self._weight else 0.0
        bar = max(LEAST_LINES, usual + _SIGMAS * math.sqrt(max(usual, 1.0)))
        is_known = at - self._begun >= _LEARN_MINUTES * MINUTE_SECONDS
        if count <= bar or not is_known or at - self._told < MINUTE_SECONDS:
            return None
        self._told = at
        return count, usual, self._recent[0]

    def _learn(self, minute: int) -> None:
        """Take the past minute into the average, and the empty ones since."""
        if self._minute is None:
            self._minute = minute
            return
        passed = max(0, minute - self._minute)
        if passed == 0:
            return
        self._usual = _KEEP * self._usual + len(self._recent)
        self._weight = _KEEP * self._weight + 1
        fade = _KEEP ** (passed - 1)
        self._usual *= fade
        self._weight = self._weight * fade + (1 - fade) / (1 - _KEEP)
        self._minute = minute
