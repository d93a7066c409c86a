"""Wait, and ask a server again: what heals a failure that passes. Nothing is changed."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from modelmedic.errors import CannotTell, RecoveryRefused
from modelmedic.facts import answers, talk
from modelmedic.facts.endpoint import parse
from modelmedic.facts.wire import Deadline
from modelmedic.facts.wire_errors import WireError
from modelmedic.limits import TimeoutManager
from modelmedic.operations.base import Cost, Operation, Workshop
from modelmedic.pace import Spending
from modelmedic.patience import PACE
from modelmedic.text import duration, printable

_SERVER_ERROR, _TOO_MANY = 500, 429


@dataclass(frozen=True, slots=True)
class WaitForServer(Operation):
    """Wait as long as each number says at most, ask again after each, and end with an answer.

    How long it really waits is drawn anew each time (full jitter), so that many machines that lost
    one server do not come back to it together. What a server asks for by Retry-After is the least.

    Args:
        server: Its name in the profile.
        url: Its address, without credentials.
        question: Method and path of what is asked: "GET /api/models/acme/model/revision/main".
        waits_seconds: The longest each wait may be.
        least_seconds: What the server asked for; 0 when it named no time.
    """

    kind: ClassVar[str] = "wait_for_server"
    is_lasting: ClassVar[bool] = False
    server: str
    url: str
    question: str
    waits_seconds: tuple[int, ...]
    least_seconds: int = 0

    def describe(self) -> str:
        """Return how long it waits at most, and for whom."""
        longest = [max(wait, self.least_seconds) for wait in self.waits_seconds]
        waits = ", then ".join(f"up to {duration(seconds)}" for seconds in longest)
        asked = ""
        if self.least_seconds:
            asked = f"; the server asks for at least {duration(self.least_seconds)}"
        return (
            f"wait {waits}, and ask '{printable(self.server)}' again after each; nothing is "
            f"changed{asked}"
        )

    def cost(self) -> Cost:
        """Return the seconds it takes at most."""
        longest = sum(max(wait, self.least_seconds) for wait in self.waits_seconds)
        return Cost(seconds=float(longest))

    def prepare(self, shop: Workshop, seat: str) -> dict[str, Any]:
        """Refuse an address that is none, and a wait that the run's budget does not cover."""
        try:
            parse(self.url)
        except ValueError as error:
            raise RecoveryRefused(f"{printable(self.server)} cannot be asked: {error}.") from error
        left = _left_seconds(shop)
        if left is not None and left <= self.least_seconds:
            raise RecoveryRefused(
                f"The healing budget in seconds has {duration(max(0.0, left))} left, less than the "
                "wait; nothing was waited for.",
                "",
                "Start again with a larger --heal-budget-seconds.",
            )
        return {}

    def apply(self, shop: Workshop, note: dict[str, Any]) -> None:
        """Wait and ask until there is an answer, the waits are over, or the budget is."""
        sleep = shop.extras.get("sleep", time.sleep)
        spending: Spending = shop.extras.get("spending") or Spending(PACE)
        least: float = self.least_seconds
        for pause in self._pauses():
            seconds = max(pause, least)
            left = _left_seconds(shop)
            if seconds > spending.pace.asked_seconds or (left is not None and seconds > left):
                return
            if spending.refusal(seconds):  # what all of the run may wait is used up
                return
            sleep(seconds)
            asked = self._ask()
            if asked is None:
                return
            least = asked

    def _pauses(self) -> Iterator[float]:
        for longest in self.waits_seconds:
            yield random.uniform(0.0, longest)  # noqa: S311 - no secret hangs on it

    def _ask(self) -> float | None:
        """Return how long to wait at least before the next try; None when there is an answer."""
        method, _space, target = self.question.partition(" ")
        path = talk.path_to(parse(self.url))
        deadline = Deadline(TimeoutManager().get_timeout("http_request"))
        try:
            answer = talk.ask(path, talk.Request(method, target), deadline=deadline)
        except WireError:
            return 0.0
        except CannotTell:
            return None  # a SOCKS proxy: the check says what that means
        if answer.status < _SERVER_ERROR and answer.status != _TOO_MANY:
            return None
        return answers.limits_of(answer, time.time()).wait_seconds or 0.0

    def inspect(self, shop: Workshop, note: dict[str, Any]) -> str:
        """Return that there is nothing to see."""
        return "before"

    def undo(self, shop: Workshop, note: dict[str, Any]) -> str:
        """Say that there is nothing to put back."""
        return "There is nothing to put back: it only waited."


def _left_seconds(shop: Workshop) -> float | None:
    return None if shop.ends_at is None else shop.ends_at - time.monotonic()
