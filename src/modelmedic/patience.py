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
from urllib.parse import urlsplit

from modelmedic.http_answer import TransferFailed, TryAgain
from modelmedic.limits import TimeoutManager
from modelmedic.pace import SETTINGS, BadSetting, Pace, Spending, settled
from modelmedic.text import counted, duration, printable

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
_TOLD_SECONDS = 1.0  # a shorter wait is over before it is read


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


class Turns:
    """When each server may be asked again; shared by all transfers of a run.

    A server that asks to wait (429, 503 with Retry-After) means all that we ask of it, not only
    the file that was asked for.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free_at: dict[str, float] = {}

    def note(self, url: str, seconds: float) -> None:
        """Note that a server asks to wait so long."""
        with self._lock:
            known = self._free_at.get(_server(url), 0.0)
            self._free_at[_server(url)] = max(known, time.monotonic() + seconds)

    def wait_seconds(self, url: str) -> float:
        """Return how long its server is still to be left alone; 0.0 when it is not."""
        with self._lock:
            return max(0.0, self._free_at.get(_server(url), 0.0) - time.monotonic())


def _server(url: str) -> str:
    """Return what a server is told by; a key, not fit to be shown."""
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2].lower()


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
        turns: When servers may be asked again; shared likewise.
        told: Hears in a sentence that a wait was asked for.
    """

    meter: Meter
    url: str = ""
    failed: MutableMapping[str, float] = field(default_factory=dict)
    spending: Spending = field(default_factory=lambda: Spending(PACE))
    turns: Turns = field(default_factory=Turns)
    told: Callable[[str], None] = lambda _sentence: None
    in_vain: int = 0
    rounds: int = 0

    def __post_init__(self) -> None:
        if time.monotonic() - self.failed.get(self.url, -IN_VAIN_SECONDS) < IN_VAIN_SECONDS:
            self.in_vain = self.spending.pace.tries - 1

    def begin(self) -> None:
        """Wait until the server may be asked: it may have told another transfer of this run.

        Raises:
            TransferFailed: That is too long.
        """
        if pause := self.turns.wait_seconds(self.url):
            self._refuse_long(pause, "The server asked for a pause")
            self._pause(pause, "it told another transfer", is_asked=True)

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
        asked = error.wait_seconds or 0.0
        if asked:
            self.turns.note(self.url, asked)
        told = f"; {_until(asked)}" if asked else ""
        if self.in_vain >= pace.tries:
            self.failed[self.url] = time.monotonic()
            raise TransferFailed(f"{error} ({counted(self.in_vain, 'try', 'tries')}){told}.")
        if self.rounds >= MAX_ROUNDS:
            raise TransferFailed(f"{error} ({self.rounds} times){told}.")
        pause = error.wait_seconds
        if pause is None:
            pause = pace.wait_seconds(self.in_vain)
        else:
            self._refuse_long(pause, str(error))
        if time.monotonic() + pause > self.meter.deadline.at:
            raise TransferFailed(
                f"{error}; the time allowed for this file ends before another try{told}."
            )
        if gain_bytes <= 0 and (refusal := self.spending.refusal(pause)):
            raise TransferFailed(f"{error}; {refusal}{told}.")
        if pause:
            self._pause(pause, str(error), is_asked=error.wait_seconds is not None)

    def _refuse_long(self, seconds: float, reason: str) -> None:
        """Refuse a wait that is longer than anybody would wait for.

        Raises:
            TransferFailed: Says when to try again.
        """
        if seconds > self.spending.pace.asked_seconds:
            raise TransferFailed(
                f"{reason}; the server asks to wait {seconds:.0f} s: {_until(seconds)}."
            )

    def _pause(self, seconds: float, reason: str, *, is_asked: bool) -> None:
        """Wait, and say so where the server asked for it."""
        if is_asked and seconds >= _TOLD_SECONDS:
            host = printable(urlsplit(self.url).hostname or "the server")
            self.told(f"{host} asks to wait {duration(seconds)} ({reason}). Waiting as told.")
        self.meter.sleep(seconds)


def _until(seconds: float) -> str:
    """Return when to try again, as a time of day of this machine."""
    moment = time.time() + seconds
    same_day = time.strftime("%j", time.localtime(moment)) == time.strftime("%j")
    shape = "%H:%M:%S" if same_day else "%Y-%m-%d %H:%M"
    return f"try again after {time.strftime(shape, time.localtime(moment))}"


def tries_of(meter: Meter, url: str, extras: Mapping[str, Any]) -> Tries:
    """Return the tries at one source, by what the extras of `transfer.fetch` hold."""
    quiet: Callable[[str], None] = lambda _sentence: None  # noqa: E731
    return Tries(
        meter,
        url,
        extras.get("failed", {}),
        extras.get("spending") or Spending(PACE),
        extras.get("turns") or Turns(),
        extras.get("told", quiet),
    )


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
