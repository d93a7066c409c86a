"""The context of a failed call: all fields, bounded in time, never in the way of the error."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support import CHECKOUT, child_env

from modelmedic import GPUInfo, observations
from modelmedic.reliability import gathering, gpu_notes, installed
from modelmedic.reliability.capture import ErrorCapture
from modelmedic.reliability.cpu_use import CpuUse, parse_stat
from modelmedic.reliability.interfaces import StrategyAttempt
from modelmedic.reliability.machine import parse_cpu_model
from modelmedic.reliability.readings import Reading


@pytest.fixture(autouse=True)
def _own_notes(monkeypatch):
    """Give each test a process that has seen nothing of card and network, and asks no driver."""
    notes = gpu_notes.GpuNotes()
    notes.note(None)
    monkeypatch.setattr(gpu_notes, "KNOWN", notes)
    monkeypatch.setattr(observations, "SEEN", observations.Observations())
    monkeypatch.setattr(gathering, "DEADLINE_SECONDS", 20.0)  # a busy machine is no failure


def raised(error):
    try:
        raise error  # noqa: TRY301 - it is to have a traceback
    except BaseException as caught:  # noqa: BLE001
        return caught


def captured(error, capture=None, **given):
    capture = capture or ErrorCapture()
    return capture.capture(raised(error), **{"component": "Downloader", "method": "get"} | given)


def numbers(context):
    """Return every number in a context by the name of its field."""
    parts = [context.hardware_profile, context.system_info, context.system_resources]
    return {
        f"{type(part).__name__}.{field.name}": getattr(part, field.name)
        for part in parts
        for field in dataclasses.fields(part)
        if isinstance(getattr(part, field.name), int | float)
    }


def test_every_field_is_filled_where_the_machine_can_tell():
    capture = ErrorCapture()
    captured(OSError(28, "No space left"), capture)
    context = captured(
        OSError(28, "No space left"),
        capture,
        phase="models",
        task="fetch",
        retry_count=2,
        previous_errors=[ValueError("first"), "second"],
        recovery_attempts=[StrategyAttempt("ModelRepairStrategy", "refused", "No file.")],
    )
    assert (context.phase, context.task, context.component) == ("models", "fetch", "Downloader")
    assert (context.method, context.retry_count) == ("get", 2)
    assert context.previous_errors == ["ValueError: first", "second"]
    assert context.recovery_attempts == ["ModelRepairStrategy: refused. No file."]
    assert context.timestamp.tzinfo is not None
    assert context.category == "resource_exhaustion"
    assert context.error == "OSError: [Errno 28] No space left"
    assert "in raised" in context.stack_trace
    assert context.remediation
    assert context.system_info.python_version == sys.version.split()[0]
    assert context.system_info.installed_packages["pytest"] == pytest.__version__
    unknown = {name for name, value in numbers(context).items() if value == -1 or math.isnan(value)}
    assert unknown <= {
        "ResourceSnapshot.gpu_memory_usage_mb",
        "ResourceSnapshot.network_bandwidth_mbps",
        "SystemInfo.cpu_usage_percent",  # the second reading may come within the clock's step
        "ResourceSnapshot.cpu_usage_percent",
    }
    assert context.summary["capture_faults"] == []


def test_names_and_versions_of_packages_are_those_that_python_itself_finds():
    ours = installed.versions_in(Path(entry) for entry in sys.path)
    theirs = {}
    for found in importlib.metadata.distributions():
        name = re.sub(r"[-_.]+", "-", found.name).lower()
        theirs.setdefault(name, found.version)
    assert ours == theirs


def test_a_package_that_came_meanwhile_is_seen(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    packages = installed.InstalledPackages()
    assert "late-comer" not in packages.read()
    (tmp_path / "Late_Comer-1.2+cu128.dist-info").mkdir()
    (tmp_path / "old.egg-info").mkdir()
    (tmp_path / "old.egg-info" / "PKG-INFO").write_text("Metadata-Version: 1.0\nVersion: 0.9\n")
    assert packages.read()["late-comer"] == "1.2+cu128"
    assert packages.read()["old"] == "0.9"


@pytest.mark.parametrize("level", ["minimal", "standard", "full"])
def test_a_level_says_how_much_is_kept(level, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    context = captured(ValueError("no"), ErrorCapture(level=level), args=(1,))
    has_more = level != "minimal"
    assert bool(context.environment_vars.get("CUDA_VISIBLE_DEVICES")) is has_more
    assert bool(context.system_info.installed_packages) is has_more
    assert ("arguments" in context.summary) is has_more
    assert math.isnan(context.system_info.available_disk_gb) is not has_more
    assert context.error
    assert context.stack_trace


def test_an_unknown_level_is_told_at_once():
    with pytest.raises(ValueError, match="known are minimal, standard, full"):
        ErrorCapture(level="all")


def test_a_disk_that_does_not_answer_costs_the_deadline_once_and_one_thread(monkeypatch):
    monkeypatch.setattr(gathering, "DEADLINE_SECONDS", 0.05)
    hung, calls = threading.Event(), []

    def hang(place):
        calls.append(place)
        hung.wait(30)

    monkeypatch.setattr("modelmedic.reliability.machine.space_of", hang)
    capture = ErrorCapture()
    try:
        contexts = [captured(ValueError("no"), capture) for _ in range(3)]
    finally:
        hung.set()
    assert len(calls) == 1
    for context in contexts:
        assert "disk: not in time" in context.summary["capture_faults"]
        assert math.isnan(context.system_info.available_disk_gb)
        assert context.error == "ValueError: no"


def test_code_that_cannot_be_read_in_time_costs_its_lines_not_the_trace(monkeypatch):
    monkeypatch.setattr(gathering, "DEADLINE_SECONDS", 0.05)
    hung, calls = threading.Event(), []

    def hang(error, veil):
        calls.append(error)
        hung.wait(30)

    monkeypatch.setattr("modelmedic.reliability.chains.stack_trace", hang)
    capture = ErrorCapture()
    try:
        first, second = (captured(ValueError("no"), capture) for _ in range(2))
    finally:
        hung.set()
    assert "lines of code: not in time" in first.summary["capture_faults"]
    assert "in raised" in first.stack_trace
    assert "in raised" in second.stack_trace
    assert len(calls) == 1


@pytest.mark.parametrize(
    "part",
    ["machine.own_process", "machine.unchanging", "machine.own_memory_gb", "installed.versions_in",
     "chains.links", "chains.stack_trace", "chains.words", "remediation.sentences",
     "environment_names.kept", "summaries.of_call", "summaries.secrets_in_frames",
     "observations.status", "gpu_notes.GpuNotes.latest"],
)  # fmt: skip
def test_a_part_that_breaks_is_a_note_and_the_rest_is_there(part, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("planted")

    monkeypatch.setattr(f"modelmedic.reliability.{part}", broken)
    context = captured(OSError(28, "full"))
    assert any("RuntimeError" in fault for fault in context.summary["capture_faults"])
    assert context.component == ("" if "secrets_in" in part else "Downloader")
    assert context.category == "resource_exhaustion"


def test_a_masking_that_breaks_lets_no_text_out(monkeypatch):
    def broken(*args):
        raise RuntimeError("planted")

    monkeypatch.setattr("modelmedic.reliability.veil.Veil.mask", broken)
    context = captured(ValueError("a secret"), kwargs={"x": "a secret"})
    assert "secret" not in repr(context)


def test_the_card_is_the_one_that_was_noted_and_says_its_age():
    assert captured(ValueError()).system_info.gpu_info is None
    gpu_notes.KNOWN.note(GPUInfo("RTX 4090", 24564, 1200, "560.1", 1, age_seconds=5.0))
    context = captured(ValueError())
    assert context.system_info.gpu_info.name == "RTX 4090"
    assert context.hardware_profile.gpu.memory_total_mb == 24564
    assert context.system_resources.gpu_memory_usage_mb == 1200
    assert context.system_info.gpu_info.age_seconds >= 0


def test_the_driver_is_asked_beside_the_first_failure_and_told_of_in_the_next(monkeypatch):
    asking, answered = threading.Event(), threading.Event()

    def ask():
        asking.set()
        answered.wait(30)
        return GPUInfo("RTX 4090")

    monkeypatch.setattr(gpu_notes, "ask", ask)
    monkeypatch.setattr(gpu_notes, "KNOWN", gpu_notes.GpuNotes())
    assert captured(ValueError()).system_info.gpu_info is None
    assert asking.wait(30)
    answered.set()
    assert gpu_notes.KNOWN.wait(30)
    assert captured(ValueError()).system_info.gpu_info.name == "RTX 4090"


def test_the_first_card_that_answers_is_the_one_of_the_context():
    from modelmedic.facts.gpu import Gpu, Gpus

    gib = 1 << 30
    lost = Gpu(0, "RTX 3060", error_code=15)
    well = Gpu(1, "RTX 4090", memory_total_bytes=24 * gib, memory_used_bytes=gib // 2)
    found = gpu_notes.first_card(Gpus("nvml", driver_version="560.1", gpus=(lost, well)))
    assert found == GPUInfo("RTX 4090", 24576, 512, "560.1", count=2)
    assert gpu_notes.first_card(Gpus("nvml", gpus=(Gpu(0, "A"),))).memory_total_mb == -1
    assert gpu_notes.first_card(Gpus("nvml", gpus=(lost,))) is None


def test_the_network_is_what_was_seen():
    before = captured(ValueError()).network_status
    assert (before.connectivity, before.dns_resolution) == (True, True)
    assert math.isinf(before.age_seconds)
    observations.SEEN.note_connection(True, latency_ms=12.5, dns_ok=True)
    observations.SEEN.note_transfer(1_000_000, 2.0)
    observations.SEEN.note_transfer(3_000_000, 2.0)
    context = captured(ValueError())
    assert context.network_status.latency_ms == 12.5
    assert context.network_status.bandwidth_mbps == pytest.approx(12.0)
    assert context.system_resources.network_bandwidth_mbps == pytest.approx(8.0)
    observations.SEEN.note_connection(False, dns_ok=False)
    lost = captured(ValueError()).network_status
    assert (lost.connectivity, lost.dns_resolution) == (False, False)


def test_an_error_of_the_network_is_itself_an_observation():
    import socket

    status = captured(socket.gaierror(-2, "Name or service not known")).network_status
    assert (status.connectivity, status.dns_resolution) == (False, False)
    observations.SEEN.note_connection(True, dns_ok=True)
    status = captured(ConnectionRefusedError(111, "refused")).network_status
    assert (status.connectivity, status.dns_resolution) == (False, True)
    assert captured(ValueError()).network_status.connectivity is False


def test_a_proxy_is_seen_in_the_environment(monkeypatch):
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    assert not captured(ValueError()).network_status.proxy_configured
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert captured(ValueError()).network_status.proxy_configured


def test_use_of_the_processors_is_the_difference_of_two_readings(monkeypatch):
    assert parse_stat("cpu  100 0 100 700 100 0 0 0 50 0\n", 100.0) == (2.0, 10.0)
    assert parse_stat("intr 1\n", 100.0) is None
    times = iter([(10.0, 100.0), (11.0, 102.0), (11.0, 102.0), (14.0, 1000.0)])
    monkeypatch.setattr("modelmedic.reliability.cpu_use._times", lambda: next(times))
    monkeypatch.setattr("modelmedic.reliability.cpu_use._linux_times", lambda: next(times))
    monkeypatch.setattr("sys.platform", "linux")
    use = CpuUse()
    assert use.percent() == 50.0
    assert use.percent() == 50.0, "no time has passed: the last one stands"
    assert use.percent() == pytest.approx(300 / 898)


def test_the_name_of_the_processor_is_read_from_recorded_texts():
    assert (
        parse_cpu_model("processor\t: 0\nmodel\t\t: 85\nmodel name\t: Intel Xeon\n") == "Intel Xeon"
    )
    assert parse_cpu_model("processor: 0\nModel\t\t: Raspberry Pi 5\n") == "Raspberry Pi 5"
    assert parse_cpu_model("") == ""


def test_a_reading_goes_on_in_a_child_that_was_forked_meanwhile():
    begun, hung = threading.Event(), threading.Event()
    reading = Reading("x", lambda: begun.set() or hung.wait(30))
    reading.start()
    assert begun.wait(30)
    reading._process = -1  # as in the child: the flag is there, the thread is not
    reading._read = lambda: "read anew"
    try:
        reading.start()
        assert reading.wait(time.monotonic() + 20)
        assert reading.value == "read anew"
    finally:
        hung.set()


def test_many_threads_capture_at_once_and_each_gets_its_own_error():
    capture, found, barrier = ErrorCapture(), {}, threading.Barrier(8)

    def work(number):
        barrier.wait(30)
        for turn in range(5):
            context = captured(ValueError(f"{number}-{turn}"), capture)
            found[number, turn] = (context.error, context.stack_trace.splitlines()[-1])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 40
    assert all(
        value == (f"ValueError: {a}-{b}", f"ValueError: {a}-{b}") for (a, b), value in found.items()
    )


def test_what_a_capture_needs_is_imported_at_the_first_failure_only():
    code = (
        "import sys; from modelmedic.reliability.capture import ErrorCapture; ErrorCapture();"
        "print(sorted({'psutil', 'requests', 'traceback', 'modelmedic.healing.classify',"
        " 'modelmedic.reliability.gathering', 'urllib.request'} & set(sys.modules)))"
    )
    env = child_env(PYTHONPATH=str(CHECKOUT / "src"))
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
