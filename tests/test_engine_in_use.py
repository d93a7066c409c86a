# ruff: noqa: F401, F811 - fixtures are imported from engine_support
"""A repair changes no file that another process has open, has mapped or runs."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time

import psutil
import pytest
from engine_support import GOOD, hub, install, operation, plan_of, snapshot, was
from support import make_context

from modelmedic.errors import RecoveryRefused
from modelmedic.facts import file_users
from modelmedic.healing.engine import Engine
from modelmedic.operations.kinds import MakeDir, Rename, ReplaceFile, SetAside

READY = "print('ready', flush=True); import sys; sys.stdin.read(1)"
OPENED = f"import sys; held = open(sys.argv[1], 'rb'); {READY}"
# Python's own mmap keeps a second descriptor; a loader of weights does not.
MAPPED = (
    "import ctypes, sys; opened = open(sys.argv[1], 'rb'); libc = ctypes.CDLL(None);"
    "libc.mmap.restype = ctypes.c_void_p;"
    "assert libc.mmap(None, ctypes.c_size_t(1), 1, 2, opened.fileno(), ctypes.c_long(0)) > 0;"
    f"opened.close(); {READY}"
)
STANDS = f"import os, sys; os.chdir(sys.argv[1]); {READY}"
BESIDE = "misplaced.bin"
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="maps are read from /proc")


@contextlib.contextmanager
def process(*command, cwd=None):
    child = subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=cwd,
    )
    try:
        assert child.stdout.readline() == "ready\n"
        yield child
    finally:
        child.stdin.close()
        child.wait(30)
        child.stdout.close()


@contextlib.contextmanager
def stranger(*command, cwd=None):
    """Run a program that is no child of ours: its parent ends at once. Gives its pid."""
    text = (
        "import subprocess, sys; p = subprocess.Popen(sys.argv[1:]);"
        "print('pid', p.pid, file=sys.stderr, flush=True)"
    )
    reads, writes = os.pipe()
    starter = subprocess.Popen(
        [sys.executable, "-c", text, *map(str, command)],
        stdin=reads,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
    )
    os.close(reads)
    with starter:
        pid = int(re.search(r"pid (\d+)", starter.stderr.readline())[1])
        try:
            assert starter.stdout.readline() == "ready\n"
            starter.wait(30)
            yield pid
        finally:
            os.close(writes)  # it reads to the end of its input, and ends
            wait_for_end(pid)


def wait_for_end(pid):
    with contextlib.suppress(psutil.NoSuchProcess):
        ended = psutil.Process(pid)
        while ended.is_running() and ended.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)


def engine_of(install):
    return Engine(make_context(install))


def applied(install, *operations):
    engine = engine_of(install)
    with engine.locked():
        return engine.apply(plan_of(*operations))


@linux_only
@pytest.mark.parametrize(("program", "way"), [(OPENED, "has it open"), (MAPPED, "has it mapped")])
@pytest.mark.parametrize("name", ["rename", "replace_file", "fetch_file", "set_aside"])
def test_a_file_in_use_is_refused_until_its_user_ends(name, install, hub, program, way):
    (install / "stale.lock").write_text("pid")  # an empty file cannot be mapped
    before = snapshot(install)
    change = operation(name, install, hub)
    engine = engine_of(install)
    with (
        stranger(sys.executable, "-c", program, install / change.path) as pid,
        engine.locked(),
        pytest.raises(RecoveryRefused, match=rf"process {pid} \(python[\d.]*\) {way}"),
    ):
        engine.apply(plan_of(change))
    assert snapshot(install) == before
    assert not engine.journal.path.exists()
    assert applied(install, change).steps


@linux_only
def test_a_script_that_is_run_from_the_file_is_named(install):
    (install / "app.py").write_text(READY)
    change = ReplaceFile("app.py", "pass\n", was(install, "app.py"))
    with (
        stranger(sys.executable, "app.py", cwd=install) as pid,
        pytest.raises(RecoveryRefused, match=rf"app\.py was not touched: process {pid} .* runs it"),
    ):
        applied(install, change)


@linux_only
def test_standing_in_the_folder_or_using_another_file_hinders_nothing(install):
    change = operation("replace_file", install, None)
    with (
        stranger(sys.executable, "-c", STANDS, install),
        stranger(sys.executable, "-c", OPENED, install / BESIDE),
    ):
        assert applied(install, change, MakeDir("outputs")).steps


@linux_only
def test_a_process_that_sees_the_file_under_another_path_is_found(install, tmp_path):
    """A container does: another path, the same name and inode. A hard link is seen like that."""
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume" / BESIDE).hardlink_to(install / BESIDE)
    change = Rename(BESIDE, "model/b.bin", was(install, BESIDE))
    with (
        stranger(sys.executable, "-c", OPENED, tmp_path / "volume" / BESIDE),
        pytest.raises(RecoveryRefused, match="has it open"),
    ):
        applied(install, change)


@linux_only
def test_another_file_of_the_same_name_hinders_nothing(install, tmp_path):
    (tmp_path / "settings.json").write_text("{}")
    with stranger(sys.executable, "-c", OPENED, tmp_path / "settings.json"):
        assert applied(install, operation("replace_file", install, None)).steps


def test_what_we_and_our_children_hold_open_hinders_nothing(install):
    change = operation("replace_file", install, None)
    with (
        (install / "settings.json").open("rb"),
        process(sys.executable, "-c", OPENED, install / "settings.json"),
    ):
        assert applied(install, change).steps


@linux_only
def test_a_program_that_started_us_is_a_user_like_any_other(install):
    """The app itself may start modelmedic, with its weights mapped."""
    code = (
        "import subprocess, sys\n"
        "held = open(sys.argv[1], 'rb')\n"
        "look = 'import sys; from pathlib import Path; from modelmedic.facts import file_users;'\n"
        "look += 'print(file_users.read_users(Path(sys.argv[1]), [sys.argv[2]])[0].way)'\n"
        "sys.exit(subprocess.call([sys.executable, '-c', look, *sys.argv[2:]]))\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    env.pop("PYTEST_XDIST_WORKER", None)
    done = subprocess.run(
        [sys.executable, "-c", code, install / BESIDE, install, BESIDE],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "has it open\n", done.stderr


@linux_only
def test_a_search_that_takes_too_long_ends_and_claims_nothing(install, monkeypatch):
    monkeypatch.setattr(file_users, "MAX_SECONDS", -1.0)
    with stranger(sys.executable, "-c", OPENED, install / "settings.json"):
        assert file_users.read_users(install, ["settings.json"]) == []
