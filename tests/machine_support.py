"""Real file systems, another user, and facts set by hand where a machine cannot be changed."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import Future
from pathlib import Path

import pytest

NOBODY = 65534

needs_root = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root may mount or change the user"
)


def preset(facts, probe, value, *args):
    """Let ``facts`` answer ``probe`` with ``value``, or raise it when it is an exception."""
    entry = Future()
    entry.set_exception(value) if isinstance(value, BaseException) else entry.set_result(value)
    facts._entries[(probe.__module__, probe.__qualname__, *args)] = entry
    return facts


@contextlib.contextmanager
def open_folder():
    """A folder that every user may enter (pytest's own are closed to others)."""
    folder = Path(tempfile.mkdtemp(prefix="modelmedic-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def tmpfs(options):
    """A fresh tmpfs with mount options such as "size=1m"."""
    with open_folder() as folder:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"this sandbox may not mount: {done.stderr.strip()}")
        try:
            yield folder
        finally:
            subprocess.run(["umount", str(folder)], check=True)


@contextlib.contextmanager
def as_nobody():
    """Run a block as a user who owns nothing."""
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def names_in(folder):
    return sorted(path.name for path in Path(folder).iterdir())


class Losses:
    """Stands for the ``degraded`` fixture: keeps what a check says."""

    def __init__(self):
        self.said = []

    def __call__(self, what, why="", next_step="", failure_id=None):
        self.said.append((what, why, next_step, failure_id))

    @property
    def text(self):
        return " ".join(" ".join(str(part) for part in one) for one in self.said)
