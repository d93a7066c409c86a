# ruff: noqa: F401, F811 - fixtures are imported from engine_support
"""A repair killed at any change of the disk is put in order: every file is old or new."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from engine_support import NAMES, hub, install, operation, snapshot
from support import make_context

from modelmedic.healing import journal
from modelmedic.healing.engine import Engine, Plan, undo_run

CHILD = Path(__file__).with_name("kill_support.py")
MOST_STEPS = 60


@dataclasses.dataclass
class Done:
    returncode: int
    stderr: str


@pytest.fixture
def run_child(tmp_path):
    """Give a function that does something in a process of its own, which dies at a change.

    All come from one that has everything loaded: to start is what costs.
    """
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    log = tmp_path / "child.log"
    with subprocess.Popen(
        [sys.executable, str(CHILD)],
        env=env,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:

        def run(install, operations, kill_at, *, keep=False, undo=False, kill_when=("", "", 0)):
            told = {
                "install": str(install), "operations": operations, "kill_at": kill_at,
                "kill_when": kill_when, "keep": keep, "undo": undo, "log": str(log),
            }  # fmt: skip
            log.write_text("")
            process.stdin.write(json.dumps(told) + "\n")
            process.stdin.flush()
            return Done(int(process.stdout.readline()), log.read_text(encoding="utf-8"))

        yield run
        process.stdin.close()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize("name", NAMES)
def test_killed_at_each_step(name, install, hub, run_child):
    before = snapshot(install)
    change = operation(name, install, hub).to_json()
    kills = 0
    for kill_at in range(1, MOST_STEPS):
        done = run_child(install, [change], kill_at)
        if done.returncode == 0:
            break
        kills += 1
        assert done.returncode == -9, done.stderr
        engine = Engine(make_context(install))
        with engine.locked():
            engine.finish_interrupted()
        assert snapshot(install) == before, f"killed at change {kill_at}"
        assert journal.pending(engine.context.state_dir, install) == []
    else:
        pytest.fail("the operation never ended")
    assert kills >= 3


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_kept_repair_stays_when_the_run_is_killed_later(install, hub, run_child):
    change = operation("fetch_file", install, hub).to_json()
    assert run_child(install, [change], 10_000, keep=True).returncode == 0
    after = snapshot(install)
    engine = Engine(make_context(install))
    with engine.locked():
        assert engine.finish_interrupted() == []
    assert snapshot(install) == after


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize("name", ["replace_file", "fetch_file"])  # more than one rename each
def test_an_undo_killed_at_each_step_is_ended_by_the_next_run(name, install, hub, run_child):
    before = snapshot(install)
    change = operation(name, install, hub)
    for kill_at in range(1, MOST_STEPS):
        engine = Engine(dataclasses.replace(make_context(install), run_id=f"run-{kill_at:03}"))
        with engine.locked():
            engine.keep(engine.apply(Plan("r", "c", "n", operations=[change])))
        after = snapshot(install)
        done = run_child(install, [], kill_at, undo=True)
        if done.returncode == 0:
            break
        assert done.returncode == -9, done.stderr
        later = Engine(make_context(install))
        with later.locked():
            later.finish_interrupted()
        assert snapshot(install) in (before, after), f"killed at change {kill_at}"
        undo_run(engine.context.state_dir, install)
        assert snapshot(install) == before, f"killed at change {kill_at}"
    else:
        pytest.fail("the undo never ended")
    assert kill_at >= 5
