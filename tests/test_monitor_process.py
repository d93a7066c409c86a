"""The monitor's own process: begun, asked, ended, killed, orphaned; and what it sees of others."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
from monitor_support import child, is_gone, until
from support import CHECKOUT

from modelmedic import DiagnosticMonitor, HealthStatus, ReliabilityManager
from modelmedic.errors import CannotTell
from modelmedic.monitor.log_tail import LogTail
from modelmedic.monitor.reader import Reader

posix = pytest.mark.skipif(sys.platform == "win32", reason="uses signals")
FAMILY = """
import subprocess, sys, threading, time
held = bytearray(60_000_000)
files = [open("/dev/null", "rb") for _ in range(40)]
child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"])
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
try:
    time.sleep(600)
finally:
    child.kill()
"""


@pytest.fixture
def made(tmp_path):
    monitors = []

    def make(**options):
        options = {"state_dir": tmp_path / "state", "interval_seconds": 0.1, **options}
        monitors.append(DiagnosticMonitor(**options))
        return monitors[-1]

    yield make
    for monitor in monitors:
        monitor.stop_monitoring()


def stop(pid):
    os.kill(pid, signal.SIGSTOP)
    until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)


def reading(monitor, name):
    return until(lambda: monitor.generate_health_report().readings.get(name))


def test_one_process_is_started_and_stopped_and_it_sees_the_machine(made):
    monitor = made()
    assert monitor.generate_health_report().status is HealthStatus.UNKNOWN
    monitor.start_monitoring()
    pid = monitor.pid
    monitor.start_monitoring()
    assert monitor.pid == pid, "a second start is none"
    assert reading(monitor, "memory.available_bytes") > 0
    report = until(
        lambda: (
            (r := monitor.generate_health_report()).components.get(f"process[{os.getpid()}]") and r
        )
    )
    assert report.blind == ()
    assert report.since <= report.at <= time.time() + 1
    assert monitor.check_component_health("memory") in set(HealthStatus)
    assert monitor.check_component_health("no such thing") is HealthStatus.UNKNOWN
    monitor.stop_monitoring()
    monitor.stop_monitoring()
    assert is_gone(pid)
    assert monitor.pid is None
    assert monitor.generate_health_report().blind == ("The monitor does not run.",)


@pytest.mark.once
def test_what_it_saw_is_in_the_history_when_it_has_ended(made, tmp_path):
    from modelmedic.history.store import History

    with made() as monitor:
        reading(monitor, "cpu.busy_ratio")
    with History.open(tmp_path / "state", is_read_only=True) as history:
        rows = history.connection.execute("SELECT series, samples FROM minute").fetchall()
    assert {row["series"] for row in rows} >= {"cpu.busy_ratio", "memory.used_bytes"}


@pytest.mark.once
def test_its_process_imports_nothing_that_it_does_not_need(made):
    monitor = made()
    monitor.start_monitoring()
    reading(monitor, "cpu.busy_ratio")
    argv = psutil.Process(monitor.pid).cmdline()
    assert argv[1:4] == ["-I", "-S", "-B"]
    code = argv[5].replace("sys.exit(main())", "print(sorted(sys.modules))")
    done = subprocess.run([*argv[:5], code, *argv[6:]], capture_output=True, text=True, check=True)
    heavy = {"requests", "wrapt", "stamina", "pytest", "email", "asyncio", "unittest", "numpy"}
    assert not heavy & {name.strip("'[]\n ") for name in done.stdout.split(",")}


@posix
@pytest.mark.once
def test_a_killed_monitor_is_unknown_and_can_be_started_again(made):
    monitor = made()
    monitor.start_monitoring()
    pid = monitor.pid
    reading(monitor, "cpu.busy_ratio")
    helpers = psutil.Process(pid).children()
    os.kill(pid, signal.SIGKILL)
    until(lambda: monitor.pid is None)
    until(lambda: all(is_gone(helper.pid) for helper in helpers))
    report = monitor.generate_health_report()
    assert report.status is HealthStatus.UNKNOWN
    assert report.blind == (f"The monitor's process {pid} has ended with exit code -9.",)
    monitor.start_monitoring()
    assert monitor.pid not in {None, pid}
    assert reading(monitor, "cpu.busy_ratio") is not None


@posix
@pytest.mark.once
def test_a_monitor_that_stands_still_is_unknown_and_holds_nobody_up(made, monkeypatch):
    monkeypatch.setattr("modelmedic.monitor.monitor._ANSWER_SECONDS", 0.5)
    monitor = made()
    monitor.start_monitoring()
    reading(monitor, "cpu.busy_ratio")
    pid = monitor.pid
    stop(pid)
    report = monitor.generate_health_report()
    assert report.status is HealthStatus.UNKNOWN
    assert "gave no answer within 0.5 s" in report.blind[0]
    os.kill(pid, signal.SIGCONT)
    assert reading(monitor, "cpu.busy_ratio") is not None
    stop(pid)
    monkeypatch.setattr("modelmedic.monitor.link._END_SECONDS", 0.3)
    monitor.stop_monitoring()
    assert is_gone(pid)


@posix
@pytest.mark.once
@pytest.mark.parametrize("way", ["SIGKILL", "SIGTERM", "exit"])
def test_it_ends_with_who_began_it_and_so_do_its_helpers(tmp_path, way):
    code = f"""
