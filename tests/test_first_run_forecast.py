"""A whole run over an install of Wan: the forecast and the checks of the first run, all watched."""

from __future__ import annotations

import json
import subprocess
import sys

import gpu_support
import pytest
from app_support import write_app
from python_support import make_venv
from support import CHECKOUT, child_env
from test_checks_encoder import WORKING, write_program

library = gpu_support.library

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the stand-ins are those of Linux")

WANTED = {
    "hardware.fit": "degraded",
    "hardware.visible-devices": "passed",
    "hardware.cuda-libraries": "passed",
    "hardware.vram": "skipped",
    "install.app-options": "passed",
    "install.output-name": "passed",
    "install.video-encoder": "passed",
    "install.prompt-extension": "skipped",
}


@pytest.fixture
def findings(library, tmp_path):
    """Run the checks of checks/ that these are and return the findings by id."""
    install = tmp_path / "install"
    install.mkdir()
    write_app(install)
    make_venv(install / ".venv")
    ffmpeg = write_program(tmp_path / "programs" / "ffmpeg", WORKING)
    (tmp_path / "machine").write_text("devices 1\n", encoding="utf-8")

    def run(*lines, **env):
        (tmp_path / "machine").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-c", str(CHECKOUT / "pyproject.toml"),
             f"--rootdir={CHECKOUT}", str(CHECKOUT / "checks"), "--profile=wan2.2-ti2v-5b",
             f"--install-dir={install}", "--stage=installed", "--offline", "-q",
             f"--report-dir={tmp_path / 'report'}", "-p", "no:cacheprovider",
             "-k", "test_fit or test_app or test_gpu_environment or test_hardware"],
            cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
            env=child_env(
                MODELMEDIC_STATE_DIR=str(tmp_path / "state"), LD_LIBRARY_PATH=str(library),
                FAKE_NVML_FILE=str(tmp_path / "machine"), IMAGEIO_FFMPEG_EXE=str(ffmpeg), **env,
            ),
        )  # fmt: skip
        assert done.returncode in {0, 1}, done.stdout + done.stderr  # 3: a promise was broken
        record = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
        return {entry["check"]: entry for entry in record["findings"]}

    yield run
    assert not list(install.glob(".modelmedic-probe-*"))


def test_a_gaming_computer_is_told_how_to_run_the_model(findings):
    found = findings("devices 1")
    outcomes = {check: found[check]["outcome"] for check in WANTED}
    assert outcomes == WANTED
    assert "--offload_model True --convert_model_dtype --t5_cpu" in found["hardware.fit"]["next"]


def test_a_small_or_hidden_card_stops_it_by_name(findings):
    small = findings(*gpu_support.RTX_3060)["hardware.fit"]
    assert (small["outcome"], small["failure_id"]) == ("failed", "vram-insufficient")
    hidden = findings("devices 1", CUDA_VISIBLE_DEVICES="3")
    assert hidden["hardware.visible-devices"]["failure_id"] == "visible-devices-or-flags-mismatch"


def test_without_a_card_that_answers_all_that_needs_a_card_is_blocked(findings):
    found = findings("fail.nvmlInitWithFlags 18")
    for check in ("hardware.fit", "hardware.visible-devices", "hardware.vram"):
        assert found[check]["outcome"] == "blocked"
        assert found[check]["blocked_by"] in {"hardware.gpu", "hardware.driver", "hardware.nvml"}
