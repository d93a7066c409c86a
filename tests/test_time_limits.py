"""The limits of the design to the second, and that a limit really breaks off what is inside."""

from __future__ import annotations

import contextlib
import itertools
import signal
import socket
import sys
import time

import psutil
import pytest
from time_limit_support import (
    LONG,
    SHORT,
    ended,
    is_alive,
    limit,
    started,
    timer_is_given_back,  # noqa: F401 - for every test
)

from modelmedic.errors import OperationTimedOut
from modelmedic.interruption import CLOCK, Alarm, Clock, OutOfTime
from modelmedic.limits import TimeoutManager

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


@pytest.mark.parametrize("is_outer_tighter", [True, False])
def test_of_two_limits_that_are_over_the_one_that_was_over_first_rings(is_outer_tighter):
    class Silent:
        def set(self, _seconds):
            pass

    clock, outer, inner = Clock(), Alarm(1), Alarm(1)
    clock._bell, clock._alarms = Silent(), [outer, inner]
    outer.until, inner.until = (1.0, 2.0) if is_outer_tighter else (2.0, 1.0)  # long ago
    with clock.held():
        clock._hear(None)
    outer.at = inner.at = 0.0
    with pytest.raises(OutOfTime) as caught:
        clock._hear(None)
    assert caught.value.alarm is (outer if is_outer_tighter else inner)


def test_after_an_inner_limit_the_outer_one_still_holds():
    def work(_block):
        with contextlib.suppress(OperationTimedOut), limit(0.05, "inner"):
            time.sleep(LONG)
        time.sleep(LONG)

    assert ended(work, seconds=0.2, name="outer").operation == "outer"


# -- children --------------------------------------------------------------------------------------


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
