"""Trying again: when it is of use, how long to wait, how often at most, and what a person says."""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import wraps
from typing import Any, Protocol, TypeVar

from modelmedic.errors import ModelmedicError
from modelmedic.pace import Pace, Spending, settled
from modelmedic.reliability import transience
from modelmedic.reliability.choice import Choice
from modelmedic.text import duration, printable

F = TypeVar("F", bound=Callable[..., Any])
On = type[BaseException] | tuple[type[BaseException], ...] | Callable[[Exception], bool]
# Of a run: an outage that hits every file must not add up to hours.
RUN_COUNT = 60
RUN_SECONDS = 900.0
PER_MINUTE = 30
_DEFAULT = Pace(budget_count=RUN_COUNT, budget_seconds=RUN_SECONDS, per_minute=PER_MINUTE)


class Chooser(Protocol):
    """Asks a person; see `modelmedic.reliability.choice.TerminalChooser`."""

    def choose(self, failure_text: str) -> Choice:
        """Return what the person wants."""


class OperationSkipped(ModelmedicError):  # noqa: N818
    """A person chose to go on without this operation; its failure is the ``__cause__``."""


@dataclass(frozen=True, slots=True)
class NextTry:
    """What follows a failed try.

    Args:
        seconds: The wait before the next try; None: there is none.
        why: Why there is none, or why it waits so long; a sentence.
    """

    seconds: float | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class RetryNotice:
    """Told before each wait.

    Args:
        operation: What failed.
        tries_done: How often it was tried.
        wait_seconds: How long is waited now.
        error: Why the last try failed.
    """

    operation: str
    tries_done: int
    wait_seconds: float
    error: BaseException


