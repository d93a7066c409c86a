"""What stops a check from outside: pytest-timeout by both methods, and the debugger."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from option_support import (
    FOLDERS,
    HOLDS,
    NEVER,
    folders_in,
    heals,
    verdicts_in,
    wait_until,
)
from room_support import Room, Run
from support import CHECKOUT

METHODS = ["signal", "thread"]
HANGS = '''
@pytest.mark.check("room.hangs", area="system")
def test_hangs(context):
    """It ends."""
    time.sleep(15)
    (context.state_dir / "slept").touch()

'''
# The same check after its repair: the verdict on the repair does not come.
UNJUDGED = heals(
    "slow",
    before='    if (context.place / "slow").is_dir() and not (context.state_dir / "go").exists():\n'
    "        time.sleep(60)\n",
)
# A repair that takes longer than --timeout allows a check, and then, unless it may go on, for ever.
pytestmark = pytest.mark.slow

SLOW_REPAIR = """
import pathlib
from modelmedic.operations import kinds
make_dir = kinds.MakeDir.apply

def slowly(self, shop, note):
    make_dir(self, shop, note)
    state = pathlib.Path(os.environ["MODELMEDIC_STATE_DIR"])
    (state / "at-work").touch()
    time.sleep(1.2)
    (state / "beyond").touch()
    if not (state / "go").exists():
        time.sleep(60)

kinds.MakeDir.apply = slowly
"""


@pytest.fixture
def room(tmp_path):
    return Room(tmp_path, host=None)


def timed(method: str) -> list[str]:
    return ["--heal", "--timeout=1", f"--timeout-method={method}"]


# --- pytest-timeout


def test_the_alarm_ends_one_check_and_the_run_goes_on(room):
    """It also rings in the closing pass, where the same check would hang again."""
    run = room.run(FOLDERS + heals("first") + HANGS + heals("last"), *timed("signal"))
    found = {"room.first": "healed", "room.hangs": "unknown", "room.last": "healed"}
    assert run.outcomes() == found, run.out
    assert (run.code, run.record["exit_code"]) == (1, 1)
    assert not (room.folder / "state/slept").exists()
    assert "did not end within 1 s, the limit of --timeout" in run.out
    assert "Closing pass: a fresh process judged the same checks again, and agrees." in run.out
    assert verdicts_in(room) == ["kept", "kept"]


def test_a_repair_whose_check_hangs_is_undone(room):
    run = room.run(FOLDERS + UNJUDGED + heals("zlast"), *timed("signal"))
    assert run.outcomes() == {"room.slow": "failed", "room.zlast": "healed"}, run.out
    assert run.code == 1
    assert verdicts_in(room) == ["undone", "kept"]
    assert folders_in(room) == {"zlast"}


def test_what_ends_the_process_leaves_all_that_was_found_and_done(room):
    checks = FOLDERS + heals("first") + UNJUDGED + HOLDS
    run = room.run(checks, *timed("thread"))
    assert run.code == 1
    assert "Timeout" in run.out
    assert run.record["exit_code"] is None  # it has not ended
    lines = (run.folder / "findings.jsonl").read_text().splitlines()
    assert [json.loads(line)["outcome"] for line in lines] == ["healed"]
    assert verdicts_in(room) == ["kept", ""]
    (room.folder / "state/go").touch()

    run = room.run(checks)
    assert run.code == 0, run.out
    assert "the repair create_missing_folder of run" in run.out
    assert "did not end" in run.out
    assert folders_in(room) == {"first", "slow"}  # told, not touched

    run = room.run(checks, "--heal")
    assert run.outcomes() == {
        "room.first": "passed", "room.slow": "healed", "room.holds": "passed",
    }, run.out  # fmt: skip
    assert run.code == 0
    assert "create_missing_folder for room.slow" in run.out
    assert "was undone" in run.out
    assert "" not in verdicts_in(room)


@pytest.mark.parametrize("method", METHODS)
def test_a_repair_may_take_longer_than_a_check_and_once_killed_is_put_in_order(room, method):
    """It has the limits of its operations; cut short, a long download would never heal."""
    checks = FOLDERS + SLOW_REPAIR + heals("first")
    process = room.start(checks, *timed(method))
    wait_until((room.folder / "state/beyond").exists, process)
    process.kill()
    process.communicate(timeout=30)
    assert verdicts_in(room) == [""]
    if method == "signal":
        assert "was undone" in undo(room)
        assert (verdicts_in(room), folders_in(room)) == (["undone"], set())
    (room.folder / "state/go").touch()
    run = room.run(checks, *timed(method))
    assert (run.code, run.outcomes()) == (0, {"room.first": "healed"}), run.out
    assert verdicts_in(room) == ["undone", "kept"]


def test_a_hanging_repair_that_is_ended_is_put_back_at_once(room):
    process = room.start(FOLDERS + SLOW_REPAIR + heals("first"), *timed("thread"))
    wait_until((room.folder / "state/beyond").exists, process)
    process.send_signal(signal.SIGTERM)
    out, _err = process.communicate(timeout=30)
    assert process.returncode == 2, out
    assert (verdicts_in(room), folders_in(room)) == (["undone"], set())


def undo(room: Room) -> str:
    return subprocess.run(
        [sys.executable, "-m", "modelmedic", "undo", f"--install-dir={room.folder / 'install'}"],
        env=room.env() | {"PYTHONPATH": str(CHECKOUT / "src")}, capture_output=True, text=True,
        check=True, timeout=60, cwd=room.folder,
    ).stdout  # fmt: skip


HANGING_PLAN = """
from modelmedic.limits import TimeoutManager
from modelmedic.strategies import files
TimeoutManager.DEFAULT_TIMEOUTS = {**TimeoutManager.DEFAULT_TIMEOUTS, "quick_repair": 1}

