"""Forecasts inside the monitor, what announced work explains, and the thread that reads it."""

from __future__ import annotations

import random

import pytest
from monitor_support import NOON, until

from modelmedic.monitor.announced import Announced
from modelmedic.monitor.foresight import Foresight
from modelmedic.monitor.reader import Reader

pytestmark = pytest.mark.once
GB = 1_000_000_000


def filled(announced=(), *, minutes=40, bytes_per_second=20_000_000):
    """Return what is foreseen while a disk fills, and the keys that were ever told."""
    foresight, told = Foresight(lambda: announced), set()
    seeded = random.Random(7)
    for second in range(0, minutes * 60, 5):
        free = 80 * GB - second * bytes_per_second + seeded.randrange(20_000_000)
        readings = {"disk.free_bytes[/models]": float(free), "disk.free_bytes[/]": 50.0 * GB}
        told |= {issue.key for issue in foresight.step(second, NOON + second, readings)}
    return foresight, told


def test_a_disk_that_fills_is_foreseen_and_one_that_does_not_is_not():
    assert filled()[1] == {"disk_full[/models]"}


def test_an_announced_download_that_fits_is_no_trouble():
    planned = Announced("fetch", 60 * GB, "/models/wan", NOON, 4711)
    assert filled([planned])[1] == set()


def test_an_announced_download_to_another_disk_explains_nothing():
    elsewhere = Announced("fetch", 20 * GB, "/home/you/models", NOON, 4711)
    assert filled([elsewhere])[1] == {"disk_full[/models]"}


def test_an_announced_download_that_does_not_fit_is_told():
    elsewhere = Announced("fetch", 60 * GB, "/home/you/models", NOON, 4711)
    assert "disk_full[/]" in filled([elsewhere], minutes=1)[1]


def test_predictors_are_bounded_and_forgotten():
    foresight = Foresight(list)
    for number in range(0, 20_000, 5):
        readings = {f"process.rss_bytes[{number}]": 1.0, "memory.used_bytes": 1.0}
        foresight.step(number, NOON + number, readings | {"memory.available_bytes": 9.0})
    assert len(foresight._predictors) <= 24
    assert "memory.used_bytes" in foresight._predictors


def test_open_files_and_graphics_memory_have_their_limits():
    foresight = Foresight(list)
    foresight.step(
        0.0,
        NOON,
        {
            "process.open_files[7]": 512.0, "process.open_files_ratio[7]": 0.5,
            "gpu.memory_used_bytes[0]": 6.0 * GB, "gpu.memory_used_ratio[0]": 0.25,
        },
    )  # fmt: skip
    limits = {name: each.limit for name, each in foresight._predictors.items()}
    assert limits == {"process.open_files[7]": 1024.0, "gpu.memory_used_bytes[0]": 24.0 * GB}


def test_a_look_at_a_log_that_fails_is_said_and_the_next_one_is_made(tmp_path, monkeypatch):
    reader = Reader((), tmp_path, interval_seconds=0.05)
    looks = []

    def look():
        looks.append(1)
        if len(looks) < 3:
            raise ValueError("odd")

    monkeypatch.setattr(reader, "look", look)
    reader.start()
    until(lambda: reader.blind)
    until(lambda: len(looks) > 5)
    reader.stop()
    assert not reader.blind


def test_what_of_a_log_was_passed_over_is_said_for_a_while(tmp_path):
    log, now = tmp_path / "app.log", [NOON]
    log.touch()
    reader = Reader([str(log)], tmp_path, clock=lambda: now[0])
    reader.look()
    assert not reader.blind
    log.write_bytes(b"x" * (10 << 20))
    reader.look()
    (told,) = reader.blind.values()
    assert "9.8 MiB came faster than a log is read" in told
    now[0] += 3600
    assert not reader.blind