import sys, time
sys.path[:0] = {[str(CHECKOUT / "src"), *sys.path]!r}
from modelmedic import DiagnosticMonitor
monitor = DiagnosticMonitor(state_dir={str(tmp_path / "state")!r}, interval_seconds=0.1)
monitor.start_monitoring()
print(monitor.pid, flush=True)
sys.stdin.readline()
"""
    parent = subprocess.Popen(
        [sys.executable, "-I", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with parent:
        pid = int(parent.stdout.readline())
        helpers = until(lambda: psutil.Process(pid).children())
        parent.stdin.close() if way == "exit" else parent.send_signal(getattr(signal, way))
        parent.wait()
    until(lambda: is_gone(pid))
    until(lambda: all(is_gone(helper.pid) for helper in helpers))


@posix
@pytest.mark.once
def test_a_forked_child_that_holds_its_pipe_does_not_keep_it_alive(tmp_path):
    code = f"""
import os, sys, time
sys.path[:0] = {[str(CHECKOUT / "src"), *sys.path]!r}
from modelmedic import DiagnosticMonitor
monitor = DiagnosticMonitor(state_dir={str(tmp_path / "state")!r}, interval_seconds=0.1)
monitor.start_monitoring()
if not os.fork():
    monitor.stop_monitoring()  # not its own
    print(monitor.pid, flush=True)
    time.sleep(60)
    os._exit(0)
print(monitor.pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-I", "-W", "ignore", "-c", code],
                              stdout=subprocess.PIPE, text=True, start_new_session=True)  # fmt: skip
    with parent:
        try:
            said = {parent.stdout.readline().strip(), parent.stdout.readline().strip()}
            assert "None" in said
            (pid,) = (int(each) for each in said - {"None"})
            assert not is_gone(pid)
            parent.kill()
            until(lambda: is_gone(pid))
        finally:
            os.killpg(parent.pid, signal.SIGKILL)


@posix
def test_a_process_tree_is_added_up(made):
    with child(FAMILY) as family:
        until(lambda: psutil.Process(family.pid).children())
        monitor = made(pids=[family.pid], watches_self=False)
        monitor.start_monitoring()
        label = f"[{family.pid}]"
        report = until(
            lambda: (
                (r := monitor.generate_health_report()).readings.get(f"process.count{label}") == 2
                and r
            )
        )
        found = {n.removesuffix(label): v for n, v in report.readings.items() if n.endswith(label)}
        assert found["process.rss_bytes"] > 60_000_000
        assert found["process.open_files"] >= 43
        assert found["process.threads"] == 3
        assert 0 < found["process.open_files_ratio"] < 1
        psutil.Process(family.pid).children()[0].kill()
        family.kill()  # and nobody waits for it: its number stays, as that of a zombie
        until(lambda: f"process.count{label}" not in monitor.generate_health_report().readings)
        assert monitor.generate_health_report().blind == ()


@pytest.mark.once
def test_a_process_that_is_not_there_is_said(made):
    with child("pass") as gone:
        gone.wait()
        monitor = made(pids=[gone.pid])
        monitor.start_monitoring()
        report = until(lambda: (r := monitor.generate_health_report()).readings and r)
    assert f"There is no process {gone.pid}." in report.blind
    assert report.status is HealthStatus.UNKNOWN


class Slow:
    """A component of an installer that can get slow, or fail."""

    def __init__(self):
        self.seconds, self.fails = 0.002, False

    def load(self):
        time.sleep(self.seconds)
        if self.fails:
            raise ValueError("no")


