"""A target Python that cannot tell: missing, broken, hanging, crashing, lying, too old."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import time

import interpreter_support
import psutil
import pytest
from interpreter_support import fault_of
from python_support import POSIX, program, site_packages
from support import make_facts

from modelmedic import commands
from modelmedic.errors import CannotTell
from modelmedic.facts import environment, interpreter
from modelmedic.facts.interpreter_fault import InterpreterFault
from modelmedic.limits import TimeoutManager

venv = interpreter_support.venv
own_venv = interpreter_support.own_venv


def running_in_group(group: int) -> list[str]:
    """Return the programs of a process group; an ended one that nobody reaped does not count."""
    found = []
    for process in psutil.process_iter(["status", "name"]):
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process.info["name"])
    return found


def is_ended(group: int) -> bool:
    """Wait until a killed group is gone: the kernel takes a moment."""
    for _ in range(250):
        if not running_in_group(group):
            return True
        time.sleep(0.02)
    return False


def test_no_such_interpreter(tmp_path):
    fault = fault_of(tmp_path / "bin" / "python")
    assert fault.kind == "missing"
    assert fault.what == f"There is no Python at {tmp_path / 'bin' / 'python'}."


def test_an_environment_without_an_interpreter_is_said_to_be_half_made(tmp_path):
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\n")
    fault = fault_of(tmp_path / "bin" / "python")
    assert fault.kind == "missing"
    assert f"The environment {tmp_path} has no Python" in fault.what


def test_a_folder_is_no_interpreter(tmp_path):
    assert fault_of(tmp_path).kind == "not-a-file"


@POSIX
def test_a_file_without_execute_permission(tmp_path):
    (tmp_path / "python").write_text("#!/bin/sh\n")
    assert fault_of(tmp_path / "python").kind == "not-executable"


@POSIX
def test_a_link_to_a_removed_python_is_a_base_that_is_gone(own_venv):
    own_venv.unlink()
    own_venv.symlink_to("python-link")
    (own_venv.parent / "python-link").symlink_to("/opt/python3.10/bin/python3.10")
    fault = fault_of(own_venv)
    assert fault.kind == "base-gone"
    assert "/opt/python3.10/bin/python3.10, which does not exist" in fault.what


@POSIX
def test_a_copied_interpreter_without_its_base_is_a_base_that_is_gone(own_venv):
    config = own_venv.parent.parent / "pyvenv.cfg"
    config.write_text("home = /no/such/python/bin\nversion = 3.10.1\n")
    own_venv.unlink()
    program(
        own_venv,
        "#!/bin/sh\necho \"ModuleNotFoundError: No module named 'encodings'\" >&2; exit 1\n",
    )
    fault = fault_of(own_venv)
    assert fault.kind == "base-gone"
    assert "/no/such/python/bin" in fault.what


@POSIX
@pytest.mark.parametrize(
    ("content", "kind_of_file"),
    [
        (b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + bytes(44), "aarch64"),
        (b"garbage \x00\x1b[31m", "no program"),
        (b"MZ\x90\x00" + bytes(60), "a Windows program"),
        (b"", "an empty file"),
    ],
)
def test_a_program_for_another_machine_is_an_exec_format_error(tmp_path, content, kind_of_file):
    target = tmp_path / "python"
    target.write_bytes(content)
    target.chmod(0o755)
    fault = fault_of(target)
    assert fault.kind == "not-startable"
    assert "exec format error" in fault.what
    assert kind_of_file in fault.why


@POSIX
def test_a_missing_loader_is_told_from_a_missing_file(tmp_path):
    fault = fault_of(program(tmp_path / "python", "#!/no/such/loader\n"))
    assert fault.kind == "not-startable"
    assert "does not exist" in fault.what
    assert "/no/such/loader" in fault.why


@POSIX
def test_an_interpreter_that_hangs_is_stopped_and_proves_nothing(tmp_path):
    marker = tmp_path / "pid"
    target = program(tmp_path / "python", f"#!/bin/sh\necho $$ > {marker}\nsleep 600\n")
    fault = fault_of(target, seconds=0.5)
    assert fault.kind == "no-answer"
    assert not fault.is_proof
    assert "did not answer within 0.5 s" in fault.what
    assert is_ended(int(marker.read_text()))


@POSIX
def test_an_interpreter_that_hangs_at_every_start_is_stopped(own_venv):
    (site_packages(own_venv) / "sitecustomize.py").write_text("import time; time.sleep(600)\n")
    assert fault_of(own_venv, seconds=1.0).kind == "no-answer"


@POSIX
def test_an_interpreter_that_prints_without_end_is_stopped_long_before_its_deadline(tmp_path):
    fault = fault_of(program(tmp_path / "python", "#!/bin/sh\nexec yes\n"), seconds=60)
    assert fault.kind == "no-answer"
    assert "printed more than 64 MiB" in fault.what


@POSIX
@pytest.mark.parametrize(
    ("ending", "words"),
    [
        ("kill -SEGV $$", "was ended by SIGSEGV: it touched memory"),
        ("kill -ILL $$", "was ended by SIGILL: it used an instruction"),
        ("exit 139", "was ended by SIGSEGV"),
        ("echo 'libpython3.10.so.1.0: cannot open' >&2; exit 127", "ended with exit code 127"),
        ("exit 3", "ended with exit code 3"),
    ],
)
def test_an_interpreter_that_crashes_says_how(tmp_path, ending, words):
    fault = fault_of(program(tmp_path / "python", f"#!/bin/sh\n{ending}\n"))
    assert fault.kind == "crashed"
    assert words in fault.what
    assert ("It said: libpython3.10.so.1.0" in fault.why) == ("libpython" in ending)


@POSIX
@pytest.mark.parametrize(
    "printed",
    ["", "Hello\\n", "{}", "\\033]0;title\\007\\033[2J", "<report x>{}</report x>"],
)
def test_a_program_that_prints_garbage_is_no_python(tmp_path, printed):
    fault = fault_of(program(tmp_path / "python", f"#!/bin/sh\nprintf '{printed}'\n"))
    assert fault.kind == "garbage"


@POSIX
@pytest.mark.parametrize(
    "report",
    ["", "[]", "7", "{}", "[" * 100_000, '{"error": 7}', '{"error": "\\u001b[31mOSError"}'],
)
def test_a_report_of_another_shape_is_refused(tmp_path, report):
    (tmp_path / "report").write_text(report)
    text = f"""#!/bin/sh
