"""What a run does when it gets the lock that another run had."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

from option_support import FOLDERS, folders_in, heals, verdicts_in, wait_until
from support import CHECKOUT, child_env, make_context
from test_concurrency import NO_LOCKS, both, ended, room  # noqa: F401 - fixtures

from modelmedic.healing.engine import Engine, Plan
from modelmedic.operations.kinds import MakeDir

STALE = """
def wait_after_looking(context):
    if (context.place / "late").is_dir() or (context.state_dir / "seen").exists():
        return
    (context.state_dir / "seen").touch()
    wait_for((context.state_dir / "go").exists)
    raise Unhealthy("The folder late is missing.", subject="late")

"""


def test_a_verdict_older_than_the_repair_of_another_run_is_looked_at_again(room):  # noqa: F811
    checks = FOLDERS + STALE + heals("late", before="    wait_after_looking(context)\n")
    slow = room.start(checks, "--heal", report_dir=room.folder / "slow")
    wait_until((room.folder / "state/seen").exists, slow)
    quick = room.run(checks, "--heal", report_dir=room.folder / "quick")
    assert quick.outcomes() == {"room.late": "healed"}, quick.out
    (room.folder / "state/go").touch()
    run = ended(room, slow)
    assert (run.code, run.outcomes()) == (0, {"room.late": "healed"}), run.out
    assert "create_missing_folder: rechecked" in run.out
    assert verdicts_in(room) == ["kept"]


def test_what_a_killed_holder_left_is_undone_by_the_waiter(room, both):  # noqa: F811
    """Its repair was never judged: who gets the lock puts that in order before anything else."""
    killed, waiter = both
    killed.kill()
    killed.wait()
    (room.folder / "state/go").touch()
    run = ended(room, waiter)
    assert (run.code, run.outcomes()) == (0, {"room.late": "healed"}), run.out
    assert sorted(verdicts_in(room)) == ["kept", "undone"]
    assert folders_in(room) == {"late"}
    assert "was undone." in run.out


def test_a_lock_that_would_outlive_its_holder_is_none(room):  # noqa: F811
    """filelock takes a file's mere presence for a lock where flock is not implemented."""
    run = room.run(FOLDERS + NO_LOCKS.replace("{name}", "ENOSYS") + heals("first"), "--heal")
    assert run.outcomes() == {"room.first": "failed"}, run.out
    (attempt,) = run.record["findings"][0]["attempts"]
    assert attempt["verdict"] == "refused"
    assert "cannot be locked, so nothing was touched" in attempt["error"]
    assert folders_in(room) == set()


def undo_in(folder):
    return subprocess.Popen(
        [sys.executable, "-m", "modelmedic", "undo", f"--install-dir={folder / 'install'}"],
        env=child_env(
            MODELMEDIC_STATE_DIR=str(folder / "state"), PYTHONPATH=str(CHECKOUT / "src")
        ),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_undo_says_whom_it_waits_for(tmp_path):
    install = tmp_path / "install"
    install.mkdir()
    engine = Engine(make_context(install))
    with engine.locked():
        engine.keep(engine.apply(Plan("r", "c", "x::y", operations=[MakeDir("extra")])))
        undo = undo_in(tmp_path)
        deadline = threading.Timer(60, undo.kill)  # a silent one would wait for an hour
        deadline.start()
        said = undo.stderr.readline()
        deadline.cancel()
    out, _err = undo.communicate(timeout=60)
    assert f"process {os.getpid()}" in said
    assert "Waiting for it" in said
    assert undo.returncode == 0
    assert "was undone" in out
    assert not (install / "extra").exists()


def test_an_undo_that_waits_can_be_stopped(tmp_path):
    install = tmp_path / "install"
    install.mkdir()
    engine = Engine(make_context(install))
    with engine.locked():
        engine.keep(engine.apply(Plan("r", "c", "x::y", operations=[MakeDir("extra")])))
        undo = undo_in(tmp_path)
        undo.stderr.readline()
        undo.send_signal(signal.SIGINT)
        _out, err = undo.communicate(timeout=60)
    assert undo.returncode == 2
    assert err.startswith("Stopped.")
    assert (install / "extra").is_dir()


def test_a_worker_says_whom_it_waits_for(room):  # noqa: F811
    """It has no terminal of its own, and may wait for an hour."""
    (room.folder / "install").mkdir()
    engine = Engine(make_context(room.folder / "install", state_dir=room.folder / "state"))
    with engine.locked():
        run = room.start(FOLDERS + heals("first"), "--heal", "-n1")
        deadline = threading.Timer(60, run.kill)  # a silent one would wait for an hour
        deadline.start()
        said = next((line for line in run.stdout if "Waiting for it" in line), "")
        deadline.cancel()
    out, _err = run.communicate(timeout=60)
    assert f"process {os.getpid()}" in said
    assert run.returncode == 0, out
    assert folders_in(room) == {"first"}
