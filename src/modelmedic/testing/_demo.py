"""The demo model: small, real, and the same bytes on every machine."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from pathlib import Path

from modelmedic.testing._checkpoint import checkpoint_bytes
from modelmedic.testing._repos import HubFile
from modelmedic.testing._tensors import Tensor, safetensors_bytes, seeded_tensor

_DIM = 144
_FFN_DIM = 720
_LAYERS = 6
_SHARDS = 3
_TEXT_DIM = 128
_FREQ_DIM = 64
_CHANNELS = 16
_NAME = "diffusion_pytorch_model"


def demo_files() -> dict[str, bytes]:
    """Return the demo model's files: path inside the model folder (POSIX) to content.

    Three safetensors shards with their index, a PyTorch checkpoint, a tokenizer, a config and a
    README: the layout of a sharded video model at one ten-thousandth of the size.
    """
    shards = {_shard_name(n): _shard(n) for n in range(1, _SHARDS + 1)}
    files = {name: safetensors_bytes(tensors) for name, tensors in shards.items()}
    files[f"{_NAME}.safetensors.index.json"] = _json(_index(shards))
    files["config.json"] = _json(_config())
    files["Demo_VAE.pth"] = checkpoint_bytes(_vae())
    files["tokenizer/tokenizer.json"] = _json(_tokenizer())
    files["README.md"] = _README.encode()
    return files


def make_demo_model(folder: Path) -> None:
    """Write the demo model into ``folder``, which is made if it is not there.

    Raises:
        OSError: The folder cannot be made or written.
    """
    for path, content in demo_files().items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def demo_manifest() -> list[dict[str, str | int | None]]:
    """Return ``path``, ``size`` (bytes), ``sha256`` and ``git_blob`` of each demo file, by path.

    ``git_blob`` is the Git SHA-1 that a Hub lists for a file it keeps in Git; None for the files
    it keeps in LFS, where Git only knows a pointer.
    """
    rows: list[dict[str, str | int | None]] = []
    for path, content in sorted(demo_files().items()):
        listed = HubFile.of(path, content)
        rows.append(
            {
                "path": path,
                "size": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
                "git_blob": None if listed.is_lfs else listed.git_oid,
            }
        )
    return rows


def _shard_name(number: int) -> str:
    return f"{_NAME}-{number:05d}-of-{_SHARDS:05d}.safetensors"


def _shard(number: int) -> dict[str, Tensor]:
    per_shard = _LAYERS // _SHARDS
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {}
    if number == 1:
        shapes |= _embeddings()
    for layer in range((number - 1) * per_shard, number * per_shard):
        shapes |= _block(layer)
    if number == _SHARDS:
        shapes |= _linear("head.head", _CHANNELS * 4, _DIM)
        shapes["head.modulation"] = ("F32", (1, 2, _DIM))
    return _seeded("transformer", shapes)


def _seeded(part: str, shapes: Mapping[str, tuple[str, tuple[int, ...]]]) -> dict[str, Tensor]:
    return {
        name: seeded_tensor(f"modelmedic demo {part} {name}", dtype, shape)
        for name, (dtype, shape) in shapes.items()
    }


def _embeddings() -> dict[str, tuple[str, tuple[int, ...]]]:
    return {
        "patch_embedding.weight": ("BF16", (_DIM, _CHANNELS, 1, 2, 2)),
        "patch_embedding.bias": ("BF16", (_DIM,)),
        **_linear("text_embedding.0", _DIM, _TEXT_DIM),
        **_linear("text_embedding.2", _DIM, _DIM),
        **_linear("time_embedding.0", _DIM, _FREQ_DIM),
        **_linear("time_embedding.2", _DIM, _DIM),
        **_linear("time_projection.1", 6 * _DIM, _DIM),
    }


def _block(layer: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {}
    for attention in ("self_attn", "cross_attn"):
        at = f"blocks.{layer}.{attention}"
        for projection in "qkvo":
            shapes |= _linear(f"{at}.{projection}", _DIM, _DIM)
        shapes[f"{at}.norm_q.weight"] = shapes[f"{at}.norm_k.weight"] = ("F32", (_DIM,))
    shapes |= _linear(f"blocks.{layer}.ffn.0", _FFN_DIM, _DIM)
    shapes |= _linear(f"blocks.{layer}.ffn.2", _DIM, _FFN_DIM)
    shapes[f"blocks.{layer}.modulation"] = ("F32", (1, 6, _DIM))
    return shapes


def _linear(name: str, rows: int, columns: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {f"{name}.weight": ("BF16", (rows, columns)), f"{name}.bias": ("BF16", (rows,))}


def _vae() -> dict[str, Tensor]:
    widths = (3, 24, 48, 2 * _CHANNELS)
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {}
    for side, steps in (("encoder", widths), ("decoder", (_CHANNELS, *widths[-2::-1]))):
        for index, (inside, outside) in enumerate(itertools.pairwise(steps)):
            shapes[f"{side}.{index}.weight"] = ("F32", (outside, inside, 3, 3, 3))
            shapes[f"{side}.{index}.bias"] = ("F32", (outside,))
    return _seeded("vae", shapes)


def _index(shards: Mapping[str, Mapping[str, Tensor]]) -> dict[str, object]:
    weight_map = {name: shard for shard, tensors in shards.items() for name in tensors}
    total_bytes = sum(len(each.data) for tensors in shards.values() for each in tensors.values())
    return {
        "metadata": {"total_size": total_bytes},
        "weight_map": dict(sorted(weight_map.items())),
    }


def _config() -> dict[str, object]:
    return {
        "_class_name": "DemoVideoModel",
        "dim": _DIM,
        "eps": 1e-06,
        "ffn_dim": _FFN_DIM,
        "freq_dim": _FREQ_DIM,
        "in_dim": _CHANNELS,
        "model_type": "demo",
        "num_heads": 6,
        "num_layers": _LAYERS,
        "out_dim": _CHANNELS,
        "text_dim": _TEXT_DIM,
        "text_len": 64,
    }


def _tokenizer() -> dict[str, object]:
    special = ("[UNK]", "[PAD]")
    words = [*special, *sorted(set(_README.lower().replace(".", " ").replace(",", " ").split()))]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": index, "content": word, **flags, "special": True}
            for index, word in enumerate(special)
        ],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {word: index for index, word in enumerate(words)},
            "unk_token": special[0],
        },
    }


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


_README = """\
# modelmedic demo model

A small model in the layout of a large one: three safetensors shards with an index, a checkpoint,
a tokenizer and a config. Its weights are numbers from a seed, so it generates nothing.
It exists to be broken and healed: cut a shard short, flip a byte, delete the config, and see
what the checks say and what a repair does.

License: Apache-2.0
"""
