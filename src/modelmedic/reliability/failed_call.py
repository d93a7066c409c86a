"""One call that failed, over all its tries; and the mark its exception carries outwards."""

from __future__ import annotations

import contextlib
import secrets
import sys
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any

from modelmedic.reliability.declarations import NOTHING_DECLARED, Declaration
from modelmedic.reliability.error_context import EnhancedErrorContext
from modelmedic.reliability.interfaces import RecoveryAction
from modelmedic.reliability.journal import masker
from modelmedic.text import printable

_MARK = "__modelmedic_call__"
_MAX_LINKS = 20


@dataclass(slots=True)
class FailedCall:
    """What is known of a call that failed; no exception is kept, it would keep its frames.

    Args:
        component: Its name.
        method: That was called.
        component_type: As it was wrapped; empty when it was not.
        target: The component itself; None when it is not known.
        args: Positional arguments of the call.
        kwargs: Its other arguments.
        begun_ns: When the first try began, on the clock of `time.perf_counter_ns`.
        declaration: What the installer declared about the method.
        has_yielded: Whether a generator had given something already.
        is_ours: Whether the wrapper made it; then the wrapper waits, not the decision.
        tries: How often it was called.
        most_tries: How often it may be called; None takes the policy's number.
        previous_errors: Of the tries before the last, oldest first, masked.
        recovery_attempts: What was tried, as sentences.
        correlation_id: The same for one exception in all calls it passes, and for all errors in
            one `correlated` block.
        category: Value of the last error's category; empty when nothing says which.
        error: Type and message of the last error, masked.
        context: As captured at the last error; None when it was not.
        action: What was decided last.
        wait_seconds: Before the next try.
        is_degraded: Whether a repair made the next try possible.
        asked: Families whose recovery was tried already.
        is_final: Whether no repair may lead to another try: somebody or something said no.
        is_over: Whether it was cancelled while it was decided on.
    """

    component: str
    method: str
    component_type: str = ""
    target: Any = None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    begun_ns: int = field(default_factory=perf_counter_ns)
    declaration: Declaration = NOTHING_DECLARED
    has_yielded: bool = False
    is_ours: bool = False
    tries: int = 1
    most_tries: int | None = None
    previous_errors: list[str] = field(default_factory=list)
    recovery_attempts: list[str] = field(default_factory=list)
    correlation_id: str = ""
    category: str = ""
    error: str = ""
    context: EnhancedErrorContext | None = None
    action: RecoveryAction = RecoveryAction.ABORT
    wait_seconds: float = 0.0
    is_degraded: bool = False
    asked: set[str] = field(default_factory=set)
    is_final: bool = False
    is_over: bool = False

    @property
    def label(self) -> str:
        """Return component and method as messages name them."""
        return f"{self.component}.{self.method}"


@dataclass(frozen=True, slots=True)
class Mark:
    """What an inner call left on the exception that it let through.

    Args:
        moment_ns: When, on the clock of `time.perf_counter_ns`.
        tries: How often the inner call was tried.
        correlation_id: Of its error.
        category: Of its error; empty when nothing says which.
    """

    moment_ns: int
    tries: int
    correlation_id: str
    category: str


def leave_mark(error: BaseException, call: FailedCall) -> None:
    """Mark an exception that leaves as seen to: nothing further out does all of it again."""
    mark = Mark(perf_counter_ns(), call.tries, call.correlation_id, call.category)
    with contextlib.suppress(Exception):  # a foreign class that refuses attributes
        setattr(error, _MARK, mark)


def mark_of(error: BaseException, begun_ns: int) -> Mark | None:
    """Return the mark of a call inside the one that began at ``begun_ns``.

    It is looked for on the error, its cause, and what it arose in. An older mark is of another
    call: some code raises one object again and again, or calls us while it handles an error.
    """
    link: BaseException | None = error
    for _number in range(_MAX_LINKS):
        if link is None:
            return None
        mark = getattr(link, _MARK, None)
        if isinstance(mark, Mark) and mark.moment_ns >= begun_ns:
            return mark
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return None


def add_note(error: BaseException, text: str) -> None:
    """Add a note that is printed with the traceback; Python 3.10 keeps it without printing."""
    with contextlib.suppress(Exception):  # a foreign class that refuses attributes
        if sys.version_info >= (3, 11):
            error.add_note(text)
        else:
            vars(error)["__notes__"] = [*getattr(error, "__notes__", ()), text]


def new_correlation_id() -> str:
    """Return the id of the outermost call that runs here, or a new one."""
    correlation = sys.modules.get("modelmedic.reliability.correlation")
    return str(correlation.current_id()) if correlation is not None else secrets.token_hex(8)


def said(error: BaseException) -> str:
    """Return type and message of an error on one line, masked."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a foreign class that cannot be printed
        text = "(it cannot be printed)"
    return printable(masker().mask(f"{type(error).__name__}: {text}"))  # half a secret is no form
