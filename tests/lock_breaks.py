"""Locks of killed downloads, for the conformance of their repair."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time

LOCK = "model/.cache/huggingface/download/x.safetensors.lock"


def leave_a_soft_lock(install):
    lock = install / LOCK
    lock.parent.mkdir(parents=True)
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lock.write_text(f"{ended.stdout.strip()}\n{socket.gethostname()}\n")  # as filelock does
    long_ago = time.time() - 100_000
    os.utime(lock, (long_ago, long_ago))


@contextlib.contextmanager
def lock_it(install):
    import fcntl

    with (install / LOCK).open("r+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
