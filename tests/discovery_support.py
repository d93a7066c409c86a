"""A model to look for, and how to look."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import make_profile

from modelmedic.discovery import discover
from modelmedic.profile.model import ModelFile, ModelRepo

POSIX_ONLY = pytest.mark.skipif(os.name == "nt", reason="makes POSIX files")
FILES = (
    ModelFile("config.json"),
    ModelFile("unet/part-1.safetensors"),
    ModelFile("vae.pth"),
)
MODEL = ModelRepo(name="m", folders=("Model-1", "."), layout="native", files=FILES)
UNKNOWN = ModelRepo(name="u", folders=("Unknown-1", "."), layout="diffusers", files=())


def look(cwd: Path, *, models=(MODEL,), **given):
    profile = make_profile(models=models, install_dir=given.pop("default", ""))
    values = {
        "profile": profile,
        "install_dir": None,
        "target_python": None,
        "stage": "auto",
        "deep": False,
        "offline": False,
        "run_id": "r1",
        "command": "pytest checks/",
        "cwd": cwd,
        "environ": {},
    }
    return discover(**values | given)


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path
