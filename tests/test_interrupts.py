"""Ctrl-C, SIGTERM and limits of time: heard once, and never while something is put back."""

from __future__ import annotations

import contextlib
import signal
import time

import pytest

from modelmedic.healing.interrupts import PATIENCE, Interrupts, OutOfTime


def test_only_the_first_signal_interrupts():
    heard = Interrupts()
    with pytest.raises(KeyboardInterrupt):
        heard._hear(signal.SIGINT, None)
    for _ in range(PATIENCE - 1):
        heard._hear(signal.SIGTERM, None)
    with pytest.raises(KeyboardInterrupt):  # something hangs
        heard._hear(signal.SIGINT, None)


def test_a_signal_waits_for_the_end_of_what_is_put_back():
    heard, done = Interrupts(), []

    def put_back():
        with heard.deferred():
            with heard.deferred():
                heard._hear(signal.SIGINT, None)
                done.append("inner")
            done.append("outer")

    with pytest.raises(KeyboardInterrupt):
        put_back()
    assert done == ["inner", "outer"]
    with heard.deferred():
        done.append("again")  # the signal was told once


@pytest.fixture
def heard():
    interrupts = Interrupts()
    interrupts.install()
    yield interrupts
    interrupts.remove()


def test_what_takes_too_long_is_broken_off_and_nothing_else_is(heard):
    with pytest.raises(OutOfTime), heard.limited(0.05), contextlib.suppress(Exception):
        time.sleep(60)
    with heard.limited(60):
        pass
    with pytest.raises(KeyboardInterrupt), heard.limited(60):
        signal.raise_signal(signal.SIGINT)
    assert heard.heard == 1


def test_a_limit_that_rings_at_the_last_moment_is_heard_inside(heard):
    for micros in range(0, 3000, 100):
        with contextlib.suppress(OutOfTime), heard.limited(0.001):
            time.sleep(micros / 1e6)
    time.sleep(0.01)
    assert heard.heard == 0


def test_signals_are_given_back():
    before = signal.getsignal(signal.SIGTERM)
    heard = Interrupts()
    heard.install()
    assert signal.getsignal(signal.SIGTERM) == heard._hear
    heard.remove()
    assert signal.getsignal(signal.SIGTERM) is before
