"""``modelmedic monitor``: what it prints, hands on, and returns."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import psutil
import pytest
from monitor_support import child, is_gone, issue, until
from support import CHECKOUT, child_env

from modelmedic.cli import monitor as face
from modelmedic.monitor import answers, telling
from modelmedic.monitor.interfaces import HealthReport, HealthStatus

posix = pytest.mark.skipif(sys.platform == "win32", reason="uses signals and terminals")
QUICK = ["--interval", "0.1"]


def command(tmp_path, *arguments):
    argv = [sys.executable, "-m", "modelmedic", "monitor", *arguments]
    source = str(CHECKOUT / "src")  # it may not be installed
    return argv, child_env(PYTHONPATH=source, MODELMEDIC_STATE_DIR=str(tmp_path / "state"))


def run(tmp_path, *arguments, **options):
    argv, env = command(tmp_path, *arguments)
    return subprocess.run(
        argv, env=env, capture_output=True, text=True, timeout=60, check=False, **options
    )


def _hears_ctrl_c():
    """Whoever runs the tests in the background may ignore it, and what is ignored stays so."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def begun(tmp_path, *arguments):
    argv, env = command(tmp_path, *arguments)
    with subprocess.Popen(
        argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=_hears_ctrl_c if os.name == "posix" else None,  # noqa: PLW1509
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            with suppress(OSError):  # with the command that it runs
                os.killpg(process.pid, signal.SIGKILL)


def test_once_prints_one_report(tmp_path):
    done = run(tmp_path, "--once", "--json", "--install-dir", str(tmp_path))
    assert done.stdout, (done.returncode, done.stderr)
    report = json.loads(done.stdout)
    assert report["schema"] == "modelmedic-health-1"
    assert report["readings"]["memory.available_bytes"] > 0
    assert any(name.startswith("disk.free_bytes[") for name in report["readings"])
    assert done.stderr == ""
    assert done.returncode == int(report["status"] in {"failing", "unknown"})


@pytest.mark.once
def test_once_for_people_names_every_number_and_the_health(tmp_path):
    done = run(tmp_path, "--once", "--pid", str(os.getpid()))
    assert "memory.available_bytes" in done.stdout
    assert f"process.rss_bytes[{os.getpid()}]" in done.stdout
    assert "Health: " in done.stdout


@pytest.mark.once
def test_after_its_time_it_ends_with_a_summary(tmp_path):
    done = run(tmp_path, *QUICK, "--for", "0.5")
    first, *_rest = done.stdout.splitlines()
    assert first.startswith("Watching this machine every 0.1 s (process ")
    assert "\r" not in done.stdout, "no line is drawn where nobody looks"
    assert "Health: " in done.stdout
    assert done.returncode in {0, 1}


@posix
@pytest.mark.once
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_ctrl_c_ends_it_with_a_summary_and_its_process_too(tmp_path, name):
    with begun(tmp_path, *QUICK) as process:
        line = process.stdout.readline()
        own = int(line.partition("(process ")[2].partition(",")[0])
        process.send_signal(getattr(signal, name))
        out, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "Health: " in out
    assert err == ""
    assert is_gone(own)


@pytest.mark.once
@pytest.mark.parametrize("code", [0, 3])
def test_a_command_is_run_with_its_words_and_its_code_is_told(tmp_path, code):
    script = f"import sys; print(sys.argv[1:]); sys.stdout.flush(); sys.exit({code})"
    done = run(tmp_path, *QUICK, "--", sys.executable, "-c", script, "--", "-x", "a b", "--once")
    assert done.stdout == "['--', '-x', 'a b', '--once']\n", "standard output is the command's"
    assert f"The command has ended with exit code {code}." in done.stderr
    assert done.returncode in ({0, 1} if code == 0 else {1})


@pytest.mark.once
def test_a_command_in_json_is_told_with_its_code(tmp_path):
    done = run(tmp_path, *QUICK, "--json", "--", sys.executable, "-c", "raise SystemExit(3)")
    assert json.loads(done.stdout.splitlines()[-1])["command"] == {"exit_code": 3}


@posix
@pytest.mark.once
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_is_handed_to_the_command_once(tmp_path, name):
    script = (
        "import signal, sys, time\n"
        "seen = []\n"
        f"signal.signal(signal.{name}, lambda *_: seen.append(1))\n"
        "print('ready', flush=True)\n"
        "while not seen: time.sleep(0.01)\n"
        "time.sleep(0.3); print(len(seen), flush=True); sys.exit(0)"
    )
    with begun(tmp_path, *QUICK, "--", sys.executable, "-c", script) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(getattr(signal, name))
        out, err = process.communicate(timeout=30)
    assert out == "1\n"
    assert "exit code 0" in err


@posix
@pytest.mark.once
def test_ctrl_c_on_a_terminal_reaches_the_command_once(tmp_path):
    import pty

    script = (
        "import signal, time\n"
        "seen = []\n"
        "signal.signal(signal.SIGINT, lambda *_: seen.append(1))\n"
        "print('ready', flush=True)\n"
        "while not seen: time.sleep(0.01)\n"
        "time.sleep(0.3); print('heard', len(seen), flush=True)"
    )
    argv, env = command(tmp_path, *QUICK, "--", sys.executable, "-c", script)
    pid, terminal = pty.fork()
    if not pid:
        os.execve(argv[0], argv, env)
    seen = read_until(terminal, b"ready")
    os.write(terminal, b"\x03")
    seen += read_until(terminal, b"Health")
    _pid, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert b"heard 1\r\n" in seen
    assert os.waitstatus_to_exitcode(status) in {0, 1}


@posix
@pytest.mark.once
def test_on_a_terminal_one_line_is_drawn_again_and_again(tmp_path):
    import pty

    argv, env = command(tmp_path, *QUICK, "--for", "2.5")
    pid, terminal = pty.fork()
    if not pid:
        os.execve(argv[0], argv, env)
    seen = read_until(terminal, b"Health")
    os.waitpid(pid, 0)
    os.close(terminal)
    assert seen.count(b"\rhealthy:") + seen.count(b"\rdegraded:") + seen.count(b"\rfailing:") >= 1
    assert seen.count(b"\n") <= 8


def read_until(terminal, wanted):
    seen = b""
    ends = time.monotonic() + 30
    while wanted not in seen:
        assert time.monotonic() < ends, seen
        try:
            seen += os.read(terminal, 65536)
        except OSError:  # the other side has ended
            break
    return seen


@posix
@pytest.mark.once
def test_who_reads_it_may_be_gone(tmp_path):
    with begun(tmp_path, *QUICK, "--for", "1") as process:
        process.stdout.readline()
        (own,) = psutil.Process(process.pid).children()
        process.stdout.close()
        process.wait(timeout=30)
        until(lambda: is_gone(own.pid))


@pytest.mark.once
def test_wrong_use_is_said_and_nothing_is_started(tmp_path):
    with child("pass") as gone:
        gone.wait()
        done = run(tmp_path, "--pid", str(gone.pid))
    assert (done.returncode, done.stderr) == (
        4,
        f"modelmedic monitor: there is no process {gone.pid}\n",
    )
    for wrong in (
        ["--interval", "0"],
        ["--for", "nan"],
        ["--interval", "x"],
        ["--once", "--", "x"],
    ):
        assert run(tmp_path, *wrong).returncode == 4, wrong
    done = run(tmp_path, "--", str(tmp_path / "no such program"))
    assert done.returncode == 1
    assert "could not be started" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "state").exists()


