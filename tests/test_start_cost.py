"""What listing the checks may cost: what is read, and when garbage is looked for."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support import CHECKOUT, child_env

# Repairs and what they learned, the tables that classify failures, good copies of config files.
NOT_FOR_LISTING = (
    "goodcopies", "healing.effectiveness", "healing.evidence_log", "healing.posterior",
    "healing.tables", "healing.wordings", "masking", "operations.kinds", "transfer",
)  # fmt: skip

PROGRAM = """
import gc, sys
sys.path.insert(0, sys.argv[1])
import pytest
class Look:
    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session):
        read = [name for name in sys.modules if name.startswith("modelmedic.")]
        print("READ", *sorted(read), "ITEMS", len(session.items), "GARBAGE", gc.isenabled())
    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session):
        print("LOOP", gc.isenabled())
code = pytest.main(["-q", "-s", *sys.argv[2:]], plugins=[Look()])
print("AFTER", gc.isenabled())
sys.exit(code)
"""


def told(tmp_path, *options, room="checks"):
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM, str(CHECKOUT / "src"),
         "-c", str(CHECKOUT / "pyproject.toml"), f"--rootdir={CHECKOUT}", str(CHECKOUT / room),
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
    # The book holds the facts; pip_commands only words what others read.
    assert probes == {"modelmedic.facts.book", "modelmedic.facts.pip_commands"}
    assert not [name for name in read if name.startswith("modelmedic.strategies.")]
    assert not read & {f"modelmedic.{name}" for name in NOT_FOR_LISTING}
    assert "ITEMS 0" not in text


@pytest.mark.parametrize("options", [[], ["-n2"]], ids=["", "n2"])
def test_garbage_is_looked_for_again_once_the_checks_are_collected(tmp_path, options):
    text = told(tmp_path, "--offline", *options)
    assert ("GARBAGE False" in text) == (not options)  # a controller of workers collects nothing
    assert "LOOP True" in text
    assert "AFTER True" in text


@pytest.mark.parametrize("option", ["--version", "--markers", "--no-such-option", "--stage=x"])
def test_garbage_is_looked_for_again_where_nothing_is_collected(tmp_path, option):
    assert "AFTER True" in told(tmp_path, option)