class RetryPolicy:
    """Decides on trying again; one for a run, shared by its threads.

    Args:
        tries: How often something is tried in all.
        first_seconds: Upper end of the wait before the second try; each later one is twice that.
        most_seconds: Upper end of any wait that no server asked for.
        asked_seconds: The longest wait that a server is granted (Retry-After, RateLimit).
        per_run: How often anything is tried again in all; None without a limit.
        run_seconds: How long is waited in all; None without a limit.
        per_minute: How often anything is tried again in a minute; None without a limit.
        chooser: Asked once after the first failure of each operation; None asks nobody.
        told: Hears of every wait before it begins.
    """

    def __init__(
        self,
        tries: int = _DEFAULT.tries,
        first_seconds: float = _DEFAULT.first_seconds,
        most_seconds: float = _DEFAULT.most_seconds,
        *,
        asked_seconds: float = _DEFAULT.asked_seconds,
        per_run: int | None = RUN_COUNT,
        run_seconds: float | None = RUN_SECONDS,
        per_minute: int | None = PER_MINUTE,
        chooser: Chooser | None = None,
        told: Callable[[RetryNotice], None] = lambda _notice: None,
    ) -> None:
        numbers = (first_seconds, most_seconds, asked_seconds, per_run, run_seconds, per_minute)
        if tries < 1 or any(number is not None and number < 0 for number in numbers):
            raise ValueError("a policy has at least one try, and no number below 0")
        self.pace = Pace(
            tries, first_seconds, most_seconds, asked_seconds, per_run, run_seconds, per_minute
        )
        self.spending = Spending(self.pace)
        self.chooser = chooser
        self.told = told

    @classmethod
    def from_settings(
        cls,
        *,
        options: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
        ini: Mapping[str, Any] | Callable[[str], Any] | None = None,
        profile: Any = None,
        chooser: Chooser | None = None,
    ) -> RetryPolicy:
        """Return the policy that was set: options before environment, ini file, profile, default.

        Args:
            options: Values by name (``tries``, ``first_seconds``, ...); see `modelmedic.pace`.
            environ: Holds ``MODELMEDIC_RETRY_TRIES``, ...; None is that of the process.
            ini: Holds ``modelmedic_retry_tries``, ..., or is a function that returns them.
            profile: A loaded profile, for its ``[retry]``.
            chooser: As of the class.

        Raises:
            BadSetting: A value is wrong; names its source.
        """
        environ = os.environ if environ is None else environ
        pace = settled(_DEFAULT, options=options, environ=environ, ini=ini, profile=profile)
        return cls(
            pace.tries,
            pace.first_seconds,
            pace.most_seconds,
            asked_seconds=pace.asked_seconds,
            per_run=pace.budget_count,
            run_seconds=pace.budget_seconds,
            per_minute=pace.per_minute,
            chooser=chooser,
        )

    @property
    def tries(self) -> int:
        """Return how often something is tried in all."""
        return self.pace.tries

    def is_transient(self, error: BaseException) -> bool:
        """Return whether a failure is of a kind that passes by itself."""
        return transience.is_transient(error)

    def next_try(self, tries_done: int, error: BaseException, tries: int | None = None) -> NextTry:
        """Return how long to wait before the next try, or why there is none.

        Args:
            tries_done: 1 after the first.
            error: Why the last one failed; its answer may ask for a wait.
            tries: Another number of tries in all than the policy's.
        """
        most = self.tries if tries is None else tries
        if tries_done >= most:
            return NextTry(None, f"It was tried {tries_done} of {most} times.")
        asked = transience.asked_by_server(error)
        if asked is None:
            return NextTry(self.pace.wait_seconds(tries_done))
        if asked > self.pace.asked_seconds:
            return NextTry(
                None,
                f"The server asks to wait {duration(asked)}; at most "
                f"{duration(self.pace.asked_seconds)} are waited.",
            )
        return NextTry(asked, f"The server asks to wait {duration(asked)}.")

    def wait_seconds(
        self, tries_done: int, error: BaseException, tries: int | None = None
    ) -> float | None:
        """Return the same in seconds; None: do not try again."""
        return self.next_try(tries_done, error, tries).seconds

    def take(self, now: float | None = None, wait_seconds: float = 0.0) -> bool:
        """Take one more try from the budgets of the run and the minute; False: they are used up.

        Args:
            now: On the monotonic clock; None is now.
            wait_seconds: The wait before it, for the run's budget in seconds.
        """
        return not self.spending.refusal(wait_seconds, now)

    def choose(self, operation: str, error: BaseException) -> Choice:
        """Return what the person wants after a first failure; `Choice.RETRY` where nobody is."""
        if self.chooser is None:
            return Choice.RETRY
        reason = printable(f"{type(error).__name__}: {error}")
        return self.chooser.choose(f"{operation or 'An operation'} failed: {reason}")


class _Decision:
    """What stamina asks after each failed try of one call: its ``on`` hook."""

    def __init__(self, policy: RetryPolicy, on: On | None, operation: str) -> None:
        self._policy = policy
        self._on = on
        self._operation = operation
        self._tries = policy.tries
        self.tries_done = 0

    def __call__(self, error: Exception) -> float | bool:
        """Return the wait before the next try, or False.

        Raises:
            OperationSkipped: The person goes on without it.
        """
        self.tries_done += 1
        if not self._is_of_use(error):
            return False
        step = self._policy.next_try(self.tries_done, error, self._tries)
        if step.seconds is None:
            note(error, step.why)
            return False
        if self.tries_done == 1 and not self._is_wanted(error):
            return False
        if refusal := self._policy.spending.refusal(step.seconds):
            note(error, f"It was not tried again: {refusal}.")
            return False
        self._policy.told(RetryNotice(self._operation, self.tries_done, step.seconds, error))
        return float(step.seconds)

    def _is_of_use(self, error: BaseException) -> bool:
        if not isinstance(error, Exception):
            return False  # Ctrl-C, an end of the process, a cancelled task
        if self._on is None:
            return self._policy.is_transient(error)
        if isinstance(self._on, type | tuple):
            return isinstance(error, self._on)
        return bool(self._on(error))

    def _is_wanted(self, error: Exception) -> bool:
        choice = self._policy.choose(self._operation, error)
        if choice is Choice.SKIP:
            raise OperationSkipped(
                f"{self._operation or 'An operation'} was left out, as you chose."
            ) from error
        if choice is Choice.FEWER:
            self._tries = min(self._tries, 2)
        if choice is Choice.ABORT:
            note(error, "You chose to stop.")
        return choice is not Choice.ABORT


