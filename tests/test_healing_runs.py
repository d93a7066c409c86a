"""Heal mode as a person meets it: verdicts, consent, budgets, interruptions, what broke."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time

import pytest
from demo_support import START, Desk, snapshot
from support import CHECKOUT, child_env

from modelmedic.healing import journal

HEAD = """
import pytest
from modelmedic.errors import CannotTell, Unhealthy

def folder_is_there(context, name, there=True):
    if (context.place / name).exists() is not there:
        raise Unhealthy(f"{name} is wrong.", "Because.", "Do.", subject=name)
"""
HEALS = """
@pytest.mark.check("try.needed", area="install")
@pytest.mark.recover("system", using=["create_missing_folder"])
def test_needed(context):
    '''The folder is there.'''
    folder_is_there(context, "extra")

@pytest.mark.check("try.dependant", area="install", needs=["try.needed"])
def test_dependant(context):
    '''What needs it works.'''
    folder_is_there(context, "extra")
"""
NEVER = """
@pytest.mark.check("try.never", area="install")
@pytest.mark.recover("system", using=["create_missing_folder"])
def test_never(context):
    '''Never holds.'''
    raise Unhealthy("Never.", subject="extra/deep")
"""
BREAKS = (
    """
@pytest.mark.check("try.absent", area="install")
def test_absent(context):
    '''The folder is absent.'''
    folder_is_there(context, "extra", there=False)
"""
    + HEALS
)


@pytest.fixture
def desk(tmp_path):
    folder = tmp_path / "desk"
    (folder / "demo-install").mkdir(parents=True)
    return Desk(folder)


def start(desk, checks, *options, **kwargs):
    """Start a run on checks of our own, as the real room's would be."""
    file = desk.folder.parent / "test_own.py"
    file.write_text(HEAD + checks)
    reports = desk.folder.parent / "report"
    shutil.rmtree(reports, ignore_errors=True)
    argv = [
        sys.executable, "-c", START, f"--config-file={CHECKOUT / 'pyproject.toml'}",
        f"--rootdir={desk.folder.parent}", "-pmodelmedic.entry", str(file), "--profile=demo",
        f"--report-dir={reports}", *options,
    ]  # fmt: skip
    env = child_env(
        MODELMEDIC_STATE_DIR=str(desk.folder.parent / "state"),
        MODELMEDIC_CACHE_DIR=str(desk.folder.parent / "cache"),
    )
    return subprocess.Popen(argv, cwd=desk.folder, env=env, text=True, **kwargs), reports


def run(desk, checks, *options):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
    process, reports = start(desk, checks, *options, **pipes)
    out, _err = process.communicate(timeout=100)
    record = json.loads((reports / "report.json").read_text())
    return process.returncode, out, {f["check"]: f for f in record["findings"]}


def test_a_repair_that_does_not_heal_is_undone(desk):
    before = snapshot(desk.install)
    code, out, found = run(desk, NEVER, "--heal")
    assert code == 1
    assert found["try.never"]["outcome"] == "failed"
    assert found["try.never"]["what"] == "Never."
    assert [a["verdict"] for a in found["try.never"]["attempts"]] == ["not healed"]
    assert snapshot(desk.install) == before
    assert "Traceback" not in out


def test_a_healed_cause_lets_its_dependants_be_judged(desk):
    code, out, found = run(desk, HEALS, "--heal")
    assert code == 0, out
    assert found["try.needed"]["outcome"] == "healed"
    assert found["try.dependant"]["outcome"] == "passed"


def test_without_heal_the_dependant_waits_on_its_cause(desk):
    code, out, found = run(desk, HEALS)
    assert code == 1
    assert found["try.dependant"]["outcome"] == "blocked"
    assert found["try.dependant"]["blocked_by"] == "try.needed"
    assert "1 cause, 1 check waited on it" in out


def test_a_repair_that_breaks_another_check_is_undone(desk):
    before = snapshot(desk.install)
    code, out, found = run(desk, BREAKS, "--heal")
    assert code == 1
    assert "broke try.absent" in out
    assert snapshot(desk.install) == before
    assert found["try.needed"]["outcome"] == "failed"
    assert "It broke try.absent" in found["try.needed"]["attempts"][-1]["error"]
    assert found["try.absent"]["outcome"] == "passed"


def test_a_plan_file_holds_the_operations(desk, tmp_path):
    before = snapshot(desk.folder, without=())
    code, out, _found = run(desk, HEALS, "--heal=plan", f"--plan-file={tmp_path / 'plan.json'}")
    assert code == 1
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["install_dir"] == str(desk.install)
    assert [o["kind"] for o in plan["plans"][0]["operations"]] == ["make_dir"]
    assert plan["plans"][0]["risk"] == "safe"
    assert "create the folder extra" in out
    assert snapshot(desk.folder, without=()) == before


@pytest.mark.parametrize("options", [(), ("-p", "no:capture")], ids=["", "no-capture"])
def test_asking_needs_a_terminal(desk, options):
    code, out, found = run(desk, HEALS, "--heal=ask", *options)
    assert code == 1
    assert found["try.needed"]["attempts"][0]["verdict"] == "not allowed"
    assert "needs a terminal" in out
    assert not (desk.install / "extra").exists()


