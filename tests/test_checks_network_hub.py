"""The Hub: a saved token, and access to the models."""

from __future__ import annotations

import network_checks_support
import pytest
from network_checks_support import SOURCE, Run, skipped, verdict
from network_support import endpoint, refusing_port

from modelmedic.errors import CannotTell
from modelmedic.profile.model import ModelFile, ModelRepo, ModelSource
from modelmedic.testing.hub import Fault

calm_network = network_checks_support.calm_network
hub = network_checks_support.hub


@pytest.fixture
def home(hub, monkeypatch):
    """The loopback Hub as the one a saved token belongs to."""
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    return endpoint("https://hub.invalid", name="hub", kind="hub")


def test_no_token_and_no_home_are_skipped(hub, home, tmp_path, monkeypatch):
    assert "public models need none" in skipped(
        Run(tmp_path, home), "test_saved_hub_token_is_accepted"
    )
    own = endpoint(hub.endpoint, name="hub", kind="hub")
    monkeypatch.delenv("HF_ENDPOINT")
    assert "does not belong" in skipped(Run(tmp_path, own), "test_saved_hub_token_is_accepted")


def test_an_accepted_token_holds(hub, home, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hub.token)
    run = Run(tmp_path, home)
    run.check("test_saved_hub_token_is_accepted")
    assert run.losses == []


def test_an_expired_token_is_worked_around_where_the_models_are_public(
    hub, home, tmp_path, monkeypatch
):
    monkeypatch.setenv("HF_TOKEN", "hf_expiredSecret")
    run = Run(tmp_path, home)
    run.check("test_saved_hub_token_is_accepted")
    (loss,) = run.losses
    assert "the variable HF_TOKEN" in loss[0]
    assert "works around it" in loss[0]
    assert "unset HF_TOKEN" in loss[2]
    assert "hf auth login" in loss[2]
    assert loss[3] == "expired-token-breaks-public-repo"
    assert "expiredSecret" not in repr(run.losses)


def test_an_expired_token_of_a_file_is_taken_away_by_the_hubs_own_command(
    hub, home, tmp_path, monkeypatch
):
    (tmp_path / "token").write_text("hf_expiredSecret")
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    run = Run(tmp_path, home)
    run.check("test_saved_hub_token_is_accepted")
    assert run.losses[0][2].startswith("hf auth logout ")


def test_an_expired_token_fails_where_the_model_needs_one(hub, home, tmp_path, monkeypatch):
    hub.add_repo("acme/gated", {"a.safetensors": b"w" * 5000}, gated=True)
    monkeypatch.setenv("HF_TOKEN", "hf_expiredSecret")
    gated = ModelSource("hub", "acme/gated", "main", "hub")
    model = ModelRepo("m", (".",), "native", (ModelFile("a.safetensors", 5000),), (gated,))
    error = verdict(Run(tmp_path, home, models=(model,)), "test_saved_hub_token_is_accepted")
    assert error.failure_id == "expired-token-breaks-public-repo"
    assert "the variable HF_TOKEN" in error.what
    assert "hf auth login" in error.next_step
    assert "expiredSecret" not in repr(error.__reduce__())


def test_an_unclear_token_is_an_unknown(hub, home, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hub.token)
    hub.fault("whoami", Fault(status=500))
    with pytest.raises(CannotTell, match="HTTP 500"):
        Run(tmp_path, home).check("test_saved_hub_token_is_accepted")


def access(tmp_path, hub, repo="acme/model", file="a.safetensors"):
    model = ModelRepo(
        "model",
        (".",),
        "native",
        (ModelFile(file, 5000),),
        (SOURCE, ModelSource("hub", repo, "main", "hub")),
    )
    run = Run(tmp_path, endpoint(hub.endpoint, name="hub", kind="hub"), models=(model,))
    return verdict(run, "test_hub_gives_out_the_models")


def test_a_gated_repo_is_told_with_its_page_and_the_login(hub, tmp_path):
    hub.add_repo("acme/gated", {"a.safetensors": b"w"}, gated=True)
    error = access(tmp_path, hub, "acme/gated")
    assert "acme/gated" in error.what
    assert "is gated" in error.what
    assert "accept the terms" in error.next_step
    assert error.failure_id == "gated-companion-repo"


def test_a_missing_repo_is_told_apart_from_a_gated_one(hub, tmp_path):
    error = access(tmp_path, hub, "acme/none")
    assert "does not show the model acme/none" in error.what
    assert "no token was sent" in error.why


def test_a_missing_file_is_told_by_its_name(hub, tmp_path):
    assert "no file 'b\\x1b.bin'" in access(tmp_path, hub, file="b\x1b.bin").what


def test_a_mirror_that_strips_headers_is_told(hub, tmp_path):
    hub.fault("HEAD /acme/model/resolve", Fault(status=200, headers={"ETag": "x"}))
    error = access(tmp_path, hub, "acme/model")
    assert "lack the header X-Repo-Commit" in error.what
    assert error.failure_id == "mirror-missing-headers"


def test_a_storage_server_out_of_reach_is_told_although_the_hub_answers(
    hub, home, tmp_path, monkeypatch
):
    port = refusing_port()
    headers = {"Location": f"http://127.0.0.1:{port}/x", "X-Repo-Commit": "c", "ETag": "e"}
    hub.fault("HEAD /acme/model/resolve", Fault(status=302, headers=headers))
    error = verdict(Run(tmp_path, home), "test_hub_gives_out_the_models")
    assert f"127.0.0.1:{port}" in error.what
    assert error.failure_id == "mirror-bypassed-by-data-plane"


def test_servers_that_are_no_hub_are_skipped(tmp_path):
    run = Run(tmp_path, endpoint("https://wheels.invalid", kind="wheels"))
    assert "Hub" in skipped(run, "test_hub_gives_out_the_models")
    assert "does not belong" in skipped(run, "test_saved_hub_token_is_accepted")
