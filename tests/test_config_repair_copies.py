"""The last good copy of a settings file: what is kept, how, and when it is not believed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from config_repair_support import Bench

from modelmedic import goodcopies

GOOD = '{"steps": 7, "token": "S3CRET"}'
POSIX = pytest.mark.skipif(os.name == "nt", reason="owners and modes of POSIX")


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path, "json")
    bench.remember(GOOD)
    return bench


def kept(bench) -> Path:
    """Return the copy; nothing else lies beside it."""
    (only,) = (bench.context.state_dir / "good").iterdir()
    return only


def recalled(bench) -> str | None:
    return goodcopies.recall(bench.context, bench.config.path)


def remember(bench, data: bytes) -> None:
    bench.path.write_bytes(data)
    goodcopies.remember(bench.context, bench.config.path)


@POSIX
def test_a_copy_can_be_read_by_its_owner_only_whatever_the_umask(bench):
    old = os.umask(0)
    try:
        remember(bench, b'{"steps": 8}')
    finally:
        os.umask(old)
    assert stat.S_IMODE(kept(bench).stat().st_mode) == 0o600
    assert stat.S_IMODE(kept(bench).parent.stat().st_mode) == 0o700
    assert recalled(bench) == '{"steps": 8}'


@POSIX
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_copy_that_others_may_read_or_write_is_not_used(bench, mode):
    kept(bench).chmod(mode)
    assert recalled(bench) is None


@POSIX
def test_a_copy_of_another_user_is_not_used(bench, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: kept(bench).stat().st_uid + 1)
    assert recalled(bench) is None


@POSIX
def test_a_link_a_pipe_or_a_folder_in_place_of_a_copy_is_not_read(bench, tmp_path):
    path = kept(bench)
    elsewhere = tmp_path / "elsewhere.json"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert recalled(bench) is None
    path.unlink()
    os.mkfifo(path, 0o600)
    assert recalled(bench) is None
    path.unlink()
    path.mkdir(0o700)
    assert recalled(bench) is None


def test_a_copy_that_is_too_large_or_no_text_is_not_used(bench):
    path = kept(bench)
    path.write_bytes(b'{"steps": 7}' + b" " * (1 << 20))
    assert recalled(bench) is None
    path.write_bytes(b'{"steps": 7, "a": "\xff"}')
    assert recalled(bench) is None


def test_a_copy_that_is_not_believed_does_not_stop_the_repair(bench):
    kept(bench).write_bytes(b"\xff" * 100)
    bench.mend("{")
    assert bench.values() == {"steps": 20}


@pytest.mark.parametrize(
    "data",
    [b'{"steps": 0}', b'{"steps": 5', b'{"steps": 5, "a": "\xff"}', b" " * (1 << 20) + b"{}"],
)
def test_a_file_that_is_no_longer_good_is_not_kept(bench, data):
    """The check read it before; it may have changed since."""
    remember(bench, data)
    assert recalled(bench) == GOOD


def test_a_newer_good_file_replaces_the_copy(bench):
    remember(bench, b'\xef\xbb\xbf{"steps": 9}')
    assert recalled(bench) == '{"steps": 9}'


def test_a_file_that_is_no_config_of_the_profile_is_not_kept(bench):
    (bench.place / "other.json").write_bytes(b'{"steps": 9}')
    goodcopies.remember(bench.context, "other.json")
    assert kept(bench).read_text() == GOOD


def test_a_state_folder_that_cannot_be_written_is_no_failure(bench):
    folder = kept(bench).parent
    kept(bench).unlink()
    folder.rmdir()
    folder.write_bytes(b"")
    remember(bench, b'{"steps": 9}')
    assert recalled(bench) is None
