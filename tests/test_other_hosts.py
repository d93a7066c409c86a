"""What was repaired under another host name, as containers get a new one at each start."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest
from option_support import FOLDERS, HOLDS, heals
from room_support import Room
from support import CHECKOUT

pytestmark = pytest.mark.once

# Killed between the repair and its verdict.
KILLED = FOLDERS + heals(
    "extra",
    before='    if (context.place / "extra").is_dir():\n'
    "        os.kill(os.getpid(), signal.SIGKILL)\n",
)
# As another run would that is killed while this check is judged; no deed of the check itself.
LEFT_BEHIND = """
import dataclasses
from modelmedic import purity
from modelmedic.healing.engine import Engine, Plan
from modelmedic.operations.kinds import MakeDir

def leave_one_behind(context):
    if (context.state_dir / "journals").exists():
        return
    with purity.lifted():
        engine = Engine(dataclasses.replace(context, run_id="killed"))
        with engine.locked():
            engine.apply(Plan("mend_it", "left.behind", "x::y", operations=[MakeDir("left")]))
"""


@pytest.fixture
def left(tmp_path):
    """A room in which a run was killed that ran under another host name."""
    room = Room(tmp_path / "room", host="first-container")
    assert room.run(KILLED, "--heal").code == -9
    assert (room.folder / "install" / "extra").is_dir()
    room.host = None
    return room


def undo(room, *arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "modelmedic", "undo", *arguments],
        cwd=cwd or room.folder, env=room.env() | {"PYTHONPATH": str(CHECKOUT / "src")},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def command_in(said):
    """Return the arguments of the printed undo command."""
    (line,) = (line for line in said.splitlines() if "If nothing is at work there: " in line)
    words = shlex.split(line.partition("If nothing is at work there: ")[2])
    return words[words.index("undo") + 1 :]


@pytest.mark.parametrize("options", [(), ("--heal=plan",), ("--heal",)])
def test_it_is_named_although_nothing_fails_here(left, options):
    run = left.run(HOLDS, *options)
    assert run.code == 0
    assert "did not end on first-container" in run.out
    assert (left.folder / "install" / "extra").is_dir()


def test_the_printed_command_undoes_it_from_any_folder(left, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    arguments = command_in(left.run(HOLDS, "--heal").out)
    done = undo(left, *arguments, cwd=tmp_path / "elsewhere")
    assert done.returncode == 0, done.stderr
    assert "was undone" in done.stdout
    assert not (left.folder / "install" / "extra").exists()
    assert "did not end" not in left.run(HOLDS, "--heal").out


def test_undo_without_a_name_does_not_say_that_nothing_was_repaired(left):
    done = undo(left, f"--install-dir={left.folder / 'install'}")
    assert done.returncode == 1
    assert "on first-container" in done.stderr
    assert "no repair" not in done.stdout + done.stderr
    assert (left.folder / "install" / "extra").is_dir()
    assert undo(left, *command_in(done.stderr)).returncode == 0
    done = undo(left, f"--install-dir={left.folder / 'install'}")
    assert (done.returncode, done.stdout.startswith("Nothing to undo")) == (0, True)


def test_what_a_worker_put_in_order_is_told(tmp_path):
    """A run killed while the worker was at its check: it undoes that before its own repair."""
    room = Room(tmp_path / "room", host=None)
    begins_later = heals("other", before="    leave_one_behind(context)\n")
    run = room.run(FOLDERS + LEFT_BEHIND + begins_later, "--heal", "-n1")
    assert run.code == 0, run.out
    assert "mend_it for left.behind" in run.out
    assert "was undone." in run.out
    assert not (room.folder / "install" / "left").exists()
