"""What listing the checks may read: no probe, no repair, no table."""

from __future__ import annotations

import subprocess
import sys

from support import CHECKOUT, child_env

# Repairs and what they learned, the tables that classify failures, good copies of config files.
NOT_FOR_LISTING = (
    "goodcopies", "healing.effectiveness", "healing.evidence_log", "healing.posterior",
    "healing.tables", "healing.wordings", "masking", "operations.kinds", "transfer",
)  # fmt: skip

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import pytest
class Look:
    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session):
        read = [name for name in sys.modules if name.startswith("modelmedic.")]
        print("READ", *sorted(read), "ITEMS", len(session.items))
sys.exit(pytest.main(["-q", "-s", *sys.argv[2:]], plugins=[Look()]))
"""


def told(tmp_path, *options):
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM, str(CHECKOUT / "src"),
         "-c", str(CHECKOUT / "pyproject.toml"), f"--rootdir={CHECKOUT}", str(CHECKOUT / "checks"),
         f"--report-dir={tmp_path / 'report'}", *options],
        cwd=tmp_path, env=child_env(MODELMEDIC_STATE_DIR=str(tmp_path / "state")),
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_listing_the_checks_reads_no_probe_and_no_repair(tmp_path):
    text = told(tmp_path, "--co")
    read = set(text.partition("READ ")[2].partition(" ITEMS")[0].split())
    assert "modelmedic.profile.loader" in read
    probes = {name for name in read if name.startswith("modelmedic.facts.")}
    # The book holds the facts, and knows where an environment may lie; pip_commands only words
    # what others read.
    assert probes == {f"modelmedic.facts.{name}" for name in ("book", "pip_commands", "places")}
    assert not [name for name in read if name.startswith("modelmedic.strategies.")]
    assert not read & {f"modelmedic.{name}" for name in NOT_FOR_LISTING}
    assert " ITEMS 0" not in text
