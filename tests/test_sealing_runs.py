"""Whole runs: what --deep proves is kept, what Ctrl-C ends goes on in the next run."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from support import CHECKOUT, child_env

from modelmedic.facts import digests, resumable_sha256

CONTENT = bytes(range(256)) * 40_000  # 10 MB: three blocks
PROFILE = """
title = "T"
[[models]]
name = "one"
folders = ["model"]
layout = "native"
files = [{{ path = "w.dat", size_bytes = {size}, sha256 = "{sha256}" }}]
"""
# Reads slowly, and after its first block much slower, so that a person can press Ctrl-C in the midst
# of a file however busy the machine is; it still hears within 10 ms that it is to stop.
SLOW = """
import time
from modelmedic.facts import deep_read
from modelmedic.facts.digests import BLOCK_BYTES
real = deep_read._Source._is_to_stop
def slow(self):
    print("READING", self._taker.done_bytes, flush=True)
    for _ in range(2 if self._taker.done_bytes <= BLOCK_BYTES else 50):
        if real(self):
            break
        time.sleep(0.01)
    return real(self)
deep_read._Source._is_to_stop = slow
"""
STARTED = "deep_read.read = lambda *a, real=deep_read.read, **k: (print('RESUMES', getattr(k.get('resume'), 'done_bytes', 0), flush=True), real(*a, **k))[1]\n"


class Bench:
    def __init__(self, folder):
        self.folder = folder
        (folder / "install/model").mkdir(parents=True)
        self.file = folder / "install/model/w.dat"
        self.file.write_bytes(CONTENT)
        self.profile(CONTENT)
        time.sleep(0.1)  # a file is sealed that was not written just now

    def profile(self, content):
        text = PROFILE.format(size=len(content), sha256=hashlib.sha256(content).hexdigest())
        (self.folder / "p.toml").write_text(text, encoding="utf-8")

    def start(self, *options, before=""):
        program = (
            f"import sys; sys.path[:] = [{str(CHECKOUT / 'src')!r}] + [p for p in sys.path if p]\n"
            f"{before}\nimport pytest; sys.exit(pytest.main(sys.argv[1:]))"
        )
        return subprocess.Popen(
            [sys.executable, "-I", "-c", program, "-c", str(CHECKOUT / "pyproject.toml"),
             f"--rootdir={CHECKOUT}", "-p", "no:hypothesispytest", "-p", "no:xdist", "-rA", "-s",
             str(CHECKOUT / "checks/test_weights_bytes.py"), str(CHECKOUT / "checks/test_weights.py"),
             str(CHECKOUT / "checks/test_install.py"), "-k", "bytes or present or intact or folder",
             f"--profile={self.folder / 'p.toml'}", f"--install-dir={self.folder / 'install'}",
             "--stage=installed", "--offline", f"--report-dir={self.folder / 'report'}", *options],
            cwd=self.folder, env=child_env(MODELMEDIC_STATE_DIR=str(self.folder / "state")),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def run(self, *options, before=""):
        process = self.start(*options, before=before)
        out, _ = process.communicate(timeout=120)
        record = json.loads((self.folder / "report/report.json").read_text(encoding="utf-8"))
        return {f["check"].partition("[")[0]: f for f in record["findings"]}, out


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_a_deep_run_seals_and_the_next_run_passes_without_reading(bench):
    first, out = bench.run("--deep")
    assert first["weights.sha256"]["outcome"] == "passed", out
    kept = [
        path
        for path in (bench.folder / "state").rglob("*.json")
        if path.parent.name in {"seals", "digests"}
    ]
    assert {path.parent.name for path in kept} == {"seals", "digests"}
    if os.name != "nt":
        assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}
    second, _ = bench.run(before="from modelmedic.facts import deep_read; deep_read.read = None")
    assert second["weights.sha256"]["outcome"] == "passed"
    assert "Sealed on 20" in second["weights.sha256"]["what"]
    third, _ = bench.run("--deep")
    if digests.block_algorithm() == "blake3":
        assert "All 3 blocks" in third["weights.sha256"]["what"]
    bench.file.write_bytes(CONTENT)
    fourth, _ = bench.run()
    assert fourth["weights.sha256"]["outcome"] == "skipped"


def test_a_file_that_is_not_the_published_one_is_never_sealed(bench):
    bench.profile(CONTENT[::-1])
    found, out = bench.run("--deep")
    assert found["weights.sha256"]["outcome"] == "failed", out
    assert found["weights.stable"]["outcome"] == "passed"
    assert not (bench.folder / "state/seals").exists()
    assert not (bench.folder / "state/digests").exists()


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT to a child")
def test_ctrl_c_inside_a_file_is_quick_and_the_next_run_goes_on_there(bench):
    process = bench.start("--deep", before=SLOW)
    for line in process.stdout:
        if line.startswith("READING ") and int(line.split()[1]) > digests.BLOCK_BYTES:
            break
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 2, out
    assert f"READING {len(CONTENT)}" not in out
    wanted = digests.BLOCK_BYTES if resumable_sha256.is_available() else 0
    found, out = bench.run("--deep", before="from modelmedic.facts import deep_read\n" + STARTED)
    assert found["weights.sha256"]["outcome"] == "passed", out
    assert f"RESUMES {wanted}" in out
    assert not (bench.folder / "state/unfinished").exists() or not list(
        (bench.folder / "state/unfinished").iterdir()
    )


@pytest.fixture
def sealed(bench):
    """Write m.json: the manifest of the good install."""
    env = child_env(
        MODELMEDIC_STATE_DIR=str(bench.folder / "other"), PYTHONPATH=str(CHECKOUT / "src")
    )
    subprocess.run(
        [sys.executable, "-m", "modelmedic", "profile", "seal", str(bench.folder / "install"),
         "--profile", str(bench.folder / "p.toml"), "--output", str(bench.folder / "m.json")],
        env=env, cwd=bench.folder, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return bench


def test_the_closing_pass_judges_by_the_manifest_of_the_command_line(sealed):
    """Only the manifest says which files there are: without it there is nothing to judge."""
    profile = sealed.folder / "p.toml"
    text = profile.read_text(encoding="utf-8").partition("files =")[0]
    profile.write_text('folders = ["outputs"]\n' + text, encoding="utf-8")
    found, out = sealed.run("--heal", f"--manifest={sealed.folder / 'm.json'}")
    assert found["weights.present"]["outcome"] == "passed", out
    assert found["install.folders"]["outcome"] == "healed", out
    assert "judged the same checks again, and agrees" in out


def test_a_manifest_of_the_command_line_locates_the_damage_and_a_wrong_one_ends_the_run(sealed):
    bench = sealed
    bench.file.write_bytes(CONTENT[:-1] + b"x")
    found, out = bench.run("--deep", f"--manifest={bench.folder / 'm.json'}")
    assert "8,388,608 to 10,239,999" in found["weights.sha256"]["what"], out
    process = bench.start(f"--manifest={bench.folder / 'none.json'}")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "is no manifest that can be used" in out


@pytest.mark.skipif(sys.platform != "linux", reason="reads the priorities of Linux")
def test_low_priority_lets_everything_else_go_first(bench):
    look = (
        "import os, psutil, atexit\n"
        "atexit.register(lambda: print('NICE', os.nice(0), int(psutil.Process().ionice().ioclass)))"
    )
    _, out = bench.run("--low-priority", before=look)
    assert "NICE 19 3" in out
