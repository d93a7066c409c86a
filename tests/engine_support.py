"""An install of small files, every kind of operation on it, and an engine for it."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from support import make_context

from modelmedic.healing.engine import Budget, Engine, Plan
from modelmedic.operations.aside import seen
from modelmedic.operations.fetch_file import FetchFile
from modelmedic.operations.kinds import MakeDir, Rename, ReplaceFile, SetAside
from modelmedic.operations.tree import Tree
from modelmedic.testing.hub import LoopbackHub

GOOD = b"good bytes " * 10_000
SHA = hashlib.sha256(GOOD).hexdigest()


@pytest.fixture
def install(tmp_path):
    root = tmp_path / "install"
    (root / "model").mkdir(parents=True)
    (root / "model" / "a.bin").write_bytes(b"bad")
    (root / "settings.json").write_text("{broken")
    (root / "stale.lock").write_text("")
    (root / "misplaced.bin").write_bytes(GOOD)
    return root


@pytest.fixture
def hub():
    with LoopbackHub() as hub:
        hub.add_repo("org/model", {"a.bin": GOOD})
        yield hub


def was(install, path):
    return seen(Tree(install).identity(path))


def operation(name, install, hub):
    return {
        "make_dir": lambda: MakeDir("outputs"),
        "rename": lambda: Rename("misplaced.bin", "model/b.bin", was(install, "misplaced.bin")),
        "set_aside": lambda: SetAside("stale.lock", was(install, "stale.lock")),
        "replace_file": lambda: ReplaceFile(
            "settings.json", '{"a": 1}\n', was(install, "settings.json")
        ),
        "new_file": lambda: ReplaceFile("new.json", "{}\n", None),
        "fetch_file": lambda: FetchFile(
            "model/a.bin",
            len(GOOD),
            SHA,
            "",
            (f"{hub.endpoint}/org/model/resolve/main/a.bin",),
            was(install, "model/a.bin"),
        ),
        "fetch_missing": lambda: FetchFile(
            "model/c.bin",
            len(GOOD),
            SHA,
            "",
            (f"{hub.endpoint}/org/model/resolve/main/a.bin",),
            None,
        ),
    }[name]()


NAMES = (
    "make_dir",
    "rename",
    "set_aside",
    "replace_file",
    "new_file",
    "fetch_file",
    "fetch_missing",
)


def snapshot(root):
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(root.rglob("*"))
        if ".modelmedic" not in path.parts
    }


def engine_for(install, **budget):
    return Engine(make_context(install), budget=Budget(**budget))


def later_engine(install):
    """The engine of a later run on the same install and state folder."""
    return Engine(dataclasses.replace(make_context(install), run_id="20260102-000000-later"))


def plan_of(*operations):
    return Plan("some_recovery", "some.check", "x::y", operations=list(operations))