# --- text for people


def report(**changes):
    values = {"at": 130.0, "status": HealthStatus.DEGRADED, "since": 10.0}
    return HealthReport(**(values | changes))


HOSTILE = "\x1b[2J\r\n<b>\u202e" + "x" * 10_000_000


def test_hostile_names_and_lines_are_escaped_and_cut():
    found = report(
        readings={f"disk.free_bytes[{HOSTILE}]": 1e9, f"process.rss_bytes[{HOSTILE}]": 5.0},
        components={HOSTILE: HealthStatus.FAILING},
        issues=(issue(what=HOSTILE, why=HOSTILE, command=HOSTILE),),
        blind=(HOSTILE,),
    )
    text = telling.summary(found)
    assert all(line.isprintable() for line in text.split("\n"))
    assert len(text) < 10_000
    line = telling.status_line(found, 80)
    assert line.isprintable()
    assert len(line) <= 80
    assert all(each.isprintable() for each in telling.readings_table(found).split("\n"))


def test_a_summary_has_the_command_of_each_issue():
    text = telling.summary(report(issues=(issue(),), blind=("The disk is dead.",)))
    assert text.splitlines() == [
        "Health: degraded. Watched for 2 min.",
        "- warning: 4 % of the memory are left. The kernel ends a process next.",
        "  Next: modelmedic check --checks=system.memory",
        "- not seen: The disk is dead.",
    ]


