"""Protected calls: of functions, coroutines, generators and asynchronous generators.

A failed try goes to `Operation.note_failure`. The next one is made outside of the except block, so
that no error has the one before it as its context.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass
from functools import partial
from time import perf_counter_ns
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

from modelmedic.reliability.failed_call import FailedCall
from modelmedic.reliability.interfaces import RecoveryAction
from modelmedic.reliability.operation import Operation

_DEFERRED = frozenset({CoroutineType, GeneratorType, AsyncGeneratorType})


@dataclass(frozen=True, slots=True)
class Work:
    """What is called, and for whom.

    Args:
        operation: What it is.
        function: What is called.
        target: The component.
        handed: Returns what stands for the component in results; a method that returns the
            component itself must not hand out the unprotected one.
        name: Under which the function is looked up anew for each call; empty: it stays the same.
    """

    operation: Operation
    function: Callable[..., Any]
    target: Any
    handed: Callable[[], Any]
    name: str = ""

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the function."""
        function = getattr(self.target, self.name) if self.name else self.function
        return function(*args, **kwargs)

    def result(self, found: Any) -> Any:
        """Return a result as the caller gets it."""
        return self.handed() if found is self.target else found


def protected(work: Work) -> Callable[..., Any]:
    """Return the protected form of a function, of the same kind as it."""
    function = work.function
    if inspect.iscoroutinefunction(function):

        async def called_later(*args: Any, **kwargs: Any) -> Any:
            return await awaited(work, args, kwargs)

        return called_later
    if inspect.isgeneratorfunction(function):

        def called_in_steps(*args: Any, **kwargs: Any) -> Any:
            return (yield from iterated(work, args, kwargs))

        return called_in_steps
    if inspect.isasyncgenfunction(function):
        return partial(_iterated_later, work)  # inspect sees through it: it is still such a one
    return _called(work)


def _called(work: Work) -> Callable[..., Any]:
    operation, function, target = work.operation, work.function, work.target
    breaker, succeeded, handed = operation.breaker, operation.succeeded, work.handed
    name = work.name

    def called(*args: Any, **kwargs: Any) -> Any:
        if operation.limit or (breaker is not None and breaker.is_troubled):
            return run(work, args, kwargs)
        begun_ns = perf_counter_ns()
        try:
            called_one = getattr(target, name) if name else function
            result = called_one(*args, **kwargs)
        except BaseException as error:
            call = operation.note_failure(error, target, args, kwargs, begun_ns, None)
            if call.action is RecoveryAction.ABORT:
                raise
        else:
            if type(result) in _DEFERRED:
                return deferred(work, result, args, kwargs)
            succeeded(begun_ns, args, kwargs)
            return handed() if result is target else result
        if call.action is RecoveryAction.CONTINUE:
            return None
        return run(work, args, kwargs, call)

    return called


def run(
    work: Work,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    call: FailedCall | None = None,
) -> Any:
    """Call a function, all tries; ``call`` is given when its first try has failed."""
    if call is None:
        work.operation.admit(args, kwargs)
    while True:
        begun_ns = perf_counter_ns()
        try:
            if call is not None:
                time.sleep(call.wait_seconds)
            with work.operation.limited():
                result = work.call(args, kwargs)
        except BaseException as error:
            call = work.operation.note_failure(error, work.target, args, kwargs, begun_ns, call)
            if call.action is RecoveryAction.ABORT:
                raise
        else:
            if type(result) in _DEFERRED:
                return deferred(work, result, args, kwargs)
            work.operation.note_success(begun_ns, args, kwargs, call)
            return work.result(result)
        if call.action is RecoveryAction.CONTINUE:
            return None


