"""Programs that use an install, ports, and programs on the path."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import support

from modelmedic.facts import ports, processes, programs

posix_only = pytest.mark.skipif(os.name == "nt", reason="flock, links and pipes of POSIX")
DOWNLOAD = "model/.cache/huggingface/download"


def write(path: Path, data: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.fixture
def hold():
    """Return ``hold(script, path)``: a child process that holds something until it is ended."""
    children = []

    def start(script, path):
        child = subprocess.Popen(
            [support.PYTHON, "-c", script, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=support.child_env(),
        )
        children.append(child)
        assert child.stdout.readline().strip() == b"held"
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()


WAIT = "print('held', flush=True); sys.stdin.read()"


@pytest.fixture
def strangers(monkeypatch):
    """Let a child of ours count as a stranger's process; else it belongs to this very run."""
    monkeypatch.setattr(processes, "_own_pids", lambda: (frozenset({os.getpid()}), frozenset()))


@pytest.mark.parametrize(
    ("way", "script"),
    [
        ("holds files open", f"import sys; f = open(sys.argv[1]); {WAIT}"),
        ("works in it", f"import os, sys; os.chdir(os.path.dirname(sys.argv[1])); {WAIT}"),
    ],
    ids=["open", "cwd"],
)
def test_a_program_that_uses_the_install_is_named(tmp_path, hold, strangers, way, script):
    place = tmp_path / "install"
    file = write(place / "model/w.safetensors", b"x" * 4096)
    child = hold(script, file)
    (user,) = support.make_facts(place).get(processes.read_running).users
    assert (user.pid, user.ways) == (child.pid, (way,))
    assert "python" in user.program
    assert str(place / "model") in user.path
    assert support.make_facts(tmp_path / "inst").get(processes.read_running).users == ()


def test_a_probe_that_starts_while_processes_are_listed_is_our_own(tmp_path, hold, monkeypatch):
    """Probes run side by side: the family that was seen first is not all of it."""
    file = write(tmp_path / "install/w.safetensors", b"x")
    hold(f"import sys; f = open(sys.argv[1]); {WAIT}", file)
    me = frozenset({os.getpid()})
    monkeypatch.setattr(processes, "_own_pids", lambda: (me, me))
    assert support.make_facts(tmp_path / "install").get(processes.read_running).users == ()


@posix_only
def test_a_program_that_runs_from_the_install_is_named(tmp_path, strangers):
    """Its interpreter is a link in a venv, its script a file of the app."""
    place = tmp_path / "install"
    app = write(place / "app.py", f"import sys; {WAIT}".encode())
    child = subprocess.Popen(
        [support.PYTHON, "app.py"],
        cwd=app.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=support.child_env(),
    )
    try:
        assert child.stdout.readline().strip() == b"held"
        (user,) = support.make_facts(place).get(processes.read_running).users
        assert user.pid == child.pid
        assert user.ways == ("runs from it", "works in it")
        assert user.path == str(app)
    finally:
        child.kill()
        child.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="maps are read from /proc")
def test_a_mapped_file_counts_as_held(tmp_path, hold, strangers):
    """Loaders map safetensors and close the descriptor."""
    file = write(tmp_path / "install/w.safetensors", b"x" * 4096)
    script = (
        "import mmap, sys\nwith open(sys.argv[1], 'rb') as f: "
        f"m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)\ndel f\n{WAIT}"
    )
    child = hold(script, file)
    (user,) = support.make_facts(tmp_path / "install").get(processes.read_running).users
    assert (user.pid, user.ways) == (child.pid, ("holds files open",))


def test_our_children_are_our_own_run(tmp_path, hold):
    file = write(tmp_path / "install/w.safetensors", b"x")
    hold(f"import sys; f = open(sys.argv[1]); {WAIT}", file)
    assert support.make_facts(tmp_path / "install").get(processes.read_running).users == ()


def test_our_own_run_does_not_use_the_install(tmp_path, monkeypatch):
    with write(tmp_path / "held").open("rb"):
        monkeypatch.chdir(tmp_path)
        assert support.make_facts(tmp_path).get(processes.read_running).users == ()


def test_a_terminal_that_stands_in_the_folder_is_a_bystander():
    shell = processes.User(1, "bash", "bash", ("works in it",), "/x")
    assert shell.is_bystander
    assert not processes.User(1, "bash", "bash", ("runs from it", "works in it"), "/x").is_bystander
    assert not processes.User(1, "python3", "", ("works in it",), "/x").is_bystander


def test_a_free_port_is_free_and_stays_so(tmp_path):
    with socket.socket() as finder:
        finder.bind(("127.0.0.1", 0))
        number = finder.getsockname()[1]
    for _ in range(2):
        assert support.make_facts(tmp_path).get(ports.read_port, number).is_free


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port_names_who_listens(tmp_path, address):
    with socket.socket() as server:
        server.bind((address, 0))
        server.listen()
        use = support.make_facts(tmp_path).get(ports.read_port, server.getsockname()[1])
    assert not use.is_free
    assert not use.is_reserved
    if sys.platform == "linux":
        assert use.pid == os.getpid()
        assert "py" in use.program


def test_a_program_is_found_on_the_path_and_in_the_target_first(tmp_path, monkeypatch):
    for name in ("path", "env"):
        tool = write(tmp_path / name / "sometool", b"#!/bin/sh\n")
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    facts = support.make_facts(tmp_path)
    assert facts.get(programs.read_program, "sometool") == str(tmp_path / "path/sometool")
    assert facts.get(programs.read_program, "othertool") is None
    with_target = support.make_facts(tmp_path, target_python=tmp_path / "env/python")
    assert with_target.get(programs.read_program, "sometool") == str(tmp_path / "env/sometool")
