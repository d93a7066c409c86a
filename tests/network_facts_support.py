"""Ways to ask one stage of the network, and an authority that this machine trusts."""

from __future__ import annotations

import pytest
import trustme
from network_support import calm
from support import make_facts, make_profile

from modelmedic.facts import network
from modelmedic.profile.model import ModelFile, ModelRepo, ModelSource


@pytest.fixture(autouse=True)
def calm_network(monkeypatch):
    calm(monkeypatch)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def trusted(authority, tmp_path, monkeypatch):
    """The test's authority is what this machine trusts."""
    path = tmp_path / "root.pem"
    authority.cert_pem.write_to_path(path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return authority


def facts_for(place, *endpoints, models=()):
    return make_facts(place, make_profile(endpoints=tuple(endpoints), models=models))


def reach(place, server, last=network.read_http, models=()):
    return network.reach(facts_for(place, server, models=models), server, last)


def repo(name="server", **source):
    values = {"kind": "hub", "repo": "acme/model", "revision": "main", "endpoint": name} | source
    return ModelRepo("model", (".",), "native", (ModelFile("a.bin"),), (ModelSource(**values),))