def test_the_closing_summary_has_one_line_for_what_the_alerts_told_in_full():
    found = report(issues=(issue(), issue(key="b", what="x" * 500)), blind=("The disk is dead.",))
    lines = telling.closing(found, 60).splitlines()
    assert lines[:2] == [
        "Health: degraded. Watched for 2 min.",
        "- warning: 4 % of the memory are left.",
    ]
    assert lines[2].endswith("x...")
    assert len(lines[2]) == 60
    assert lines[3:] == ["- not seen: The disk is dead."]


def test_a_command_begins_as_the_person_began_ours(tmp_path, monkeypatch):
    script = tmp_path / "modelmedic"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert face._invoked_as(str(script), "python3") == "modelmedic"
    assert face._invoked_as("other folder/modelmedic", "python3") == "'other folder/modelmedic'"
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    main = "/x/modelmedic/__main__.py"
    assert face._invoked_as(main, "venv/bin/python3") == "venv/bin/python3 -m modelmedic"
    monkeypatch.setattr(sys, "executable", str(python))
    assert face._invoked_as(main, "python3") == "python3 -m modelmedic"


@posix
@pytest.mark.once
def test_who_reads_the_first_line_only_does_not_keep_it(tmp_path):
    with begun(tmp_path, *QUICK) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=30) in {0, 1}
        assert process.stderr.read() == ""


@posix
@pytest.mark.once
def test_a_command_runs_on_and_its_failure_is_told_when_nobody_reads(tmp_path):
    done = tmp_path / "done"
    script = f"import time; time.sleep(1.5); open({str(done)!r}, 'w'); raise SystemExit(3)"
    with begun(tmp_path, *QUICK, "--json", "--", sys.executable, "-c", script) as process:
        process.stdout.close()
        assert process.wait(timeout=30) == 1
        assert process.stderr.read() == ""
    assert done.exists()


@posix
@pytest.mark.once
def test_a_signal_that_is_ignored_stays_ignored(tmp_path):
    argv, env = command(tmp_path, *QUICK, "--for", "1.5")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        process = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGHUP, before)
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=30)
    assert process.returncode in {0, 1}, "2 is what a signal ended"


@pytest.mark.once
@pytest.mark.parametrize("value", ["x", "nan", "0", "1e12"])
def test_an_interval_that_is_none_is_refused_in_words(value, tmp_path):
    done = run(tmp_path, "--interval", value)
    assert done.returncode == 4
    assert "is no number of seconds from 0.1 to 2592000" in done.stderr


@pytest.mark.parametrize(
    ("components", "issues", "blind", "status"),
    [
        ({"memory": "healthy"}, [], (), HealthStatus.HEALTHY),
        ({"memory": "healthy"}, [], ("dead",), HealthStatus.UNKNOWN),
        ({"memory": "healthy"}, [issue()], ("dead",), HealthStatus.DEGRADED),
        ({"memory": "healthy"}, [issue(severity="critical"), issue()], (), HealthStatus.FAILING),
        ({"memory": "failing"}, [], (), HealthStatus.FAILING),
        ({}, [], (), HealthStatus.UNKNOWN),
    ],
)
def test_the_health_is_the_worst_of_parts_issues_and_blind_spots(components, issues, blind, status):
    told = {"at": 2.0, "since": 1.0, "readings": {}, "components": components}
    told["issues"] = [
        {name: getattr(each, name) for name in type(each).__dataclass_fields__} for each in issues
    ]
    found = answers.report(told, {}, blind, now=3.0)
    assert found.status is status
    assert list(found.issues) == issues
    json.dumps(answers.as_json(found))
