"""The header of a safetensors file, whole and damaged in every way."""

from __future__ import annotations

import json
import random
import struct

import pytest

from modelmedic.facts import (
    safetensors_header,
)
from modelmedic.testing.specimens import (
    safetensors_bytes,
    seeded_tensor,
)

TENSORS = {
    "a.weight": seeded_tensor("a", "F32", (16, 8)),
    "b.weight": seeded_tensor("b", "BF16", (32, 4)),
    "c.bias": seeded_tensor("c", "BF16", (40,)),
}


def header_of(data: bytes) -> safetensors_header.Header:
    return safetensors_header.read_header(lambda at, size: data[at : at + size], len(data))


def file_with_header(entries, data_bytes: int = 0) -> bytes:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + bytes(data_bytes)


def test_a_whole_safetensors_file_has_no_flaw_and_names_its_tensors():
    data = safetensors_bytes(TENSORS)
    header = header_of(data)
    assert header.flaw is None
    assert header.names == set(TENSORS)
    assert header.promised_bytes == len(data)
    assert header.data_bytes == sum(len(t.data) for t in TENSORS.values())
    assert header.metadata == {"format": "pt"}


def test_a_cut_safetensors_file_names_both_sizes_and_the_lost_tensors():
    data = safetensors_bytes(TENSORS)
    header = header_of(data[:-5])
    last = header.tensors[-1].name
    assert header.flaw.code == "cut"
    assert header.flaw.tensors == (last,)
    assert header.flaw.promised_bytes == len(data)
    assert f"{len(data):,}" in header.flaw.text
    assert last in header.flaw.text


def test_every_cut_of_a_safetensors_file_is_seen():
    data = safetensors_bytes(TENSORS)
    assert all(header_of(data[:size]).flaw is not None for size in range(len(data)))


def test_bytes_after_the_end_are_seen():
    flaw = header_of(safetensors_bytes(TENSORS) + b"1234").flaw
    assert flaw.code == "longer"
    assert "4 more" in flaw.text


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (b"{", "not JSON"),
        (b'{"\xff": 1}', "not UTF-8"),
        (b"[1]", "not an object"),
        (b"[" * 50_000, "nested"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not"),
        ((b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},'
         b'"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'), "twice"),
        ({"__metadata__": {"a": 1}}, "__metadata__"),
        ({"a": 1}, "not an object"),
        ({"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 1]}}, "X9"),
        ({"a": {"dtype": ["U8"], "shape": [1], "data_offsets": [0, 1]}}, "dtype"),
        ({"a": {"dtype": "U8", "shape": [-1], "data_offsets": [0, 1]}}, "shape"),
        ({"a": {"dtype": "U8", "shape": [True], "data_offsets": [0, 1]}}, "shape"),
        ({"a": {"dtype": "U8", "shape": [1.0], "data_offsets": [0, 1]}}, "shape"),
        ({"a": {"dtype": "U8", "shape": "8", "data_offsets": [0, 1]}}, "shape"),
        ({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0]}}, "offsets"),
        ({"a": {"dtype": "U8", "shape": [1], "data_offsets": None}}, "offsets"),
        ({"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 1]}}, "takes 2 bytes"),
        ({"a": {"dtype": "F4", "shape": [3], "data_offsets": [0, 1]}}, "takes 1.5 bytes"),
        ({"a": {"dtype": "U8", "shape": [1 << 62, 1 << 62], "data_offsets": [0, 1]}}, "too large"),
        ({"a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}}, "starts at byte 1"),
        ({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
          "b": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}, "starts at byte 0"),
    ],
)  # fmt: skip
def test_a_damaged_header_is_named(entries, words):
    flaw = header_of(file_with_header(entries, 2)).flaw
    assert flaw.code == "header-damaged"
    assert words in flaw.text


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", "cut"), (b"1234", "cut"), (struct.pack("<Q", 100) + b"{}", "cut"),
     (struct.pack("<Q", 100_000_001) + b"{}", "not-safetensors")],
)  # fmt: skip
def test_a_length_that_cannot_be_is_named(data, code):
    assert header_of(data).flaw.code == code


def test_all_dtypes_are_those_of_the_real_library():
    safetensors = pytest.importorskip("safetensors")
    probe = file_with_header({"a": {"dtype": "?", "shape": [0], "data_offsets": [0, 0]}})
    with pytest.raises(safetensors.SafetensorError) as refused:
        safetensors.deserialize(probe)
    named = str(refused.value).partition("expected one of")[2]
    missing = [d for d in safetensors_header.DTYPE_BITS if f"`{d}`" not in named]
    unknown = [d for d in named.split("`")[1::2] if d not in safetensors_header.DTYPE_BITS]
    # An older library knows fewer dtypes; a newer one must not know more than we do.
    assert not unknown
    assert set(missing) <= {
        "F4",
        "F6_E2M3",
        "F6_E3M2",
        "F8_E8M0",
        "C64",
        "F8_E4M3FNUZ",
        "F8_E5M2FNUZ",
    }


def test_the_verdict_agrees_with_the_real_library_on_random_damage():
    safetensors = pytest.importorskip("safetensors")
    whole = safetensors_bytes(TENSORS)
    head = 8 + int.from_bytes(whole[:8], "little")
    chance = random.Random(7)
    agreed = {True: 0, False: 0}
    for _ in range(600):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 2)):
            data[chance.randrange(head)] = chance.choice(b'0123456789{}[]",:ab \xff')
        try:
            safetensors.deserialize(bytes(data))
            is_good = True
        except safetensors.SafetensorError:
            is_good = False
        flaw = header_of(bytes(data)).flaw
        if is_good and flaw is not None:
            # The two things the format forbids and that library lets pass.
            assert "twice" in flaw.text or "__metadata__" in flaw.text, flaw.text
            continue
        assert (flaw is None) == is_good, (bytes(data[:head]), flaw)
        agreed[is_good] += 1
    assert min(agreed.values()) > 20
