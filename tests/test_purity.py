"""What audit events are deeds, and the real checks, which do none that they did not declare."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from demo_support import Desk, snapshot

from modelmedic import deeds, purity
from modelmedic.facts import (
    disk,
    filesystem,
    gpu,
    interpreter,
    package_index,
    pci,
    quota,
    system,
)

REFUSED = "http://127.0.0.1:9"  # discard(9): nobody listens


# -- events ----------------------------------------------------------------------------------------


def deed(event, *args, base=None):
    found = deeds.of(event, args, base)
    return None if found is None else (found.kind, found.subject, found.is_local)


@pytest.mark.parametrize(
    ("event", "args"),
    [
        ("open", ("/x", "r", os.O_RDONLY)),
        ("open", ("/x", None, getattr(os, "O_PATH", 0))),
        ("open", (7, "w", os.O_WRONLY | os.O_CREAT)),  # wraps what was judged when it was opened
        ("os.kill", (1, 0)),
        ("os.kill", (os.getpid(), signal.SIGINT)),
        ("socket.getaddrinfo", ("192.0.2.1", 80, 0, 0, 0)),
        ("socket.getaddrinfo", ("fe80::1%eth0", 80, 0, 0, 0)),
        ("socket.getaddrinfo", (None, 80, 0, 0, 0)),
        ("socket.sendmsg", (None, None)),
        ("sqlite3.connect", (":memory:",)),
        ("sqlite3.connect", ("file:/x?mode=ro",)),
    ],
)
def test_what_only_looks_is_no_deed(event, args):
    assert deeds.of(event, args) is None


@pytest.mark.parametrize(
    ("event", "args", "told"),
    [
        ("open", ("/x", "a", os.O_WRONLY | os.O_APPEND), ("write", "/x", False)),
        ("open", (b"/x", None, os.O_RDONLY | os.O_CREAT), ("write", "/x", False)),
        ("os.rename", ("/a", "/b", -1, -1), ("write", "/a to /b", False)),
        ("os.symlink", ("target", "/l", -1), ("write", "/l", False)),
        ("_winapi.CreateJunction", ("/target", "/l"), ("write", "/l", False)),
        ("os.truncate", (999_999, 0), ("write", "descriptor 999999", False)),
        ("socket.connect", (None, ("127.0.0.1", 9)), ("connect", "127.0.0.1 port 9", True)),
        ("socket.connect", (None, ("::1", 9, 0, 0)), ("connect", "::1 port 9", True)),
        ("socket.connect", (None, "/run/x"), ("connect", "/run/x", True)),
        ("socket.connect", (None, (16, 0)), ("connect", "(16, 0)", False)),
        ("socket.bind", (None, ("", 9)), ("connect", " port 9", False)),
        ("socket.bind", (None, ("0.0.0.0", 9)), ("connect", "0.0.0.0 port 9", False)),
        ("socket.getaddrinfo", ("localhost", 9, 0, 0, 0), ("connect", "localhost", True)),
        ("socket.gethostbyname", (b"hub.test",), ("connect", "hub.test", False)),
        ("socket.gethostbyaddr", ("192.0.2.1",), ("connect", "192.0.2.1", False)),
        ("socket.getnameinfo", (("127.0.0.1", 9),), ("connect", "127.0.0.1", True)),
        # Windows gives the command line alone.
        ("subprocess.Popen", (None, "tool.exe -x", None, None), ("spawn", "tool.exe -x", False)),
        ("subprocess.Popen", ("tool", ["tool"], None, None), ("spawn", "tool", False)),
        ("_winapi.CreateProcess", (None, "tool", None), ("spawn", "tool", False)),
        ("os.spawn", (0, "/bin/x", ["x"], None), ("spawn", "/bin/x", False)),
        ("pty.spawn", (["/bin/x", "-i"],), ("spawn", "/bin/x", False)),
        ("os.fork", (), ("spawn", "a copy of this process", False)),
        ("os.startfile", ("x.txt", "open"), ("spawn", "x.txt", False)),
        ("os.killpg", (7, signal.SIGTERM), ("signal", "process group 7", False)),
        ("_winapi.TerminateProcess", (7, 1), ("signal", "the process of handle 7", False)),
        ("winreg.SetValue", (7, "Software", 1, "x"), ("registry", "Software", False)),
    ],
)
def test_a_deed_is_told_with_what_it_is_done_to(event, args, told):
    assert deed(event, *args) == told


def test_a_write_is_judged_where_links_lead_to_and_a_removal_at_the_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "folder").symlink_to("real")
    (tmp_path / "link").symlink_to("real/file")
    written = deeds.of("open", (str(tmp_path / "link"), "w", os.O_WRONLY))
    assert written.paths == (str(tmp_path / "real" / "file"),)
    removed = deeds.of("os.remove", (str(tmp_path / "link"), -1))
    assert removed.paths == (str(tmp_path / "link"),)
    within = deeds.of("os.remove", (str(tmp_path / "folder" / "x"), -1))
    assert within.paths == (str(tmp_path / "real" / "x"),)
    above = deeds.of("os.rmdir", (str(tmp_path / "folder" / ".."), -1))
    assert above.paths == (str(tmp_path),)


def test_a_name_relative_to_a_held_folder_is_told_in_full(tmp_path):
    handle = os.open(tmp_path, os.O_RDONLY)
    try:
        assert deeds.of("os.mkdir", ("x", 0o700, handle)).paths == (str(tmp_path / "x"),)
        assert deeds.of("os.chmod", (handle, 0o700, -1)).paths == (str(tmp_path),)
    finally:
        os.close(handle)
    opened = deeds.of("open", ("x", None, os.O_WRONLY), str(tmp_path))
    assert opened.paths == (str(tmp_path / "x"),)
    assert deeds.of("os.mkdir", ("x", 0o700, 999_999)).paths == (None,)


# -- programs --------------------------------------------------------------------------------------

PROGRAMS = [
    (gpu.read_gpus, "/usr/lib/wsl/lib/nvidia-smi", True),
    (gpu.read_gpus, "C:/Windows/System32/nvidia-smi.EXE", True),
    (gpu.read_gpus, sys.executable, True),
    (gpu.read_gpus, "/x/my-nvidia-smi", False),
    (pci.read_bus, "powershell.exe", True),
    (quota.read_quotas, "/usr/bin/quota", True),
    (system.read_processor, "/usr/sbin/sysctl", True),
    (interpreter.read_interpreter, "/install/python", True),
    (interpreter.read_interpreter, "/other/python", False),
    (interpreter.read_suitable_python, "/usr/bin/python3.12", True),
    (interpreter.read_suitable_python, "/usr/bin/pip", False),
    (package_index.read_index, "/install/python", True),
    (filesystem.read_scratch, "/install/.modelmedic-probe-1/run.sh", True),
    (filesystem.read_scratch, "/install/run.sh", False),
    (disk.read_temp, sys.executable, False),
]


@pytest.mark.parametrize(("probe", "program", "declared"), PROGRAMS)
def test_a_probe_may_start_what_it_declares(probe, program, declared):
    watch = purity.Watch("x", probe.promise, ".modelmedic-probe-1", Path("/install/python"))
    assert purity._may_start(watch, program) is declared


# -- the real checks -------------------------------------------------------------------------------


@pytest.fixture
def desk(tmp_path):
    """A desk from which no server of the world is reached; the Hub's name is still looked up."""
    folder = tmp_path / "desk"
    folder.mkdir()
    direct = {"HF_ENDPOINT": "http://localhost:9", "NO_PROXY": "localhost"}
    return Desk(folder, env={"HTTPS_PROXY": REFUSED, "HTTP_PROXY": REFUSED, **direct})


def assert_pure(run):
    assert run.code in {0, 1}, run.out
    assert "promise" not in run.out
    assert run.record["counts"]["passed"] > 5


@pytest.mark.parametrize(
    ("profile", "options"),
    [
        ("wan2.2-ti2v-5b", ()),
        ("wan2.2-ti2v-5b", ("--stage=installed",)),
        pytest.param(
            "wan2.2-ti2v-5b",
            ("--heal=plan", "--stage=installed", "--allow=costly"),
            marks=pytest.mark.once,
        ),
        ("demo", ("--stage=installed", "--deep")),
        ("demo", ("-n2",)),
    ],
    ids=["preflight", "installed", "plan", "demo", "n2"],
)
def test_the_checks_do_nothing_they_did_not_declare(desk, profile, options):
    (desk.folder / "install").mkdir()
    (desk.folder / "python3").symlink_to(Path(sys.executable).resolve())
    before = snapshot(desk.folder, without=())
    place = f"--install-dir={desk.folder / 'install'}"
    target = f"--target-python={desk.folder / 'python3'}"
    assert_pure(desk.run(place, target, *options, profile=profile))
    assert snapshot(desk.folder, without=()) == before
