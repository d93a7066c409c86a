"""Coroutines, generators and asynchronous generators: whole runs are protected, not beginnings."""

from __future__ import annotations

import asyncio
import time

import pytest
import wrapper_support
from wrapper_support import Downloader, Engine, counts, notes, raised, reset

from modelmedic import CallRejected, RetryPolicy


@pytest.fixture
def manager(tmp_path):
    return wrapper_support.manager(tmp_path)


@pytest.fixture
def made(manager):
    return manager.wrap_component(Downloader(), "downloader")


def test_a_coroutine_is_protected_to_its_end(made, manager):
    made.failing["later"] = [reset()]
    assert asyncio.run(made.later(4)) == 4
    assert made.ran == ["later", "later"]
    assert counts(manager, "later") == {"successes": 1, "retried": 1}


def test_a_coroutine_of_an_ordinary_function_is_protected_too(made, manager):
    made.failing["later"] = [reset()]
    assert asyncio.run(made.passed_on()) == 5
    assert counts(manager, "passed_on") == {"successes": 1, "retried": 1}


def test_an_error_of_a_coroutine_leaves_as_it_is(made, manager):
    error = ValueError("wrong")
    made.failing["later"] = [error]
    with raised(ValueError) as caught:
        asyncio.run(made.later())
    assert caught[0] is error
    assert error.__context__ is None
    assert "not declared idempotent" in notes(error)
    assert counts(manager, "later") == {"failures": 1}


def test_many_tasks_are_counted_exactly(made, manager):
    async def all_of_them():
        return await asyncio.gather(*(made.later(number) for number in range(300)))

    assert asyncio.run(all_of_them()) == list(range(300))
    assert counts(manager, "later") == {"successes": 300}


