"""Specimens: real model files, the same bytes on every machine, made with the stdlib alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from modelmedic.testing._checkpoint import checkpoint_bytes
from modelmedic.testing._demo import demo_files, demo_manifest, make_demo_model
from modelmedic.testing._tensors import (
    PYTORCH_METADATA,
    Tensor,
    safetensors_bytes,
    seeded_bytes,
    seeded_tensor,
)

__all__ = [
    "Tensor",
    "checkpoint_bytes",
    "demo_files",
    "demo_manifest",
    "make_demo_model",
    "safetensors_bytes",
    "seeded_bytes",
    "seeded_tensor",
    "write_checkpoint_zip",
    "write_safetensors",
]


def write_safetensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    *,
    metadata: Mapping[str, str] | None = PYTORCH_METADATA,
) -> None:
    """Write ``safetensors_bytes(tensors)`` to ``path``; its folder must exist."""
    path.write_bytes(safetensors_bytes(tensors, metadata=metadata))


def write_checkpoint_zip(
    path: Path, tensors: Mapping[str, Tensor], *, name: str = "archive"
) -> None:
    """Write ``checkpoint_bytes(tensors)`` to ``path``; its folder must exist."""
    path.write_bytes(checkpoint_bytes(tensors, name=name))
