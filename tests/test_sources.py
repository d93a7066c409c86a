"""The ladder of sources: the mirror of this machine, then the profile's order."""

from __future__ import annotations

import pytest
from network_support import VARIABLES
from support import make_context, make_profile

from modelmedic.context import ExpectedFile
from modelmedic.profile.model import Endpoint, ModelFile, ModelRepo, ModelSource
from modelmedic.strategies import sources

FILE = ModelFile("vae/a b.safetensors", 3)
HUB = "https://hub.invalid/org/model/resolve/main/vae/a%20b.safetensors"
SCOPE = (
    "https://scope.invalid/api/v1/models/org/Model/repo?Revision=master"
    "&FilePath=vae%2Fa+b.safetensors"
)
MIRROR = "http://mirror.invalid:8080/hf/org/model/resolve/main/vae/a%20b.safetensors"


@pytest.fixture(autouse=True)
def calm(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def found(tmp_path, kinds=("hub", "modelscope"), hub="https://hub.invalid"):
    known = {
        "hub": ModelSource("hub", "org/model", "main", "hub"),
        "modelscope": ModelSource("modelscope", "org/Model", "master", "scope"),
    }
    chosen = tuple(known[kind] for kind in kinds)
    model = ModelRepo("m", ("model",), "native", (FILE,), chosen)
    endpoints = (
        Endpoint("hub", hub, "hub"), Endpoint("scope", "https://scope.invalid", "modelscope"),
    )  # fmt: skip
    context = make_context(tmp_path, make_profile(models=(model,), endpoints=endpoints))
    return sources.urls(
        context, ExpectedFile(model, FILE, tmp_path / "model" / FILE.path, f"model/{FILE.path}")
    )


@pytest.mark.parametrize(
    ("kinds", "urls"),
    [(("hub", "modelscope"), (HUB, SCOPE)), (("modelscope", "hub"), (SCOPE, HUB)), ((), ())],
)
def test_the_profiles_order_is_kept(tmp_path, kinds, urls):
    assert found(tmp_path, kinds) == urls


@pytest.mark.parametrize("kinds", [("hub", "modelscope"), ("modelscope", "hub")])
def test_the_mirror_comes_before_all_and_replaces_none(tmp_path, monkeypatch, kinds):
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.invalid:8080/hf/")
    ordered = {"hub": HUB, "modelscope": SCOPE}
    assert found(tmp_path, kinds) == (MIRROR, *(ordered[kind] for kind in kinds))


def test_a_mirror_that_is_the_hub_is_asked_once(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.invalid")
    assert found(tmp_path) == (HUB, SCOPE)


def test_a_mirror_that_is_no_address_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "user:secret@hub.invalid")
    assert found(tmp_path) == (HUB, SCOPE)


def test_an_embedded_hub_has_no_mirror(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.invalid:8080/hf/")
    local = found(tmp_path, ("hub",), "http://127.0.0.1:4000")
    assert local == ("http://127.0.0.1:4000/org/model/resolve/main/vae/a%20b.safetensors",)
