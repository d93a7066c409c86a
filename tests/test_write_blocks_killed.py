"""A repair inside a file, and its undo, killed at any change of the disk, also in mid-write."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from blocks_support import BLOCKS, address, serving
from support import CHECKOUT, child_env

PROGRAM = Path(__file__).with_name("block_kills.py")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="fork and SIGKILL")
@pytest.mark.parametrize("kind", BLOCKS)
def test_every_file_is_old_or_new_and_undo_brings_the_old_one_back(kind, tmp_path):
    with serving() as hub:
        done = subprocess.run(
            [sys.executable, str(PROGRAM), kind, address(hub), str(tmp_path)],
            capture_output=True, text=True, timeout=400, check=False,
            env=child_env(PYTHONPATH=str(CHECKOUT / "src")),
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    kills, wrong = json.loads(done.stdout.splitlines()[-1])
    assert wrong == []
    assert kills > 60
