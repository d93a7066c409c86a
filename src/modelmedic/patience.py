"""How long and how often a transfer goes on: deadline, speed floor, tries, bytes, bandwidth.

A transfer above the speed floor is never cut by a total limit: what comes in renews the deadline,
which ends only requests that bring nothing.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from modelmedic.http_answer import TransferFailed, TryAgain
from modelmedic.limits import TimeoutManager
from modelmedic.pace import SETTINGS, BadSetting, Pace, Spending, settled
from modelmedic.text import counted, printable

# Tries at one source that bring no new byte; progress sets the count back. More than those of a
# call: asking for the rest of a file costs nothing. Who sets tries sets these too.
PACE = Pace(tries=5)
ATTEMPTS = PACE.tries
# An endless drop-and-resume ends here. What brings much is not counted: a 10 GB shard may break
# off every 100 MB on a bad line and still arrive.
MAX_ROUNDS = 50
UNCOUNTED_BYTES = 8_000_000
FLOOR_BYTES_PER_SECOND = 1024  # ModelScope's own client gives up below this, over 60 s
FLOOR_WINDOW_SECONDS = 60.0
# A cap below it would be a reading pace at which servers close: theirs is a minute or so, and one
# read of ours takes up to 256 KiB.
LEAST_BANDWIDTH = 16_384
# A source that just failed all its tries is asked once, not five times, by the next repair of the
# same file: with the network gone, each repair of a chain would wait as long as the first.
IN_VAIN_SECONDS = 60.0


class Bandwidth:
    """A cap on the bytes a second, shared by every connection of a run.

    What was not used is not saved up for longer than a second.

    Args:
        bytes_per_second: Above 0.
    """

    def __init__(self, bytes_per_second: int) -> None:
        self.bytes_per_second = bytes_per_second
        self._lock = threading.Lock()
        self._free_at = time.monotonic()

    def seconds_for(self, count: int) -> float:
        """Take ``count`` bytes that came, and return how long to wait before the next ones."""
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - 1.0) + count / self.bytes_per_second
            return max(0.0, self._free_at - now)


@dataclass(slots=True)
class Deadline:
    """When a transfer that brings nothing ends, on the monotonic clock.

    Args:
        seconds: How long nothing may come.
    """

    seconds: float
    at: float = field(init=False)

    def __post_init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Start anew: enough has come."""
        self.at = time.monotonic() + self.seconds

    @property
    def is_over(self) -> bool:
        """Return whether it has passed."""
        return time.monotonic() > self.at


@dataclass(slots=True)
class Meter:
    """Counts what came over the wire and says when it is too little or too much.

    Args:
        budget_bytes: Give up above this many; None is unlimited.
        deadline: Renewed by what comes in above the floor.
        progress: Called with what the transfer reports as done.
        bandwidth: The cap; None without one.
        sleep: Waits; replaced in tests.
    """

    budget_bytes: int | None
    deadline: Deadline
    progress: Callable[[int], None]
    bandwidth: Bandwidth | None = None
    sleep: Callable[[float], None] = time.sleep
    fetched: int = 0
    _window_bytes: int = 0
    _window_seconds: float = 0.0  # waited for the network; a slow disk is no slow server
    _since: float = field(default_factory=time.monotonic)
    _since_bytes: int = 0

    def add(self, count: int, waited_seconds: float, done: int) -> None:
        """Count bytes that came; ``done`` is what is shown as progress.

        Raises:
            TransferFailed: It is too slow, too late, or more than the budget.
        """
        self.fetched += count
        self._window_bytes += count
        self._window_seconds += waited_seconds
        self.progress(done)
        self._renew(count)
        if self.deadline.is_over:
            raise TransferFailed("The time allowed for this file is over.")
        if self.budget_bytes is not None and self.fetched > self.budget_bytes:
            raise TransferFailed("The byte budget of this run is used up.")
        if self._window_seconds >= FLOOR_WINDOW_SECONDS:
            if self._window_bytes < FLOOR_BYTES_PER_SECOND * FLOOR_WINDOW_SECONDS:
                raise TransferFailed("The server sends less than 1 KiB a second.")
            self.start_window()
        if self.bandwidth and (pause := self.bandwidth.seconds_for(count)):
            self.sleep(pause)

    def start_window(self) -> None:
        """Judge the speed from here on: another answer begins."""
        self._window_seconds = 0.0
        self._window_bytes = 0

    def _renew(self, count: int) -> None:
        """Renew the deadline once what came since the last time, pauses included, is enough."""
        self._since_bytes += count
        seconds = time.monotonic() - self._since
        if seconds < FLOOR_WINDOW_SECONDS:
            return
        if self._since_bytes >= FLOOR_BYTES_PER_SECOND * seconds or self.bandwidth:
            self.deadline.renew()
        self._since, self._since_bytes = time.monotonic(), 0


