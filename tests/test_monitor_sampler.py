"""One sample of this machine, against what psutil and the kernel's own words say."""

from __future__ import annotations

import os
import sys
import time

import psutil
import pytest

from modelmedic.monitor import trees
from modelmedic.monitor.sampler import Sampler
from modelmedic.monitor.series import Ring

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_a_sample_has_what_this_machine_tells():
    sampler = Sampler()
    sampler.read(0.0)
    found = sampler.read(1.0)
    assert 0 <= found["cpu.busy_ratio"] <= 1
    memory = psutil.virtual_memory()
    assert found["memory.available_bytes"] == pytest.approx(memory.available, rel=0.2)
    total = found["memory.available_bytes"] + found["memory.used_bytes"]
    assert total == pytest.approx(memory.total, rel=0.001)
    assert sampler.blind == {}


@linux
def test_the_processors_share_is_that_of_psutil():
    sampler, ours = Sampler(), []
    theirs = psutil.cpu_times_percent(None)
    until = time.monotonic() + 0.6
    while time.monotonic() < until:
        sum(range(10_000))
    ours = sampler.read(0.0)["cpu.busy_ratio"]
    theirs = psutil.cpu_times_percent(None)
    busy = 1 - (theirs.idle + theirs.iowait) / 100
    assert ours == pytest.approx(busy, abs=0.15)


def test_what_is_dear_is_read_every_few_seconds_only(monkeypatch):
    calls = []
    real = psutil.net_io_counters
    monkeypatch.setattr(psutil, "net_io_counters", lambda: calls.append(1) or real())
    sampler = Sampler()
    for second in range(20):
        assert "network.sent_bytes_per_second" in sampler.read(float(second))
    assert len(calls) == 5


def test_a_source_that_fails_is_said_and_takes_no_other_along(monkeypatch):
    def broken():
        raise RuntimeError("no\x1b[31m")

    monkeypatch.setattr(psutil, "disk_io_counters", broken)
    sampler = Sampler()
    found = sampler.read(0.0)
    assert "memory.used_bytes" in found
    assert "io.read_bytes_per_second" not in found
    assert sampler.blind["io"].startswith("io cannot be read here: RuntimeError")


@linux
@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_of_a_control_group_counts_instead_of_the_machine(tmp_path, version):
    held, key = ("memory.current", "inactive_file") if version == 2 else (
        "memory.usage_in_bytes", "total_inactive_file")  # fmt: skip
    (tmp_path / held).write_text("3000000\n", "ascii")
    (tmp_path / "memory.stat").write_text(f"anon 1\n{key} 1000000\n", "ascii")
    (tmp_path / "memory.events").write_text("low 0\noom_kill 4\n", "ascii")
    sampler = Sampler((str(tmp_path), 8_000_000, version))
    found = sampler.read(0.0)
    assert found["memory.available_bytes"] == 6_000_000
    assert found["memory.available_ratio"] == 0.75
    assert "swap.used_ratio" not in found


@linux
def test_what_the_kernel_killed_counts_from_our_beginning_and_for_ten_minutes(tmp_path):
    (tmp_path / "memory.current").write_text("1\n", "ascii")
    (tmp_path / "memory.stat").write_text("inactive_file 0\n", "ascii")
    events = tmp_path / "memory.events"
    events.write_text("oom_kill 4\n", "ascii")
    sampler = Sampler((str(tmp_path), 8_000_000, 2))
    for second in range(60):
        assert sampler.read(float(second))["memory.killed"] == 0
    events.write_text("oom_kill 6\n", "ascii")
    assert sampler.read(100.0)["memory.killed"] == 2
    assert sampler.read(600.0)["memory.killed"] == 2
    sampler.read(701.0)
    assert sampler.read(707.0)["memory.killed"] == 0


def test_a_ring_keeps_the_newest_and_knows_the_rate():
    ring = Ring(kept=10)
    assert len(ring) == 0
    for second in range(100):
        ring.add(float(second), second * 5.0)
    assert len(ring) == 10
    assert next(iter(ring.points())) == (90.0, 450.0)
    assert ring.change_per_second(5.0) == 5.0
    assert ring.change_per_second(50.0) != ring.change_per_second(50.0), "not seen for so long"


@linux
def test_too_many_children_are_said_while_there_are(monkeypatch):
    monkeypatch.setattr(trees, "_MOST_PROCESSES", 1)
    monkeypatch.setattr(trees, "_below", lambda *_: [1])
    look = trees.Trees((os.getpid(),))
    look.read(0.0)
    assert "more than 1 children" in look.blind[str(os.getpid())]
    monkeypatch.setattr(trees, "_below", lambda *_: [])
    look.read(10.0)
    assert not look.blind
