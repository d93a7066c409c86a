"""One real installation by start.py: what pytest gets, what a second start does."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from project_copy import bare_project, dead_index, own_state, record_of, start, start_argv, starting
from support import child_env

from modelmedic.bootstrap import environment, lock, variables
from modelmedic.bootstrap.environment import LOCK_NAME, RECORD_NAME

TOOLS_REQUIRED = bool(os.environ.get("MODELMEDIC_TOOLS_REQUIRED"))
fcntl = pytest.importorskip("fcntl")  # Windows has no shared locks
PROBE = """
import json, os, sys
def test_probe():
    seen = {"cwd": os.getcwd(), "env": dict(os.environ), "prefix": sys.prefix,
            "isolated": sys.flags.isolated, "path": sys.path}
    with open(os.environ["PROBE_FILE"], "w") as stream:
        json.dump(seen, stream)
def test_red():
    assert "RED" not in os.environ
"""


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """One real installation by start.py, shared; tests leave it ready."""
    project = bare_project(tmp_path_factory.mktemp("installed") / "the project")
    (project / "checks" / "test_probe.py").write_text(PROBE)
    (project / "tests" / "test_inner.py").write_text("import hypothesis\ndef test_dev(): pass\n")
    done = start(project, "--version")
    if done.returncode == 4 and "could not be reached" in done.stderr and not TOOLS_REQUIRED:
        pytest.skip("no package index can be reached: " + done.stderr[-300:])
    assert done.returncode == 0, done.stderr
    return project


@pytest.mark.network
@pytest.mark.slow
def test_pytest_runs_isolated_in_the_persons_folder_and_its_exit_code_is_ours(installed, tmp_path):
    answer = tmp_path / "answer.json"
    env = child_env(
        PROBE_FILE=str(answer),
        PYTHONPATH=str(tmp_path),
        PYTEST_ADDOPTS="--no-such-option",
        PYTEST_PLUGINS="no_such_plugin",
    )
    done = start(installed, "-q", "-k", "probe", env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(answer.read_text())
    assert seen["cwd"] == str(tmp_path)
    assert seen["isolated"] == 1
    assert seen["prefix"] == str(installed / ".venv")
    assert not set(seen["env"]) & (variables.FOREIGN_VARIABLES - {"PYTHONPATH"})
    assert str(tmp_path) not in seen["path"]
    assert seen["env"]["MODELMEDIC_STARTED_WITH_PYTHONPATH"] == str(
        tmp_path
    )  # the app's, in its checks
    assert seen["env"]["MODELMEDIC_INVOKED_AS"].endswith("start.py'")  # quoted: a space is in it
    red = start(installed, "-q", env=env | {"RED": "1"}, cwd=tmp_path)
    assert red.returncode == 1, red.stdout + red.stderr


@pytest.mark.network
@pytest.mark.slow
def test_a_second_start_changes_nothing_and_runs_no_pip(installed):
    folder = installed / ".venv"
    record = (folder / RECORD_NAME).stat().st_mtime_ns
    pip = next(folder.glob("[lL]ib/**/site-packages/pip"))
    aside = pip.rename(pip.with_name("pip-aside"))
    try:
        done = start(installed, "--version", env=dead_index(child_env()))
    finally:
        aside.rename(pip)
    assert done.returncode == 0, done.stderr
    assert "start.py:" not in done.stderr
    assert (folder / RECORD_NAME).stat().st_mtime_ns == record


@pytest.mark.network
@pytest.mark.slow
def test_it_may_be_started_with_the_python_of_its_own_environment(installed):
    done = start(installed, "--version", python=str(environment.interpreter(installed / ".venv")))
    assert done.returncode == 0, done.stderr
    assert "start.py:" not in done.stderr


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_test_tools_are_added_when_asked_for_and_a_failure_to_add_them_costs_nothing(tmp_path):
    project = bare_project(tmp_path / "project")
    (project / "checks" / "test_ok.py").write_text("def test_ok(): pass\n")
    (project / "tests" / "test_inner.py").write_text("import hypothesis\ndef test_dev(): pass\n")
    first = start(project, "-q")
    if first.returncode == 4 and "could not be reached" in first.stderr and not TOOLS_REQUIRED:
        pytest.skip("no package index can be reached")
    assert first.returncode == 0, first.stderr
    failed = start(project, "tests/", env=dead_index(child_env()))
    assert failed.returncode == 4, failed.stderr
    assert "could not be reached" in failed.stderr
    again = start(project, "-q", env=dead_index(child_env()))
    assert again.returncode == 0, again.stderr
    assert "start.py:" not in again.stderr
    done = start(project, "-q", "tests/", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert record_of(project)["groups"] == ["dev"]


@pytest.mark.network
@pytest.mark.slow
def test_a_start_waits_while_another_changes_the_environment(installed):
    held = lock.open_file(installed / ".venv" / LOCK_NAME)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        with starting(installed, "--version", env=child_env()) as child:
            assert "waiting" in child.stderr.readline()
            assert child.poll() is None
            fcntl.flock(held, fcntl.LOCK_UN)
            child.communicate(timeout=60)
        assert child.returncode == 0
    finally:
        os.close(held)


@pytest.mark.network
@pytest.mark.slow
def test_nobody_changes_the_environment_while_pytest_runs_in_it(installed, tmp_path):
    check = installed / "checks" / "test_wait.py"
    check.write_text(
        "def test_wait():\n    print('up', flush=True)\n    import sys; sys.stdin.read()\n"
    )
    held = lock.open_file(installed / ".venv" / LOCK_NAME)
    child = subprocess.Popen(
        start_argv(installed, "-s", str(check)),
        env=own_state(child_env(), installed),
        cwd=tmp_path,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert any("up" in line for line in child.stdout)
        with pytest.raises(BlockingIOError):
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        child.communicate(timeout=60)
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        child.kill()
        child.communicate()
        os.close(held)
        check.unlink()
