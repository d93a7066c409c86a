"""Two workers, or two runs, on one install: one repair at a time, and each cause repaired once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from option_support import (
    FOLDERS,
    HOLDS,
    NEVER,
    folders_in,
    heals,
    journals_in,
    verdicts_in,
    wait_until,
)
from room_support import Room, Run

# The repair waits for the test, which thereby decides what happens while it holds the lock.
HELD = """
import pathlib
from modelmedic.operations import kinds
make_dir = kinds.MakeDir.apply
state = pathlib.Path(os.environ["MODELMEDIC_STATE_DIR"])

def until_told(self, shop, note):
    make_dir(self, shop, note)
    (state / f"at-work-{os.getpid()}").touch()
    wait_for((state / "go").exists)

kinds.MakeDir.apply = until_told
"""


MISSES_IT = """
def both_miss_it(context, folder):
    '''Go on only when two processes have seen that it is not there: then both want to repair.'''
    if (context.place / folder).is_dir() or (context.state_dir / "go").exists():
        return
    (context.state_dir / f"seen-{os.getpid()}").touch()
    wait_for(lambda: len(list(context.state_dir.glob("seen-*"))) > 1)
    raise Unhealthy(f"The folder {folder} is missing.", subject=folder)

"""


def meets(name: str, folder: str) -> str:
    return heals(name, folder, before=f'    both_miss_it(context, "{folder}")\n')


@pytest.fixture
def room(tmp_path):
    (tmp_path / "state").mkdir()  # where a check may write, and processes tell each other
    return Room(tmp_path, host=None)


# --- two workers


def test_two_workers_repair_a_shared_cause_once(room):
    """Both fail before either repairs."""
    checks = FOLDERS + MISSES_IT + meets("a", "shared") + meets("b", "shared")
    run = room.run(checks + heals("c", "shared") + NEVER + HOLDS, "--heal", "-n2")
    found = run.outcomes()
    assert found["room.a"] == found["room.b"] == "healed", run.out
    assert found["room.c"] in {"healed", "passed"}
    assert (found["room.never"], found["room.holds"], run.code) == ("failed", "passed", 1)
    assert sorted(verdicts_in(room)) == ["kept", "undone"]
    told = [a["verdict"] for f in run.record["findings"] for a in f["attempts"]]
    assert told.count("healed") == 1
    assert told.count("rechecked") >= 1
    assert any(line.startswith("closing pass: ") for line in run.out.splitlines())


def dies(how: str, when: str) -> str:
    return heals(
        "dies",
        before=f"    if {when} and not (context.state_dir / 'go').exists():\n        {how}\n",
    )


DEATHS = {
    "exits in a check": dies("os._exit(9)", "not IN_CLOSING"),
    "killed while its repair is judged": dies(
        "os.kill(os.getpid(), signal.SIGKILL)", '(context.place / "dies").is_dir()'
    ),
}


@pytest.mark.parametrize("death", DEATHS)
def test_a_worker_that_dies_is_told_and_what_it_left_is_put_in_order(room, death):
    checks = FOLDERS + DEATHS[death] + heals("other") + HOLDS
    run = room.run(checks, "--heal", "-n2")
    assert run.code == run.record["exit_code"] == 1, run.out
    found = run.outcomes()
    assert found.pop("test_dies") == "unknown"
    assert found == {"room.other": "healed", "room.holds": "passed"}
    assert "can take the model" not in run.out
    assert "" not in verdicts_in(room)  # this run or its other worker undid it
    assert folders_in(room) == {"other"}
    (room.folder / "state/go").touch()
    run = room.run(checks, "--heal")
    assert run.code == 0, run.out
    assert run.outcomes() == {
        "room.dies": "healed", "room.other": "passed", "room.holds": "passed",
    }  # fmt: skip


# --- two runs


CHECKS = FOLDERS + HELD + MISSES_IT + meets("late", "late") + HOLDS


@pytest.fixture
def both(room):
    """Start two runs at once and return them: first the one that repairs, held inside that."""
    runs = [
        room.start(CHECKS, "--heal", "-k", "late", report_dir=room.folder / name)
        for name in ("one", "two")
    ]
    wait_until(lambda: at_work(room), *runs)
    holder = at_work(room)[0].name.rpartition("-")[2]
    runs.sort(key=lambda process: str(process.pid) != holder)
    yield runs
    for process in runs:
        process.kill()
        process.wait()
        process.stdout.close()


def at_work(room) -> list:
    return list((room.folder / "state").glob("at-work-*"))


def ended(room, process) -> Run:
    out, _err = process.communicate(timeout=60)
    told = next(arg for arg in process.args if arg.startswith("--report-dir="))
    return Run(process.returncode, out, Path(told.partition("=")[2]))


def test_two_runs_repair_a_shared_cause_once(room, both):
    (room.folder / "state/go").touch()
    one, two = (ended(room, process) for process in both)
    assert (one.code, two.code) == (0, 0), one.out + two.out
    assert "the check holds now" in one.out
    assert "create_missing_folder: rechecked" in two.out
    assert verdicts_in(room) == ["kept"]
    assert len(at_work(room)) == 1
    assert folders_in(room) == {"late"}


def test_a_run_that_begins_beside_a_repair_waits_for_it(room, both):
    """It would else judge, and put in order, what is still at work."""
    late = room.start(CHECKS, "--heal", "-k", "holds", report_dir=room.folder / "late")
    beside = room.run(CHECKS, "-k", "holds", report_dir=room.folder / "beside")
    assert beside.code == 0, beside.out  # what only looks never waits
    assert "did not end (killed, or still at work)" in beside.out
    assert verdicts_in(room) == [""]
    assert late.poll() is None
    (room.folder / "state/go").touch()
    run = ended(room, late)
    assert run.code == 0, run.out
    assert "waiting for its run" in run.out
    assert "was undone" not in run.out
    assert [ended(room, process).code for process in both] == [0, 0]
    assert verdicts_in(room) == ["kept"]


def test_when_the_holder_is_killed_the_waiter_goes_on(room, both):
    killed, waiter = both
    killed.kill()
    killed.wait()
    (room.folder / "state/go").touch()
    run = ended(room, waiter)
    assert run.code in {0, 1}, run.out
    assert run.record["exit_code"] == run.code
    run = room.run(CHECKS, "--heal", "-k", "late")
    assert run.code == 0, run.out
    assert "" not in verdicts_in(room)
    assert folders_in(room) == {"late"}


# --- a file system that cannot lock


NO_LOCKS = """
import errno, fcntl
real_flock = fcntl.flock

def no_locks(handle, operation):
    if not operation & fcntl.LOCK_UN:
        raise OSError(errno.{name}, os.strerror(errno.{name}))
    return real_flock(handle, operation)

fcntl.flock = no_locks
"""


@pytest.mark.skipif(sys.platform == "win32", reason="flock")
@pytest.mark.parametrize("name", ["ENOLCK", "ENOTSUP"])
def test_where_nothing_can_be_locked_nothing_is_repaired(room, name):
    run = room.run(FOLDERS + NO_LOCKS.replace("{name}", name) + heals("first") + HOLDS, "--heal")
    assert run.outcomes() == {"room.first": "failed", "room.holds": "passed"}, run.out
    assert run.code == 1
    (attempt,) = run.record["findings"][0]["attempts"]
    assert attempt["verdict"] == "refused"
    assert "cannot be locked, so nothing was touched" in attempt["error"]
    assert (folders_in(room), journals_in(room)) == (set(), [])
    assert "Traceback" not in run.out
