"""Announced work: a download of a heal is told to the monitor while it runs, and no longer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from engine_support import (  # noqa: F401
    GOOD,
    NAMES,
    engine_for,
    hub,
    install,
    operation,
    plan_of,
)

from modelmedic.monitor import announced
from modelmedic.monitor.prediction import Predictor

GIB = 1 << 30
pytestmark = pytest.mark.once


def test_an_announcement_lasts_as_long_as_its_block(tmp_path):
    with announced.announce(tmp_path, "refetch_model_file", 80 * GIB, "/models"):
        (found,) = announced.read(tmp_path)
        assert (found.what, found.planned_bytes) == ("refetch_model_file", 80 * GIB)
        assert (found.folder, found.pid) == (str(Path("/models").absolute()), os.getpid())
        (path,) = (tmp_path / "announced").iterdir()
        assert path.stat().st_mode & 0o777 == 0o600 or sys.platform == "win32"
    assert announced.read(tmp_path) == []
    assert list((tmp_path / "announced").iterdir()) == []


def test_the_error_of_the_block_comes_out_and_the_announcement_goes(tmp_path):
    with (
        pytest.raises(KeyError),
        announced.announce(tmp_path, "x", 1, "/models"),
    ):
        raise KeyError("x")
    assert announced.read(tmp_path) == []


def test_a_killed_process_announces_nothing_and_its_file_is_swept(tmp_path):
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom modelmedic.monitor import announced\n"
        "with announced.announce(Path(sys.argv[1]), 'x', 1, '/models'):\n"
        "    print('there', flush=True)\n    time.sleep(60)\n"
    )
    argv = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "there\n"
        assert [each.pid for each in announced.read(tmp_path)] == [child.pid]
        child.kill()
    assert announced.read(tmp_path) == []
    assert len(list((tmp_path / "announced").iterdir())) == 1
    with announced.announce(tmp_path, "y", 2, "/models"):
        assert [each.what for each in announced.read(tmp_path)] == ["y"]
    assert list((tmp_path / "announced").iterdir()) == []


def test_another_process_that_was_given_the_number_announces_nothing(tmp_path):
    with announced.announce(tmp_path, "x", 1, "/models"):
        (path,) = (tmp_path / "announced").iterdir()
        value = json.loads(path.read_text())
        path.write_text(json.dumps({**value, "started": value["started"] - 1}))
        assert announced.read(tmp_path) == []


@pytest.mark.parametrize(
    "change",
    [
        {"planned_bytes": "many"}, {"planned_bytes": -1}, {"planned_bytes": None}, {"pid": True},
        {"pid": "1"}, {"since": 1e9}, {"since": "now"}, {"folder": ...},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_announcement_is_passed_over(tmp_path, change):
    with announced.announce(tmp_path, "x", 1, "/models"):
        (path,) = (tmp_path / "announced").iterdir()
        value = {**json.loads(path.read_text()), **change}
        value = {name: each for name, each in value.items() if each is not ...}
        path.write_text(json.dumps(value))
        assert announced.read(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff" * 10, b"[" * 100_000])
def test_damaged_files_are_passed_over_and_swept(tmp_path, content):
    folder = tmp_path / "announced"
    folder.mkdir()
    (folder / "1-x.json").write_bytes(content)
    (folder / "1-x.json").chmod(0o600)
    assert announced.read(tmp_path) == []
    with announced.announce(tmp_path, "y", 2, "/models"):
        assert [each.what for each in announced.read(tmp_path)] == ["y"]


def test_where_nothing_can_be_written_the_work_goes_on(tmp_path):
    (tmp_path / "announced").write_text("a file is in the way")
    ran = []
    with announced.announce(tmp_path, "x", 1, "/models"):
        ran.append(announced.read(tmp_path))
    assert ran == [[]]


def test_it_belongs_to_the_deepest_mount_above_its_folder():
    def at(folder):
        return announced.Announced("x", 1, folder, 0.0, 1)

    mounts = ["/", "/models", "/models/deep"]
    entries = [at("/models/a"), at("/models/deep/a"), at("/models2"), at("/models")]
    assert announced.on_mount(entries, "/models", mounts) == [entries[0], entries[3]]
    assert announced.on_mount(entries, "/models/deep", mounts) == [entries[1]]
    assert announced.on_mount(entries, "/", mounts) == [entries[2]]


@pytest.mark.parametrize("name", NAMES)
def test_a_repair_announces_what_it_fetches_and_nothing_else(install, hub, name):  # noqa: F811
    seen = []
    engine = engine_for(install)
    engine.shop.progress = lambda *_told: seen.append(announced.read(engine.context.state_dir))
    with engine.locked():
        engine.apply(plan_of(operation(name, install, hub)))
    assert announced.read(engine.context.state_dir) == []
    if not name.startswith("fetch"):
        assert seen == []
        assert not (engine.context.state_dir / "announced").exists()
        return
    assert seen
    for (entry,) in seen:
        assert (entry.what, entry.folder) == ("some_recovery", str(install))
        assert len(GOOD) <= entry.planned_bytes <= 2 * len(GOOD)


class Filling:
    """A disk of 100 GiB free that loses 100 MiB a second."""

    def __init__(self, free_bytes):
        self.free_bytes, self.now = float(free_bytes), 1e9
        self.predictor = Predictor("disk_full", "disk.free_bytes[/models]", 0, subject="/models")

    def go(self, seconds, entries=(), per_second=100 << 20):
        found = []
        for _ in range(seconds):
            self.now += 1
            self.free_bytes -= per_second
            self.predictor.add(self.now, self.free_bytes)
            found.append(self.predictor.issue(self.now, entries))
        return [issue for issue in found if issue]


def work(planned_bytes):
    return [announced.Announced("bring_up_model", planned_bytes, "/models", time.time(), 1)]


def test_an_announced_download_is_no_leak_and_an_unannounced_one_is():
    disk = Filling(100 * GIB)
    assert disk.go(600, work(80 * GIB)) == []
    assert disk.go(300, per_second=0) == []  # it is over; what it did is no trend
    silent = Filling(100 * GIB)
    assert silent.go(600)


def test_an_announced_download_that_does_not_fit_is_told_at_once_with_what_is_missing():
    disk = Filling(60 * GIB)
    (issue,) = disk.go(1, work(80 * GIB))
    assert issue.severity == "critical"
    assert "bring_up_model still writes up to 80.0 GiB to /models" in issue.what
    assert "20.1 GiB are missing" in issue.what
    assert issue.failure_id == "no-space-on-model-disk"


def test_what_has_been_written_counts_as_written():
    disk = Filling(100 * GIB)
    assert disk.go(500, work(98 * GIB)) == []  # at each moment the rest fits


def test_more_than_was_announced_is_a_leak_again():
    disk = Filling(100 * GIB)
    found = disk.go(700, work(10 * GIB))
    assert found
    assert "will be full" in found[0].what
    assert disk.free_bytes < 100 * GIB - 10 * GIB
