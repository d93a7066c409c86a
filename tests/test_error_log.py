"""The log of errors: private, whole lines, bounded, and read back also when it was torn."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import subprocess
import sys
import threading

import jsonschema
import pytest
from support import CHECKOUT, child_env

from modelmedic import GPUInfo, ReliabilityManager
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.findings import EnhancedErrorCategory as Category
from modelmedic.healing.classify import known_failures
from modelmedic.reliability import gpu_notes, remediation
from modelmedic.reliability.capture import LEVELS, ErrorCapture
from modelmedic.reliability.error_log import ErrorLog, read

SCHEMA = json.loads((CHECKOUT / "reports" / "error-record.schema.json").read_text("utf-8"))


@pytest.fixture(autouse=True)
def _no_card(monkeypatch):
    monkeypatch.setattr(gpu_notes, "KNOWN", gpu_notes.GpuNotes())
    gpu_notes.KNOWN.note(None)


def failed(capture, error, **given):
    try:
        raise error
    except type(error) as caught:
        return capture.capture(caught, **{"component": "Downloader", "method": "get"} | given)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("card", [None, GPUInfo("RTX 4090", 24564)])
def test_a_line_is_as_the_schema_says(level, card, tmp_path):
    gpu_notes.KNOWN.note(card)
    log = ErrorLog(tmp_path / "state")
    capture = ErrorCapture(level=level, log=log)
    error = OSError(errno.ENOSPC, "No space left on device", "/models/a.safetensors")
    error.__cause__ = ValueError("x")
    context = failed(capture, error, args=(tmp_path, [1]), kwargs={"x": b"y"})
    (record,) = read(log.path)
    jsonschema.validate(record, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert record["error_id"] == context.error_id
    assert record["category"] == "resource_exhaustion"
    assert record["remediation"] == context.remediation
    assert record["chain"] == ["cause: ValueError: x"]
    assert set(record) == set(SCHEMA["required"])


def test_nothing_is_there_before_the_first_failure_and_then_only_for_this_user(tmp_path):
    log = ErrorLog(tmp_path / "a" / "state")
    capture = ErrorCapture(log=log)
    assert not (tmp_path / "a").exists()
    failed(capture, ValueError("no"))
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.path.parent.stat().st_mode) == 0o700


def test_without_a_folder_it_lies_in_the_state_folder():
    assert ErrorLog().path.parent == __import__("pathlib").Path(os.environ["MODELMEDIC_STATE_DIR"])


def test_torn_and_foreign_lines_are_passed_over(tmp_path):
    log = ErrorLog(tmp_path)
    failed(ErrorCapture(log=log), ValueError("first"))
    with log.path.open("ab") as stream:
        stream.write(b'\n{"schema": 1, "error": "torn')
    failed(ErrorCapture(log=log), ValueError("second"))
    with log.path.open("ab") as stream:
        stream.write(b'\xff\xfe\n{"schema": 99}\n[1]\n' + b"[" * 100_000 + b"\n")
    failed(ErrorCapture(log=log), ValueError("third"))
    found = [record["error"] for record in read(log.path)]
    assert found == ["ValueError: first", "ValueError: second", "ValueError: third"]


def test_a_log_that_is_long_is_put_aside_and_two_older_ones_stay(tmp_path):
    log = ErrorLog(tmp_path, most_bytes=1)
    capture = ErrorCapture(level="minimal", log=log)
    for number in range(5):
        failed(capture, ValueError(str(number)))
    assert sorted(path.name for path in tmp_path.glob("*.jsonl")) == [
        "errors.1.jsonl",
        "errors.2.jsonl",
    ]
    assert next(read(tmp_path / "errors.1.jsonl"))["error"] == "ValueError: 4"
    assert next(read(tmp_path / "errors.2.jsonl"))["error"] == "ValueError: 3"


def test_processes_and_threads_that_append_at_once_lose_no_line(tmp_path):
    code = (
        "import sys, threading, pathlib\n"
        "from modelmedic.reliability.capture import ErrorCapture\n"
        "from modelmedic.reliability.error_log import ErrorLog\n"
        "log = ErrorLog(pathlib.Path(sys.argv[1]))\n"
        "capture = ErrorCapture(level='minimal')\n"
        "context = capture.capture(ValueError(sys.argv[2]), component='C', method='m')\n"
        "ts = [threading.Thread(target=lambda: [log.add(context) for _ in range(25)])"
        " for _ in range(4)]\n"
        "[t.start() for t in ts]; [t.join() for t in ts]\n"
    )
    env = child_env(PYTHONPATH=str(CHECKOUT / "src"))
    children = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(number)], env=env)
        for number in range(3)
    ]
    assert [child.wait(120) for child in children] == [0, 0, 0]
    errors = [record["error"] for record in read(tmp_path / "errors.jsonl")]
    assert {error: errors.count(error) for error in errors} == {
        f"ValueError: {number}": 100 for number in range(3)
    }


@pytest.mark.skipif(os.name != "posix", reason="modes and links of POSIX")
@pytest.mark.parametrize("form", ["link", "readable by others", "folder"])
def test_a_log_that_others_could_read_is_not_written_and_the_error_still_leaves(form, tmp_path):
    log = ErrorLog(tmp_path)
    other = tmp_path / "other"
    other.write_text("")
    if form == "link":
        log.path.symlink_to(other)
    elif form == "folder":
        log.path.mkdir()
    else:
        log.path.write_text("")
        log.path.chmod(0o644)
    context = failed(ErrorCapture(log=log), ValueError("no"))
    assert context.error == "ValueError: no"
    assert any(fault.startswith("error log") for fault in context.summary["capture_faults"])
    assert other.read_text() == ""
    assert form == "folder" or log.path.read_text() == ""


def test_a_disk_that_is_full_takes_no_error_away(tmp_path, monkeypatch):
    def full(handle, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    log = ErrorLog(tmp_path)
    monkeypatch.setattr("modelmedic.reliability.error_log.os.write", full)
    context = failed(ErrorCapture(log=log), ValueError("no"))
    assert "error log: OSError" in context.summary["capture_faults"]


# --- what a person can do


@pytest.mark.parametrize("category", [*Category, None])
def test_each_category_says_what_to_do_next(category):
    assert remediation.sentences([ValueError()], category)


@pytest.mark.parametrize("failure", sorted(known_failures()))
def test_each_known_failure_says_what_it_is_and_what_is_done(failure):
    told = remediation.sentences([Unhealthy("x", failure_id=failure)], None)
    assert told[0].startswith(f"This is a known failure, {failure}: ")
    assert len(told) >= 3


def test_an_unknown_failure_id_is_no_error():
    assert remediation.sentences([ValueError()], Category.NETWORK, "no-such") == list(
        remediation.OF_CATEGORY[Category.NETWORK]
    )


def test_an_errors_own_next_step_comes_first_then_what_its_number_says():
    error = OSError(errno.ENOSPC, "No space left on device", "/models/x")
    told = remediation.sentences(
        [CannotTell("x", "y", "Do this."), error], Category.RESOURCE_EXHAUSTION
    )
    assert told[0] == "Do this."
    assert told[1] == "The disk of /models/x is full: free some space there, then start again."


@pytest.mark.once
def test_each_command_that_is_printed_selects_checks():
    """Each ``-k`` expression in a sentence is one that picks at least one shipped check."""
    text = " ".join(word for told in remediation.OF_CATEGORY.values() for word in told)
    commands = set(re.findall(r"`modelmedic (check|heal) -k (?:'([^']+)'|(\w+))", text))
    expressions = {quoted or bare for _command, quoted, bare in commands}
    assert len(expressions) >= 8
    env = child_env(PYTHONPATH=str(CHECKOUT / "src"))
    argv = [sys.executable, "-m", "modelmedic", "check", "--co", "-q"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
    nodes = [line.lower() for line in done.stdout.splitlines() if "::" in line]
    for word in sorted({word for words in expressions for word in words.split(" or ")}):
        assert any(word in node for node in nodes), word


def test_threads_share_one_log_object(tmp_path):
    log = ErrorLog(tmp_path)
    capture = ErrorCapture(level="minimal", log=log)
    threads = [threading.Thread(target=lambda: failed(capture, ValueError("x"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(list(read(log.path))) == 6


def test_a_manager_keeps_the_contexts_of_failed_calls_in_its_state_folder(tmp_path):
    class Downloader:
        def get(self, *, token):
            raise LookupError(f"nothing for {token}")

    manager = ReliabilityManager(state_dir=tmp_path / "state")
    assert not (tmp_path / "state").exists()
    with pytest.raises(LookupError):
        manager.wrap_component(Downloader(), "downloader").get(token="not-for-your-eyes")
    (record,) = read(tmp_path / "state" / "errors.jsonl")
    jsonschema.validate(record, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert (record["component"], record["method"]) == ("Downloader", "get")
    assert "eyes" not in json.dumps(record)


def test_the_examples_of_the_page_run(tmp_path):
    page = (CHECKOUT / "docs" / "error-context.md").read_text("utf-8")
    examples = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(examples) == 3
    env = child_env(
        PYTHONPATH=str(CHECKOUT / "src"), MODELMEDIC_STATE_DIR=str(tmp_path), PYTHONWARNINGS="error"
    )
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(examples)],
        env=env, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].endswith("of t5.pth, token ***")
    assert lines[1] == "network"
    assert done.stdout.count("fetching part") == 2
    assert len(list(read(tmp_path / "errors.jsonl"))) == 1
