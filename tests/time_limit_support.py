"""What the tests of time limits share: a limited block that must not come to its own end."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import psutil
import pytest

from modelmedic.errors import OperationTimedOut
from modelmedic.interruption import CLOCK
from modelmedic.limits import TimeoutManager

LONG = 60.0  # what is broken off would take so long
SHORT = 0.1


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


def started(code):
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)


def is_alive(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


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
