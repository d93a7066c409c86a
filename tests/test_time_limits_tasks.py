"""Limits of time in tasks and threads, for other reasons, and on other systems."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import psutil
import pytest
from time_limit_support import (
    LONG,
    SHORT,
    ended,
    in_thread,
    is_alive,
    limit,
    started,
    timer_is_given_back,  # noqa: F401 - for every test
)

from modelmedic import interruption
from modelmedic.errors import OperationTimedOut
from modelmedic.interruption import Clock
from modelmedic.reliability.retry import RetryPolicy
from modelmedic.timelimit import Limit

# -- asyncio ---------------------------------------------------------------------------------------


def test_a_task_of_asyncio_is_cancelled():
    async def main():
        async with limit():
            await asyncio.sleep(LONG)

    with pytest.raises(OperationTimedOut) as caught:
        asyncio.run(main())
    assert caught.value.interrupted == "task"


def test_a_plain_with_block_in_a_task_is_broken_off_too_and_the_task_goes_on():
    async def main():
        with contextlib.suppress(OperationTimedOut), limit():
            await asyncio.sleep(LONG)
        await asyncio.sleep(0.01)  # it is not cancelled any more
        return asyncio.current_task().cancelling() if hasattr(asyncio.Task, "cancelling") else 0

    assert asyncio.run(main()) == 0


def test_a_task_that_blocks_the_loop_is_interrupted_and_no_other_one():
    other = []

    async def innocent():
        await asyncio.sleep(2 * SHORT)
        other.append("came through")

    async def main():
        task = asyncio.create_task(innocent())
        await asyncio.sleep(0)
        with pytest.raises(OperationTimedOut) as caught, limit():
            time.sleep(LONG)  # noqa: ASYNC251 - the point
        await task
        return caught.value

    assert asyncio.run(main()).interrupted == "main thread"
    assert other == ["came through"]


def test_another_task_that_blocks_the_loop_is_not_hit():
    async def blocks():
        time.sleep(3 * SHORT)  # noqa: ASYNC251 - the point
        return "came through"

    async def limited():
        async with limit():
            await asyncio.sleep(LONG)

    async def main():
        return await asyncio.gather(limited(), blocks(), return_exceptions=True)

    first, second = asyncio.run(main())
    assert isinstance(first, OperationTimedOut)
    assert second == "came through"


def test_a_task_cancelled_by_somebody_else_is_cancelled():
    async def main():
        async def limited():
            async with limit(LONG):
                await asyncio.sleep(LONG)

        task = asyncio.create_task(limited())
        await asyncio.sleep(0.01)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())


def test_a_child_of_asyncio_is_ended():
    seen = []

    async def main():
        async with limit(1):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", "import time; time.sleep(60)"
            )
            seen.append(psutil.Process(process.pid))
            await process.wait()

    with pytest.raises(OperationTimedOut):
        asyncio.run(main())
    assert not is_alive(seen[0])


# -- other threads ---------------------------------------------------------------------------------


def test_a_thread_goes_on_to_its_end_and_then_says_by_how_much_it_ran_over():
    def work():
        with limit(0.05):
            time.sleep(0.2)

    error = in_thread(work)
    assert isinstance(error, OperationTimedOut)
    assert (error.interrupted, error.thread) == ("", "worker")
    assert error.overrun_seconds >= 0.1
    assert "the thread worker cannot be interrupted, and went on to its end" in str(error)


def test_a_thread_can_ask_and_its_own_error_is_not_hidden():
    def asks():
        with limit(0.05) as block:
            while True:
                block.check()
                time.sleep(0.01)

    def fails():
        with limit(0.05):
            time.sleep(0.1)
            raise ValueError("mine")

    assert in_thread(asks).interrupted == "check"
    assert isinstance(in_thread(fails), ValueError)


def test_what_a_thread_waits_for_is_ended_if_it_was_adopted():
    def adopts():
        with limit(0.3) as block, started("import time; time.sleep(60)") as process:
            block.adopt(process.pid)
            process.wait()

    def runs():
        with limit(0.3) as block:
            block.run([sys.executable, "-c", "import time; time.sleep(60)"])

    for work in (adopts, runs):
        error = in_thread(work)
        assert isinstance(error, OperationTimedOut), error
        assert error.interrupted == "children"


# -- for other reasons, other systems --------------------------------------------------------------


@pytest.mark.parametrize("where", ["main", "task", "thread"])
def test_a_block_is_broken_off_for_another_reason(where):
    reason = OSError("the disk is nearly full")

    def work():
        with limit(LONG) as block:
            threading.Timer(0.1, block.interrupt, [reason]).start()
            if where == "thread":
                while True:
                    block.check()
                    time.sleep(0.01)
            time.sleep(LONG)

    async def main():
        async with limit(LONG) as block:
            threading.Timer(0.1, block.interrupt, [reason]).start()
            await asyncio.sleep(LONG)

    if where == "thread":
        assert in_thread(work) is reason
        return
    with pytest.raises(OSError, match="nearly full"):
        asyncio.run(main()) if where == "task" else work()


def test_a_child_that_a_thread_waits_for_is_ended_for_another_reason_too():
    reason = OSError("the disk is nearly full")

    def work():
        with limit(LONG) as block, started("import time; time.sleep(60)") as process:
            block.adopt(process.pid)
            threading.Timer(0.1, block.interrupt, [reason]).start()
            process.wait()

    assert in_thread(work) is reason


def test_a_task_that_outlives_the_block_it_was_made_in_has_its_own_time():
    async def later():
        await asyncio.sleep(0.05)
        with limit(LONG) as block:
            return block.left_seconds

    async def main():
        async with limit(0.02, "outer"):
            task = asyncio.create_task(later())
        return await task

    assert asyncio.run(main()) > 1


def test_the_traceback_shows_what_hung():
    def hangs_here(_block):
        time.sleep(LONG)

    error = ended(hangs_here)
    told = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    assert "hangs_here" in told


def test_what_interrupts_after_the_block_hits_nobody():
    with limit(LONG) as block:
        pass
    block.interrupt(OSError("too late"))
    time.sleep(0.02)


def test_where_there_is_no_timer_signal_python_is_asked_for_what_ctrl_c_does(monkeypatch):
    """As on Windows: it is heard between two steps of Python, not in a wait of the system."""
    clock = Clock()
    clock._bell = interruption._TimerThread()
    monkeypatch.setattr(interruption, "CLOCK", clock)
    before = signal.getsignal(signal.SIGINT)

    def spin(_block):
        while True:
            pass

    ended(spin)
    with pytest.raises(KeyboardInterrupt), limit(LONG):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_timeout_survives_pickling_and_may_be_tried_again():
    error = ended(lambda _block: time.sleep(LONG))
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.limit_seconds) == (str(error), SHORT)
    assert RetryPolicy().is_transient(error)


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_no_limit_of_nothing_is_given(seconds):
    with pytest.raises(ValueError, match="must be above 0"):
        limit(seconds)


def test_a_limit_is_for_one_block_at_a_time():
    block = Limit("validation", LONG)
    with block, pytest.raises(RuntimeError, match="one block"), block:
        pass
    with block:
        pass


def test_the_limits_alone_cost_next_to_nothing_to_import():
    code = "import sys; import modelmedic.limits; print('modelmedic.timelimit' in sys.modules, 'asyncio' in sys.modules)"
    env = {**os.environ, "PYTHONPATH": str(Path(interruption.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]
