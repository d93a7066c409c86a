"""How well a forecast did on its own past, beside the guesses that anybody could make.

Rolling origin: at some moments what is forecast for a while later is noted, beside what naive
guesses say: "it stays as it is", "it stays as it was lately" (without the noise of one value) and
"it goes on at the last rate". When that while is over, all are compared with what came. Source:
Tashman, "Out-of-sample tests of forecasting accuracy", 2000; the comparison with the naive guess
is that of Hyndman and Koehler, "Another look at measures of forecast accuracy" (MASE), 2006.
"""

from __future__ import annotations

from collections import deque

from modelmedic.monitor.slopes import median

LEAST_JUDGED = 4
BEATS_RATIO = 0.8  # of the error of "it stays"; measured: benchmarks/prediction_backtest.py
_MOST_PENDING = 32
_KEEP = 0.85  # an older forecast counts this much of the next: half after about four
_LEVEL_RATIO = 0.1  # of the error of "it stays": what lies that near is the same forecast
_LEAST_TURNS = 2
_TURNED_RATIO = 0.25  # further away than at the nearest: noise near the limit is no turn


_LINE, _VALUE, _STAYS, _LATELY, _RATE = range(5)


class TrackRecord:
    """The errors of a forecast and of the naive guesses, the newest counting most.

    Two forecasts go the same slope: one from the robust line on, one from the newest value on.
    The line is right where values are noise about it, the value where they add up (free bytes of
    a disk). The one that did better speaks.

    The score is the mean absolute error, each forecast weighted 0.85 of the next: absolute, not
    squared, because one burst would outweigh everything else; relative to the naive error, because
    that says how hard the series is; weighted, because a machine's habits change.
    Memory: at most 32 open forecasts and six numbers.
    """

    __slots__ = ("_errors", "_pending", "judged")

    def __init__(self) -> None:
        self._pending: deque[tuple[float, tuple[float, ...]]] = deque(maxlen=_MOST_PENDING)
        self._errors = [0.0] * 5
        self.judged = 0

    def note(
        self,
        due: float,
        *,
        from_line: float,
        from_value: float,
        stays: float,
        lately: float,
        rate: float,
    ) -> None:
        """Note what is forecast for the moment ``due``, and what the naive guesses say."""
        self._pending.append((due, (from_line, from_value, stays, lately, rate)))

    def settle(self, at: float, value: float) -> None:
        """Compare what was due by now with what is there."""
        while self._pending and self._pending[0][0] <= at:
            _due, said = self._pending.popleft()
            for number, each in enumerate(said):
                self._errors[number] = _KEEP * self._errors[number] + abs(each - value)
            self.judged += 1

    def drop_open(self) -> None:
        """Forget the forecasts that are not due yet: what they were made from is no more."""
        self._pending.clear()

    @property
    def is_value_better(self) -> bool:
        """Return whether going on from the newest value did better than from the line."""
        return self._errors[_VALUE] < self._errors[_LINE]

    @property
    def is_better(self) -> bool:
        """Return whether the forecast beats the naive guesses, on at least 4 past forecasts.

        "It stays" must be beaten by a fifth: on noise it is beaten by a little, by chance. On a
        line without noise "the last rate" and the forecast are the same and both right: what lies
        within a tenth of the error of "it stays" is level with it.
        """
        is_level = self._ours <= self._errors[_RATE] + _LEVEL_RATIO * self._unmoved
        is_beaten = self._ours < BEATS_RATIO * self._unmoved
        return self.judged >= LEAST_JUDGED and is_beaten and is_level

    @property
    def skill(self) -> float:
        """Return 1 for perfect, 0 for no better than the best naive guess, less for worse."""
        naive = min(self._unmoved, self._errors[_RATE])
        if naive == 0:
            return 1.0 if self._ours == 0 and self.judged else 0.0
        return 1 - self._ours / naive

    @property
    def _ours(self) -> float:
        return min(self._errors[_LINE], self._errors[_VALUE])

    @property
    def _unmoved(self) -> float:
        return min(self._errors[_STAYS], self._errors[_LATELY])

    def __str__(self) -> str:
        """Return the record in words."""
        if self.judged == 0 or self._unmoved == 0:
            return "no forecast of it has been judged yet"
        return (
            f"its last forecasts missed by {self._ours / self._unmoved:.0%} of what the guess "
            f"that nothing changes missed by ({self.judged} judged)"
        )


class TurningPoints:
    """How near a series came to its limit before it turned back by itself, when it was forecast.

    Logs that are rotated and jobs that come and go have trends that end: a forecast of each was
    false. After two such, a forecast is told only where the series is nearer to the limit, by a
    quarter, than where it usually turned (the median of the last five). Memory: five numbers and
    one open forecast.
    """

    __slots__ = ("_due", "_nearest", "_turns")

    def __init__(self) -> None:
        self._turns: deque[float] = deque(maxlen=5)
        self._nearest: float | None = None  # gap at the nearest, since a forecast was made
        self._due = 0.0

    def told(self, gap: float, due: float) -> None:
        """Note that the limit, now ``gap`` away, is forecast to be reached by ``due``."""
        if self._nearest is None:
            self._nearest = gap
        self._due = due

    def add(self, at: float, gap: float) -> None:
        """Take how far away the limit is; decide whether the open forecast was false."""
        if self._nearest is None:
            return
        self._nearest = min(self._nearest, gap)
        if gap > (1 + _TURNED_RATIO) * self._nearest or at > self._due:
            self._turns.append(self._nearest)
            self._nearest = None

    def is_usual(self, gap: float) -> bool:
        """Return whether the series has mostly turned back from about as near as this."""
        return len(self._turns) >= _LEAST_TURNS and gap >= (1 - _TURNED_RATIO) * median(self._turns)
