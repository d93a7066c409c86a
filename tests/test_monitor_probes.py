"""Probes that hang, crash or cannot even be killed: nothing waits for them."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time

import pytest
from gpu_support import library, machine  # noqa: F401 - fixtures
from monitor_support import is_gone, until

from modelmedic import commands
from modelmedic.facts import gpu, nvml_reader
from modelmedic.monitor.looks import Disks, Gpus, helper_argv
from modelmedic.monitor.probes import Prober

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform == "win32", reason="stops processes by SIGSTOP"),
]
# Answers for all but one subject, at which it hangs as a dead mount does.
HANGS = """
import json, sys, time
for line in sys.stdin:
    for subject in json.loads(line):
        if subject == sys.argv[1]:
            time.sleep(600)
        print(json.dumps({"subject": subject}), flush=True)
"""


def prober(*subjects, code=HANGS, hang="", deadline=0.4, begin=commands.begin):
    return Prober(
        [sys.executable, "-I", "-S", "-c", code, hang],
        subjects,
        every_seconds=0.05,
        deadline_seconds=deadline,
        begin=begin,
    )


def steps(made, holds, ahead=0.0):
    """Step by the real clock, some seconds ahead of it, until something holds."""
    seen = {}

    def once():
        seen.update(made.step(time.monotonic() + ahead))
        return holds(seen)

    until(once)
    return seen


def test_a_dead_mount_is_given_up_and_the_others_are_read_on():
    made = prober("/a", "/dead", "/b", hang="/dead")
    try:
        steps(made, lambda seen: "/a" in seen)
        (first,) = made.pids
        steps(made, lambda seen: "/b" in seen, ahead=0.0)
        assert list(made.blind) == ["/dead"]
        assert f"was ended (process {first})" in made.blind["/dead"]
        until(lambda: is_gone(first))
        assert len(made.pids) == 1, "one helper for those that answer"
    finally:
        made.close()
    assert made.pids == []


def test_a_dead_mount_is_tried_again_ever_more_seldom():
    made = prober("/dead", hang="/dead", deadline=0.05)
    began, tried = time.monotonic(), []
    try:
        for ahead in range(400):
            until(lambda: all(each.process.poll() is not None for each in made._aside.values()))
            before = made.pids
            made.step(began + ahead)
            if made.pids and made.pids != before:
                tried.append(ahead)
    finally:
        made.close()
    gaps = [b - a for a, b in itertools.pairwise(tried)]
    assert len(tried) <= 7
    assert gaps == sorted(gaps)
    assert gaps[-1] >= 80


def test_a_helper_that_is_stopped_is_killed_too():
    made = prober("/a")
    try:
        steps(made, lambda seen: "/a" in seen)
        (first,) = made.pids
        os.kill(first, signal.SIGSTOP)
        steps(made, lambda _seen: "/a" in made.blind)
        until(lambda: is_gone(first))
        seen = steps(made, lambda seen: "/a" in seen, ahead=11.0)
        assert seen
        assert made.blind == {}, "it answers again"
    finally:
        made.close()


class Unkillable:
    """A process in uninterruptible sleep, as the system shows it: SIGKILL does nothing."""

    def __init__(self, argv):
        self.real = commands.begin(argv)
        self.pid, self.stdin, self.stdout = 999_999_999, self.real.stdin, self.real.stdout
        self.is_stuck = True

    @property
    def returncode(self):
        return self.poll()

    def poll(self):
        return None if self.is_stuck else self.real.poll()

    def wait(self, timeout=None):
        if self.is_stuck:
            raise subprocess.TimeoutExpired("probe", timeout or 0)
        return self.real.wait(timeout)

    def kill(self):
        pass


def test_a_helper_that_cannot_be_killed_is_named_not_waited_for_and_not_doubled():
    started = []

    def begin(argv):
        started.append(Unkillable(argv))
        return started[-1]

    made = prober("/dead", hang="/dead", deadline=0.05, begin=begin)
    try:
        began = time.monotonic()
        for ahead in range(2000):
            made.step(began + ahead)
        assert len(started) == 1
        assert "cannot be ended: the system itself waits" in made.blind["/dead"]
        started[0].is_stuck = False
        commands.end(started[0].real)
        made.step(began + 3000)
        made.step(began + 3001)
        assert len(started) == 2, "the mount came back, so it is asked again"
    finally:
        for process in started:
            process.is_stuck = False
            commands.end(process.real)
        made.close()


def test_a_helper_that_crashes_is_not_started_without_end():
    started = []

    def begin(argv):
        started.append(commands.begin(argv))
        return started[-1]

    made = prober("/a", code="import sys; sys.exit(7)", begin=begin)
    began = time.monotonic()
    try:
        for ahead in range(300):
            made.step(began + ahead)
            if started:
                started[-1].wait()
        assert len(started) <= 6
        assert made.blind["/a"] == "What looks at /a ended with 7."
    finally:
        made.close()


def test_a_helper_that_answers_nonsense_is_no_harm():
    code = (
        "import sys\nfor line in sys.stdin: print('[1]\\n{\\n\"x\"\\n' + '[' * 100000, flush=True)"
    )
    made = prober("/a", code=code)
    try:
        steps(made, lambda _seen: "/a" in made.blind)
        assert made.blind["/a"]
    finally:
        made.close()


# --- the real helpers


def read_until(look, name):
    return until(lambda: (found := look.read(time.monotonic())).get(name) is not None and found)


def test_the_room_of_a_real_disk_is_read_by_its_mount_point(tmp_path):
    look = Disks((str(tmp_path), str(tmp_path / "not" / "there" / "yet"), os.sep), 0.1)
    try:
        until(lambda: look.read(time.monotonic()) and look.is_complete)
        found = look.read(time.monotonic())
        for name, value in found.items():
            assert name.partition("[")[2].removesuffix("]").startswith("/")
            assert value >= 0 or "filled" in name
        assert found["disk.free_bytes[/]"] > 0
        assert 0 < found["disk.free_ratio[/]"] < 1
    finally:
        look.prober.close()


def test_a_disk_that_is_looked_at_often_by_many_paths_still_has_a_rate(monkeypatch):
    look = Disks(tuple(f"/models/{number}" for number in range(5)), 0.1)
    free = 1e12
    answer = {"point": "/models", "total": 2e12, "inodes": 0, "inodes_free": 0}
    monkeypatch.setattr(
        look, "fresh", lambda _now: dict.fromkeys(look.prober.subjects, answer | {"free": free})
    )
    for tenths in range(300):
        free = 1e12 - tenths * 1e6
        found = look.read(tenths / 10)
    assert found["disk.filled_bytes_per_second[/models]"] == pytest.approx(1e7, rel=0.2)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_said(tmp_path):
    (tmp_path / "shut" / "in").mkdir(parents=True)
    (tmp_path / "shut").chmod(0)
    look = Disks((str(tmp_path / "shut" / "in"),), 0.1)
    try:
        told = until(lambda: [*look.read(time.monotonic()), *look.blind])
        # By the disk of the nearest folder that may be read, or by why not; never silently.
        assert any("disk.free_bytes[" in each or str(tmp_path) in each for each in told), told
    finally:
        look.prober.close()
        (tmp_path / "shut").chmod(0o700)


def gpus():
    return Gpus(helper_argv("gpu", nvml_reader.__file__, str(gpu.binding_path())))


def test_memory_and_heat_of_each_card_are_read(machine):  # noqa: F811 - the fixture
    machine.say("devices 2", "gpu1.used_mib 12000", "gpu1.throttle 64")
    look = gpus()
    try:
        found = read_until(look, "gpu.memory_used_bytes[1]")
        assert found["gpu.memory_used_bytes[1]"] >= 12000 << 20
        assert found["gpu.is_too_hot[1]"] == 1
        assert found["gpu.is_too_hot[0]"] == 0
        assert found["gpu.is_lost[0]"] == 0
        assert look.blind == {}
    finally:
        look.prober.close()


def test_a_lost_card_is_seen(machine):  # noqa: F811
    machine.say("devices 2", "gpu1.fail 15")
    look = gpus()
    try:
        assert read_until(look, "gpu.is_lost[1]")["gpu.is_lost[0]"] == 0
    finally:
        look.prober.close()


def test_a_machine_without_a_card_is_asked_once(monkeypatch, tmp_path):
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    look = gpus()
    until(lambda: look.read(time.monotonic()) == {} and not look._is_there)
    assert look.prober.pids == []
    assert look.blind == {}
    assert look.read(time.monotonic() + 1000) == {}
    assert look.prober.pids == []
