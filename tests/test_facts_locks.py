"""Download locks: held, stale, harmless."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
import support
from packaging.version import Version

from modelmedic.facts import locks
from modelmedic.facts.locks import Hold

posix_only = pytest.mark.skipif(os.name == "nt", reason="flock, links and pipes of POSIX")
DOWNLOAD = "model/.cache/huggingface/download"


def write(path: Path, data: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


HOLD_FLOCK = """
import fcntl, sys, time
handle = open(sys.argv[1], "r+b")
fcntl.flock(handle, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""
HOLD_SOFT = """
import filelock, sys
lock = filelock.SoftFileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
sys.stdin.read()
import os
os._exit(0)
"""


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


@posix_only
def test_an_unheld_lock_of_the_hub_client_blocks_nobody(tmp_path):
    """Such files lie around after every download; hundreds of healthy installs have them."""
    path = write(tmp_path / "a.lock")
    os.utime(path, (1, 1))
    lock = locks.read_lock(tmp_path, "a.lock")
    assert lock.hold is Hold.FREE
    assert not lock.is_stale
    assert lock.age_seconds > 1e9


@posix_only
def test_a_lock_held_by_a_living_process_names_it(tmp_path, hold):
    path = write(tmp_path / "a.lock")
    child = hold(HOLD_FLOCK, path)
    lock = locks.read_lock(tmp_path, "a.lock")
    assert lock.hold is Hold.FLOCK
    assert not lock.is_stale
    if sys.platform == "linux":
        assert lock.pid == child.pid
        assert "python" in lock.program
        assert f"process {child.pid}" in lock.holder()


@posix_only
def test_looking_at_a_lock_does_not_keep_it(tmp_path, hold):
    path = write(tmp_path / "a.lock")
    locks.read_lock(tmp_path, "a.lock")
    hold(HOLD_FLOCK, path)  # would not get it otherwise


# Before 3.25 (seen: 3.21) filelock's soft lock was an empty file and named no owner.
needs_owners = pytest.mark.skipif(
    Version(version("filelock")) < Version("3.25"), reason="this filelock names no owner"
)


@needs_owners
def test_a_soft_lock_is_held_while_its_owner_lives_and_stale_after(tmp_path, hold):
    path = tmp_path / "a.lock"
    child = hold(HOLD_SOFT, path)
    alive = locks.read_lock(tmp_path, "a.lock")
    assert (alive.hold, alive.pid) == (Hold.OWNER_LIVES, child.pid)
    assert not alive.is_stale
    child.kill()
    child.wait()
    gone = locks.read_lock(tmp_path, "a.lock")
    assert (gone.hold, gone.pid) == (Hold.OWNER_GONE, child.pid)
    assert gone.is_stale


def test_a_soft_lock_whose_pid_was_given_to_a_later_process_is_stale(tmp_path, hold):
    path = write(tmp_path / "a.lock")
    time.sleep(locks._SAME_MOMENT_SECONDS + 1.2)  # psutil counts from a boot time in whole seconds
    child = hold(HOLD_SOFT, tmp_path / "other")
    with path.open("r+b") as stream:
        status = os.fstat(stream.fileno())
    # As if written before: the change time cannot be set, so the judge is asked with it.
    assert not locks._has_lived_since(child.pid, status.st_ctime)
    assert locks._has_lived_since(child.pid, time.time())


def test_a_soft_lock_of_another_machine_is_never_stale(tmp_path):
    path = write(tmp_path / "a.lock", b"999999\nsome-other-host\n")
    os.utime(path, (1, 1))
    lock = locks.read_lock(tmp_path, "a.lock")
    assert lock.hold is Hold.OTHER_HOST
    assert not lock.is_stale
    host = socket.gethostname()
    write(path, f"999999\n{host}?pidns-1234\n".encode())
    assert locks.read_lock(tmp_path, "a.lock").hold is Hold.OTHER_HOST


@posix_only
@pytest.mark.parametrize(("age_seconds", "is_stale"), [(7200, True), (60, False)])
def test_without_flock_an_ownerless_lock_is_stale_after_an_hour(
    tmp_path, monkeypatch, age_seconds, is_stale
):
    """A file system without flock cannot be had here: only the system call's answer is made up."""

    def no_flock(descriptor):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(locks, "_try_lock", no_flock)
    path = write(tmp_path / "a.lock")
    moment = time.time() - age_seconds
    os.utime(path, (moment, moment))
    lock = locks.read_lock(tmp_path, "a.lock")
    assert lock.hold is Hold.EXISTENCE
    assert lock.is_stale is is_stale


@pytest.mark.parametrize(
    ("record", "owner"),
    [
        (b"12\nhost\n", locks.Owner(12, "host")),
        (b"12\nhost\n8744768453655\n", locks.Owner(12, "host")),
        (b"", None),
        (b"12\nhost", None),
        (b"0\nhost\n", None),
        (b"-1\nhost\n", None),
        (b"99999999999999\nhost\n", None),
        (b"12\n\n", None),
        (b"\xff\xff\n\n\n\n", None),
    ],
)
def test_the_owner_of_a_soft_lock_is_read_as_filelock_writes_it(record, owner):
    assert locks.parse_owner(record) == owner


def test_proc_locks_are_read_by_inode():
    text = (
        "1: FLOCK  ADVISORY  WRITE 1234 08:02:655361 0 EOF\n"
        "1: -> FLOCK  ADVISORY  WRITE 99 08:02:655361 0 EOF\n"
        "2: POSIX  ADVISORY  READ 77 fd:00:42 128 128\n"
        "3: OFDLCK ADVISORY  READ -1 fd:00:43 0 EOF\n"
        "4: LEASE  ACTIVE    READ 5 fd:00:44 0 EOF\n"
    )
    assert dict(locks.parse_proc_locks(text)) == {655361: 1234, 42: 77}


@needs_owners
def test_the_repair_is_told_who_holds_a_lock(tmp_path, hold):
    path = tmp_path / "a.lock"
    child = hold(HOLD_SOFT, path)
    with path.open("rb") as stream:
        assert str(child.pid) in locks.holder_of(stream.fileno())
        child.kill()
        child.wait()
        assert locks.holder_of(stream.fileno()) == ""


def test_all_locks_of_an_install_are_read_oldest_first(tmp_path):
    for index, name in enumerate(("new", "old")):
        path = write(tmp_path / f"{DOWNLOAD}/{name}.lock")
        os.utime(path, (1000 - index, 1000 - index))
    found = support.make_facts(tmp_path).get(locks.read_locks)
    assert [lock.subject for lock in found] == [f"{DOWNLOAD}/old.lock", f"{DOWNLOAD}/new.lock"]


@posix_only
def test_the_repair_keeps_no_lock_by_asking(tmp_path, hold):
    path = write(tmp_path / "a.lock")
    with path.open("rb") as stream:
        assert locks.holder_of(stream.fileno()) == ""
        hold(HOLD_FLOCK, path)  # would wait for ever otherwise
