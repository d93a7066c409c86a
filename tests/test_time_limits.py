"""The limits of the design to the second, and that a limit really breaks off what is inside."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import psutil
import pytest

from modelmedic import interruption
from modelmedic.errors import OperationTimedOut
from modelmedic.interruption import CLOCK, Clock
from modelmedic.limits import TimeoutManager
from modelmedic.reliability.retry import RetryPolicy
from modelmedic.timelimit import Limit

LONG = 60.0  # what is broken off would take so long
SHORT = 0.1
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
FAMILY = (
    "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
)


class Seed:
    """As the user's design has it, word for word."""

    DEFAULT_TIMEOUTS = {  # noqa: RUF012 - the seed's own words
        "model_download": 1800,  # 30 minutes
        "dependency_install": 600,  # 10 minutes
        "system_detection": 60,  # 1 minute
        "validation": 300,  # 5 minutes
        "network_test": 30  # 30 seconds
    }  # fmt: skip

    def get_timeout(self, operation, context):
        base_timeout = self.DEFAULT_TIMEOUTS.get(operation, 300)

        # Adjust based on context
        if context.get("file_size_gb", 0) > 5:  # fmt: skip
            base_timeout *= 2
        if context.get("network_speed", "fast") == "slow":  # fmt: skip
            base_timeout *= 1.5
        if context.get("retry_count", 0) > 0:  # fmt: skip
            base_timeout *= 1.2

        return int(base_timeout)


def test_every_limit_is_the_designs_to_the_second():
    names = [*Seed.DEFAULT_TIMEOUTS, "something else"]
    sizes = ({}, *({"file_size_gb": size} for size in (0, 5, 5.001, 126)))
    speeds = ({}, *({"network_speed": speed} for speed in ("fast", "slow", "")))
    counts = ({}, *({"retry_count": count} for count in (0, 1, 9)))
    for name, size, speed, count in itertools.product(names, sizes, speeds, counts):
        context = {**size, **speed, **count}
        assert TimeoutManager().get_timeout(name, context) == Seed().get_timeout(name, context)


@pytest.fixture(autouse=True)
def timer_is_given_back():
    before = signal.getsignal(signal.SIGALRM)
    yield
    assert signal.getsignal(signal.SIGALRM) is before
    assert CLOCK._alarms == []


def limit(seconds=SHORT, name="validation"):
    return TimeoutManager().limit(name, seconds=seconds)


def ended(work, **options) -> OperationTimedOut:
    """Run work in a limited block and return its end; it must not come to its own."""
    came_through = []
    with pytest.raises(OperationTimedOut) as caught, limit(**options) as block:  # noqa: PT012
        work(block)
        came_through.append(work)
    assert not came_through
    assert isinstance(caught.value, TimeoutError)
    return caught.value


# -- the main thread -------------------------------------------------------------------------------


def test_a_sleep_is_broken_off():
    error = ended(lambda _block: time.sleep(LONG))
    assert (error.operation, error.limit_seconds) == ("validation", SHORT)
    assert error.interrupted == "main thread"
    assert "validation ran over its limit of 0.1 s; the main thread was interrupted" in str(error)
    assert error.overrun_seconds < LONG / 2


def test_a_read_of_a_silent_socket_is_broken_off():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ended(lambda _block: ours.recv(1))


def test_a_loop_that_never_waits_is_broken_off():
    def spin(_block):
        until = time.monotonic() + LONG
        while time.monotonic() < until:
            pass

    ended(spin)


def test_the_code_that_hangs_cannot_catch_it():
    def hang(_block):
        with contextlib.suppress(Exception):
            time.sleep(LONG)

    ended(hang)


def test_what_catches_everything_is_told_of_at_the_end_of_the_block():
    after = []
    with pytest.raises(OperationTimedOut), limit():  # noqa: PT012
        try:
            time.sleep(LONG)
        except BaseException:  # noqa: BLE001
            after.append(1)
    assert after == [1]


def test_an_error_that_a_broken_off_block_makes_of_it_is_its_cause():
    with pytest.raises(OperationTimedOut) as caught, limit():  # noqa: PT012
        try:
            time.sleep(LONG)
        finally:
            raise ValueError("cleaning up went wrong")
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_destructor_does_not_swallow_it():
    class Slow:
        def __del__(self):
            until = time.monotonic() + 3 * SHORT
            while time.monotonic() < until:
                pass

    def work(_block):
        thing = Slow()
        del thing
        time.sleep(LONG)

    ended(work)


