"""The default preflight: quick, honest, and nothing is written but report and state."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from demo_support import START, snapshot
from project_copy import copy_project
from support import child_env


@pytest.fixture
def person(tmp_path):
    """A home, a folder to stand in, a temp folder and a copy of the project of their own."""
    folders = {name: tmp_path / name for name in ("home", "cwd", "tmp", "state", "report")}
    for folder in folders.values():
        folder.mkdir()
    folders["project"] = copy_project(tmp_path / "project")
    (folders["home"] / ".bashrc").write_text("# mine\n")
    (folders["cwd"] / "notes.txt").write_text("mine\n")
    return folders


def preflight(person, *options):
    env = child_env(
        HOME=str(person["home"]), TMPDIR=str(person["tmp"]),
        MODELMEDIC_STATE_DIR=str(person["state"]),
    )  # fmt: skip
    for name in [name for name in env if name.startswith(("XDG_", "HF_"))]:
        del env[name]
    start = START.replace(START[START.index("['") + 2 : START.index("']")],
                          str(person["project"] / "src"))  # fmt: skip
    return subprocess.run(
        [sys.executable, "-c", start, "-c", str(person["project"] / "pyproject.toml"),
         f"--rootdir={person['project']}", str(person["project"] / "checks"),
         f"--report-dir={person['report']}", *options],
        cwd=person["cwd"], env=env, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("options", [[], ["--heal=plan"], ["--offline", "-n2"]], ids=str)
def test_it_ends_with_honest_failures_and_writes_nothing_else(person, options):
    kept = ("home", "cwd", "tmp")
    before = {name: snapshot(person[name], without=()) for name in kept}
    project = set(snapshot(person["project"], without=("__pycache__",)))
    done = preflight(person, *options)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "This computer has no NVIDIA graphics card" in done.stdout
    assert "Verdict: not ready" in done.stdout
    for name in kept:
        after = snapshot(person[name], without=())
        # xdist makes a temporary folder of its own.
        ours = {path: data for path, data in after.items() if not path.startswith("pytest-of-")}
        assert ours == before[name], name
    assert set(snapshot(person["project"], without=("__pycache__",))) == project
    record = json.loads((person["report"] / "report.json").read_text())
    failed = [f for f in record["findings"] if f["outcome"] == "failed"]
    assert all(f["what"] and f["why"] and f["next"] for f in failed)
    assert {f["check"] for f in failed} >= {"hardware.gpu"}
    assert "hardware.gpu" in {f["blocked_by"] for f in record["findings"]}


LOOK = """
import sys, pytest
@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session):
    heavy = {"torch", "requests", "huggingface_hub", "pynvml"} & set(sys.modules)
    print("HEAVY", sorted(heavy), "ITEMS", len(session.items))
"""


def test_collecting_imports_nothing_heavy(person):
    (person["project"] / "src" / "look.py").write_text(LOOK)
    done = preflight(person, "--co", "-q", "-p", "look", "-s")
    assert done.returncode == 0, done.stdout
    assert "HEAVY [] ITEMS" in done.stdout
    assert "ITEMS 0" not in done.stdout


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="POSIX")
def test_a_state_folder_that_cannot_be_written_is_no_crash(person):
    person["state"].rmdir()
    person["state"].write_text("a file where a folder belongs")
    done = preflight(person, "--offline")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert "Verdict: not ready" in done.stdout
