"""The errors modelmedic raises: each one says what happened, why, and what to do next."""

from __future__ import annotations


class ModelmedicError(Exception):
    """Base of every error that modelmedic raises on purpose.

    Args:
        what: What happened, with names and numbers; one sentence.
        why: The cause; empty when it is not known. A guess says "most often".
        next_step: What the reader can do, runnable as printed; empty when there is nothing.
    """

    def __init__(self, what: str, why: str = "", next_step: str = "") -> None:
        super().__init__(what, why, next_step)
        self.what = what
        self.why = why
        self.next_step = next_step

    def __str__(self) -> str:
        return message(self.what, self.why, self.next_step)


class CannotTell(ModelmedicError):  # noqa: N818 - named for what it means, as psutil's AccessDenied
    """A probe could not look: missing tool, no permission, no answer in time, no reference.

    A check that raises it (or gets it from a fact) ends as *unknown*, never as passed.
    """


_INTERRUPTED = {
    "main thread": "the main thread was interrupted",
    "task": "its task was cancelled",
    "children": "the program it waited for was ended",
    "check": "its own check ended it",
}


class OperationTimedOut(ModelmedicError, TimeoutError):  # noqa: N818
    """A limit of time was over; says what was interrupted and what could not be.

    Args:
        operation: The name that was limited.
        limit_seconds: What it was given.
        took_seconds: When its block ended.
        interrupted: "main thread", "task", "children" or "check" (the code asked itself); empty
            when nothing could be.
        thread: Name of the thread that could not be interrupted; empty for none.
        children: Processes that were ended, as "12 (pip)".
        left: Those of them that would not end.
        others: The limits around it and inside it, which allow more.
    """

    def __init__(
        self,
        operation: str,
        limit_seconds: float,
        took_seconds: float,
        *,
        interrupted: str = "",
        thread: str = "",
        children: tuple[str, ...] = (),
        left: tuple[str, ...] = (),
        others: tuple[str, ...] = (),
    ) -> None:
        TimeoutError.__init__(self, operation)
        self.operation = operation
        self.limit_seconds = limit_seconds
        self.took_seconds = took_seconds
        self.interrupted = interrupted
        self.thread = thread
        self.children = children
        self.left = left
        self.others = others
        self.what, self.why, self.next_step = self._words()

    @property
    def overrun_seconds(self) -> float:
        """Return how much later than its limit the block ended."""
        return max(0.0, self.took_seconds - self.limit_seconds)

    def _words(self) -> tuple[str, str, str]:
        ran = f"{self.operation} ran over its limit of {self.limit_seconds:g} s"
        if self.interrupted:
            how = _INTERRUPTED.get(self.interrupted, self.interrupted)
            what = f"{ran}; {how} after {self.took_seconds:.2f} s."
        else:
            where = f"the thread {self.thread}" if self.thread else "a call outside of Python"
            what = (
                f"{ran} by {self.overrun_seconds:.2f} s: {where} cannot be interrupted, and went "
                "on to its end."
            )
        why = []
        if self.others:
            why.append(f"It is the tighter one beside {', '.join(self.others)}.")
        if self.children:
            why.append(f"Ended with it: {', '.join(self.children)}.")
        if self.left:
            why.append(f"Not to be ended: {', '.join(self.left)}; nobody waits for it.")
        return what, " ".join(why), ""

    def __reduce__(self) -> tuple[object, ...]:
        fields = {
            "interrupted": self.interrupted,
            "thread": self.thread,
            "children": self.children,
            "left": self.left,
            "others": self.others,
        }
        numbers = (self.operation, self.limit_seconds, self.took_seconds)
        return (_rebuild_timed_out, (numbers, fields))


def _rebuild_timed_out(
    numbers: tuple[str, float, float], fields: dict[str, object]
) -> OperationTimedOut:
    return OperationTimedOut(*numbers, **fields)  # type: ignore[arg-type]


class DiskFilling(ModelmedicError):  # noqa: N818
    """A long operation was stopped before the disk is full; what it has is kept."""


class BadInstall(ModelmedicError):  # noqa: N818
    """The install folder given cannot be one: it is a file, or cannot be read. Exit code 4."""


class BadProfile(ModelmedicError):  # noqa: N818
    """A profile is missing or wrong; names file, line, key and what was expected. Exit code 4."""


class RecoveryRefused(ModelmedicError):  # noqa: N818
    """A repair's precondition does not hold; nothing was touched."""


class NotItsCase(RecoveryRefused):
    """A repair is meant for something else; told only where nothing else is to be told."""


class RecoveryFailed(ModelmedicError):  # noqa: N818
    """A repair began and did not succeed; says what was put back."""


class Unhealthy(AssertionError):  # noqa: N818 - it is the verdict of a check, not our fault
    """The one way a check of ours fails: what / why / next, and what it is about.

    Args:
        what: What does not hold, with names and numbers; one sentence.
        why: The cause, one or two sentences; "most often" when it is a guess.
        next_step: What to do; a command is runnable as printed.
        failure_id: Id of the known failure mode this is, as in docs/failures; None if it is none.
        subject: What it is about, machine-readable: a path relative to the install, an endpoint
            name, a distribution name. A recovery reads it. None when the check's title says all.
        evidence: Plain values (str, int, float, bool, None) that show it; goes into the report.
    """

    def __init__(
        self,
        what: str,
        why: str = "",
        next_step: str = "",
        *,
        failure_id: str | None = None,
        subject: str | None = None,
        evidence: dict[str, str | int | float | bool | None] | None = None,
    ) -> None:
        super().__init__(message(what, why, next_step))
        self.what = what
        self.why = why
        self.next_step = next_step
        self.failure_id = failure_id
        self.subject = subject
        self.evidence = evidence or {}

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild_unhealthy, (self.what, self.why, self.next_step, self._extras()))

    def _extras(self) -> dict[str, object]:
        return {
            "failure_id": self.failure_id,
            "subject": self.subject,
            "evidence": self.evidence,
        }


def _rebuild_unhealthy(what: str, why: str, next_step: str, extras: dict[str, object]) -> Unhealthy:
    return Unhealthy(what, why, next_step, **extras)  # type: ignore[arg-type]


def message(what: str, why: str = "", next_step: str = "") -> str:
    """Return the three parts as one paragraph: what, why, then "Next: ..."."""
    parts = [what, why, f"Next: {next_step}" if next_step else ""]
    return " ".join(part.strip() for part in parts if part.strip())
