"""Whose turn it is to read a whole file: as many as there are cores, the largest first."""

from __future__ import annotations

import contextlib
import os
import threading

import pytest
import support

from modelmedic.errors import CannotTell
from modelmedic.facts import cgroup, file_hashes, hashing_desk
from modelmedic.facts.hashing_desk import Desk, usable_cores

WAIT = 30  # seconds until a test that hangs fails


class Readers:
    """Threads that take a turn and hold it until they are let go."""

    def __init__(self, desk):
        self.desk, self.order, self.threads, self.refused = desk, [], [], []
        self.changed, self.held = threading.Condition(), threading.Semaphore(0)

    def begin(self, name, size, key=None):
        def run():
            try:
                with self.desk.turn(name, size, key or name):
                    with self.changed:
                        self.order.append(name)
                        self.changed.notify_all()
                    self.held.acquire(timeout=WAIT)
            except CannotTell as error:
                self.refused.append(str(error))

        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()

    def until(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.order) >= count, WAIT)

    def until_waiting(self, count):
        while len(self.desk._waiting) < count:
            threading.Event().wait(0.001)

    def end(self):
        for _ in self.threads:
            self.held.release()
        for thread in self.threads:
            thread.join(WAIT)


def test_no_more_files_are_read_than_there_are_cores_and_the_largest_comes_next():
    readers = Readers(Desk(cores=2))
    for number, size in enumerate((5, 5)):
        readers.begin(f"first{number}", size)
    readers.until(2)
    for name, size in (("small", 1), ("large", 9), ("middle", 4)):
        readers.begin(name, size)
    readers.until_waiting(3)
    assert len(readers.order) == 2
    assert not readers.desk.has_idle_core()
    for count, name in ((3, "large"), (4, "middle"), (5, "small")):
        readers.held.release()
        readers.until(count)
        assert readers.order[-1] == name
    readers.end()
    assert readers.desk.progress()[1:] == (24, 24)


def test_one_file_is_not_read_twice_at_once():
    readers = Readers(Desk(cores=2))
    readers.begin("one", 5, key="same")
    readers.until(1)
    readers.begin("two", 9, key="same")
    readers.until_waiting(1)
    readers.begin("three", 1)  # goes before the larger one, whose file is being read
    readers.until(2)
    assert readers.order == ["one", "three"]
    readers.end()
    assert set(readers.order) == {"one", "two", "three"}


def test_a_stop_ends_those_that_wait_and_gives_no_further_turn():
    readers = Readers(Desk(cores=1))
    readers.begin("one", 5)
    readers.until(1)
    readers.begin("two", 5)
    readers.until_waiting(1)
    readers.desk.stop(0.01)
    readers.threads[1].join(WAIT)
    assert "was stopped" in readers.refused[0]
    readers.end()
    with pytest.raises(CannotTell), readers.desk.turn("x", 1, "x"):
        pass


def test_who_waits_long_is_shown_how_far_it_is(tmp_path, monkeypatch):
    (tmp_path / "f").write_bytes(b"x" * 3_000_000)
    monkeypatch.setattr(hashing_desk, "_QUIET_SECONDS", -1)
    facts, told = support.make_facts(tmp_path), []
    desk = hashing_desk.desk_of(facts)
    desk.cores = 1
    held = contextlib.ExitStack()  # the only turn: the file waits until its progress was told
    held.enter_context(desk.turn("other", 7, ("sha256", "other")))

    @contextlib.contextmanager
    def shown():
        yield lambda what, done, total: (told.append((what, done, total)), held.close())

    desk.shown = shown
    found = hashing_desk.awaited(facts, file_hashes.read_sha256, "f")
    assert found.size_bytes == 3_000_000
    assert told
    assert all(done <= total for _what, done, total in told)


@pytest.mark.parametrize(("quota", "cores"), [(None, 4), (0.3, 1), (1.0, 1), (1.5, 2), (9.0, 4)])
def test_a_quota_of_processor_time_bounds_the_cores(monkeypatch, quota, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(cgroup, "own_cpu_quota", lambda: quota)
    assert usable_cores() == cores
