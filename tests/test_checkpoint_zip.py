"""The directory of a PyTorch checkpoint, whole and damaged."""

from __future__ import annotations

import random
import struct
import zipfile

from modelmedic.facts import (
    checkpoint_zip,
)
from modelmedic.testing.specimens import (
    checkpoint_bytes,
    seeded_tensor,
)

TENSORS = {
    "a.weight": seeded_tensor("a", "F32", (16, 8)),
    "b.weight": seeded_tensor("b", "BF16", (32, 4)),
    "c.bias": seeded_tensor("c", "BF16", (40,)),
}


def archive_of(data: bytes) -> checkpoint_zip.Archive:
    return checkpoint_zip.read_archive(lambda at, size: data[at : at + size], len(data))


def test_a_whole_checkpoint_has_no_flaw():
    archive = archive_of(checkpoint_bytes(TENSORS))
    assert archive.flaw is None
    names = {record.name for record in archive.records}
    assert "archive/data.pkl" in names
    assert sum("/data/" in name for name in names) == len(TENSORS)


def test_every_cut_of_a_checkpoint_is_seen():
    data = checkpoint_bytes(TENSORS)
    assert all(archive_of(data[:size]).flaw is not None for size in range(len(data)))
    assert archive_of(data[:-1]).flaw.code == "cut"


def test_bytes_missing_in_the_middle_of_a_checkpoint_are_seen():
    data = checkpoint_bytes(TENSORS)
    flaw = archive_of(data[:200] + data[300:]).flaw
    assert flaw.code == "directory-damaged"
    assert "missing in between" in flaw.text


def test_a_zip64_checkpoint_with_a_comment_is_read(tmp_path):
    path = tmp_path / "big.pth"
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(3):
            with archive.open(f"big/data/{index}", "w", force_zip64=True) as record:
                record.write(b"x" * 1000)
        archive.writestr("big/data.pkl", b"\x80\x02.")
        archive.comment = b"made by a test, with PK\5\6 inside it, where no end record stands"
    assert archive_of(path.read_bytes()).flaw is None


def zip64(records: int) -> bytes:
    """Return a checkpoint whose end record points to a zip64 one, as PyTorch writes it."""
    data = checkpoint_bytes(TENSORS)
    count, size, start = struct.unpack_from("<HII", data, len(data) - 12)
    body = data[:-22]
    end64 = struct.pack(
        "<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count + records, count + records, size, start
    )
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(body), 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return body + end64 + locator + end


def test_a_zip64_directory_is_found_and_counted():
    assert archive_of(zip64(0)).flaw is None
    assert len(archive_of(zip64(0)).records) == len(TENSORS) + 3
    assert "lists" in archive_of(zip64(1)).flaw.text
    broken = zip64(0).replace(b"PK\6\7", b"PK\6\0")
    assert "locator" in archive_of(broken).flaw.text


def test_a_claimed_directory_of_gigabytes_is_not_read():
    data = checkpoint_bytes(TENSORS)[:-22]
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, 3 << 30, 0, 0)
    asked = []

    def read_at(at, size):
        asked.append(size)
        return (data + end)[at : at + size]

    flaw = checkpoint_zip.read_archive(read_at, len(data + end)).flaw
    assert flaw.code == "too-large"
    assert max(asked) < 1 << 20


def test_a_record_that_reaches_over_the_directory_is_named():
    data = bytearray(checkpoint_bytes(TENSORS))
    at = bytes(data).index(b"PK\1\2")
    struct.pack_into("<II", data, at + 20, 1 << 20, 1 << 20)
    flaw = archive_of(bytes(data)).flaw
    assert flaw.code == "directory-damaged"
    assert "archive/data.pkl" in flaw.text


def test_a_zip_that_is_no_checkpoint_is_named(tmp_path):
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert archive_of(path.read_bytes()).flaw.code == "not-checkpoint"


def test_random_damage_of_a_checkpoint_never_raises():
    whole = checkpoint_bytes(TENSORS)
    chance = random.Random(11)
    for _ in range(500):
        data = bytearray(whole[: chance.randint(0, len(whole))] if chance.random() < 0.3 else whole)
        for _ in range(5):
            if data:
                data[-chance.randint(1, min(len(data), 700))] = chance.randrange(256)
        archive_of(bytes(data))