def hang(context, subject):
    try:
        time.sleep(60)
    except Exception:  # a limit that this could catch would be none
        time.sleep(60)
    yield

files.plan_missing_folder = hang
"""


@pytest.mark.parametrize("mode", ["--heal", "--heal=plan"])
def test_a_recovery_that_hangs_over_its_plan_is_ended_and_the_run_goes_on(room, mode):
    run = room.run(FOLDERS + HANGING_PLAN + heals("first") + HOLDS, mode)
    assert run.code == 1, run.out
    assert run.outcomes() == {"room.first": "failed", "room.holds": "passed"}
    (tried,) = run.record["findings"][0]["attempts"]
    assert tried["verdict"] == ("failed" if mode == "--heal" else "refused")
    assert "did not say within 1 s" in tried["error"]
    assert (verdicts_in(room), folders_in(room)) == ([], set())


# --- the debugger: the room gives it no keyboard, so it leaves at its first question


def test_a_check_that_was_healed_does_not_open_the_debugger(room):
    run = room.run(FOLDERS + heals("first") + HOLDS, "--heal", "--pdb")
    assert run.code == 0, run.out
    assert run.outcomes() == {"room.first": "healed", "room.holds": "passed"}
    assert "(Pdb)" not in run.out


@pytest.mark.parametrize("mode", [[], ["--heal"]], ids=["check", "heal"])
def test_a_check_left_in_the_debugger_is_not_forgotten(room, mode):
    run = room.run(FOLDERS + NEVER + HOLDS.replace("holds", "zlast"), *mode, "--pdb")
    assert run.out.count("entering PDB") == 1, run.out
    assert (run.code, run.record["exit_code"]) == (2, 2)
    assert run.outcomes() == {"room.never": "failed"}
    assert "Verdict: not ready: 1 cause." in run.out
    assert verdicts_in(room) == ["undone"] * len(mode)
    assert folders_in(room) == set()


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals here")
def test_who_goes_on_from_the_debugger_gets_the_other_checks(room):
    ours, theirs = os.openpty()
    os.write(ours, b"continue\n")
    checks = FOLDERS + heals("first") + NEVER + HOLDS.replace("holds", "zlast")
    process = room.start(checks, "--heal", "--pdb", stdin=theirs)
    out, _err = process.communicate(timeout=60)
    os.close(theirs)
    os.close(ours)
    run = Run(process.returncode, out, room.folder / "report")
    assert run.outcomes() == {
        "room.first": "healed", "room.never": "failed", "room.zlast": "passed",
    }, out  # fmt: skip
    assert run.code == 1
    assert out.count("entering PDB") == 1
    assert "Closing pass" in out


def test_a_check_left_while_it_is_traced_was_not_judged(room):
    run = room.run(FOLDERS + NEVER + HOLDS, "--trace")
    assert run.outcomes() == {"room.never": "unknown", "room.holds": "unknown"}, run.out
    assert run.code == 1
    process = room.start(FOLDERS + heals("first"), "--trace", "--heal")
    out, _err = process.communicate(timeout=60)
    assert (process.returncode, folders_in(room)) == (4, set()), out
    assert "--trace and --heal exclude each other" in out
