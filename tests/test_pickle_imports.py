"""What a checkpoint would import is found whatever it does to hide it, and nothing is loaded."""

from __future__ import annotations

import collections
import contextlib
import io
import os
import pickle
import pickletools
import struct
import tarfile
import zipfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import make_context, make_facts, make_profile

from modelmedic import rooms
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import checkpoint_pickles, pickle_imports
from modelmedic.facts.pickle_imports import scan
from modelmedic.profile.model import ModelFile, ModelRepo
from modelmedic.testing.specimens import checkpoint_bytes, seeded_tensor

TENSORS = {
    name: seeded_tensor(name, dtype, (8, 4))
    for name, dtype in (("a", "F32"), ("b", "BF16"), ("c", "I64"), ("d", "BOOL"))
}


class Evil:
    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value


HOSTILE = {
    **{
        f"reduce-protocol-{protocol}": pickle.dumps({"w": Evil(os.system, "true")}, protocol)
        for protocol in range(6)
    },
    "inst": b"(S'true'\niposix\nsystem\n.",
    "obj": b"(cposix\nsystem\nS'true'\no.",
    "stack-global": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
    "stack-global-from-old-strings": b"\x80\x04S'posix'\nU\x06system\x93.",
    "stack-global-by-memo": b"\x80\x04\x8c\x05posix\x940\x8c\x06system\x940h\x00h\x01\x93.",
    "stack-global-put-twice": b"\x80\x04\x8c\x05torchq\x000\x8c\x05posixq\x000h\x00"
    b"\x8c\x06system\x93.",
    "stack-global-by-dup-and-pop": b"\x80\x04\x8c\x05posix2(\x8c\x01xN10\x8c\x06system\x93.",
    "after-popped-mark": b"\x80\x04\x8c\x05posix(0\x8c\x06system\x93.",
    "nested-pickle": b"cpickle\nloads\n(" + text(pickle.dumps(1)) + b"tR.",
    "torch-nested": b"ctorch.storage\n_load_from_bytes\n(" + text(b"x") + b"tR.",
    "getattr": b"c__builtin__\ngetattr\n(ctorch\nTensor\n" + text(b"x") + b"tR.",
    "before-damage": b"cposix\nsystem\n(S'true'\ntR\xff\xff",
    "after-a-doubt": b"\x82\x010cposix\nsystem\n(S'true'\ntR.",
    "dotted": b"\x80\x04\x8c\x05torch\x8c\x10serialization.os\x93.",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_import_is_named(name):
    found = scan(HOSTILE[name])
    assert found.foreign
    assert any(word in found.foreign[0] for word in ("system", "load", "getattr", "os"))


DOUBTFUL = {
    "registry": (b"\x82\x05.", "entry 5 of a table"),
    "made-name": (b"\x80\x04ccollections\nOrderedDict\n)R\x8c\x06system\x93.", "made while it"),
    "bytes-as-name": (b"\x80\x04C\x05posix\x8c\x06system\x93.", "made while it"),
    "calls-a-value": (b"\x80\x04N)R.", "does not import"),
    "obj-of-a-value": (b"(No.", "does not import"),
    "changes-a-class": (b"ctorch\nTensor\n}" + text(b"x") + b"Nsb.", "changes torch.Tensor"),
    "cut": (b"\x80\x02}q\x00", "damaged"),
    "no-memo": (b"\x80\x04h\x07.", "damaged"),
    "underflow": (b"\x80\x040.", "damaged"),
    "below-a-mark": (b"\x80\x04\x8c\x01a(\x86.", "damaged"),
    "unknown-opcode": (b"\x80\x04\xfe.", "damaged"),
    "more-behind": (b"N.N.", "bytes follow its end"),
    "endless-line": (b"I" + b"1" * 100_000 + b"\n.", "no end"),
    "empty": (b"", "damaged"),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_what_cannot_be_followed_is_unknown(name):
    data, words = DOUBTFUL[name]
    assert words in scan(data).unknown


def test_a_pickle_with_too_many_steps_is_unknown(monkeypatch):
    monkeypatch.setattr(pickle_imports, "MAX_OPCODES", 100)
    assert "more than 100 steps" in scan(pickle.dumps(list(range(200)))).unknown


def test_what_pytorch_writes_is_fine():
    found = scan(pickle_of(checkpoint_bytes(TENSORS)))
    assert not found.foreign
    assert not found.unknown
    assert {"torch._utils._rebuild_tensor_v2", "torch.BFloat16Storage"} <= found.names


def pickle_of(checkpoint):
    with zipfile.ZipFile(io.BytesIO(checkpoint)) as archive:
        return archive.read("archive/data.pkl")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner)
        | st.frozensets(st.integers() | st.text()),
    ),
    st.integers(0, 5),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_plain_values_are_followed_to_their_end(value, protocol):
    value = collections.OrderedDict(w=[value, value])
    found = scan(pickle.dumps(value, protocol))
    assert not found.unknown
    # Before protocol 3 bytes, and before 4 sets, are made by calls of builtins.
    assert set(found.foreign) <= {"__builtin__.bytes", "__builtin__.frozenset",
                                  "builtins.frozenset"}  # fmt: skip
    assert "collections.OrderedDict" in found.names


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_rubbish_never_breaks_the_scan(data):
    scan(data)