def test_a_cancelled_task_is_cancelled(manager):
    async def cancelled():
        task = asyncio.ensure_future(waiting.wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    class Waiting:
        async def wait(self):
            await asyncio.sleep(60)

    waiting = manager.wrap_component(Waiting(), "waiting")
    asyncio.run(cancelled())
    assert counts(manager, "wait", "Waiting") == {"cancelled": 1}


def test_a_task_that_is_cancelled_in_a_wait_is_not_tried_again(tmp_path, monkeypatch):
    patient = RetryPolicy(3, 60.0, 60.0)
    monkeypatch.setattr(patient.pace.__class__, "wait_seconds", lambda _pace, _tries: 60.0)
    manager = wrapper_support.manager(tmp_path, retry=patient)
    made = manager.wrap_component(Downloader(), "d")
    made.failing["later"] = [reset()]

    async def cancelled():
        task = asyncio.ensure_future(made.later())
        while counts(manager, "later") != {"retried": 1}:  # noqa: ASYNC110 - a count has no event
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert made.ran == ["later"]
    assert counts(manager, "later") == {"cancelled": 1, "retried": 1}


def test_the_loop_runs_on_while_an_engine_repairs(tmp_path):
    class Slow(Engine):
        def recover_dependency_failures(self, dependency, error):
            self.asked.append(dependency)
            time.sleep(0.3)
            return False

    engine = Slow()
    made = wrapper_support.manager(tmp_path, engine=engine).wrap_component(Downloader(), "d")
    made.failing["later"] = [ModuleNotFoundError("No module named 'cv2'", name="cv2")]
    beats = []

    async def beside():
        async def beating():
            while True:
                await asyncio.sleep(0.01)
                if engine.asked:
                    beats.append(1)

        heart = asyncio.ensure_future(beating())
        with pytest.raises(ModuleNotFoundError):
            await made.later()
        heart.cancel()

    asyncio.run(beside())
    assert len(beats) > 2


def test_a_generator_counts_when_it_has_ended(made, manager):
    lines = made.lines(2)
    assert counts(manager, "lines") == {}
    assert next(lines) == (0, None)
    assert counts(manager, "lines") == {}
    assert lines.send("word") == (1, "word")
    with pytest.raises(StopIteration) as ended:
        next(lines)
    assert ended.value.value == "done"
    assert counts(manager, "lines") == {"successes": 1}


def test_a_generator_is_timed_as_a_whole(manager):
    class Slow:
        def lines(self):
            time.sleep(0.05)
            yield 1
            time.sleep(0.05)

    assert list(manager.wrap_component(Slow(), "slow").lines()) == [1]
    assert manager.metrics("Slow", "lines").total.seconds > 0.09


def test_a_generator_is_tried_again_before_it_has_given_anything(made, manager):
    made.failing["line 0"] = [reset()]
    assert [number for number, _sent in made.lines(2)] == [0, 1]
    assert made.ran == ["lines", "lines"]
    assert counts(manager, "lines") == {"successes": 1, "retried": 1}


@pytest.mark.parametrize("is_optional", [False, True])
def test_a_generator_that_has_given_something_is_never_tried_again(made, manager, is_optional):
    manager.declare("downloader", "lines", is_idempotent=True, is_optional=is_optional)
    made.failing["line 1"] = [reset()]
    given = []
    with raised(ConnectionError) as caught:
        given.extend(number for number, _sent in made.lines(3))
    assert made.ran == ["lines"]
    assert "given results already" in notes(caught[0])
    assert counts(manager, "lines") == {"failures": 1}


def test_a_generator_that_is_left_early_is_closed_and_cancelled(manager):
    closed = []

    class Closing:
        def lines(self):
            try:
                yield 1
                yield 2
            finally:
                closed.append(True)

    made = manager.wrap_component(Closing(), "closing")
    lines = made.lines()
    next(lines)
    lines.close()
    assert closed == [True]
    assert counts(manager, "lines", "Closing") == {"cancelled": 1}


def test_what_is_thrown_into_a_generator_arrives(manager):
    class Catching:
        def lines(self):
            try:
                yield 1
            except KeyError:
                yield "caught"

    lines = manager.wrap_component(Catching(), "catching").lines()
    next(lines)
    assert lines.throw(KeyError("x")) == "caught"


def test_an_asynchronous_generator_is_protected_likewise(made, manager):
    async def all_of(lines):
        return [number async for number in lines]

    made.failing["line 0"] = [reset()]
    assert asyncio.run(all_of(made.lines_later(3))) == [0, 1, 2]
    assert counts(manager, "lines_later") == {"successes": 1, "retried": 1}
    made.failing["line 2"] = [reset()]
    with raised(ConnectionError):
        asyncio.run(all_of(made.lines_later(3)))
    assert counts(manager, "lines_later") == {"successes": 1, "retried": 1, "failures": 1}


def test_an_asynchronous_generator_that_is_left_early_is_closed(manager):
    closed = []

    class Closing:
        async def lines(self):
            try:
                yield 1
                yield 2
            finally:
                closed.append(True)

    async def left_early():
        lines = manager.wrap_component(Closing(), "closing").lines()
        await lines.__anext__()
        await lines.aclose()

    asyncio.run(left_early())
    assert closed == [True]
    assert counts(manager, "lines", "Closing") == {"cancelled": 1}


def test_the_breaker_knows_every_kind(tmp_path):
    from modelmedic import BreakerSettings

    manager = wrapper_support.manager(tmp_path, breaker=BreakerSettings(failures=1))
    made = manager.wrap_component(Downloader(), "d")
    made.failing["later"] = [ValueError("wrong")]
    with raised(ValueError):
        asyncio.run(made.later())
    with raised(CallRejected):
        asyncio.run(made.later())
    with raised(CallRejected):
        list(made.lines(1))
    with raised(CallRejected):
        made.fetch()
    assert manager.metrics().total.rejected == 3


def test_the_one_call_of_a_half_open_breaker_may_be_a_coroutine(tmp_path, monkeypatch):
    from modelmedic import BreakerSettings

    clock = [100.0]
    monkeypatch.setattr("circuitbreaker.monotonic", lambda: clock[0])
    manager = wrapper_support.manager(tmp_path, breaker=BreakerSettings(failures=1, seconds=30))
    made = manager.wrap_component(Downloader(), "d")
    made.failing["fetch"] = [ValueError("wrong")]
    with raised(ValueError):
        made.fetch()
    clock[0] += 31
    assert asyncio.run(made.passed_on()) == 5
    assert manager.health("Downloader").breaker == "closed"
