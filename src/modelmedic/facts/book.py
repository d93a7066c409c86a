"""The fact book: every probe at most once a generation, concurrently, each with a deadline."""

from __future__ import annotations

import _thread
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from typing import Any, Literal, TypeVar

from modelmedic import purity
from modelmedic.context import Context
from modelmedic.errors import CannotTell
from modelmedic.facts.places import environment_in
from modelmedic.limits import TimeoutManager
from modelmedic.profile.model import Profile

T = TypeVar("T")
Probe = Callable[..., T]
# A thread begins within milliseconds, on a busy machine within a second. One that finds no memory
# for its first step dies without a word, and nobody would hear of it before the probe's limit.
_BEGIN_SECONDS = 5.0


def probe(
    limit: str,
    context: Callable[..., dict[str, Any]] | None = None,
    *,
    writes: Literal["", "scratch", "temporary"] = "",
    connects: Literal["", "loopback", "network"] = "",
    spawns: tuple[str, ...] = (),
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Mark a function ``f(facts, *args) -> fact`` as a probe with a limit of `TimeoutManager`.

    ``context(facts, *args)`` gives what `TimeoutManager.get_timeout` adjusts the limit by. What it
    does beside reading it declares: see `modelmedic.purity.Promise`. Anything else is stopped.

    A probe reads and returns a frozen value; it raises `CannotTell` (or lets an OSError out)
    when it could not look. Its arguments must be hashable. It may ask the book for other facts.
    """
    promise = purity.Promise(writes, connects, spawns)

    def mark(function: Callable[..., T]) -> Callable[..., T]:
        function.limit = limit  # type: ignore[attr-defined]
        function.limit_context = context  # type: ignore[attr-defined]
        function.promise = promise  # type: ignore[attr-defined]
        return function

    return mark


class FactBook:
    """Facts by probe and arguments, forgotten when a repair moves the generation.

    Args:
        context: What is examined.
        generation: Returns a number that grows with every applied repair, also one applied by
            another worker.

    With ``is_watched`` each probe is held to its promise.
    """

    def __init__(self, context: Context, generation: Callable[[], int] = lambda: 0) -> None:
        self.context = context
        self.is_watched = False
        self._generation_now = generation
        self._generation = generation()
        self._entries: dict[tuple[object, ...], Future[Any]] = {}
        self._lock = threading.Lock()
        self._limits = TimeoutManager()
        # What stays true across repairs, by what it was read from: a hash by the file's identity.
        self.memo: dict[tuple[object, ...], Any] = {}

    @property
    def profile(self) -> Profile:
        """Return the profile of the run."""
        return self.context.profile

    @property
    def target_python(self) -> Path | None:
        """Return the Python that the app runs in, also one that a repair of this run made."""
        given = self.context.target_python
        if given is not None or not self.context.is_installed:
            return given
        return environment_in(self.context.place)

    def get(self, probe: Probe[T], *args: object) -> T:
        """Return what ``probe`` read, waiting for it if it still runs.

        Raises:
            CannotTell: The probe could not look, failed, or took longer than its limit; the
                probe's own exception is the ``__cause__``.
            BrokenPromise: It was about to change something it does not declare.
        """
        entry = self._entry(probe, args)
        seconds = self.seconds_for(probe, *args)
        try:
            value: T = self._awaited(probe, entry, seconds)
        except (CannotTell, purity.BrokenPromise):
            raise
        except (FutureTimeoutError, TimeoutError) as error:
            if entry.done():
                raise _could_not_look(probe, error) from error
            raise CannotTell(
                f"{_words(probe)} gave no answer within {seconds} s.",
                "Most often a dead network drive, a wedged driver or a very slow disk.",
            ) from error
        except Exception as error:
            raise _could_not_look(probe, error) from error
        return value

    def _awaited(self, probe: Probe[T], entry: Future[Any], seconds: float) -> T:
        """Return the answer of a probe; one whose thread died before it began is not waited for."""
        try:
            value: T = entry.result(timeout=min(seconds, _BEGIN_SECONDS))
        except (FutureTimeoutError, TimeoutError):
            if entry.done():
                raise
            if not entry.running():
                raise _cannot_start(probe, MemoryError("its thread did not start")) from None
            value = entry.result(timeout=max(0.0, seconds - _BEGIN_SECONDS))
        return value

    def seconds_for(self, probe: Probe[Any], *args: object) -> int:
        """Return how long ``probe`` may take with these arguments, in seconds."""
        context = getattr(probe, "limit_context", None)
        return self._limits.get_timeout(limit_of(probe), context(self, *args) if context else None)

    def start(self, probe: Probe[Any], *args: object) -> None:
        """Begin reading a fact without waiting for it."""
        self._entry(probe, args)

    def is_read(self, probe: Probe[Any], *args: object) -> bool:
        """Return whether a fact came to its end, with a value or without; begin it if need be."""
        return self._entry(probe, args).done()

    def known(self, probe: Probe[T], *args: object) -> T | None:
        """Return a fact that was read already; None when it was not, or could not be."""
        with self._lock:
            entry = self._entries.get((probe.__module__, probe.__qualname__, *args))
            is_of_now = self._generation_now() == self._generation
        if entry is None or not is_of_now or not entry.done() or entry.exception() is not None:
            return None
        value: T = entry.result()
        return value

    def forget(self) -> None:
        """Drop every fact: the world was changed."""
        with self._lock:
            self._entries.clear()

    def _entry(self, probe: Probe[Any], args: tuple[object, ...]) -> Future[Any]:
        key = (probe.__module__, probe.__qualname__, *args)
        now = self._generation_now()
        with self._lock:
            if now != self._generation:
                self._entries.clear()
                self._generation = now
            entry = self._entries.get(key)
            if entry is None:
                entry = self._entries[key] = Future()
                # Not concurrent.futures: it would join the thread at exit, and a probe stuck in
                # the kernel would then hold the whole run. Not threading: where memory is short
                # it waits without end for a thread that died before it could say that it began.
                try:
                    _thread.start_new_thread(self._read, (probe, args, entry))
                except (RuntimeError, MemoryError) as error:
                    entry.set_exception(_cannot_start(probe, error))
        return entry

    def _read(self, probe: Probe[Any], args: tuple[object, ...], entry: Future[Any]) -> None:
        try:
            entry.set_running_or_notify_cancel()
            with self._watching(probe):
                value = probe(self, *args)
            entry.set_result(value)
        except BaseException as error:  # noqa: BLE001 - handed to whoever asks for the fact
            entry.set_exception(error)

    def _watching(self, probe: Probe[Any]) -> contextlib.AbstractContextManager[None]:
        if not self.is_watched:
            return contextlib.nullcontext()
        watch = purity.Watch(
            f"the probe {probe.__module__.rpartition('.')[2]}.{probe.__name__}",
            getattr(probe, "promise", purity.Promise()),
            self.context.scratch_name,
            self.target_python,
        )
        return purity.watching(watch)


def limit_of(probe: Probe[Any]) -> str:
    """Return the name of a probe's limit in `TimeoutManager`."""
    limit: str = getattr(probe, "limit", "local_read")
    return limit


def _could_not_look(probe: Probe[Any], error: BaseException) -> CannotTell:
    reason = str(error) or type(error).__name__
    return CannotTell(f"{_words(probe)} failed: {reason}.", f"{type(error).__name__} in a probe.")


def _cannot_start(probe: Probe[Any], error: BaseException) -> CannotTell:
    told = CannotTell(
        f"{_words(probe)} could not begin: {error}.",
        "The system gives this process no more threads: its memory or its number of processes is "
        "limited.",
        "End other programs, or raise the limits (`ulimit -v`, `ulimit -u`), then start again.",
    )
    told.__cause__ = error
    return told


def _words(probe: Probe[Any]) -> str:
    return f"Reading {probe.__name__.removeprefix('read_').replace('_', ' ')}"