@given(st.integers(0, 10_000), st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_no_import_that_the_real_reader_sees_is_missed(at, byte):
    """Damage a real pickle; what pickletools' own listing names, the scan names."""
    data = bytearray(HOSTILE["reduce-protocol-4"] * 1)
    data[at % len(data)] = byte
    named = set()
    with_real = _Recorder(io.BytesIO(bytes(data)), named)
    with contextlib.suppress(Exception):  # any damage may come of it
        with_real.load()
    found = scan(bytes(data))
    assert found.unknown or named <= found.names


class _Recorder(pickle.Unpickler):
    """Notes what would be imported, and gives something harmless for it."""

    def __init__(self, stream, named):
        super().__init__(stream)
        self.named = named

    def find_class(self, module, name):
        self.named.add(f"{module}.{name}")
        return dict


def test_a_checkpoint_of_old_pytorch_is_read_up_to_its_tensors():
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    parts = [magic, pickle.dumps(1001, 2), pickle.dumps({}, 2), pickle.dumps({}, 2),
             pickle.dumps(["0"], 2)]  # fmt: skip
    assert scan(b"".join(parts) + b"\xff" * 1000, is_whole=False) == pickle_imports.Imports()
    for place in range(1, 5):
        hostile = [*parts]
        hostile[place] = HOSTILE["reduce-protocol-2"]
        assert scan(b"".join(hostile) + b"\xff" * 100).foreign


# -- files


def zipped(members, **options):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **options) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


GOOD_PICKLE = pickle_of(checkpoint_bytes(TENSORS))
ARCHIVES = {
    "second-data.pkl": ([("a/data.pkl", GOOD_PICKLE), ("b/DATA.PKL", HOSTILE["inst"])], "foreign"),
    "packed": ([("a/data.pkl", HOSTILE["inst"] + b"")], "foreign"),
    "torchscript": ([("a/data.pkl", GOOD_PICKLE), ("a/code/x.py", b"1")], "TorchScript"),
    "no-pickle": ([("a/data/0", b"x")], "directory is damaged"),
}


@pytest.fixture
def judge(tmp_path):
    def run(data, name="vae.pth"):
        place = tmp_path / "install"
        (place / "model").mkdir(parents=True, exist_ok=True)
        (place / "model" / name).write_bytes(data)
        return make_facts(place).get(checkpoint_pickles.read_imports, f"model/{name}")

    return run


@pytest.mark.parametrize("name", ARCHIVES)
def test_every_pickle_of_an_archive_is_read(judge, name):
    members, words = ARCHIVES[name]
    data = zipped(members, compression=zipfile.ZIP_DEFLATED)
    if words == "foreign":
        assert judge(data).foreign
    else:
        with pytest.raises(CannotTell, match=words):
            judge(data)


def test_a_bomb_is_refused_by_its_numbers(judge):
    bomb = zipped([("a/data.pkl", GOOD_PICKLE), ("a/data/0", b"\0" * 5_000_000)],
                  compression=zipfile.ZIP_DEFLATED)  # fmt: skip
    with pytest.raises(CannotTell, match=r"a/data/0 would grow from .* to 4\.8 MiB"):
        judge(bomb)


