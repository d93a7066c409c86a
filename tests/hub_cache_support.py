"""A cache as the Hub's client leaves it, and looks at copies of it."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support import PYTHON
from test_hub_clients import HAS_VERIFY, Client

from modelmedic import rooms
from modelmedic.discovery import discover
from modelmedic.facts import references
from modelmedic.facts.book import FactBook
from modelmedic.profile.loader import load_profile
from modelmedic.testing.hub import demo_hub

NEEDS_LINKS = pytest.mark.skipif(os.name == "nt", reason="the client makes no links there")
REPO = "models--modelmedic--demo"
SHARD = "diffusion_pytorch_model-00002-of-00003.safetensors"
WEIGHTS = rooms.load("checks", "test_weights")
RECORDS = rooms.load("checks", "test_weights_cache")
INSTALL = rooms.load("checks", "test_install")

# Clients before 2.0 keep no listing of a commit.
with_listing = pytest.mark.skipif(not HAS_VERIFY, reason="this huggingface_hub keeps no listing")


@pytest.fixture(scope="session")
def downloaded(tmp_path_factory):
    """A cache as huggingface_hub leaves it."""
    home = tmp_path_factory.mktemp("cache") / "home"
    home.mkdir()
    with demo_hub() as hub:
        folder = Path(Client(PYTHON, home).download(hub)["folder"])
        assert folder.parts[-3:] == (REPO, "snapshots", hub.commit)
    return home / "hub"


@pytest.fixture
def cache(downloaded, tmp_path):
    return Path(shutil.copytree(downloaded, tmp_path / "hub", symlinks=True))


def look(folder, profile=None, **more):
    return references.completed(discovered(folder, profile, **more))


def discovered(folder, profile=None, **more):
    values = {
        "profile": profile or load_profile("demo", cwd=Path.cwd()), "install_dir": str(folder),
        "target_python": None, "stage": "auto", "deep": False, "offline": True, "run_id": "r1",
        "command": "pytest checks/", "cwd": Path.cwd(), "environ": {},
    }  # fmt: skip
    return discover(**values | more)


def snapshot_of(cache):
    (folder,) = (cache / REPO / "snapshots").iterdir()
    return folder


def file_of(context, name=SHARD):
    return next(each for each in context.expected_files() if each.file.path == name)


def share(cache, name=SHARD):
    """Move a blob into the store that all repos share, as huggingface_hub 2 does with Xet files."""
    blob = (snapshot_of(cache) / name).resolve()
    xet = hashlib.blake2s(name.encode()).hexdigest()
    stored = cache / "blobs" / xet[:2] / xet
    stored.parent.mkdir(parents=True)
    blob.rename(stored)
    stored.chmod(0o444)
    blob.symlink_to(f"../../blobs/{xet[:2]}/{xet}")
    return stored


def judge(context, name=SHARD, losses=None):
    facts = FactBook(context)
    lost = [] if losses is None else losses
    expected = file_of(context, name)

    def degraded(what, why="", next_step="", failure_id=None):
        lost.append(what)

    WEIGHTS.test_model_file_is_present(facts, context, expected, degraded)
    WEIGHTS.test_model_file_is_intact(facts, context, expected, degraded)


def judge_records(context, check):
    losses = []
    facts = FactBook(context)
    (model,) = context.profile.models
    name = {
        "refs": "test_refs_of_the_cache_lead_to_a_snapshot",
        "tree": "test_listing_of_the_hub_client_is_complete",
    }[check]
    getattr(RECORDS, name)(facts, context, model, lambda what, *_, **__: losses.append(what))
    return losses


def bare(files=()):
    """Return the demo profile without what it knows of its files."""
    profile = load_profile("demo", cwd=Path.cwd())
    (model,) = profile.models
    return replace(profile, models=(replace(model, files=tuple(files)),))
