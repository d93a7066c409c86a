"""An error as text: its message, what it came of, and where it arose; masked and bounded."""

from __future__ import annotations

import builtins
import sys
import traceback
from collections.abc import Iterator
from types import TracebackType

from modelmedic.reliability.summaries import type_name
from modelmedic.reliability.veil import Veil

_MOST_LINKS = 50  # no chain of ours has ten; a loop ends here too
_MOST_MESSAGE = 2_000
_MOST_TRACE = 20_000
_MOST_FRAMES = 40  # the innermost ones of each error: a recursion has a thousand
# Not what the class says: a property of that name could do anything.
_CAUSE = BaseException.__dict__["__cause__"]
_CONTEXT = BaseException.__dict__["__context__"]
_SUPPRESSED = BaseException.__dict__["__suppress_context__"]
_TRACEBACK = BaseException.__dict__["__traceback__"]


def words(error: BaseException, veil: Veil) -> str:
    """Return type and message of an error, also of one that cannot be printed."""
    try:
        text = str(error)
    except (Exception, SystemExit, GeneratorExit) as fault:  # noqa: BLE001 - a foreign class
        text = f"(its message cannot be read: {type_name(type(fault))})"
    said = veil.cut(text, _MOST_MESSAGE)
    name = type_name(type(error))
    return f"{name}: {said}" if said else name


def links(error: BaseException) -> Iterator[tuple[str, BaseException]]:
    """Yield what an error came of, nearest first, each once, with "cause", "context" or "member".

    "cause" it was raised from, in the "context" of which it arose, "member" of a group.
    """
    seen = {id(error)}
    waiting = [(kind, link) for kind, link in _next(error)]
    while waiting and len(seen) <= _MOST_LINKS:
        kind, link = waiting.pop(0)
        if id(link) not in seen:
            seen.add(id(link))
            yield kind, link
            waiting.extend(_next(link))


def chain(error: BaseException, veil: Veil) -> list[str]:
    """Return type and message of everything an error came of, nearest first, with its relation."""
    return [f"{kind}: {words(link, veil)}" for kind, link in links(error)]


def stack_trace(error: BaseException, veil: Veil) -> str:
    """Return the traceback with its chain; without lines of code where it cannot be formatted."""
    try:
        told = traceback.TracebackException.from_exception(error, limit=-_MOST_FRAMES)
        text = "".join(told.format())
    except (Exception, SystemExit, GeneratorExit):  # noqa: BLE001 - a foreign class
        text = "\n".join([*bare_frames(error), words(error, veil)])
    return veil.cut(text, _MOST_TRACE)


def bare_frames(error: BaseException) -> list[str]:
    """Return file, line and function of the innermost frames; reads no file."""
    found: list[str] = []
    entry: TracebackType | None = _TRACEBACK.__get__(error)
    while entry is not None:
        code = entry.tb_frame.f_code
        found.append(f'  File "{code.co_filename}", line {entry.tb_lineno}, in {code.co_name}')
        entry = entry.tb_next
    return found[-_MOST_FRAMES:]


def _next(error: BaseException) -> Iterator[tuple[str, BaseException]]:
    cause, context = _CAUSE.__get__(error), _CONTEXT.__get__(error)
    if cause is not None:
        yield "cause", cause
    elif context is not None and not _SUPPRESSED.__get__(error):
        yield "context", context
    for member in _members(error):
        yield "member", member


def _members(error: BaseException) -> tuple[BaseException, ...]:
    """Return the errors in a group: Python's own from 3.11, or that of the backport."""
    kind = getattr(builtins, "BaseExceptionGroup", None) or getattr(
        sys.modules.get("exceptiongroup"), "BaseExceptionGroup", None
    )
    if kind is None or kind not in type(error).__mro__:
        return ()
    members = kind.__dict__["exceptions"].__get__(error)
    return tuple(member for member in members if isinstance(member, BaseException))