@dataclass(slots=True)
class Tries:
    """The tries at one source: how many brought nothing, how many there were.

    Args:
        meter: Of the transfer.
        url: The source.
        failed: When sources last failed all their tries, by URL; shared by a run's transfers.
        spending: What the run may spend on trying again, and its pace; shared likewise.
    """

    meter: Meter
    url: str = ""
    failed: MutableMapping[str, float] = field(default_factory=dict)
    spending: Spending = field(default_factory=lambda: Spending(PACE))
    in_vain: int = 0
    rounds: int = 0

    def __post_init__(self) -> None:
        if time.monotonic() - self.failed.get(self.url, -IN_VAIN_SECONDS) < IN_VAIN_SECONDS:
            self.in_vain = self.spending.pace.tries - 1

    def again(self, error: TryAgain, gain_bytes: int) -> None:
        """Wait before the next try.

        Args:
            error: Why this one ended.
            gain_bytes: What it brought.

        Raises:
            TransferFailed: There is no next one.
        """
        self.in_vain = 1 if gain_bytes > 0 else self.in_vain + 1
        self.rounds += gain_bytes < UNCOUNTED_BYTES
        pace = self.spending.pace
        if self.in_vain >= pace.tries:
            self.failed[self.url] = time.monotonic()
            raise TransferFailed(f"{error} ({counted(self.in_vain, 'try', 'tries')}).")
        if self.rounds >= MAX_ROUNDS:
            raise TransferFailed(f"{error} ({self.rounds} times).")
        pause = error.wait_seconds
        if pause is None:
            pause = pace.wait_seconds(self.in_vain)
        elif pause > pace.asked_seconds:
            raise TransferFailed(f"{error}; the server asks to wait {pause:.0f} s.")
        if time.monotonic() + pause > self.meter.deadline.at:
            raise TransferFailed(
                f"{error}; the time allowed for this file ends before another try."
            )
        if gain_bytes <= 0 and (refusal := self.spending.refusal(pause)):
            raise TransferFailed(f"{error}; {refusal}.")
        if pause:
            self.meter.sleep(pause)


def tries_of(meter: Meter, url: str, extras: Mapping[str, Any]) -> Tries:
    """Return the tries at one source: ``extras`` may hold ``failed`` and ``spending``."""
    failed = extras.get("failed", {})
    return Tries(meter, url, failed, extras.get("spending") or Spending(PACE))


def spending_of(
    options: Mapping[str, Any], environ: Mapping[str, str], ini: Callable[[str], Any], profile: Any
) -> Spending:
    """Return what a run's transfers may spend on trying again; arguments as of `pace.settled`.

    Raises:
        BadSetting: A value is wrong.
    """
    given = {name: options.get(f"modelmedic_retry_{name}") for name in SETTINGS}
    return Spending(settled(PACE, options=given, environ=environ, ini=ini, profile=profile))


def bandwidth_of(given: object) -> Bandwidth:
    """Return the cap that a person set in bytes a second.

    Raises:
        BadSetting: It is no whole number, or too small.
    """
    text = str(given)
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise BadSetting(f"--bandwidth={printable(text)}: it is a whole number.")
    if int(text) < LEAST_BANDWIDTH:
        raise BadSetting(
            f"--bandwidth={text}: it is {LEAST_BANDWIDTH:,} bytes a second or more; servers close "
            "connections that are read more slowly."
        )
    return Bandwidth(int(text))


def meter_of(
    extras: Mapping[str, Any],
    deadline: Deadline,
    progress: Callable[[int], None],
    budget_bytes: int | None,
) -> Meter:
    """Return the meter of one transfer: ``extras`` may hold ``sleep`` and ``bandwidth``."""
    sleep = extras.get("sleep", time.sleep)
    return Meter(budget_bytes, deadline, progress, extras.get("bandwidth"), sleep)


def seconds_for(size_bytes: int) -> float:
    """Return how long a source of a file of this size may bring nothing."""
    return TimeoutManager().get_timeout("model_download", {"file_size_gb": size_bytes / 1e9})
