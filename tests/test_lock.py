# ruff: noqa: F401, F811 - fixtures are imported from engine_support
"""The lock of an install: who waits hears for whom, and what cannot be locked is refused."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import filelock
import pytest
from engine_support import install
from support import make_context

from modelmedic.errors import RecoveryRefused
from modelmedic.healing import holder, lock
from modelmedic.healing.engine import Engine

HOLDER = """
import sys
from pathlib import Path
from modelmedic.healing import lock
with lock.held(Path(sys.argv[1]), Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read(1)
"""


@pytest.fixture
def elsewhere(install):
    """Hold the lock in another process; ``stdin`` closed ends it."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(install.parent / "state"), str(install)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=env,
    )
    assert child.stdout.readline() == "held\n"
    yield child
    child.stdin.close()
    child.wait(30)
    child.stdout.close()


def test_who_waits_hears_for_whom_and_then_gets_it(install, elsewhere):
    told = []

    def hear(sentence):
        told.append(sentence)
        elsewhere.stdin.close()  # only now it lets go: it was told before the waiting

    engine = Engine(make_context(install), told=hear)
    with engine.locked():
        pass
    assert f"process {elsewhere.pid} (-c), since" in told[0]
    assert "is repairing" in told[0]
    assert "Ctrl-C ends the waiting" in told[0]


def test_the_one_who_waited_too_long_is_told_who_holds_it(install, elsewhere):
    with (
        pytest.raises(RecoveryRefused, match=rf"it is process {elsewhere.pid} \(-c\)"),
        lock.held(install.parent / "state", install, wait_seconds=0),
    ):
        pass


def test_a_free_lock_says_nothing_and_leaves_no_holder(install):
    told = []
    with lock.held(install.parent / "state", install, told=told.append):
        assert json.loads((install / ".modelmedic" / "lock.holder").read_text())["pid"]
    assert told == []
    assert not (install / ".modelmedic" / "lock.holder").exists()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", "another process"),
        (b"[1]", "another process"),
        (b"{", "another process"),
        (b'{"pid": "1"}', "another process"),
        (b"[" * 2000, "another process"),
        (b'{"pid": 7, "program": 5, "since_seconds": "x", "host": []}', "process 7"),
        (b'{"pid": 7, "since_seconds": -1e300, "program": ""}', "process 7"),
        (b'{"pid": 7, "program": "a\\u001b[2Jb", "host": "far"}', r"process 7 (a\x1b[2Jb) on far"),
    ],
)
def test_the_holders_word_is_used_for_words_only(tmp_path, said, words):
    holder.beside(tmp_path / "lock").write_bytes(said)
    assert holder.words(tmp_path / "lock") == words


def test_a_link_planted_for_the_holders_word_is_not_written_through(install, tmp_path):
    (tmp_path / "precious").write_text("precious")
    (install / ".modelmedic").mkdir()
    (install / ".modelmedic" / "lock.holder").symlink_to(tmp_path / "precious")
    with lock.held(install.parent / "state", install):
        pass
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_link_planted_for_the_lock_is_refused(install, tmp_path):
    (tmp_path / "precious").write_text("precious")
    (install / ".modelmedic").mkdir()
    (install / ".modelmedic" / "lock").symlink_to(tmp_path / "precious")
    with (
        pytest.raises(RecoveryRefused, match="not a plain file"),
        lock.held(install.parent / "state", install),
    ):
        pass
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EMFILE])
def test_a_folder_that_takes_no_lock_file_is_refused_with_words(install, monkeypatch, code):
    real = os.open

    def denied(path, flags, *rest, **given):
        if str(path).endswith("lock"):
            raise OSError(code, os.strerror(code), str(path))
        return real(path, flags, *rest, **given)

    monkeypatch.setattr(os, "open", denied)
    with (
        pytest.raises(RecoveryRefused, match=rf"nothing was touched: {os.strerror(code)}") as told,
        lock.held(install.parent / "state", install, wait_seconds=0),
    ):
        pass
    assert told.value.next_step


def test_a_state_folder_that_cannot_be_made_is_refused_with_words(install, monkeypatch):
    def denied(self, *_given, **_more):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    monkeypatch.setattr(Path, "mkdir", denied)
    with (
        pytest.raises(RecoveryRefused, match="Read-only file system"),
        lock.held(install.parent / "state", install),
    ):
        pass


def test_a_file_in_place_of_our_folder_is_refused_with_words(install):
    (install / ".modelmedic").write_text("in the way")
    with (
        pytest.raises(RecoveryRefused, match="is not a folder"),
        lock.held(install.parent / "state", install),
    ):
        pass


def test_an_error_of_the_work_under_the_lock_stays_what_it_is(install):
    with pytest.raises(FileNotFoundError), lock.held(install.parent / "state", install):
        raise FileNotFoundError("of the work")


def test_a_file_system_without_locks_is_refused_and_not_locked_by_existence(install, monkeypatch):
    """Newer releases of filelock would fall back to a file that a killed run leaves for ever."""
    import fcntl

    def missing(*_given):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", missing)
    with (
        pytest.raises(RecoveryRefused, match="cannot be locked"),
        lock.held(install.parent / "state", install, wait_seconds=0),
    ):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="links")
def test_an_install_that_is_not_there_yet_is_one_by_any_path(tmp_path):
    """Two runs would make it at the same time."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    with (
        lock.held(tmp_path / "state", tmp_path / "disk" / "install"),
        pytest.raises(RecoveryRefused, match="has not ended"),
        lock.held(tmp_path / "state", tmp_path / "link" / "install", wait_seconds=0),
    ):
        pytest.fail("both hold it")