def test_a_pickle_that_lies_about_its_size_is_not_unpacked_further(judge):
    data = bytearray(zipped([("a/data.pkl", b"N." + bytes(range(256)) * 64)],
                            compression=zipfile.ZIP_DEFLATED))  # fmt: skip
    at = data.rfind(b"PK\1\2") + 24
    data[at : at + 4] = struct.pack("<I", 100)
    with pytest.raises(CannotTell, match="another length"):
        judge(bytes(data))


def test_a_huge_pickle_is_not_read(judge, monkeypatch):
    monkeypatch.setattr(checkpoint_pickles, "MAX_PICKLE_BYTES", 100)
    with pytest.raises(CannotTell, match="none known has"):
        judge(checkpoint_bytes(TENSORS))


def test_two_names_for_one_record_are_refused(judge):
    data = bytearray(zipped([("a/data.pkl", GOOD_PICKLE)]))
    at = data.find(b"a/data.pkl")
    data[at : at + 10] = b"a/evil.pkl"
    with pytest.raises(CannotTell, match="another name"):
        judge(bytes(data))


def test_a_directory_that_readers_find_at_two_places_is_refused(judge):
    data = bytearray(zipped([("a/data.pkl", GOOD_PICKLE)]))
    data[-2:] = struct.pack("<H", 22)
    with pytest.raises(CannotTell, match="does not stand at its end"):
        judge(bytes(data) + b"PK\5\6" + b"\1" * 18)


def test_a_tar_in_the_clothes_of_a_pickle_is_refused(judge):
    info = tarfile.TarInfo("x")
    block = bytearray(info.tobuf())
    name = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    block[: len(name)] = name
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    with pytest.raises(CannotTell, match="also a tar archive"):
        judge(bytes(block) + b"\0" * 1024)


def test_what_is_no_checkpoint_is_told_apart(judge):
    with pytest.raises(checkpoint_pickles.NoCheckpoint, match="web page"):
        judge(b"<!doctype html><html>")


# -- the check


def put(tmp_path, data, **known):
    place = tmp_path / "install"
    (place / "model").mkdir(parents=True, exist_ok=True)
    (place / "model" / "vae.pth").write_bytes(data)
    file = ModelFile("vae.pth", len(data), **known)
    profile = make_profile(models=(ModelRepo("m", ("model",), "native", (file,)),))
    return make_facts(place, profile), make_context(place, profile)


def judged(facts, context):
    check = rooms.load("checks", "test_weights_pickle").test_checkpoint_holds_only_weights
    return check(facts, context, context.expected_files()[0])


def test_the_check_passes_what_pytorch_writes(tmp_path):
    assert judged(*put(tmp_path, checkpoint_bytes(TENSORS))) is None


def test_the_check_names_the_import_and_whether_it_was_published(tmp_path):
    import hashlib

    data = zipped([("a/data.pkl", HOSTILE["inst"])])
    with pytest.raises(Unhealthy, match=r"would import posix\.system") as other:
        judged(*put(tmp_path, data, sha256="0" * 64))
    assert other.value.evidence["is_published"] is False
    assert "--heal" in other.value.next_step
    with pytest.raises(Unhealthy, match=r"would import posix\.system") as published:
        judged(*put(tmp_path, data, sha256=hashlib.sha256(data).hexdigest()))
    assert published.value.evidence["is_published"] is True
    assert "--heal" not in published.value.next_step


def test_the_check_never_passes_what_it_cannot_know(tmp_path):
    with pytest.raises(CannotTell, match="table that each program fills"):
        judged(*put(tmp_path, zipped([("a/data.pkl", b"\x82\x05.")])))


def test_nothing_is_loaded(tmp_path):
    marker = tmp_path / "ran"
    data = zipped([("a/data.pkl", pickle.dumps(Evil(os.mkdir, str(marker))))])
    with pytest.raises(Unhealthy):
        judged(*put(tmp_path, data))
    assert not marker.exists()


def test_the_listing_of_python_is_what_is_followed():
    """A new opcode of pickle has to be thought about here first."""
    assert len(pickletools.opcodes) == 68
    assert zlib.DEFLATED == 8
