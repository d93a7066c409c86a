"""Whose children a limit ends: those of its block, and no others."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from time_limit_support import (
    SHORT,
    ended,
    in_thread,
    is_alive,
    limit,
    timer_is_given_back,  # noqa: F401 - for every test
)

from modelmedic import commands, offspring
from modelmedic.errors import OperationTimedOut
from modelmedic.interruption import CLOCK

SLEEPS = [sys.executable, "-c", "import time; time.sleep(60)"]
LAST_PID = Path("/proc/sys/kernel/ns_last_pid")  # the next process gets the number after it


@contextlib.contextmanager
def sleeper():
    with subprocess.Popen(SLEEPS, start_new_session=True) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def sleeper_with_number(pid):
    """Start a process that gets this number; others may take it first: then the test is skipped."""
    for _attempt in range(20):
        try:
            LAST_PID.write_text(str(pid - 1))
        except OSError as error:
            pytest.skip(f"a number cannot be given anew by us: {error}")
        with sleeper() as process:
            if process.pid == pid:
                yield process
                return
    pytest.skip(f"the number {pid} was not given anew in 20 attempts")


# -- a number that was given anew ------------------------------------------------------------------


def test_a_process_that_got_the_number_of_an_adopted_child_is_not_ended():
    def work():
        with limit(1) as block:
            with sleeper() as child:
                block.adopt(child.pid)
            time.sleep(0.05)  # a start is told in ticks of 10 ms
            with sleeper_with_number(child.pid) as stranger:
                time.sleep(max(0.0, block.ends_at - time.monotonic()) + 0.3)
                was_alive.append(stranger.poll() is None)

    was_alive = []
    error = in_thread(work)
    if isinstance(error, pytest.skip.Exception):
        raise error
    assert was_alive == [True]
    assert error.children == ()


def test_a_group_whose_number_was_given_anew_is_not_killed():
    with sleeper() as child:
        leader = psutil.Process(child.pid)
    time.sleep(0.05)
    with sleeper_with_number(child.pid) as stranger:
        assert os.getpgid(stranger.pid) == child.pid
        offspring._send([leader], [leader], "SIGKILL")
        time.sleep(0.2)
        assert stranger.poll() is None


def test_a_group_outlives_its_leader_and_is_killed():
    code = f"import subprocess; print(subprocess.Popen({SLEEPS!r}).pid, flush=True)"
    argv = [sys.executable, "-c", code + "; input()"]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, start_new_session=True) as child:
        leader = psutil.Process(child.pid)
        member = psutil.Process(int(child.stdout.readline()))
    try:
        offspring._send([leader], [leader], "SIGKILL")
        psutil.wait_procs([member], timeout=10)
        assert not is_alive(member)
    finally:
        with contextlib.suppress(psutil.Error):
            member.kill()


# -- whose child it is -----------------------------------------------------------------------------


def test_a_child_that_another_thread_started_and_waits_for_is_not_ended():
    def serve():
        with sleeper() as process:
            theirs.append(process)
            is_done.wait(60)

    theirs, is_done = [], threading.Event()
    thread = threading.Thread(target=serve)

    def work(_block):
        thread.start()
        while not theirs:
            time.sleep(0.01)
        server = theirs[0]  # a name for it is not a wait for it
        while server.poll() is None:
            time.sleep(0.5)

    try:
        error = ended(work, seconds=1)
        assert error.children == ()
        assert theirs[0].poll() is None
    finally:
        is_done.set()
        thread.join()


def test_a_child_that_another_task_waits_for_is_not_ended():
    async def main():
        with contextlib.suppress(OperationTimedOut):
            async with limit(1):
                server = await asyncio.create_subprocess_exec(*SLEEPS)
                await asyncio.sleep(60)
        try:
            await asyncio.sleep(SHORT)
            return server.returncode
        finally:
            server.kill()
            await server.wait()

    assert asyncio.run(main()) is None


@pytest.mark.parametrize("wait", ["run", "communicate", "our own"])
def test_a_child_that_is_waited_for_in_any_way_is_ended(wait):
    def work(_block):
        if wait == "our own":
            commands.run(SLEEPS, deadline_seconds=60)
        elif wait == "run":
            subprocess.run(SLEEPS, capture_output=True, check=False)
        else:
            with subprocess.Popen(SLEEPS, stdout=subprocess.PIPE) as process:
                process.communicate(timeout=60)

    assert len(ended(work, seconds=1).children) == 1


# -- children that come late -----------------------------------------------------------------------


def test_a_child_that_is_adopted_when_the_time_is_over_is_ended_at_once():
    def work():
        with limit(0.3) as block, sleeper() as first:
            block.adopt(first.pid)
            first.wait()
            with sleeper() as second:
                block.adopt(second.pid)
                codes.append(second.wait(timeout=30))

    codes = []
    error = in_thread(work)
    assert codes == [-signal.SIGTERM]
    assert len(error.children) == 2


def test_a_child_that_is_adopted_after_the_block_was_broken_off_is_ended_at_once():
    def work():
        with limit(60) as block:
            block.interrupt(reason)
            with sleeper() as child:
                block.adopt(child.pid)
                codes.append(child.wait(timeout=30))

    codes, reason = [], OSError("the disk is nearly full")
    assert in_thread(work) is reason
    assert codes == [-signal.SIGTERM]


def test_what_cleans_up_in_the_main_thread_adopts_nobody_who_stays():
    codes = []
    with pytest.raises(OperationTimedOut), limit() as block:  # noqa: PT012
        try:
            subprocess.run(SLEEPS, check=False)
        finally:
            with sleeper() as child:
                block.adopt(child.pid)
                codes.append(child.wait(timeout=5))
    assert codes == [-signal.SIGTERM]


def test_the_main_thread_is_broken_off_if_another_one_got_the_signal_of_the_timer(monkeypatch):
    """Seen on Linux 6.18: the thread that ends the adopted children wakes at the same moment."""
    monkeypatch.setattr(CLOCK._bell, "set", lambda _seconds: None)

    def work(block):
        with sleeper() as child:
            block.adopt(child.pid)
            time.sleep(20)

    assert ended(work).interrupted == "main thread"