def test_a_block_that_ends_in_time_is_left_alone():
    with limit(LONG):
        pass
    with pytest.raises(ZeroDivisionError), limit(LONG):
        _ = 1 / 0


@pytest.mark.parametrize("seconds", [0.001, 0.003])
def test_a_limit_that_is_over_at_the_last_moment_leaves_nothing_behind(seconds):
    for micros in range(0, 4000, 250):
        with contextlib.suppress(OperationTimedOut), limit(seconds):
            time.sleep(micros / 1e6)
    time.sleep(0.02)  # nothing rings here


def test_ctrl_c_inside_is_ctrl_c():
    with pytest.raises(KeyboardInterrupt), limit(LONG):
        signal.raise_signal(signal.SIGINT)


def test_another_timer_of_the_process_rings_at_its_time_and_goes_on():
    heard = []
    before = signal.signal(signal.SIGALRM, lambda *_: heard.append(time.monotonic()))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        with limit(LONG):
            while len(heard) < 3:
                time.sleep(0.01)
        while len(heard) < 5:
            time.sleep(0.01)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_handler_that_was_set_inside_a_block_stays():
    before = signal.getsignal(signal.SIGALRM)
    theirs = lambda *_: None  # noqa: E731
    try:
        with limit(LONG):
            signal.signal(signal.SIGALRM, theirs)
        assert signal.getsignal(signal.SIGALRM) is theirs
    finally:
        signal.signal(signal.SIGALRM, before)


def test_nothing_is_broken_off_while_files_are_put_back():
    done = []
    with pytest.raises(OperationTimedOut), limit(0.05):  # noqa: PT012
        with CLOCK.held():
            time.sleep(0.15)
            done.append("put back")
        time.sleep(LONG)
        done.append("came through")
    assert done == ["put back"]


# -- nested ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tighter", ["outer", "inner"])
def test_of_nested_limits_the_tighter_one_ends_it_and_says_so(tighter):
    seconds = {"outer": LONG, "inner": LONG} | {tighter: SHORT}
    caught_inside = []
    with pytest.raises(OperationTimedOut) as caught, limit(seconds["outer"], "outer"):  # noqa: PT012
        try:
            with limit(seconds["inner"], "inner"):
                time.sleep(LONG)
        except OperationTimedOut as error:
            caught_inside.append(error)
            raise
    assert caught.value.operation == tighter
    assert bool(caught_inside) == (tighter == "inner")
    other = ({"outer", "inner"} - {tighter}).pop()
    assert f"the tighter one beside {other} (60 s)" in str(caught.value)


def test_after_an_inner_limit_the_outer_one_still_holds():
    def work(_block):
        with contextlib.suppress(OperationTimedOut), limit(0.05, "inner"):
            time.sleep(LONG)
        time.sleep(LONG)

    assert ended(work, seconds=0.2, name="outer").operation == "outer"


# -- children --------------------------------------------------------------------------------------


def started(code):
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)


def test_a_child_that_is_waited_for_is_ended_with_its_own_children():
    seen = []

    def work(_block):
        with started(FAMILY) as process:
            while not (inner := psutil.Process(process.pid).children()):
                time.sleep(0.01)
            seen.extend([psutil.Process(process.pid), *inner])
            process.communicate()

    error = ended(work, seconds=2)
    assert len(seen) == 2
    assert not any(is_alive(each) for each in seen)
    assert [int(told.split()[0]) for told in error.children] == [each.pid for each in seen]


def is_alive(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def test_a_child_that_ignores_the_first_signal_is_killed():
    def work(_block):
        with started(STUBBORN) as process:
            process.stdout.readline()  # now it ignores it
            process.wait()

    assert ended(work, seconds=1).left == ()


def test_a_child_of_before_the_block_is_not_ended():
    with started("import time; time.sleep(60)") as process:
        try:
            time.sleep(0.1)
            ended(lambda _block: process.wait())
            assert process.poll() is None
        finally:
            process.kill()


def test_a_program_run_through_the_limit_ends_with_it():
    ended(
        lambda block: block.run([sys.executable, "-c", "import time; time.sleep(60)"]), seconds=0.5
    )
    with limit(LONG) as block:
        assert block.run([sys.executable, "-c", "print(7)"]).stdout == "7\n"


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


def in_thread(work, name="worker"):
    found = []

    def run():
        try:
            found.append(work())
        except BaseException as error:  # noqa: BLE001
            found.append(error)

    thread = threading.Thread(target=run, name=name)
    thread.start()
    thread.join(LONG)
    return found[0]


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