def deferred(
    work: Work,
    result: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Return the protected form of what a function gave to be awaited or iterated."""
    if type(result) is CoroutineType:
        return awaited(work, args, kwargs, result)
    if type(result) is GeneratorType:
        return iterated(work, args, kwargs, result)
    return iterated_later(work, args, kwargs, result)


async def awaited(
    work: Work,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    first: Any = None,
) -> Any:
    """Call and await a coroutine function, all tries; ``first`` is its first coroutine."""
    call: FailedCall | None = None
    if first is None:  # else it was admitted when it gave that
        work.operation.admit(args, kwargs)
    while True:
        begun_ns = perf_counter_ns()
        try:
            if call is not None:
                await asyncio.sleep(call.wait_seconds)
            coroutine, first = work.call(args, kwargs) if first is None else first, None
            if work.operation.limit:
                async with work.operation.limited():
                    result = await coroutine
            else:
                result = await coroutine
        except BaseException as error:
            call = await _noted_later(work, error, args, kwargs, begun_ns, call)
            if call.action is RecoveryAction.ABORT:
                raise
        else:
            work.operation.note_success(begun_ns, args, kwargs, call)
            return work.result(result)
        if call.action is RecoveryAction.CONTINUE:
            return None


async def _noted_later(
    work: Work,
    error: BaseException,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    begun_ns: int,
    call: FailedCall | None,
    *,
    has_yielded: bool = False,
) -> FailedCall:
    """Do as `note_failure`, in a thread when an engine may take its time with a repair."""
    if work.operation.manager.engine is None or not isinstance(error, Exception):
        return work.operation.note_failure(
            error, work.target, args, kwargs, begun_ns, call, has_yielded=has_yielded
        )
    known = call or work.operation.new_call(work.target, args, kwargs, begun_ns)
    try:
        return await asyncio.to_thread(
            work.operation.note_failure,
            error, work.target, args, kwargs, begun_ns, known, has_yielded=has_yielded,
        )  # fmt: skip
    except asyncio.CancelledError:
        work.operation.note_cancelled(known)
        raise


def iterated(  # noqa: C901 - PEP 380 written out, to know whether it has given anything
    work: Work,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    first: Any = None,
) -> Generator[Any, Any, Any]:
    """Iterate a generator to its end; it is tried again only until it has given something."""
    call: FailedCall | None = None
    if first is None:  # else it was admitted when it gave that
        work.operation.admit(args, kwargs)
    while True:
        begun_ns, has_yielded = perf_counter_ns(), False
        try:
            if call is not None:
                time.sleep(call.wait_seconds)
            inner, first = work.call(args, kwargs) if first is None else first, None
            try:
                value = next(inner)
                while True:
                    has_yielded = True
                    try:
                        sent = yield value
                    except GeneratorExit:
                        inner.close()
                        raise
                    except BaseException as thrown:  # noqa: BLE001 - it is the generator's own
                        value = inner.throw(thrown)
                    else:
                        value = next(inner) if sent is None else inner.send(sent)
            except StopIteration as stop:
                result = stop.value
        except BaseException as error:
            call = work.operation.note_failure(
                error, work.target, args, kwargs, begun_ns, call, has_yielded=has_yielded
            )
            if call.action is RecoveryAction.ABORT:
                raise
        else:
            work.operation.note_success(begun_ns, args, kwargs, call)
            return result
        if call.action is RecoveryAction.CONTINUE:
            return None


async def iterated_later(  # noqa: C901 - as `iterated`
    work: Work,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    first: Any = None,
) -> AsyncGenerator[Any, Any]:
    """Do the same for an asynchronous generator."""
    call: FailedCall | None = None
    if first is None:  # else it was admitted when it gave that
        work.operation.admit(args, kwargs)
    while True:
        begun_ns, has_yielded = perf_counter_ns(), False
        try:
            if call is not None:
                await asyncio.sleep(call.wait_seconds)
            inner, first = work.call(args, kwargs) if first is None else first, None
            try:
                value = await inner.__anext__()
                while True:
                    has_yielded = True
                    try:
                        sent = yield value
                    except GeneratorExit:
                        await inner.aclose()
                        raise
                    except BaseException as thrown:  # noqa: BLE001 - it is the generator's own
                        value = await inner.athrow(thrown)
                    else:
                        value = await inner.asend(sent)
            except StopAsyncIteration:
                pass
        except BaseException as error:
            call = await _noted_later(
                work, error, args, kwargs, begun_ns, call, has_yielded=has_yielded
            )
            if call.action is RecoveryAction.ABORT:
                raise
        else:
            work.operation.note_success(begun_ns, args, kwargs, call)
            return
        if call.action is RecoveryAction.CONTINUE:
            return


async def _iterated_later(work: Work, /, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
    """Give what `iterated_later` gives, as the asynchronous generator function it stands for."""
    inner = iterated_later(work, args, kwargs)
    try:
        value = await inner.__anext__()
        while True:
            try:
                sent = yield value
            except GeneratorExit:
                await inner.aclose()
                raise
            except BaseException as thrown:  # noqa: BLE001 - it is the generator's own
                value = await inner.athrow(thrown)
            else:
                value = await inner.asend(sent)
    except StopAsyncIteration:
        pass