for nonce; do :; done
printf '<report %s>' $nonce; cat {tmp_path}/report; printf '</report %s>' $nonce
"""
    assert fault_of(program(tmp_path / "python", text)).kind in {"garbage", "crashed"}


def test_a_report_that_ends_early_is_no_report():
    assert interpreter.find_document("x <report n>{}", "n") == (None, "x <report n>{}")
    assert interpreter.find_document("x<report n>{}</report n>y", "n") == ("{}", "xy")


@pytest.fixture(scope="module")
def report(venv) -> dict[str, object]:
    """A whole report, as an environment gave it."""
    argv = [venv, "-I", "-c", interpreter.script(), '{"variables": {}, "place": ""}', "n"]
    document, _ = interpreter.find_document(commands.run(argv, deadline_seconds=20).stdout, "n")
    return json.loads(document)


KEYS = (
    "version", "prefix", "distributions", "markers", "leftovers", "missing_path_entries",
    "clashes", "shadows", "path_variable", "home_variable", "runtime_dlls", "glibc", "encoding",
)  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", [None, 7, [7], {"a": 7}, {"a": [7, 8]}])
def test_a_value_of_another_type_is_refused(venv, report, key, value):
    report = report | {key: value}
    with pytest.raises(InterpreterFault) as caught:
        interpreter.parse_report(json.dumps(report), target=venv)
    assert caught.value.kind == "garbage"


@POSIX
def test_python_2_is_too_old_to_be_asked(tmp_path):
    target = program(
        tmp_path / "python",
        '#!/bin/sh\n[ "$1" = -V ] && { echo "Python 2.7.18" >&2; exit 0; }\n'
        'echo "Unknown option: -I" >&2\nexit 2\n',
    )
    fault = fault_of(target)
    assert fault.kind == "too-old"
    assert "is Python 2.7.18, too old" in fault.what


def test_a_fault_survives_pickling():
    fault = InterpreterFault("what", "why", "next", kind="crashed")
    again = pickle.loads(pickle.dumps(fault))
    assert (again.what, again.next_step, again.kind) == ("what", "next", "crashed")


def test_without_a_target_the_reason_is_told(tmp_path):
    facts = make_facts(tmp_path, target_reason="no environment in the install folder")
    with pytest.raises(CannotTell, match="no environment in the install folder"):
        facts.get(interpreter.read_interpreter)
    with pytest.raises(CannotTell):
        facts.get(environment.read_environment)


@POSIX
def test_the_probe_ends_before_the_book_loses_patience(tmp_path, monkeypatch):
    limits = {**TimeoutManager.DEFAULT_TIMEOUTS, "interpreter_probe": 1}
    monkeypatch.setattr(TimeoutManager, "DEFAULT_TIMEOUTS", limits)
    target = program(tmp_path / "python", "#!/bin/sh\nsleep 600\n")
    with pytest.raises(InterpreterFault, match=r"did not answer within 0\.9 s"):
        make_facts(tmp_path, target_python=target).get(interpreter.read_interpreter)
