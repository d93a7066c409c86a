"""The specimens are real files, and the same bytes everywhere."""

from __future__ import annotations

import ctypes
import io
import json
import math
import pickle
import pickletools
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict

import pytest
from support import CHECKOUT, child_env

from modelmedic.testing import specimens
from modelmedic.testing.specimens import Tensor, seeded_tensor

# profiles/demo.toml carries the same numbers: a change here is a new demo model.
DEMO_SHA256 = {
    "Demo_VAE.pth": "2354c4ec4a7f4d30394f718f55c85fb2bf6dc1da1af97bd951d025026f3df04b",
    "README.md": "399d8a5fa77df4b844b1b7309fa34f34a3ab83255c4a9a76c02c121ee357d36c",
    "config.json": "559039062fc0e4342be123839c574004cdb3030c1b483647c2870c01fb5b442a",
    "diffusion_pytorch_model-00001-of-00003.safetensors": "303f4ec8d02b810304f46764e59f9cfad0d2e5b4b4daf8a3e634c01ef85238fb",
    "diffusion_pytorch_model-00002-of-00003.safetensors": "b0f3098031c26d13dd6cc82b7edb62d342acdc6b9278b53ded6088b8b77cee93",
    "diffusion_pytorch_model-00003-of-00003.safetensors": "34827235751cdba4217bc4285984868e509aba2592fec1fac8193a71c549ced5",
    "diffusion_pytorch_model.safetensors.index.json": "a0a830bee31436c409f33dae2086995ed8158140c56d9de64e2dc32742fcc466",
    "tokenizer/tokenizer.json": "2356e15c01c6caeccd97bd889db366265df0386b0354062f2183a4c871bab529",
}
SAFETENSORS_DTYPES = {"F32": "float32", "BF16": "bfloat16", "I64": "int64", "U8": "uint8"}


def some_tensors() -> dict[str, Tensor]:
    return {
        "b.weight": seeded_tensor("b", "BF16", (3, 5)),
        "a.weight": seeded_tensor("a", "F32", (2, 2)),
        "steps": seeded_tensor("s", "I64", ()),
        "mask": seeded_tensor("m", "U8", (7,)),
        "nothing": Tensor("F32", (0, 4), b""),
        "größe": seeded_tensor("g", "F32", (1,)),
    }


def as_the_real_writer_wants(safetensors, tensor: Tensor):
    dtype, shape = SAFETENSORS_DTYPES[tensor.dtype], list(tensor.shape)
    if not hasattr(safetensors, "TensorSpec"):  # older ones take the bytes themselves
        return {"dtype": dtype, "shape": shape, "data": tensor.data}
    where = ctypes.cast(ctypes.c_char_p(tensor.data), ctypes.c_void_p).value
    return safetensors.TensorSpec(
        dtype=dtype, shape=shape, data_ptr=where, data_len=len(tensor.data)
    )


def test_a_safetensors_file_is_the_one_the_real_writer_makes():
    safetensors = pytest.importorskip("safetensors")
    tensors = some_tensors()  # held: the writer is given addresses
    expected = bytes(
        safetensors.serialize(
            {name: as_the_real_writer_wants(safetensors, each) for name, each in tensors.items()},
            metadata={"format": "pt"},
        )
    )
    assert specimens.safetensors_bytes(some_tensors()) == expected


def test_the_real_reader_returns_every_tensor(tmp_path):
    safetensors = pytest.importorskip("safetensors")
    path = tmp_path / "some.safetensors"
    specimens.write_safetensors(path, some_tensors())
    read = {
        name: (each["dtype"], tuple(each["shape"]), bytes(each["data"]))
        for name, each in safetensors.deserialize(path.read_bytes())
    }
    assert read == {n: (t.dtype, t.shape, t.data) for n, t in some_tensors().items()}


def test_metadata_can_be_left_out():
    content = specimens.safetensors_bytes(some_tensors(), metadata=None)
    (length,) = struct.unpack("<Q", content[:8])
    assert length % 8 == 0
    assert "__metadata__" not in json.loads(content[8 : 8 + length])


@pytest.mark.parametrize(
    ("dtype", "shape", "data", "said"),
    [("F32", (2,), b"1234567", "needs 8 bytes, not 7"), ("BF15", (1,), b"12", "none of")],
)
def test_a_tensor_that_contradicts_itself_is_refused(dtype, shape, data, said):
    with pytest.raises(ValueError, match=said):
        Tensor(dtype, shape, data)


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16", "F64"])
def test_seeded_floats_are_finite_small_and_of_both_signs(dtype):
    data = seeded_tensor("x", dtype, (4096,)).data
    if dtype == "BF16":
        data = b"".join(b"\0\0" + data[at : at + 2] for at in range(0, len(data), 2))
    code = {"F32": "f", "BF16": "f", "F16": "e", "F64": "d"}[dtype]
    numbers = struct.unpack(f"<4096{code}", data)
    assert all(math.isfinite(number) and 0 < abs(number) < 2 for number in numbers)
    assert min(numbers) < 0 < max(numbers)
    assert len(set(numbers)) > 100


def test_seeds_differ_and_repeat():
    assert specimens.seeded_bytes("one", 64) == specimens.seeded_bytes("one", 64)
    assert specimens.seeded_bytes("one", 64) != specimens.seeded_bytes("two", 64)


