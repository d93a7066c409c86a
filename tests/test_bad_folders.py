"""Folders and files that may not be read or written, are gone, or are something else."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from demo_support import Desk, snapshot

pytestmark = pytest.mark.once

# Root passes every permission by these three capabilities (capabilities(7)); a child that has
# given them up is refused like anybody else, and can still read the Python it runs in.
WITHOUT_POWER = """
import ctypes, os, sys
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, PR_CAPBSET_DROP = 1, 2, 3, 24
for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER):
    if ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
        sys.exit("this system does not let root give up a capability")
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
OWN = 'name = "own"\ntitle = "X"\n[python]\nrequires = ">=3.10"\n'


@pytest.fixture
def desk(tmp_path):
    (tmp_path / "desk").mkdir()
    return Desk(tmp_path / "desk")


@pytest.fixture
def refused(desk):
    """A desk whose runs are subject to permissions, also when root runs the tests."""
    if sys.platform != "linux":
        pytest.skip("Giving up root's powers is done as on Linux.")
    if os.geteuid() == 0:
        desk.python = (sys.executable, "-c", WITHOUT_POWER)
        trial = [*desk.python, "-c", "pass"]
        if subprocess.run(trial, capture_output=True, check=False).returncode:
            pytest.skip("this system does not let root give up a capability")
    closed = []
    yield desk, lambda path, mode: (closed.append(path), path.chmod(mode))
    for path in closed:
        path.chmod(0o755)


def assert_clear(run, code, *words):
    assert run.code == code, run.out
    assert "Traceback" not in run.out
    assert "INTERNALERROR" not in run.out
    for word in words:
        assert word in run.out, f"{word!r} not in {run.out[-3000:]}"


def outcomes_of(run, prefix):
    return {outcome for check, outcome in run.outcomes().items() if check.startswith(prefix)}


def test_a_profile_that_may_not_be_read(refused):
    desk, close = refused
    (desk.folder / "own.toml").write_text(OWN)
    close(desk.folder / "own.toml", 0)
    assert_clear(desk.run(profile="./own.toml"), 4, "own.toml", "Permission denied")


@pytest.mark.parametrize("stage", ["preflight", "installed"])
def test_an_install_folder_that_may_not_be_read(refused, stage):
    desk, close = refused
    desk.install.mkdir()
    close(desk.install, 0)
    assert_clear(desk.run(f"--stage={stage}"), 4, "demo-install", "Permission denied")


def test_what_may_not_be_seen_is_unknown_and_never_passed(refused):
    desk, close = refused
    (desk.install / "model").mkdir(parents=True)
    close(desk.install / "model", 0)
    run = desk.run("--stage=installed", "--offline")
    assert_clear(run, 1, "may not be")
    assert outcomes_of(run, "weights.present[") == {"unknown"}
    assert "passed" not in outcomes_of(run, "weights.intact[")


def test_an_install_that_may_not_be_written_fails_with_its_mode(refused):
    desk, close = refused
    (desk.install / "model").mkdir(parents=True)
    close(desk.install, 0o555)
    before = snapshot(desk.install)
    run = desk.run("--stage=installed", "--offline")
    assert_clear(run, 1, "0555")
    assert run.finding("permissions.install-folder")["outcome"] == "failed"
    assert snapshot(desk.install) == before


def test_a_report_folder_that_may_not_be_written(refused):
    desk, close = refused
    reports = desk.folder / "reports"
    reports.mkdir()
    close(reports, 0o555)
    assert_clear(desk.run(f"--report-dir={reports}"), 4, "reports", "Permission denied")


@pytest.mark.parametrize("options", [(), ("--heal=plan",), ("-n2",)], ids=str)
def test_checks_run_where_the_state_folder_may_not_be_written(refused, options):
    desk, close = refused
    state = desk.folder.parent / "state"
    state.mkdir()
    close(state, 0o555)
    assert_clear(desk.run("--offline", *options), 0, "Verdict: this machine can take the model")
    assert list(state.iterdir()) == []


def test_an_install_that_is_not_there_yet(desk):
    place = desk.folder / "nowhere" / "x"
    early = desk.run(f"--install-dir={place}", "--stage=preflight", "--offline")
    assert_clear(early, 0, "it does not exist yet")
    late = desk.run(f"--install-dir={place}", "--stage=installed", "--offline")
    assert_clear(late, 1)
    assert late.bad().pop("install.folder") == "failed"
    assert outcomes_of(late, "weights.present[") == {"blocked"}
    assert not place.parent.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX links")
@pytest.mark.parametrize(("target", "word"), [("gone", "gone"), ("demo-install", "Too many")])
def test_an_install_that_is_a_bad_link(desk, target, word):
    desk.install.symlink_to(target)
    assert_clear(desk.run("--offline"), 4, "demo-install", word)


@pytest.mark.parametrize("name", ["missing", "folder", "text"])
def test_a_target_python_that_is_no_program(desk, name):
    (desk.folder / "own.toml").write_text(OWN)
    (desk.folder / "folder").mkdir()
    (desk.folder / "text").write_text("no program\n")
    options = [f"--target-python=./{name}", "--install-dir=.", "--stage=installed", "--offline"]
    run = desk.run(*options, profile="./own.toml")
    assert_clear(run, 1, name)
    assert run.finding("python.target")["outcome"] == "failed"
    assert run.finding("python.target")["next"]
    assert run.outcomes()["python.version"] == "blocked"


def test_two_workers_agree_with_one_process_on_the_default_preflight(desk):
    alone = desk.run("--offline", profile=None)
    both = desk.run("--offline", "-n2", profile=None)
    assert_clear(alone, 1, "hardware.gpu")
    assert_clear(both, 1)
    assert both.outcomes() == alone.outcomes()
    assert {f["check"]: f["blocked_by"] for f in both.record["findings"]} == {
        f["check"]: f["blocked_by"] for f in alone.record["findings"]
    }
