"""Whose children a limit ends: those of its block, and no others."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from time_limit_support import (
    is_alive,
    limit,
    timer_is_given_back,  # noqa: F401 - for every test
)

from modelmedic import offspring
from modelmedic.errors import OperationTimedOut

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
    with pytest.raises(OperationTimedOut) as caught, limit(1) as block:  # noqa: PT012
        with sleeper() as child:
            block.adopt(child.pid)
        time.sleep(0.05)  # a start is told in ticks of 10 ms
        with sleeper_with_number(child.pid) as stranger:
            try:
                time.sleep(60)
            finally:
                time.sleep(0.2)  # what would end it is sent by a thread
                assert stranger.poll() is None
    assert caught.value.children == ()


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
