"""Repairs killed at random moments, as the benchmark does it a thousand times."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from support import CHECKOUT, child_env

KILLS = 50


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="fork and SIGKILL")
def test_after_random_kills_every_file_is_old_or_new():
    done = subprocess.run(
        [sys.executable, "-I", str(CHECKOUT / "benchmarks" / "random_kills.py"), str(KILLS)],
        env=child_env(),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert re.search(r"^seed \d+: ", told, re.MULTILINE), told
    assert re.search(rf"^{KILLS} repairs killed in \d+ rounds", told, re.MULTILINE), told
    assert "\n0 files neither old nor new\n0 repairs half done\n" in told
