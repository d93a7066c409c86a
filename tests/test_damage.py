"""Damage is located by block digests, a checkpoint's CRCs, or holes of zeros; nothing is guessed."""

from __future__ import annotations

import contextlib
import hashlib
import io
import random
import zipfile

import pytest
from support import make_facts

from modelmedic.facts import damage, safe_open, seals
from modelmedic.facts.digests import Blocks, Digests, block_count
from modelmedic.testing.specimens import demo_files

KIB, MIB = 1 << 10, 1 << 20
GOOD = random.Random(3).randbytes(5 * MIB + 1234)


def digests(data, block_bytes=256 * KIB, algorithm="sha256"):
    parts = [data[at : at + block_bytes] for at in range(0, len(data), block_bytes)]
    joined = b"".join(hashlib.sha256(part).digest() for part in parts)
    return Blocks(algorithm, block_bytes, joined)


@contextlib.contextmanager
def opened(tmp_path, data, name="a.safetensors"):
    (tmp_path / name).write_bytes(data)
    with safe_open.opened(tmp_path, name) as (_state, file):
        yield file


def changed(data, *places, by=1):
    copy = bytearray(data)
    for place in places:
        copy[place] ^= by
    return bytes(copy)


def zeroed(data, *ranges):
    copy = bytearray(data)
    for start, end in ranges:
        copy[start:end] = bytes(end - start)
    return bytes(copy)


@pytest.mark.parametrize(
    ("data", "bad"),
    [
        (GOOD, ()),
        (changed(GOOD, 0), (0,)),
        (changed(GOOD, 256 * KIB - 1, 256 * KIB, len(GOOD) - 1), (0, 1, 20)),
        (GOOD[: 4 * MIB], (16, 17, 18, 19, 20)),
        (GOOD[: 5 * MIB + 1233], (20,)),
        (b"", tuple(range(21))),
        (GOOD + b"more", ()),
    ],
)
def test_blocks_that_differ_are_found(data, bad, tmp_path):
    with opened(tmp_path, data) as file:
        found = damage.locate(file, len(GOOD), digests(GOOD))
        assert (found.how, found.blocks) == ("digests", bad)
        wanted = digests(GOOD)
        assert found.digests == tuple(wanted.digest(index).hex() for index in bad)


def test_digests_that_do_not_fit_or_cannot_be_taken_here_are_not_used(tmp_path):
    other = digests(GOOD[:-MIB])
    strange = digests(GOOD, algorithm="md5")
    with opened(tmp_path, changed(GOOD, 7)) as file:
        for blocks in (other, strange, None):
            assert damage.locate(file, len(GOOD), blocks) == damage.Damage("", 64 * KIB)


@pytest.mark.parametrize("seed", range(40))
def test_holes_are_found_wherever_they_lie(seed, tmp_path):
    rng = random.Random(seed)
    pages = len(GOOD) // 4096
    start = rng.randrange(pages - 40) * 4096
    end = start + rng.choice([16, 17, 24, 32, 39]) * 4096
    with opened(tmp_path, zeroed(GOOD, (start, end))) as file:
        assert list(damage.zero_runs(file.descriptor, len(GOOD))) == [(start, end)]


def test_short_runs_of_zeros_are_no_holes_and_one_at_the_end_is(tmp_path):
    short = zeroed(GOOD, (0, 60 * KIB), (MIB, MIB + 60 * KIB))
    with opened(tmp_path, short) as file:
        assert list(damage.zero_runs(file.descriptor, len(short))) == []
    tail = zeroed(GOOD, (MIB - 64 * KIB, MIB + 8 * KIB), (4 * MIB, len(GOOD)))
    with opened(tmp_path, tail) as file:
        runs = list(damage.zero_runs(file.descriptor, len(tail)))
        assert runs == [(MIB - 64 * KIB, MIB + 8 * KIB), (4 * MIB, len(GOOD))]


def test_a_hole_in_a_file_that_broke_off_is_told_with_its_tail(tmp_path):
    data = zeroed(GOOD, (MIB, MIB + 128 * KIB))[: 3 * MIB]
    with opened(tmp_path, data) as file:
        found = damage.locate(file, len(GOOD), None)
    assert found.how == "zeros"
    last = block_count(len(GOOD), 64 * KIB)
    assert found.blocks == (16, 17, *range(48, last))
    assert found.digests == ()


def test_a_damaged_record_of_a_checkpoint_is_found_by_its_crc(tmp_path):
    data = demo_files()["Demo_VAE.pth"]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    largest = max(infos, key=lambda info: info.file_size)
    behind = infos[infos.index(largest) + 1].header_offset
    place = (largest.header_offset + behind) // 2
    with opened(tmp_path, data, "a.pth") as file:
        assert damage.damaged_records(file) == []
    with opened(tmp_path, changed(data, place), "a.pth") as file:
        assert damage.damaged_records(file) == [(largest.header_offset, behind)]
        found = damage.locate(file, len(data), None)
        assert found.how == "records"
        assert place // found.block_bytes in found.blocks
    with opened(tmp_path, changed(data, largest.header_offset), "a.pth") as file:
        assert damage.damaged_records(file) == [(largest.header_offset, behind)]


def test_a_checkpoint_without_crcs_or_directory_tells_nothing(tmp_path):
    data = bytearray(demo_files()["Demo_VAE.pth"])
    at = 0
    while (at := data.find(b"PK\1\2", at)) >= 0:
        data[at + 16 : at + 20] = b"\1\2\3\4"
        at += 4
    with opened(tmp_path, bytes(data), "a.pth") as file:
        assert damage.damaged_records(file) is None
    with opened(tmp_path, bytes(data[:-300]), "a.pth") as file:
        assert damage.damaged_records(file) is None


def test_blocks_without_digests_stay_countable():
    assert damage.small_block_bytes(1000) == 64 * KIB
    assert damage.small_block_bytes(10_000_000_000) == 4 * MIB
    assert damage.blocks_of([(0, 1), (65536 * 3 - 1, 65536 * 3 + 1)], 64 * KIB) == (0, 2, 3)


def test_what_was_located_is_read_once_for_each_identity(tmp_path, monkeypatch):
    install = tmp_path / "install"
    install.mkdir()
    (install / "a.safetensors").write_bytes(changed(GOOD, 9))
    facts = make_facts(install)
    sha256 = hashlib.sha256(GOOD).hexdigest()
    facts.context.state_dir.mkdir()
    seals.keep_blocks(facts.context.state_dir, Digests(len(GOOD), sha256, digests(GOOD)))
    found = facts.get(damage.read_damage, "a.safetensors", len(GOOD), sha256)
    assert (found.how, found.blocks) == ("digests", (0,))
    facts.forget()
    monkeypatch.setattr(damage, "locate", pytest.fail)
    assert facts.get(damage.read_damage, "a.safetensors", len(GOOD), sha256) == found
