"""Two minutes of the chaos run, as the command does it for thirty."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from support import CHECKOUT, child_env

MINUTES = os.environ.get("CHAOS_MINUTES", "2")


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL, SIGSTOP and limits")
def test_no_promise_is_broken_while_everything_breaks():
    done = subprocess.run(
        [sys.executable, str(CHECKOUT / "benchmarks/chaos.py"), f"--minutes={MINUTES}"],
        env=child_env(),
        capture_output=True,
        text=True,
        timeout=840,
        check=False,
    )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert re.search(r"^seed \d+: python", told, re.MULTILINE), told
    assert "\n0 promises broken\n" in told, told
