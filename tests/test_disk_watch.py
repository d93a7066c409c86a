"""The watch over the free space: stops what writes before the disk is full, and hangs on nothing."""

from __future__ import annotations

import hashlib
import random
import threading
import time

import pytest
from engine_support import plan_of
from machine_support import needs_root, tmpfs
from support import make_context

from modelmedic.errors import DiskFilling, RecoveryFailed
from modelmedic.healing.engine import Engine
from modelmedic.limits import TimeoutManager
from modelmedic.operations.kinds import FetchFile
from modelmedic.reliability.disk_watch import DiskWatch, Space
from modelmedic.testing.hub import Fault, LoopbackHub

MB = 1_000_000


class Disk:
    """How much is free, as a test says."""

    def __init__(self, free):
        self.free, self.readings = free, 0
        self.hangs = threading.Event()
        self.goes_on = threading.Event()

    def read(self, _path):
        self.readings += 1
        if self.hangs.is_set():
            self.goes_on.wait(60)
        if isinstance(self.free, OSError):
            raise self.free
        return self.free


@pytest.fixture
def disk():
    found = Disk(100 * MB)
    yield found
    found.goes_on.set()


def watching(disk, tmp_path, **options):
    options = {"interval_seconds": 0.01, "reserve_bytes": 10 * MB, "read": disk.read, **options}
    return DiskWatch(tmp_path, **options)


def wait_for(is_so):
    until = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_the_owner_is_stopped_at_its_next_question_once_space_is_low(disk, tmp_path):
    with watching(disk, tmp_path) as watch:
        assert watch.wait_first()
        watch.check()
        disk.free = 9 * MB
        wait_for(lambda: watch.state.space is Space.LOW)
        with pytest.raises(DiskFilling) as caught:
            watch.check(50 * MB, "Fetching a.bin")
    told = str(caught.value)
    assert told.startswith("Fetching a.bin was stopped: the disk of")
    assert "8.6 MiB are free and 47.7 MiB are still to come." in told
    assert "Free 39.1 MiB or more there" in told


def test_what_still_fits_is_not_stopped(disk, tmp_path):
    disk.free = 9 * MB
    with watching(disk, tmp_path) as watch:
        wait_for(lambda: watch.state.space is Space.LOW)
        watch.check(9 * MB)
        with pytest.raises(DiskFilling):
            watch.check(9 * MB + 1)


def test_it_is_enough_again_only_well_above_the_reserve(disk, tmp_path):
    states = []
    with watching(disk, tmp_path, on_change=lambda state: states.append(state.space)) as watch:
        assert watch.wait_first()
        for free, space in (
            (9, Space.LOW),
            (11, Space.LOW),
            (13, Space.ENOUGH),
            (11, Space.ENOUGH),
        ):
            disk.free = free * MB
            before = disk.readings
            wait_for(lambda before=before: disk.readings > before + 2)
            assert watch.state.space is space, free
    assert states == [Space.ENOUGH, Space.LOW, Space.ENOUGH]


def test_a_dead_mount_holds_nobody_and_stops_nothing(disk, tmp_path, monkeypatch):
    limits = {**TimeoutManager.DEFAULT_TIMEOUTS, "local_read": 0}
    monkeypatch.setattr(TimeoutManager, "DEFAULT_TIMEOUTS", limits)
    with watching(disk, tmp_path, interval_seconds=0.05) as watch:
        assert watch.wait_first()
        disk.hangs.set()
        wait_for(lambda: watch.state.space is Space.UNKNOWN)
        watch.check(10**12)
    # and leaving the block did not wait for it


def test_an_error_of_the_disk_is_not_known_and_not_low(disk, tmp_path):
    disk.free = OSError(5, "input/output error")
    with watching(disk, tmp_path) as watch:
        assert watch.wait_first()
        assert watch.state.space is Space.UNKNOWN
        watch.check()


def test_a_block_that_cannot_ask_is_broken_off(disk, tmp_path):
    with (  # noqa: PT012
        pytest.raises(DiskFilling),
        TimeoutManager().limit("model_download", seconds=60) as limit,
        watching(disk, tmp_path, interrupts=limit),
    ):
        disk.free = 1
        time.sleep(60)


def test_a_watch_that_nobody_asks_any_more_ends(disk, tmp_path, monkeypatch):
    monkeypatch.setattr("modelmedic.reliability.disk_watch._IDLE_SECONDS", 0.1)
    watch = watching(disk, tmp_path)
    watch.check()
    assert watch._thread is not None
    wait_for(lambda: watch._thread is None)
    watch.check()
    assert watch._thread is not None
    watch.stop()


def test_a_real_disk_is_read(tmp_path):
    with DiskWatch(tmp_path / "not" / "there") as watch:
        assert watch.wait_first(10)
        assert watch.state.free_bytes > 0


# -- a fetch of a repair ---------------------------------------------------------------------------

DATA = random.Random(5).randbytes(700_000)


@needs_root
@pytest.mark.once
def test_a_fetch_stops_before_a_second_program_fills_the_disk_and_goes_on_later():
    hub = LoopbackHub()
    hub.add_repo("org/model", {"a.safetensors": DATA})
    hub.fault("cdn GET", Fault(bytes_per_second=200_000))
    hub.start()
    try:
        with tmpfs("size=1m") as place:
            sha = hashlib.sha256(DATA).hexdigest()
            url = f"{hub.endpoint}/org/model/resolve/main/a.safetensors"
            operation = FetchFile("a.safetensors", len(DATA), sha, "", (url,), None)

            def second_program():
                wait_for(lambda: part_of(place) > 100_000)
                (place / "filler").write_bytes(b"x" * (1 << 19))

            filling = threading.Thread(target=second_program)
            filling.start()
            engine = Engine(make_context(place))
            with engine.locked(), pytest.raises((DiskFilling, RecoveryFailed)) as caught:
                engine.apply(plan_of(operation))
            filling.join()
            told = str(caught.value)
            assert "Fetching a.safetensors (" in told
            assert "of 683.6 KiB left) was stopped: the disk of" in told
            kept = part_of(place)
            assert 100_000 < kept < len(DATA)
            assert not (place / "a.safetensors").exists()
            (place / "filler").unlink()
            before = len(hub.requests)
            again = Engine(make_context(place))
            with again.locked():
                again.keep(again.apply(plan_of(operation)))
            assert (place / "a.safetensors").read_bytes() == DATA
            assert any(each.range for each in hub.requests[before:])
    finally:
        hub.stop()


def part_of(place):
    parts = list((place / ".modelmedic" / "parts").glob("*"))
    return max((path.stat().st_size for path in parts if not path.suffix), default=0)