class Retrying:
    """Tries a function, a coroutine or a block again; made by `retry`.

    ``@retry(policy)`` on a function or coroutine function. ``for attempt in retry(policy): with
    attempt: ...``, also ``async for``.
    """

    def __init__(self, policy: RetryPolicy, on: On | None, operation: str) -> None:
        self._policy = policy
        self._on = on
        self._operation = operation

    def __call__(self, function: F) -> F:
        """Return the function that tries again.

        Raises:
            TypeError: It is a generator: what it has given already cannot be taken back.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{function.__qualname__} is a generator; retry what it calls instead")
        name = self._operation or getattr(function, "__qualname__", "")
        wrapped: Any

        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def wrapped(*args: Any, **kwargs: Any) -> Any:
                async for attempt in self._context(name):
                    with attempt:
                        return await function(*args, **kwargs)
                raise AssertionError("stamina raises the last error")

        else:

            @wraps(function)
            def wrapped(*args: Any, **kwargs: Any) -> Any:
                for attempt in self._context(name):
                    with attempt:
                        return function(*args, **kwargs)
                raise AssertionError("stamina raises the last error")

        return wrapped  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[AbstractContextManager[None]]:
        """Give one attempt after the other, until one succeeds."""
        return iter(self._context(self._operation))

    def __aiter__(self) -> AsyncIterator[AbstractContextManager[None]]:
        """Give the same in a coroutine; the waits let other tasks run."""
        attempts: AsyncIterator[AbstractContextManager[None]]
        attempts = self._context(self._operation).__aiter__()
        return attempts

    def _context(self, operation: str) -> Any:
        import stamina

        # Count, waits and budgets are the policy's: of stamina's own none may end it earlier.
        return stamina.retry_context(
            on=_Decision(self._policy, self._on, operation), attempts=None, timeout=None
        )


def retry(
    policy: RetryPolicy | None = None, *, on: On | None = None, operation: str = ""
) -> Retrying:
    """Return what tries again, as a decorator or for a ``for`` loop; stamina does the waiting.

    Its instrumentation (`stamina.instrumentation`) hears of each wait before it, as does the
    policy's ``told``. `stamina.set_active` and `set_testing` work as everywhere. In a coroutine a
    question of the policy's chooser holds the event loop.

    Args:
        policy: None is one policy for the process, from its environment.
        on: What is tried again: error classes, or a function that says so of an error; None: what
            passes by itself. Errors named here are yours to know: a retry repeats side effects.
        operation: Its name for messages; empty is the function's.

    Raises:
        OperationSkipped: By the call, when a person chose to go on without it.
    """
    return Retrying(policy or _of_process(), on, operation)


_made: list[RetryPolicy] = []
_making = threading.Lock()


def _of_process() -> RetryPolicy:
    """Return the one policy of who gives none: its budgets are for all of them together."""
    with _making:
        if not _made:
            _made.append(RetryPolicy.from_settings())
        return _made[0]


def note(error: BaseException, text: str) -> None:
    """Add a note to an error, as Python 3.11 prints it; on 3.10 it can only be read."""
    if not text:
        return
    if hasattr(error, "add_note"):
        error.add_note(text)
        return
    notes = getattr(error, "__notes__", [])
    error.__notes__ = [*notes, text]  # type: ignore[attr-defined,unused-ignore]
