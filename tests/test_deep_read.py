"""One read of every byte: the same digests by every way, stopped and taken up anywhere."""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
import random
import subprocess
import sys
import types

import pytest
from support import CHECKOUT

from modelmedic.errors import CannotTell
from modelmedic.facts import deep_read, digests, resumable_sha256
from modelmedic.facts.buffers import PIECE_BYTES, read_buffer
from modelmedic.facts.digests import BLOCK_BYTES, Blocks

MIB = 1 << 20
SIZES = (0, 1, PIECE_BYTES, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 9 * MIB + 5)
ALGORITHMS = ("sha256", "blake3") if digests.block_algorithm() == "blake3" else ("sha256",)


def test_memory_for_large_reads_begins_at_a_page_and_is_as_long_as_asked_for():
    for size_bytes in (1, 5000, PIECE_BYTES):
        buffer = read_buffer(size_bytes)
        assert len(buffer) == size_bytes
        assert ctypes.addressof(ctypes.c_char.from_buffer(buffer)) % mmap.PAGESIZE == 0


def made(path, size_bytes):
    data = random.Random(size_bytes).randbytes(size_bytes)
    path.write_bytes(data)
    return data


def read(path, **options):
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        return deep_read.read(descriptor, path.stat().st_size, **options)
    finally:
        os.close(descriptor)


def blocks_of(data, algorithm):
    found = b""
    for at in range(0, len(data), BLOCK_BYTES):
        hasher = digests.new_hasher(algorithm)
        hasher.update(data[at : at + BLOCK_BYTES])
        found += hasher.digest()
    return Blocks(algorithm, BLOCK_BYTES, found)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("size_bytes", SIZES)
@pytest.mark.parametrize("is_shared", [False, True])
def test_one_read_gives_all_digests(tmp_path, monkeypatch, size_bytes, algorithm, is_shared):
    monkeypatch.setattr(deep_read, "_ASK_BYTES", 0 if is_shared else 1 << 40)
    data = made(tmp_path / "f", size_bytes)
    found = read(
        tmp_path / "f", algorithm=algorithm, git_blob=True, has_idle_core=lambda: is_shared
    )
    assert found.size_bytes == size_bytes
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert found.git_blob == hashlib.sha1(b"blob %d\0" % size_bytes + data).hexdigest()
    assert found.blocks == blocks_of(data, algorithm)
    assert found.blocks.fits(size_bytes)


def test_either_kind_of_digest_can_be_left_out(tmp_path):
    made(tmp_path / "f", 5 * MIB)
    only_blocks = read(tmp_path / "f", sha256=False)
    assert (only_blocks.sha256, only_blocks.size_bytes) == ("", 5 * MIB)
    assert only_blocks.blocks is not None
    assert read(tmp_path / "f", algorithm=None).blocks is None


@pytest.mark.parametrize("is_shared", [False, True])
@pytest.mark.parametrize("stop_at", [1, BLOCK_BYTES, 5 * MIB, 8 * MIB, 9 * MIB])
def test_a_read_is_taken_up_where_it_was_stopped(tmp_path, monkeypatch, stop_at, is_shared):
    monkeypatch.setattr(deep_read, "_ASK_BYTES", 0 if is_shared else 1 << 40)
    data = made(tmp_path / "f", 9 * MIB + 5)
    done = 0

    def progress(count):
        nonlocal done
        done = count

    with pytest.raises(deep_read.Stopped) as stopped:
        read(tmp_path / "f", progress=progress, stop=lambda: done >= stop_at,
             has_idle_core=lambda: is_shared)  # fmt: skip
    unfinished = stopped.value.unfinished
    if not resumable_sha256.is_available() or done < BLOCK_BYTES:
        assert unfinished is None
        return
    assert unfinished.done_bytes == done // BLOCK_BYTES * BLOCK_BYTES
    begun_at = []
    found = read(tmp_path / "f", resume=unfinished, progress=begun_at.append)
    assert begun_at[0] > unfinished.done_bytes
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert found.blocks == blocks_of(data, digests.block_algorithm())


def test_a_state_that_does_not_fit_is_not_used(tmp_path):
    data = made(tmp_path / "f", 9 * MIB)
    for wrong in (
        deep_read.Unfinished(5, b"\0" * 112, digests.block_algorithm(), b""),
        deep_read.Unfinished(BLOCK_BYTES, b"\0" * 112, "other", b"d" * 32),
        deep_read.Unfinished(BLOCK_BYTES, b"\0" * 112, digests.block_algorithm(), b"d" * 31),
        deep_read.Unfinished(BLOCK_BYTES, b"\0" * 5, digests.block_algorithm(), b"d" * 32),
        deep_read.Unfinished(-BLOCK_BYTES, b"\0" * 112, digests.block_algorithm(), b""),
        deep_read.Unfinished(90 * BLOCK_BYTES, b"\0" * 112, digests.block_algorithm(), b"d" * 2880),
    ):
        assert read(tmp_path / "f", resume=wrong).sha256 == hashlib.sha256(data).hexdigest()


def test_what_progress_raises_ends_the_read_in_both_forms(tmp_path, monkeypatch):
    made(tmp_path / "f", 9 * MIB)
    monkeypatch.setattr(deep_read, "_ASK_BYTES", 0)

    def late(_done):
        raise CannotTell("too late")

    for is_shared in (False, True):
        with pytest.raises(CannotTell, match="too late"):
            read(tmp_path / "f", progress=late, has_idle_core=lambda: is_shared)  # noqa: B023


def test_an_error_of_the_disk_comes_out_of_the_second_thread(tmp_path, monkeypatch):
    monkeypatch.setattr(deep_read, "_ASK_BYTES", 0)
    monkeypatch.setattr(deep_read._Source, "serial", lambda *_: False)
    wrong = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
    try:
        with pytest.raises(OSError, match=r"not readable|Bad file"):
            deep_read.read(wrong, 5)
    finally:
        os.close(wrong)


def test_a_kept_state_goes_on_in_another_process():
    if not resumable_sha256.is_available():
        pytest.skip("This Python's hashlib has no libcrypto of its own.")
    first = resumable_sha256.ResumableSha256()
    first.update(b"a" * 1000)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from modelmedic.facts import resumable_sha256 as r\n"
        "h = r.ResumableSha256(bytes.fromhex(sys.argv[2])); h.update(b'b' * 1000); print(h.hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, str(CHECKOUT / "src"), first.state().hex()],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == hashlib.sha256(b"a" * 1000 + b"b" * 1000).hexdigest()


def test_a_library_that_fails_its_test_is_not_used(monkeypatch):
    names = ("SHA256_Init", "SHA256_Update", "SHA256_Final")
    wrong = types.SimpleNamespace(**dict.fromkeys(names, lambda *_: 1))
    monkeypatch.setattr(resumable_sha256, "_library", lambda: wrong)
    assert not resumable_sha256._passes()


# --- differing


def test_differing_blocks_are_ranges_and_neighbours_are_one():
    right = Blocks("sha256", 10, b"".join(bytes([n]) * 32 for n in range(6)))
    wrong = Blocks("sha256", 10, b"".join(bytes([n + (n in {1, 2, 5})]) * 32 for n in range(6)))
    assert digests.differing(right, wrong, 57) == ((10, 30), (50, 57))
    assert digests.differing(right, right, 57) == ()
    with pytest.raises(CannotTell, match="two kinds"):
        digests.differing(right, Blocks("blake3", 10, right.digests), 57)