@pytest.mark.once
def test_components_of_a_manager_are_judged_and_their_times_watched(made, tmp_path, monkeypatch):
    monkeypatch.setattr("modelmedic.monitor.monitor._NEWS_SECONDS", 0.02)
    manager = ReliabilityManager(state_dir=tmp_path / "state")
    component = Slow()
    wrapped = manager.wrap_component(component)
    monitor = made(manager=manager)
    monitor.start_monitoring()
    name = next(iter(manager.metrics().operations), ("Slow", "load"))[0]

    def call(times):
        for _ in range(times):
            wrapped.load()
            monitor.generate_health_report()

    call(25)
    assert monitor.check_component_health(name) is HealthStatus.HEALTHY
    component.seconds = 0.02
    call(25)

    def slower():
        call(3)
        return [i for i in monitor.detect_potential_issues() if i.kind == "degradation"]

    (issue,) = until(slower)
    assert issue.key == f"slower[{name}.load]"
    assert "times as long as before" in issue.what
    component.fails = True
    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            wrapped.load()
    assert monitor.check_component_health(name) is HealthStatus.FAILING
    monitor.stop_monitoring()
    assert monitor.check_component_health(name) is HealthStatus.FAILING, "judged in this process"


@pytest.mark.once
def test_an_alert_is_heard_and_logged_and_in_the_report(made, tmp_path):
    log = tmp_path / "app.log"
    log.write_text("before\n", "utf-8")
    heard = []
    monitor = made(logs=[log], on_alert=heard.append, invoked_as="modelmedic")
    monitor.start_monitoring()
    reading(monitor, "cpu.busy_ratio")
    time.sleep(0.5)
    hostile = (
        "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB \x1b[31mhf_abcdefghijklmnop"
    )

    def alerted():
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{hostile}\n")
        time.sleep(0.3)
        return [event for event in heard if event["kind"] == "log"]

    event = until(alerted)[0]
    assert event["line"].isprintable()
    assert "hf_abcdefghijklmnop" not in json.dumps(heard)
    assert [i.key for i in monitor.detect_potential_issues() if i.kind == "log"] == [event["key"]]
    assert monitor.generate_health_report().status.rank >= HealthStatus.DEGRADED.rank
    monitor.stop_monitoring()
    lines = (tmp_path / "state" / "monitor" / "alerts.jsonl").read_text("utf-8").splitlines()
    assert event["key"] in [json.loads(line)["key"] for line in lines]


@pytest.mark.once
def test_who_hears_an_alert_may_raise_and_may_end_the_monitor(made, tmp_path):
    heard = []

    def hear(event):
        heard.append(event)
        if len(heard) == 1:
            raise RuntimeError("of the installer")
        monitor.stop_monitoring()

    log = tmp_path / "app.log"
    log.touch()
    monitor = made(logs=[log], on_alert=hear)
    monitor.start_monitoring()
    pid = monitor.pid
    reading(monitor, "cpu.busy_ratio")
    words = itertools.cycle(["No space left on device", "x"])

    def alerted():
        with log.open("a", encoding="utf-8") as file:
            file.write(f"RuntimeError: {next(words)}\n")
        time.sleep(0.3)
        return is_gone(pid)

    until(alerted)
    assert len(heard) >= 2
    assert monitor.pid is None


@pytest.mark.once
def test_who_hears_an_alert_may_ask_what_is_known(made, tmp_path):
    log, heard = tmp_path / "app.log", []
    log.write_text("")

    monitor = made(logs=[log], on_alert=lambda _: heard.append(monitor.generate_health_report()))
    monitor.start_monitoring()
    reading(monitor, "cpu.busy_ratio")
    until(lambda: write_error(log) or heard)
    assert heard[0].issues, "it is about what it heard"
    assert not any("gave no answer" in sentence for sentence in heard[0].blind)


def write_error(log):
    with log.open("a") as file:
        file.write("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\n")


@pytest.mark.once
def test_a_frozen_program_does_not_start_itself_again(made, monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(CannotTell, match="frozen into one file"):
        made().start_monitoring()


@pytest.mark.once
def test_a_log_on_a_disk_that_does_not_answer_is_said(tmp_path, monkeypatch):
    let_go = threading.Event()
    monkeypatch.setattr(LogTail, "read", lambda _self: let_go.wait(30) and [])
    monkeypatch.setattr("modelmedic.monitor.reader._STUCK_SECONDS", 0.2)
    reader = Reader([str(tmp_path / "app.log")], tmp_path, interval_seconds=0.01)
    reader.start()
    try:
        until(lambda: "does not answer" in reader.blind.get("", ""))
        assert reader.step(0.0, 0.0, {}) == []
    finally:
        reader.stop()
        let_go.set()
        reader._thread.join()


def test_an_interval_that_is_too_short_is_refused():
    for wrong in (0, -1, 0.01, float("nan")):
        with pytest.raises(ValueError, match="the least is"):
            DiagnosticMonitor(interval_seconds=wrong)
