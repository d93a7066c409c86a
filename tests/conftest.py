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


def pytest_collection_modifyitems(config, items):
    """Leave out what takes many minutes unless it is named, and give each test a time limit.

    Not in the ini file, where checks would get the limit too.
    """
    if "full" not in (config.option.markexpr or ""):
        left_out = [item for item in items if item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("full")]
    for item in items:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_TIMEOUT_SECONDS))


@pytest.fixture(autouse=True)
def _own_state(tmp_path_factory, monkeypatch):
    """Give each test its own state folder and keep the caller's settings out."""
    for name in [n for n in os.environ if n.startswith("MODELMEDIC_")]:
        if name not in {"MODELMEDIC_CACHE_DIR", "MODELMEDIC_TOOLS_REQUIRED"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("MODELMEDIC_STATE_DIR", str(tmp_path_factory.mktemp("state")))
