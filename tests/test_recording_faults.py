"""Runs that do not end well: killed, interrupted, crashed, without room to write."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
from room_support import SEVEN, Room, Run
from support import CHECKOUT, child_env

SCHEMA = json.loads((CHECKOUT / "reports/run-record.schema.json").read_text(encoding="utf-8"))

KILLED = '''
@pytest.mark.check("room.first", area="system")
def test_first():
    """It fails first."""
    raise Unhealthy("It broke.", "Because.", "Mend it.")

@pytest.mark.check("room.waits", area="system", needs=["room.first"])
def test_waits():
    """It waits."""

@pytest.mark.check("room.second", area="system")
def test_second(context):
    """It never ends."""
    context.state_dir.mkdir(exist_ok=True)  # a check may write nowhere else
    (context.state_dir / "reached").touch()
    time.sleep(60)
'''


@pytest.fixture
def room(tmp_path) -> Room:
    return Room(tmp_path / "room")


# -- runs that do not end well -------------------------------------------------------------------


@pytest.fixture
def killed(room):
    process = room.start(KILLED, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while not (room.folder / "state" / "reached").exists():
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    return Run(process.returncode, "", room.folder / "report")


def test_a_killed_run_leaves_what_it_had_found(killed):
    assert killed.record["exit_code"] is None
    jsonschema.validate(killed.record, SCHEMA)
    lines = (killed.folder / "findings.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["check"] for line in lines] == ["room.first", "room.waits"]


def test_a_killed_run_is_rendered_as_what_it_is(killed, tmp_path):
    page = tmp_path / "page.html"
    done = subprocess.run(
        [sys.executable, "-m", "modelmedic", "report", str(killed.folder), f"--output={page}"],
        env=child_env(PYTHONPATH=str(CHECKOUT / "src")),
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = page.read_text(encoding="utf-8")
    assert "This run has not ended, or was killed: 2 checks had ended, 1 of them not well." in text
    assert "It broke." in text
    assert "1 check waited on it" in text
    assert "healthy" not in text


def test_the_next_run_in_the_folder_clears_the_old_reports(killed, room):
    (killed.folder / "report.html").write_text("old")
    (killed.folder / "mine.txt").write_text("mine")
    run = room.run('@pytest.mark.check("room.one", area="system")\ndef test_one(): "Holds."\n')
    assert run.code == 0, run.out
    assert sorted(run.written()) == ["junit.xml", "mine.txt", "report.html", "report.json"]
    assert run.outcomes() == {"room.one": "passed"}


def test_an_interrupted_run_says_2(room):
    run = room.run(
        SEVEN + '@pytest.mark.check("room.z", area="system")\n'
        'def test_z(): "Stops." ; os.kill(os.getpid(), signal.SIGINT); time.sleep(5)\n'
    )
    assert run.code == 2
    assert run.record["exit_code"] == 2
    assert len(run.record["findings"]) == 7


def test_a_check_that_kills_its_worker_is_unknown(room):
    run = room.run(
        SEVEN + '@pytest.mark.check("room.z", area="system")\n'
        'def test_z(): "Dies." ; os._exit(9)\n',
        "-n2",
    )
    assert run.code == 1
    dead = next(f for f in run.record["findings"] if f["check"] == "test_z")
    assert dead["outcome"] == "unknown"
    assert "crashed" in dead["what"]
    assert len(run.record["findings"]) == 8
    jsonschema.validate(run.record, SCHEMA)


def test_a_teardown_that_fails_takes_the_verdict_back(room):
    run = room.run(
        "@pytest.fixture\ndef leaky():\n    yield\n    raise RuntimeError('still open')\n"
        '@pytest.mark.check("room.z", area="system")\ndef test_z(leaky): "Holds."\n'
    )
    assert run.code == 1
    (finding,) = run.record["findings"]
    assert finding["outcome"] == "unknown"
    assert "still open" in finding["what"]
    assert "not ready: 1 cause" in run.out


def test_a_check_that_cannot_be_loaded_is_our_own_fault(room):
    run = room.run(SEVEN + "\nimport nothing_of_that_name\n")
    assert run.code == 3, run.out
    assert run.record["exit_code"] == 3


def test_nothing_but_skips_is_nothing_checked(room):
    run = room.run(SEVEN, "-k", "test_skipped")
    assert run.code == 5
    assert "nothing was checked" in run.out
    assert "healthy" not in run.page.partition("mm-raw")[0]
    assert "can take the model" not in run.page.partition("mm-raw")[0]


@pytest.mark.parametrize(
    ("options", "code"), [((), 0), (("--strict-degraded",), 1)], ids=["lenient", "strict"]
)
def test_a_stated_loss_is_fine_unless_it_must_not_be(room, options, code):
    run = room.run(SEVEN, "-k", "test_degraded or test_passed", *options)
    assert run.code == code == run.record["exit_code"]


def test_a_listing_leaves_nothing(room):
    for option in ("--co", "--fixtures", "--markers"):
        room.run(SEVEN, option)
        assert not (room.folder / "report").exists(), option


# -- folders that cannot be used -----------------------------------------------------------------


def assert_clear(run: Run, code: int) -> None:
    assert run.code == code, run.out
    assert "cannot be written" in run.out
    assert "--report-dir" in run.out
    assert "Traceback" not in run.out
    assert "INTERNALERROR" not in run.out


def test_a_report_folder_that_is_a_file_is_wrong_use(room):
    room.folder.mkdir()
    place = room.folder / "mine"
    place.write_text("mine")
    assert_clear(room.run(SEVEN, report_dir=place), 4)
    assert place.read_text() == "mine"


def test_a_report_folder_below_a_file_is_wrong_use(room):
    room.folder.mkdir()
    (room.folder / "mine").write_text("mine")
    assert_clear(room.run(SEVEN, report_dir=room.folder / "mine" / "deep"), 4)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder that nobody may write")
def test_a_report_folder_nobody_may_write_is_wrong_use(room):
    assert_clear(room.run(SEVEN, report_dir=Path("/proc/self/report")), 4)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 KB; only root can mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    try:
        subprocess.run(argv, check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk can only be mounted by root")
    yield place
    subprocess.run(["umount", str(place)], check=True, timeout=20)


FILLS = '''
@pytest.mark.check("room.z", area="system")
@pytest.mark.parametrize("text", ["ab" * 20000, "cd" * 20000], ids=["a", "b"])
def test_z(text, degraded):
    """It holds."""
    degraded(text)
'''


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "workers"])
def test_a_disk_that_fills_up_ends_in_words(room, small_disk, workers):
    assert_clear(room.run(FILLS, *workers, report_dir=small_disk / "r"), 3)


def test_bad_news_come_before_a_full_disk(room, small_disk):
    assert_clear(room.run(SEVEN + FILLS, report_dir=small_disk / "r"), 1)


def test_a_disk_that_is_full_at_the_start_is_wrong_use(room, small_disk):
    (small_disk / "fill").write_bytes(b"x" * 60 * 1024)
    with (small_disk / "fill").open("ab", buffering=0) as stream:
        try:
            while stream.write(b"x" * 512):
                pass
        except OSError:
            pass
    assert_clear(room.run(SEVEN, report_dir=small_disk), 4)