@pytest.mark.parametrize(("answer", "healed"), [("y", True), ("n", False), ("q", False)])
def test_the_answer_on_a_terminal_decides(desk, answer, healed):
    ours, theirs = pty.openpty()
    process, _reports = start(desk, HEALS, "--heal=ask", stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            seen += os.read(ours, 4096)
        except OSError:
            break
        if seen.count(b"Apply?") == 1 and answer:
            os.write(ours, answer.encode() + b"\n")
            answer = ""
    process.wait(timeout=30)
    os.close(ours)
    assert b"Apply?" in seen
    assert b"create the folder extra" in seen, seen.decode()[-3000:]
    assert (desk.install / "extra").exists() is healed, seen.decode()[-3000:]
    assert process.returncode == (0 if healed else 1)


def test_a_seconds_budget_of_zero_begins_no_repair(desk):
    code, _out, found = run(desk, HEALS, "--heal", "--heal-budget-seconds=0")
    assert code == 1
    assert found["try.needed"]["attempts"][0]["verdict"] == "refused"
    assert "budget" in found["try.needed"]["attempts"][0]["error"]


SLOW = """
import time
@pytest.mark.check("try.slow", area="install")
@pytest.mark.recover("system", using=["create_missing_folder"])
def test_slow(context):
    '''Holds, after a while.'''
    if (context.place / "extra").is_dir():
        (context.state_dir / "at-work").touch()
        time.sleep(60)
    folder_is_there(context, "extra")
"""


def started(desk, number):
    """Start a heal, wait until its repair is applied and not yet judged, then signal it."""
    process, _reports = start(
        desk, SLOW, "--heal", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    deadline = time.monotonic() + 60
    at_work = desk.folder.parent / "state" / "at-work"  # a check may write nowhere else
    while not at_work.exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    out, _err = process.communicate(timeout=60)
    at_work.unlink()
    return process.returncode, out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_repair_is_undone_at_once(desk, number):
    code, out = started(desk, number)
    assert code == 2
    assert not (desk.install / "extra").exists()
    assert journal.pending(desk.folder.parent / "state", desk.install) == []
    assert "Traceback" not in out


def test_a_killed_repair_is_told_by_checks_and_undone_by_the_next_heal(desk):
    code, _out = started(desk, signal.SIGKILL)
    assert code == -9
    assert (desk.install / "extra").exists()
    before = snapshot(desk.folder, without=())
    _code, out, _found = run(desk, "def test_nothing(): pass")
    assert "did not end" in out
    assert snapshot(desk.folder, without=()) == before
    code, out, _found = run(desk, HEALS, "--heal")
    assert code == 0
    assert "was undone" in out


UNKNOWN = """
@pytest.mark.check("try.unknown", area="install")
def test_unknown(context):
    '''Can be seen.'''
    raise CannotTell("It is dark.", "No light.", "Bring a lamp.")

@pytest.mark.check("try.crash", area="install")
def test_crash(context):
    '''Does not crash.'''
    raise KeyError("a bug")

@pytest.mark.check("try.lossy", area="install")
def test_lossy(degraded):
    '''Works with a loss.'''
    degraded("It is slow.", "An old disk.")
"""


def test_what_cannot_be_seen_is_unknown_and_a_loss_is_degraded(desk):
    code, out, found = run(desk, UNKNOWN)
    assert code == 1
    outcomes = {check: finding["outcome"] for check, finding in found.items()}
    assert outcomes == {
        "try.unknown": "unknown", "try.crash": "unknown", "try.lossy": "degraded",
    }  # fmt: skip
    assert "Bring a lamp." in out
    assert "The check itself failed: KeyError" in out


@pytest.mark.parametrize(("options", "code"), [([], 0), (["--strict-degraded"], 1)])
def test_degraded_is_green_unless_strict(desk, options, code):
    lossy = UNKNOWN[UNKNOWN.index('@pytest.mark.check("try.lossy"') :]
    assert run(desk, lossy, *options)[0] == code


@pytest.mark.parametrize(
    "marker",
    ['recover("system", using=["no_such_recovery"])', 'recover("no_such_family")'],
)
def test_unknown_recoveries_and_families_fail_at_collection(desk, marker):
    checks = f"""
@pytest.mark.check("try.x", area="install")
@pytest.mark.{marker}
def test_x(): pass
"""
    process, _reports = start(desk, checks, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out, _err = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "no_such" in out
    assert "known are" in out


@pytest.mark.parametrize("options", [["--setup-show"], ["--co"], ["-x"], ["--maxfail=1"],
                                     ["-p", "no:xdist"], ["-p", "no:timeout"], ["-p", "no:html"],
                                     ["--timeout=50"], ["--lf"], ["--setup-plan"]])  # fmt: skip
def test_pytests_own_options_still_work(desk, options):
    process, _reports = start(
        desk, HEALS, *options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    out, _err = process.communicate(timeout=60)
    assert process.returncode == {"--co": 0, "--setup-plan": 5}.get(options[0], 1), out
    assert "INTERNALERROR" not in out


def test_journals_that_cannot_be_read_refuse_every_repair_in_words(desk):
    folder = journal.folder(desk.folder.parent / "state", desk.install)
    folder.parent.mkdir(parents=True)
    folder.write_text("a file where the journals belong")
    code, out, found = run(desk, HEALS, "--heal")
    assert code == 1
    assert "INTERNALERROR" not in out
    (tried,) = found["try.needed"]["attempts"]
    assert tried["verdict"] == "refused"
    assert "cannot be read" in tried["error"]
    assert not (desk.install / "extra").exists()
