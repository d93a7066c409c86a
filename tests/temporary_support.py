"""An install folder with its state folder, records of ended processes, and programs beside us."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys

import pytest
from support import CHECKOUT

from modelmedic.reliability.temporary_record import FOLDER, Maker
from modelmedic.reliability.temporary_tree import TemporaryTree

FIND_US = {**os.environ, "PYTHONPATH": str(CHECKOUT / "src")}


@pytest.fixture
def place(tmp_path):
    install = tmp_path / "install"
    (install / "models").mkdir(parents=True)
    (install / "precious").write_text("of the user")
    return install


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def births(place):
    """Skip where the next run cannot tell a file from a later one; there it removes nothing."""
    if not TemporaryTree(place).mark("precious").birth:
        pytest.skip("this file system tells no generation of an inode and no time of birth")


def all_below(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def records_in(state):
    return sorted((state / FOLDER).glob("*")) if (state / FOLDER).is_dir() else []


def dead_record(state, *lines, **changes):
    """Write the record of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    maker = Maker.this()
    told = {"pid": process.pid, "started": "1", "host": maker.host, "boot": maker.boot}
    told |= {"space": maker.space, "machine": maker.machine} | changes
    (state / FOLDER).mkdir(parents=True, exist_ok=True)
    path = state / FOLDER / "1-dead.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in ({"maker": told}, *lines)))
    return path


def line(path, root, **changes):
    mark = TemporaryTree(root).mark(path.relative_to(root).as_posix())
    identity = [mark.device, mark.inode, mark.birth]
    is_folder = path.is_dir() and not path.is_symlink()
    told = {"root": str(root), "path": path.relative_to(root).as_posix(), "identity": identity}
    return told | {"is_folder": is_folder} | changes


@contextlib.contextmanager
def child(text, place, state):
    """Run a program that reads lines and writes some; it is ended at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", text, place, state],
        env=FIND_US,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    ) as process:
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()
