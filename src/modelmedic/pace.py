"""How often and how fast something is tried again: one set of numbers for calls and transfers.

Where they come from, the first that says something: an option, the environment
(``MODELMEDIC_RETRY_TRIES``), the ini file (``modelmedic_retry_tries``), the profile's ``[retry]``.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from modelmedic.errors import ModelmedicError
from modelmedic.text import printable

_MOST = 1_000_000


class BadSetting(ModelmedicError):  # noqa: N818
    """A setting is wrong; names it, where it was given, and what it must be."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One number that a person may set.

    Args:
        field: Of `Pace`.
        least: The smallest value.
        is_whole: Only whole numbers.
        metavar: How a command line shows it.
        about: What it does.
    """

    field: str
    least: int
    is_whole: bool
    metavar: str
    about: str


# By name: option --retry-tries, variable MODELMEDIC_RETRY_TRIES, ini modelmedic_retry_tries,
# profile [retry] tries.
SETTINGS: Mapping[str, Setting] = {
    "tries": Setting("tries", 1, True, "N", "try what fails for a moment N times in all"),
    "first_seconds": Setting(
        "first_seconds", 0, False, "S", "wait up to S seconds before the second try (then twice)"
    ),
    "most_seconds": Setting("most_seconds", 0, False, "S", "wait at most S seconds before a try"),
    "asked_seconds": Setting(
        "asked_seconds", 0, False, "S", "wait up to S seconds where a server asks for it"
    ),
    "budget_count": Setting("budget_count", 0, True, "N", "try again at most N times in this run"),
    "budget_seconds": Setting(
        "budget_seconds", 0, False, "S", "wait at most S seconds in all in this run"
    ),
    "per_minute": Setting("per_minute", 0, True, "N", "try again at most N times a minute"),
}


@dataclass(frozen=True, slots=True)
class Pace:
    """The numbers of trying again.

    Args:
        tries: How often something is tried in all, the first time too.
        first_seconds: Upper end of the wait before the second try; each later one is twice that.
        most_seconds: Upper end of any wait that nobody asked for.
        asked_seconds: The longest wait that a server is granted; a longer one is told, not waited.
        budget_count: How often anything is tried again in a run; None without a limit.
        budget_seconds: How long is waited in a run in all; None without a limit.
        per_minute: How often anything is tried again in any minute; None without a limit.

    Source: 3 tries and 2-4-8 s are the user's design. Full jitter: "Exponential Backoff And
    Jitter", AWS Architecture Blog, 2015. A Hub's rate limit is counted over 300 s, so that its
    waits are mostly above the 120 s, and a person should hear of those.
    """

    tries: int = 3
    first_seconds: float = 2.0
    most_seconds: float = 8.0
    asked_seconds: float = 120.0
    budget_count: int | None = None
    budget_seconds: float | None = None
    per_minute: int | None = None

    def cap_seconds(self, tries_done: int) -> float:
        """Return the upper end of the wait after so many tries."""
        return float(min(self.most_seconds, self.first_seconds * 2.0 ** min(tries_done - 1, 60)))

    def wait_seconds(self, tries_done: int) -> float:
        """Return a wait drawn evenly from 0 to its upper end (full jitter)."""
        return random.uniform(0.0, self.cap_seconds(tries_done))  # noqa: S311 - no secret


@dataclass(slots=True)
class Spending:
    """What a run may still spend on trying again; shared by its threads.

    Args:
        pace: Whose budgets count.
    """

    pace: Pace
    count: int = 0
    seconds: float = 0.0
    _minute: deque[float] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def refusal(self, wait_seconds: float = 0.0, now: float | None = None) -> str:
        """Take one try and its wait; return why it is not to be had, "" when it was taken."""
        now = time.monotonic() if now is None else now
        most = self.pace
        with self._lock:
            while self._minute and self._minute[0] <= now - 60.0:
                self._minute.popleft()
            if most.budget_count is not None and self.count >= most.budget_count:
                return f"this run tries again at most {most.budget_count} times"
            if (
                most.budget_seconds is not None
                and self.seconds + wait_seconds > most.budget_seconds
            ):
                return f"this run waits at most {most.budget_seconds:g} s in all"
            if most.per_minute is not None and len(self._minute) >= most.per_minute:
                return f"at most {most.per_minute} times a minute something is tried again"
            self.count += 1
            self.seconds += wait_seconds
            self._minute.append(now)
            return ""


def settled(
    pace: Pace,
    *,
    options: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    ini: Mapping[str, Any] | Callable[[str], Any] | None = None,
    profile: Any = None,
) -> Pace:
    """Return ``pace`` with what was set: option before environment, ini file, profile.

    Args:
        pace: What holds where nothing was set.
        options: Values by name of `SETTINGS`; None and "" say nothing.
        environ: The environment.
        ini: Values by name (``modelmedic_retry_tries``), or a function that returns them.
        profile: A `modelmedic.profile.model.Profile`, for its ``[retry]``.

    Raises:
        BadSetting: A value is wrong; names its source.
    """
    read_ini = ini if callable(ini) else (ini or {}).get
    of_profile = getattr(profile, "retry", None)
    found: dict[str, Any] = {}
    for name, setting in SETTINGS.items():
        variable, key = f"MODELMEDIC_RETRY_{name.upper()}", f"modelmedic_retry_{name}"
        sources = (
            (option_name(name), (options or {}).get(name)),
            (variable, (environ or {}).get(variable)),
            (f"{key} in the ini file", read_ini(key)),
            (f"retry.{name} in the profile", getattr(of_profile, name, None)),
        )
        told = next(((where, given) for where, given in sources if given not in {None, ""}), None)
        if told is not None:
            found[setting.field] = _number(setting, *told)
    return replace(pace, **found)


def option_name(name: str) -> str:
    """Return the command line's option of a setting."""
    return f"--retry-{name.replace('_', '-')}"


def _number(setting: Setting, where: str, given: Any) -> float:
    text = str(given).strip()
    form = r"[0-9]{1,7}" if setting.is_whole else r"[0-9]{1,7}(\.[0-9]{1,6})?"
    if re.fullmatch(form, text) and setting.least <= float(text) <= _MOST:
        return int(text) if setting.is_whole else float(text)
    kind = "a whole number" if setting.is_whole else "a number"
    raise BadSetting(
        f"{where} is {printable(text)}; it is {kind} from {setting.least} to {_MOST:,}.",
        "",
        f"Correct it: {setting.about}.",
    )
