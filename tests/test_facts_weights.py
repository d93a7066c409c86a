"""Model files: what they hold, what their hash is, what their index says."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time

import pytest
import support

from modelmedic.errors import CannotTell
from modelmedic.facts import (
    file_hashes,
    references,
    weight_index,
    weights,
)
from modelmedic.facts.weights import Kind
from modelmedic.profile.model import ModelFile, ModelRepo
from modelmedic.testing.specimens import (
    checkpoint_bytes,
    safetensors_bytes,
    seeded_tensor,
    write_checkpoint_zip,
    write_safetensors,
)

posix_only = pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")
TENSORS = {
    "a.weight": seeded_tensor("a", "F32", (16, 8)),
    "b.weight": seeded_tensor("b", "BF16", (32, 4)),
    "c.bias": seeded_tensor("c", "BF16", (40,)),
}


@pytest.fixture
def install(tmp_path):
    place = tmp_path / "install"
    place.mkdir()
    (place / "model").mkdir()
    (place / "model" / "weights.bin").write_bytes(b"weights")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    return place


POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


@pytest.mark.parametrize(
    ("name", "data", "kind", "flaw"),
    [
        ("m.safetensors", safetensors_bytes(TENSORS), Kind.SAFETENSORS, None),
        ("m.safetensors", checkpoint_bytes(TENSORS), Kind.ZIP, "not-safetensors"),
        ("m.safetensors", POINTER, Kind.LFS_POINTER, "not-safetensors"),
        ("m.safetensors", b"", Kind.EMPTY, "cut"),
        ("m.safetensors", bytes(9000), Kind.ZEROS, "not-safetensors"),
        ("m.safetensors", b"\n<!DOCTYPE html><html>", Kind.HTML, "not-safetensors"),
        ("m.safetensors", b'{"error": "not found"}', Kind.JSON, "not-safetensors"),
        ("m.safetensors", b"gibberish without form", Kind.OTHER, "not-safetensors"),
        ("m.pth", checkpoint_bytes(TENSORS), Kind.ZIP, None),
        ("m.bin", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", Kind.PICKLE, None),
        ("m.pth", safetensors_bytes(TENSORS), Kind.SAFETENSORS, "not-checkpoint"),
        ("m.pth", b"", Kind.EMPTY, "not-checkpoint"),
        ("m.pth", POINTER, Kind.LFS_POINTER, "not-checkpoint"),
        ("c.json", b'{"a": 1}', Kind.JSON, None),
        ("c.json", b'\xef\xbb\xbf{"a": 1}', Kind.JSON, None),
        ("c.json", b'{"a": 1', Kind.JSON, "not-json"),
        ("c.json", b"", Kind.EMPTY, "not-json"),
        ("c.json", b'{"a": "' + b"x" * (1 << 20) + b'"}', Kind.JSON, None),
        ("c.json", b'{"a": "' + b"x" * (1 << 20) + b"\xc3", Kind.JSON, "cut"),
        ("spiece.model", b"\n\x0e\n\x05<unk>", Kind.OTHER, None),
        ("README.md", b"# A model", Kind.OTHER, None),
    ],
)
def test_content_is_told_by_its_bytes(install, name, data, kind, flaw):
    (install / name).write_bytes(data)
    content = support.make_facts(install).get(weights.read_content, name)
    assert content.kind is kind
    assert (content.flaw.code if content.flaw else None) == flaw
    assert content.size_bytes == len(data)


def test_a_pointer_says_which_file_it_stands_for(install):
    (install / "m.pth").write_bytes(POINTER)
    pointer = support.make_facts(install).get(weights.read_content, "m.pth").pointer
    assert pointer.size_bytes == 12345
    assert pointer.oid.startswith("4d7a2146")


def test_content_of_what_is_no_readable_file_cannot_be_told(install):
    facts = support.make_facts(install)
    with pytest.raises(CannotTell, match="is missing"):
        facts.get(weights.read_content, "gone.pth")
    with pytest.raises(CannotTell, match="folder"):
        facts.get(weights.read_content, "model")


def test_reading_stays_at_the_ends_of_a_huge_file(install):
    """27 shards of 4 GiB each are judged by their headers alone."""
    tensor_bytes = 4 << 30
    text = json.dumps(
        {"w": {"dtype": "U8", "shape": [tensor_bytes], "data_offsets": [0, tensor_bytes]}}
    ).encode()
    started = time.process_time()
    facts = support.make_facts(install)
    for index in range(27):
        path = install / f"model-{index:05}.safetensors"
        path.write_bytes(struct.pack("<Q", len(text)) + text)
        os.truncate(path, 8 + len(text) + tensor_bytes)
        assert facts.get(weights.read_content, path.name).flaw is None
    # Reading 108 GiB of holes would take minutes; this bound is no benchmark.
    assert time.process_time() - started < 10


def test_a_file_that_grows_while_it_is_read_is_not_judged(install, monkeypatch):
    path = install / "m.safetensors"
    write_safetensors(path, TENSORS)
    real = weights.inspect

    def grow(file):
        content = real(file)
        with path.open("ab") as stream:
            stream.write(b"more")
        return content

    monkeypatch.setattr(weights, "inspect", grow)
    with pytest.raises(CannotTell, match="written to"):
        support.make_facts(install).get(weights.read_content, path.name)


def test_hashes_are_those_of_hashlib_and_git(install):
    data = os.urandom(3 << 20) + b"tail"
    (install / "f").write_bytes(data)
    facts = support.make_facts(install)
    assert facts.get(file_hashes.read_sha256, "f").hexdigest == hashlib.sha256(data).hexdigest()
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    assert facts.get(file_hashes.read_git_blob, "f").hexdigest == blob


def test_a_hash_counts_while_the_file_is_the_same_and_no_longer(install):
    path = install / "f"
    path.write_bytes(b"one")
    facts = support.make_facts(install)
    first = facts.get(file_hashes.read_sha256, "f")
    facts.forget()
    assert facts.get(file_hashes.read_sha256, "f") is first
    modified = path.stat().st_mtime_ns
    path.write_bytes(b"two")  # same size; the time is put back, as damage behind our back would
    os.utime(path, ns=(modified, modified))
    facts.forget()
    assert facts.get(file_hashes.read_sha256, "f").hexdigest == hashlib.sha256(b"two").hexdigest()


@posix_only
def test_hashing_never_opens_a_pipe_or_a_link_out(install):
    os.mkfifo(install / "pipe")
    (install / "out").symlink_to("../outside/secret")
    facts = support.make_facts(install)
    with pytest.raises(CannotTell, match="named pipe"):
        facts.get(file_hashes.read_sha256, "pipe")
    with pytest.raises(CannotTell, match="leads out"):
        facts.get(file_hashes.read_sha256, "out")


def test_a_large_file_gets_twice_the_time_and_hashing_ends_at_its_limit(install):
    model = ModelRepo(
        "m",
        (".",),
        "native",
        (ModelFile("big", size_bytes=6_000_000_000), ModelFile("small", size_bytes=9)),
    )
    facts = support.make_facts(install, support.make_profile(models=(model,)))
    assert facts.seconds_for(file_hashes.read_sha256, "big") == 1200
    assert facts.seconds_for(file_hashes.read_sha256, "small") == 600
    (install / "slow").write_bytes(b"x" * (2 << 20))
    with pytest.raises(CannotTell, match="ended after -1 s"):
        file_hashes._hash_file(facts, "slow", "sha256", -1)


@pytest.mark.parametrize(("etag", "algorithm"), [("ab" * 32, "sha256"), ("cd" * 20, "git_blob")])
def test_a_download_leaves_a_hash_as_reference(install, etag, algorithm):
    folder = install / "model/.cache/huggingface/download/sub"
    folder.mkdir(parents=True)
    (folder / "w.pth.metadata").write_text(f"commit\n{etag}\n1700000000.5\n")
    (install / "model/sub").mkdir()
    (install / "model/sub/w.pth").write_bytes(b"x")
    reference = references.read_metadata(install, "model", "sub/w.pth")
    assert getattr(reference, algorithm) == etag
    assert references.read_metadata(install, "model", "weights.bin") is None


@posix_only
def test_in_a_hub_cache_the_blob_name_is_the_reference(tmp_path):
    repo = tmp_path / "models--o--n"
    snapshot = repo / "snapshots" / "r"
    snapshot.mkdir(parents=True)
    (repo / "blobs").mkdir()
    (repo / "blobs" / ("ef" * 32)).write_bytes(b"x")
    (snapshot / "w").symlink_to("../../blobs/" + "ef" * 32)
    assert references.read_blob_name(snapshot, ".", "w").sha256 == "ef" * 32


def test_an_index_is_read_by_shard():
    text = {"metadata": {"total_size": 12.0}, "weight_map": {"a": "2", "b": "1", "c": "2"}}
    index = weight_index.parse_index(json.dumps(text).encode(), "i")
    assert index.tensors == (("1", frozenset("b")), ("2", frozenset("ac")))
    assert index.total_size_bytes == 12


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"{}", b'{"weight_map": {}}', b'{"weight_map": {"a": 1}}', b"[" * 99_999],
)
def test_an_index_that_says_nothing_has_a_flaw(data):
    assert weight_index.parse_index(data, "i").flaw


def test_a_checkpoint_on_disk_is_read_like_one_in_memory(install):
    write_checkpoint_zip(install / "m.pth", TENSORS, name="m")
    content = support.make_facts(install).get(weights.read_content, "m.pth")
    assert content.flaw is None
    assert len(content.archive.records) == len(TENSORS) + 3
