"""Real runs of the checks over an install whose packages contradict each other."""

from __future__ import annotations

import os
import shlex
import sys

import pytest
from demo_support import Desk
from python_support import add_package, make_venv, site_packages

HAS_SET = sys.version_info < (3, 13)  # numpy below 2 has no wheel from there on
ONLY = "-k=stack or possible or target or hardware"


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """An install with an environment in which a sibling of torch and the hub client are wrong."""
    folder = tmp_path_factory.mktemp("stack") / "app"
    target = make_venv(folder / ".venv")
    for name, version, *requires in (
        ("torch", "2.8.0+cu128"),
        ("torchvision", "0.22.1+cu128"),
        ("transformers", "4.51.3", "huggingface-hub<1.0,>=0.30.0"),
        ("huggingface-hub", "1.2.0"),
    ):
        add_package(site_packages(target), name, version, *requires)
    return Desk(folder)


@pytest.fixture(scope="module")
def run(desk):
    return desk.run(
        "--install-dir=.", "--stage=installed", "--offline", ONLY, profile="wan2.2-ti2v-5b"
    )


def test_each_kind_is_a_finding_of_its_own_with_its_known_failure(run):
    found = run.outcomes()
    assert found["python.stack[torch-trio]"] == "failed"
    assert found["python.stack[pins]"] == "failed"
    assert found["python.stack[torch-python]"] == "passed"
    assert run.finding("python.stack[torch-trio]")["failure_id"] == "torchvision-nms"
    assert run.finding("python.stack[pins]")["failure_id"] == "transformers-hub-tokenizers-skew"


@pytest.mark.skipif(not HAS_SET, reason="the app's numpy has no wheel for this Python")
def test_the_next_step_is_one_command_after_the_other_for_the_whole_change(run, desk):
    words = run.finding("python.stack[pins]")["next"]
    first, second = (shlex.split(part) for part in words.split("`")[1::2])
    program = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    pip = [str(desk.folder / ".venv" / program), "-m", "pip", "install"]
    index = ["--index-url", "https://download.pytorch.org/whl/cu128"]
    assert first == [*pip, "torchvision==0.23.0+cu128", *index]
    assert second[3:] == ["install", "huggingface-hub==0.36.2"]
    assert words == run.finding("python.stack[torch-trio]")["next"]


@pytest.mark.skipif(HAS_SET, reason="a set of versions mends it")
def test_where_no_versions_mend_the_next_step_says_so(run):
    words = run.finding("python.stack[pins]")["next"]
    assert "no set of it mends this install" in words
    assert run.outcomes()["python.stack[numpy]"] == "failed"


def test_what_needs_a_card_waits_for_the_driver_s_answer(run):
    found = run.outcomes()
    kinds = ("torch-driver", "torch-card", "cpu-only-torch")
    outcomes = {found[f"python.gpu-stack[{kind}]"] for kind in kinds}
    has_card = found["hardware.nvml"] in {"passed", "degraded"}
    assert has_card or outcomes == {"blocked"}
    assert found["python.possible"] in {"skipped", "blocked"}
