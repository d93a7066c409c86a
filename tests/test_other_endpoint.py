"""Which other Hub may stand in for a lost one, against real Hubs on loopback."""

from __future__ import annotations

import hashlib

import network_checks_support
import pytest
from network_checks_support import Run
from network_support import Reply, endpoint, refusing_port, serving

from modelmedic.errors import NotItsCase, RecoveryRefused
from modelmedic.facts import hub_access
from modelmedic.profile.model import ModelFile, ModelRepo, ModelSource
from modelmedic.strategies import other_endpoint
from modelmedic.testing.hub import Fault, LoopbackHub

calm_network = network_checks_support.calm_network
hub = network_checks_support.hub

DATA = b"w" * 5000
SHA256 = hashlib.sha256(DATA).hexdigest()
LOST = endpoint("http://hub.test", name="hub", kind="hub")
TOKEN = "hf_" + "OfTheFirstHub".ljust(34, "x")


def model(*places, sha256=SHA256):
    sources = tuple(ModelSource("hub", "acme/model", "main", place) for place in places)
    file = ModelFile("a.safetensors", len(DATA), sha256=sha256)
    return ModelRepo("model", (".",), "native", (file,), sources)


def settings(place, *servers, models=None, subject="hub"):
    models = models or (model(*(server.name for server in servers)),)
    facts = Run(place, *servers, models=models).facts
    (operation,) = other_endpoint.plan_other_endpoint(facts, subject)
    return {
        name: None if source == "unset" else shown for name, source, shown in operation.settings
    }


def refused(place, *servers, **more):
    with pytest.raises(RecoveryRefused) as caught:
        settings(place, *servers, **more)
    return str(caught.value)


def mirror(url):
    return endpoint(url, name="mirror", kind="hub", is_required=False)


def test_a_hub_with_the_same_files_is_pointed_to_and_never_given_the_token(
    hub, tmp_path, monkeypatch
):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert settings(tmp_path, LOST, mirror(hub.endpoint)) == {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    }
    assert hub.requests
    assert not [record for record in hub.requests if record.authorization]


def test_with_what_is_set_no_token_goes_anywhere(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for name, value in settings(tmp_path, LOST, mirror(hub.endpoint)).items():
        monkeypatch.setenv(name, value)
    assert hub_access.bearer_tokens() == {}
    run = Run(tmp_path, LOST, mirror(hub.endpoint), models=(model("hub", "mirror"),))
    run.check("test_hub_gives_out_the_models", LOST)
    assert not [record for record in hub.requests if record.authorization]


def test_a_setting_that_leads_astray_is_left_out(hub, tmp_path, monkeypatch):
    """The profile's own Hub is well; HF_ENDPOINT names one that is gone."""
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{refusing_port()}")
    host = hub.endpoint.replace("127.0.0.1", "hub.test")
    lost = endpoint(host, name="hub", kind="hub")
    monkeypatch.setattr("socket.getaddrinfo", to_loopback)
    assert settings(tmp_path, lost)["HF_ENDPOINT"] is None


def to_loopback(host, port, *args, **kwargs):
    """Know one name, as a name server would; no other is looked up."""
    import socket

    assert host in {"hub.test", "127.0.0.1"}
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


def test_a_hub_with_another_version_is_no_stand_in(hub, tmp_path):
    models = (model("hub", "mirror", sha256="0" * 64),)
    told = refused(tmp_path, LOST, mirror(hub.endpoint), models=models)
    assert "another version of a.safetensors" in told


@pytest.mark.parametrize("etag", ['"some-version"', f'"{"a" * 40}"'])
def test_a_hub_that_does_not_tell_the_known_hash_is_no_stand_in(tmp_path, etag):
    headers = {"X-Repo-Commit": "0" * 40, "ETag": etag}
    with serving(Reply(200, DATA, headers)) as server:
        told = refused(tmp_path, LOST, mirror(server.url))
    assert f"{server.url} does not tell which version of a.safetensors it has." in told


def test_a_hub_that_tells_the_hash_in_its_etag_alone_is_a_stand_in(tmp_path):
    headers = {"X-Repo-Commit": "0" * 40, "ETag": f'"{SHA256}"'}
    with serving(Reply(200, DATA, headers)) as server:
        assert settings(tmp_path, LOST, mirror(server.url))["HF_ENDPOINT"] == server.url


@pytest.mark.parametrize("sha256", [None, hashlib.sha256(b"{}").hexdigest()])
def test_a_small_file_is_compared_by_its_git_hash(tmp_path, sha256):
    blob = hashlib.sha1(b"blob 2\0{}").hexdigest()

    def small(git_blob):
        sources = model("hub", "mirror").sources
        file = ModelFile("config.json", 2, sha256=sha256, git_blob=git_blob)
        return (ModelRepo("model", (".",), "native", (file,), sources),)

    with LoopbackHub() as hub:
        hub.add_repo("acme/model", {"config.json": b"{}"})
        servers = LOST, mirror(hub.endpoint)
        assert settings(tmp_path, *servers, models=small(blob))["HF_ENDPOINT"] == hub.endpoint
        told = refused(tmp_path, *servers, models=small("0" * 40))
    assert "another version of config.json" in told


def test_a_mirror_that_strips_headers_is_no_stand_in(tmp_path):
    with serving(Reply(200, DATA)) as server:
        told = refused(tmp_path, LOST, mirror(server.url))
    assert "lack the header" in told


def test_a_hub_that_limits_us_or_lacks_the_model_is_no_stand_in(hub, tmp_path):
    hub.fault("HEAD /acme/model/resolve", Fault(status=429), times=None)
    assert "429" in refused(tmp_path, LOST, mirror(hub.endpoint))
    with LoopbackHub() as empty:
        assert "does not show the model" in refused(tmp_path, LOST, mirror(empty.endpoint))


def test_a_hub_whose_storage_is_out_of_reach_is_no_stand_in(hub, tmp_path):
    away = {
        "Location": f"http://127.0.0.1:{refusing_port()}/blob",
        "X-Repo-Commit": "0" * 40,
        "X-Linked-Etag": f'"{SHA256}"',
    }
    hub.fault("HEAD /acme/model/resolve", Fault(status=302, headers=away), times=None)
    told = refused(tmp_path, LOST, mirror(hub.endpoint))
    assert "sends downloads of acme/model on to" in told
    assert "refuses the connection" in told


def test_a_mirror_that_is_lost_too_is_told(tmp_path):
    told = refused(tmp_path, LOST, mirror(f"http://127.0.0.1:{refusing_port()}"))
    assert "'mirror'" in told
    assert "is lost, too" in told


def test_where_there_is_no_other_hub_it_is_not_its_case(hub, tmp_path):
    with pytest.raises(NotItsCase):
        settings(tmp_path, LOST)
    other = mirror(hub.endpoint)
    with pytest.raises(NotItsCase):  # it has one model of two
        settings(tmp_path, LOST, other, models=(model("hub", "mirror"), model("hub", sha256=None)))
    with pytest.raises(NotItsCase):  # a Hub on this machine: HF_ENDPOINT does not stand for it
        settings(tmp_path, endpoint(hub.endpoint, name="hub", kind="hub"), other)
