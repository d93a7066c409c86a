"""Tests see neither this machine's settings nor each other's state."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for support.py; importlib mode adds nothing

_TIMEOUT_SECONDS = 300  # a hanging test is a failing test; checks have deadlines of their own


def pytest_configure(config):
    """Print what the conformance of each recovery took, also when workers ran it."""
    from modelmedic.testing.conformance import print_seconds

    print_seconds(config)


# Who imports from one of these starts a pytest, or a start.py, of its own.
_STARTERS = ("demo_support", "extension_support", "project_copy", "room_support", "sample_support")
_IMPORTS = [[word, name] for name in _STARTERS for word in ("from", "import")]


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(config, items):
    """Leave out what takes many minutes unless it is named, and give each test a time limit.

    Not in the ini file, where checks would get the limit too. Tests in files that start a pytest
    of their own are marked ``starts``.
    """
    starters = {path for path in {item.path for item in items} if _is_starter(path)}
    for item in items:
        if item.path in starters:
            item.add_marker(pytest.mark.starts)
    if "full" not in (config.option.markexpr or ""):
        left_out = [item for item in items if item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("full")]
    for item in items:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_TIMEOUT_SECONDS))


def _is_starter(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    return any(line.split()[:2] in _IMPORTS for line in lines if "import" in line)


@pytest.fixture(scope="session", autouse=True)
def _own_temporary_root(tmp_path_factory):
    """Give the pytests that tests start a place of their own for their temporary folders.

    Each pytest that ends removes all but the newest three trees of its place: in ours it would
    have to remove what this suite and the one before it left, and take minutes over it.
    """
    # Read once by this process, above, for its own folders.
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(tmp_path_factory.mktemp("children"))
    yield
    del os.environ["PYTEST_DEBUG_TEMPROOT"]


@pytest.fixture(autouse=True)
def _own_state(tmp_path_factory, monkeypatch):
    """Give each test its own state folder and keep the caller's settings out."""
    for name in [n for n in os.environ if n.startswith("MODELMEDIC_")]:
        if name not in {"MODELMEDIC_CACHE_DIR", "MODELMEDIC_TOOLS_REQUIRED"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("MODELMEDIC_STATE_DIR", str(tmp_path_factory.mktemp("state")))