class OnlyTensors(pickle.Unpickler):
    """Looks up the three names a state dict may use; the storages are their bytes."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        super().__init__(io.BytesIO(archive.read("archive/data.pkl")))
        self.archive = archive

    def find_class(self, module, name):
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): lambda *parts: parts[:4],
            ("torch", "FloatStorage"): "F32",
            ("torch", "BFloat16Storage"): "BF16",
            ("torch", "LongStorage"): "I64",
        }
        return known[module, name]

    def persistent_load(self, pid):
        kind, dtype, key, device, elements = pid
        assert (kind, device) == ("storage", "cpu")
        return dtype, elements, self.archive.read(f"archive/data/{key}")


def test_a_checkpoint_holds_the_state_dict_in_its_order(tmp_path):
    tensors = {name: some_tensors()[name] for name in ("b.weight", "a.weight", "steps")}
    path = tmp_path / "some.pth"
    specimens.write_checkpoint_zip(path, tensors)
    with zipfile.ZipFile(path) as archive:
        state = OnlyTensors(archive).load()
        assert [each.filename for each in archive.infolist()] == [
            "archive/data.pkl",
            "archive/byteorder",
            "archive/data/0",
            "archive/data/1",
            "archive/data/2",
            "archive/version",
        ]
        pickletools.dis(archive.read("archive/data.pkl"), io.StringIO())
    assert list(state) == list(tensors)
    for name, (storage, offset, shape, strides) in state.items():
        tensor = tensors[name]
        assert storage == (tensor.dtype, math.prod(tensor.shape), tensor.data)
        assert (offset, shape) == (0, tensor.shape)
        assert strides == {(3, 5): (5, 1), (2, 2): (2, 1), (): ()}[shape]


def test_a_checkpoint_is_laid_out_as_pytorch_does():
    content = specimens.checkpoint_bytes(some_tensors(), name="VAE")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        for each in archive.infolist():
            assert each.filename.startswith("VAE/")
            assert each.compress_type == zipfile.ZIP_STORED
            assert each.flag_bits == 0x0808
            at = each.header_offset
            crc, _, _, name_length, extra_length = struct.unpack(
                "<3I2H", content[at + 14 : at + 30]
            )
            assert crc == 0, "the local header leaves the CRC to the descriptor"
            start = at + 30 + name_length + extra_length
            assert start % 64 == 0
            after = start + each.file_size
            assert content[after : after + 8] == b"PK\7\10" + struct.pack("<I", each.CRC)


def test_a_flipped_byte_in_a_checkpoint_is_named_by_its_record():
    content = bytearray(specimens.checkpoint_bytes({"w": seeded_tensor("w", "F32", (1000,))}))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        content[archive.getinfo("archive/data/0").header_offset + 500] ^= 1
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() == "archive/data/0"


def test_a_dtype_without_a_storage_class_is_refused():
    with pytest.raises(ValueError, match="no storage class for U16"):
        specimens.checkpoint_bytes({"w": Tensor("U16", (1,), b"12")})


def test_the_demo_model_is_the_one_that_the_profile_names():
    assert {row["path"]: row["sha256"] for row in specimens.demo_manifest()} == DEMO_SHA256


def test_the_demo_manifest_lists_size_and_git_hash_of_files_kept_in_git():
    rows = {row["path"]: row for row in specimens.demo_manifest()}
    assert rows["README.md"]["size"] == 370
    assert rows["README.md"]["git_blob"] == "687d7a6a71fccf15db72dd8abe33b6f1ee7aa2f1"
    assert {path for path, row in rows.items() if row["git_blob"] is None} == {
        path for path in rows if path.endswith((".safetensors", ".pth"))
    }


def test_the_demo_model_is_written_as_listed(tmp_path):
    folder = tmp_path / "new" / "demo"
    specimens.make_demo_model(folder)
    specimens.make_demo_model(folder)
    written = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert written == specimens.demo_files()


def header(content: bytes) -> dict:
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length])


def test_the_demo_index_agrees_with_its_shards():
    files = specimens.demo_files()
    index = json.loads(files["diffusion_pytorch_model.safetensors.index.json"])
    found, total = {}, 0
    for path, content in files.items():
        if path.endswith(".safetensors"):
            entries = {k: v for k, v in header(content).items() if k != "__metadata__"}
            found |= dict.fromkeys(entries, path)
            total += max(entry["data_offsets"][1] for entry in entries.values())
            assert 1_400_000 < len(content) < 2_100_000
    assert index == {"metadata": {"total_size": total}, "weight_map": found}
    assert len(set(found.values())) == 3


def test_the_demo_config_describes_its_weights():
    files = specimens.demo_files()
    config = json.loads(files["config.json"])
    tensors = {}
    for path, content in files.items():
        if path.endswith(".safetensors"):
            tensors |= header(content)
    layers = {name.split(".")[1] for name in tensors if name.startswith("blocks.")}
    assert len(layers) == config["num_layers"]
    assert tensors["blocks.0.ffn.0.weight"]["shape"] == [config["ffn_dim"], config["dim"]]
    assert tensors["patch_embedding.weight"]["shape"][:2] == [config["dim"], config["in_dim"]]
    assert tensors["text_embedding.0.weight"]["shape"] == [config["dim"], config["text_dim"]]
    assert config["dim"] % config["num_heads"] == 0


def test_the_demo_tokenizer_gives_each_word_its_own_number():
    vocab = json.loads(specimens.demo_files()["tokenizer/tokenizer.json"])["model"]["vocab"]
    assert sorted(vocab.values()) == list(range(len(vocab)))


def test_specimens_and_hub_need_nothing_but_the_standard_library():
    """And the bytes do not depend on the seed of hash()."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import modelmedic.testing.hub\n"
        "from modelmedic.testing.specimens import demo_manifest\n"
        "print({row['path']: row['sha256'] for row in demo_manifest()})\n"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-S", "-c", code, str(CHECKOUT / "src")],
            env=child_env(PYTHONHASHSEED=seed),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.stdout.strip(), done.stderr) == (str(DEMO_SHA256), "")
