"""One id for all errors of one outermost call, also in its tasks and in threads it starts."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from contextvars import ContextVar, Token
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_Holder = dict[str, str]  # empty until an error asks: a call that succeeds makes no id
_CURRENT: ContextVar[_Holder | None] = ContextVar("modelmedic_correlation", default=None)
_KEY = "id"
_BYTES = 8


def new_id() -> str:
    """Return a random id of 16 letters."""
    return secrets.token_hex(_BYTES)


def begin() -> Token[_Holder | None] | None:
    """Begin a call; None when it is inside another one. Give what is returned to `end`."""
    return None if _CURRENT.get() is not None else _CURRENT.set({})


def end(begun: Token[_Holder | None] | None) -> None:
    """End what `begin` began; nothing for an inner call."""
    if begun is not None:
        _CURRENT.reset(begun)


@contextlib.contextmanager
def correlated() -> Iterator[None]:
    """Hold one id for all errors in the block, if no outer block does already."""
    begun = begin()
    try:
        yield
    finally:
        end(begun)


def current_id() -> str:
    """Return the id of the outermost call that runs here; a new one outside of all calls."""
    holder = _CURRENT.get()
    return new_id() if holder is None else holder.setdefault(_KEY, new_id())


def carried(function: Callable[P, T]) -> Callable[P, T]:
    """Return ``function`` so that in another thread its errors have the id of this call.

    asyncio's tasks and `asyncio.to_thread` carry it by themselves; a bare thread and an executor
    of `concurrent.futures` begin with nothing.
    """
    holder = _CURRENT.get()

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        token = _CURRENT.set(holder)
        try:
            return function(*args, **kwargs)
        finally:
            _CURRENT.reset(token)

    return run
