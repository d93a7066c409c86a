"""From what an installer says of a failure to the checks that judge just that."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import make_profile

from modelmedic.profile.loader import load_profile
from modelmedic.profile.model import Endpoint, ModelFile, ModelRepo, PythonNeeds, Requirement
from modelmedic.reliability import subjects

DEMO = load_profile("demo", cwd=Path.cwd())
SHARD = "diffusion_pytorch_model-00002-of-00003.safetensors"
TWO = make_profile(
    models=(
        ModelRepo("big", ("big",), "native", files=(ModelFile("config.json", 9), ModelFile("a.pth", 8_000_000_000))),
        ModelRepo("small", ("small",), "native", files=(ModelFile("sub/config.json", 9),)),
    )
)  # fmt: skip


@pytest.mark.parametrize(
    ("issue", "checks"),
    [
        (SHARD, f"weights.*[{SHARD}]"),
        (f"Missing file: /home/x/model/{SHARD}!", f"weights.*[{SHARD}]"),
        (f"weights.sha256 {SHARD}", f"weights.sha256[{SHARD}]"),
        (f"weights.sha256[model/{SHARD}]", f"weights.sha256[{SHARD}]"),
        ("tokenizer.json is cut", "weights.*[tokenizer/tokenizer.json]"),
        ("weights.index[demo]", "weights.index[demo]"),
        ("weights.index does not hold", "weights.index"),
        ("weights.safetensors", "weights"),
        ("my-config.json", "weights"),
        ("config.json.bak", "weights"),
        ("checksum mismatch", "weights"),
        ("", "weights"),
    ],
)
def test_an_issue_is_a_file_a_check_or_everything(issue, checks):
    assert subjects.of_models([issue], DEMO).checks == checks


def test_a_model_stands_for_its_files_and_a_name_that_two_have_for_both():
    assert subjects.of_models(["model small is broken"], TWO).checks == "weights.*[sub/config.json]"
    both = subjects.of_models(["config.json"], TWO).checks
    assert both == "weights.*[config.json]"  # of a path its last parts are enough
    assert subjects.of_models(["a.pth"], TWO).sizes_gb == (8.0,)
    assert subjects.of_models([], TWO).checks == "weights"


def test_one_issue_that_names_nothing_keeps_all_files_from_being_left_out():
    assert subjects.of_models(["a.pth", "something else"], TWO).checks == "weights"


APP = make_profile(
    python=PythonNeeds(
        requirements=tuple(map(Requirement, ("opencv-python>=4", "flash_attn", "PyYAML", "sun")))
    )
)


@pytest.mark.parametrize(
    ("dependency", "meant"),
    [
        ("cv2", "opencv-python"),
        ("cv2.dnn", "opencv-python"),
        ("opencv_python >= 4.1", "opencv-python"),
        ("flash_attn", "flash-attn"),
        ("flash-attn==2.8; python_version<'4'", "flash-attn"),
        ("yaml", "pyyaml"),
        ("sun[hot]~=1.0", "sun"),
        ("sun.spots", "sun"),
    ],
)
def test_a_dependency_is_found_by_module_and_by_requirement(dependency, meant):
    found = subjects.of_dependency(dependency, APP)
    assert found.is_judged
    assert f"python.package[{meant}]" in found.checks
    assert f"python.imports[{meant}]" in found.checks
    assert meant in found.names


def test_a_dependency_that_the_profile_does_not_know_is_judged_by_no_check():
    found = subjects.of_dependency("sunny", APP)
    assert (found.checks, found.is_judged, found.names) == ("python", False, ("sunny",))


NET = make_profile(
    endpoints=(
        Endpoint("hub", "https://hub.example/", "hub"), Endpoint("index", "https://pypi.example/", "wheels"),
    ),
    models=DEMO.models,
)  # fmt: skip


@pytest.mark.parametrize(
    ("context", "checks"),
    [
        ({}, "network"),
        ({"endpoint": "hub"}, "network.*[hub],network.proxy"),
        ({"url": "https://pypi.example/simple/x"}, "network.*[index],network.proxy"),
        ({"url": "https://elsewhere.example/"}, "network"),
        ({"endpoint": "hub", "files": [SHARD]}, f"network.*[hub],network.proxy,weights.*[{SHARD}]"),
        ({"endpoint": "hub", "files": SHARD}, f"network.*[hub],network.proxy,weights.*[{SHARD}]"),
    ],
)
def test_a_network_failure_is_judged_on_the_way_that_failed(context, checks):
    found = subjects.of_network(context, NET)
    assert found.checks == checks
    assert found.judged_by == (f"weights.*[{SHARD}]" if "files" in context else "")


def test_a_server_that_no_check_asks_is_not_proven_by_the_checks_of_others():
    for url in ("https://elsewhere.example/", "https://hub.example:8443/"):
        found = subjects.of_network({"url": url}, NET)
        assert not found.is_judged, url
        assert found.names[0] == url.removeprefix("https://").rstrip("/") + (
            ":443" if "8443" not in url else ""
        )
    assert subjects.of_network({"url": "https://hub.example/x"}, NET).is_judged
    assert subjects.of_network({}, NET).is_judged
