"""How well a forecast did on its own past, beside the guesses that anybody could make.

Rolling origin: at some moments what is forecast for a while later is noted, beside what two naive
guesses say: "it stays as it is", and "it goes on at the last rate". When that while is over, all
three are compared with what came. Source: Tashman, "Out-of-sample tests of forecasting accuracy",
2000; the comparison with the naive guess is that of Hyndman and Koehler, "Another look at measures
of forecast accuracy" (MASE), 2006.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_MOST_PENDING = 32
_KEEP = 0.85  # an older forecast counts this much of the next: half after about four
LEAST_JUDGED = 3
_TOLERANCE = 0.02  # of the naive error: what lies that near is the same forecast


@dataclass(frozen=True, slots=True)
class _Noted:
    due: float
    forecast: float
    stays: float
    rate: float


class TrackRecord:
    """The errors of a forecast and of the naive guesses, the newest counting most.

    The score is the mean absolute error, each forecast weighted 0.85 of the next: absolute, not
    squared, because one burst would outweigh everything else; relative to the naive error, because
    that says how hard the series is; weighted, because a machine's habits change.
    Memory: at most 32 open forecasts and four numbers.
    """

    __slots__ = ("_ours", "_pending", "_rate", "_stays", "judged")

    def __init__(self) -> None:
        self._pending: deque[_Noted] = deque(maxlen=_MOST_PENDING)
        self._ours = self._stays = self._rate = 0.0
        self.judged = 0

    def note(self, due: float, forecast: float, *, stays: float, rate: float) -> None:
        """Note what is forecast for the moment ``due``, and what the naive guesses say."""
        self._pending.append(_Noted(due, forecast, stays, rate))

    def settle(self, at: float, value: float) -> None:
        """Compare what was due by now with what is there."""
        while self._pending and self._pending[0].due <= at:
            noted = self._pending.popleft()
            self._ours = _KEEP * self._ours + abs(noted.forecast - value)
            self._stays = _KEEP * self._stays + abs(noted.stays - value)
            self._rate = _KEEP * self._rate + abs(noted.rate - value)
            self.judged += 1

    def drop_open(self) -> None:
        """Forget the forecasts that are not due yet: what they were made from is no more."""
        self._pending.clear()

    @property
    def is_better(self) -> bool:
        """Return whether the forecast beats both naive guesses, on at least 3 past forecasts.

        On a line without noise "the last rate" and the forecast are the same and both right: what
        lies within 2 % of the error of "it stays" counts as level with the last rate.
        """
        if self.judged < LEAST_JUDGED:
            return False
        slack = _TOLERANCE * self._stays
        return self._ours < self._stays and self._ours <= self._rate + slack

    @property
    def skill(self) -> float:
        """Return 1 for perfect, 0 for no better than the better naive guess, less for worse."""
        naive = min(self._stays, self._rate)
        if naive == 0:
            return 1.0 if self._ours == 0 and self.judged else 0.0
        return 1 - self._ours / naive

    def __str__(self) -> str:
        """Return the record in words."""
        if self.judged == 0 or self._stays == 0:
            return "no forecast of it has been judged yet"
        ratio = self._ours / self._stays
        return (
            f"its last forecasts missed by {ratio:.0%} of what the guess that nothing changes "
            f"missed by ({self.judged} judged)"
        )
