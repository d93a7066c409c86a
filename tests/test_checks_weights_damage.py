"""Edited texts, holes and other variants among model files: each told apart from plain damage."""

from __future__ import annotations

import hashlib
import os

import pytest
from test_checks_weights import INDEX, SHARD, index_text, patient

from modelmedic.errors import Unhealthy
from modelmedic.testing.specimens import demo_files, safetensors_bytes, seeded_tensor

__all__ = ["patient"]  # a fixture

# --- texts that somebody edited


@pytest.mark.parametrize(
    "text", [b'{"dim": 4}', b'{"dim": 40, "mine": true}'], ids=["size", "longer"]
)
def test_a_text_that_somebody_edited_is_shown_and_left_alone(patient, text):
    published = b'{"dim": 8}'
    (patient.folder / "config.json").write_bytes(text)
    git = hashlib.sha1(b"blob %d\0" % len(published) + published).hexdigest()
    patient.change("config.json", size_bytes=len(published), git_blob=git)
    patient.judge("config.json")
    assert "model/config.json was edited" in patient.losses[0]
    (patient.folder / "config.json").write_bytes(published)
    patient.judge("config.json")
    assert len(patient.losses) == 1


@pytest.mark.parametrize(
    ("name", "data"),
    [("config.json", b'{"error": "Not found", "code": 404}'), ("config.json", b'{"dim": 1'),
     ("vocab.txt", b"a cut\nvocabul"), (INDEX, index_text(metadata={}).encode())],
    ids=["error", "cut", "vocabulary", "index"],
)  # fmt: skip
def test_no_edit_is_what_nobody_writes_by_hand(patient, name, data):
    (patient.folder / name).write_bytes(data)
    patient.change(name, size_bytes=4000)
    with pytest.raises(Unhealthy):
        patient.judge(name)


# --- holes: bytes that were never written


BIG = {f"big.{number}": seeded_tensor(f"big{number}", "F32", (1024, 1024)) for number in range(3)}


@pytest.fixture
def hollow(patient):
    """A shard of three tensors of 4 MiB, and a way to leave a part of it unwritten."""
    data = safetensors_bytes(BIG)
    path = patient.folder / SHARD
    patient.change(SHARD, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    def write(start, end):
        path.unlink()
        with path.open("wb") as stream:
            stream.write(data[:start])
            stream.seek(end)
            stream.write(data[end:])
            stream.truncate(len(data))
            os.fsync(stream.fileno())
        return data

    write(0, 0)
    patient.judge(SHARD)
    write(1 << 20, 4 << 20)
    with path.open("rb") as stream:
        can_tell = hasattr(os, "SEEK_HOLE")
        first = os.lseek(stream.fileno(), 0, os.SEEK_HOLE) if can_tell else len(data)
    if first >= len(data):
        pytest.skip("This file system keeps no holes, or does not tell of them.")
    return write


def test_a_hole_in_a_shard_names_the_tensors_it_takes(patient, hollow):
    hollow(5 << 20, 9 << 20)
    with pytest.raises(Unhealthy, match="is zero-filled inside") as failed:
        patient.judge(SHARD)
    assert failed.value.evidence["damage"] == "zero-filled"
    assert failed.value.evidence["tensors"] == "big.1, big.2"
    assert failed.value.evidence["hole_bytes"] == 4 << 20
    assert "Damaged: big.1, big.2" in failed.value.why


def test_a_file_that_is_mostly_a_hole_is_not_even_hashed(patient, hollow, monkeypatch):
    hollow(4096, 12 << 20)
    monkeypatch.setattr(patient.checks, "file_hashes", None)
    with pytest.raises(Unhealthy, match="is zero-filled inside"):
        patient.judge(SHARD)


def test_true_zeros_on_a_disk_that_compresses_are_no_damage(patient, hollow):
    """The file's hash has the last word; without one it is a stated loss."""
    hollow(5 << 20, 9 << 20)
    read = (patient.folder / SHARD).read_bytes()
    patient.change(SHARD, sha256=hashlib.sha256(read).hexdigest())
    patient.judge(SHARD)
    assert patient.losses == []
    patient.change(SHARD, sha256=None)
    patient.judge(SHARD)
    assert "may be zero-filled inside" in patient.losses[0]


# --- another variant


def test_a_file_of_another_shipped_profile_is_called_by_its_name(patient, tmp_path):
    """The demo's VAE where another is meant: the size tells, and its own structure is whole."""
    patient.change("Demo_VAE.pth", size_bytes=7)
    (patient.folder / "Demo_VAE.pth").write_bytes(demo_files()["Demo_VAE.pth"])
    with pytest.raises(Unhealthy, match="another file than the profile means") as failed:
        patient.judge("Demo_VAE.pth")
    assert failed.value.failure_id == "wrong-variant-for-task"
    assert "it has the size of that file in profile demo" in failed.value.why
    assert failed.value.evidence["damage"] == "variant"
