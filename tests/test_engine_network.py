"""The engine and a network that does not lead to the Hub: another way is seen to be used."""

from __future__ import annotations

import os

import pytest
from demo_support import snapshot
from network_support import calm, refusing_port
from proxy_support import HUB, demo_profile, hub_behind_a_proxy

from modelmedic import AutoRecoveryEngine
from modelmedic.testing.conformance import prepare_demo

pytestmark = pytest.mark.once

SHARD = "diffusion_pytorch_model-00002-of-00003.safetensors"


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """An install whose shard is lost, and whose Hub only a proxy reaches."""
    calm(monkeypatch)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    install = tmp_path / "install"
    prepare_demo(install)
    (install / "model" / SHARD).unlink()
    return AutoRecoveryEngine(
        profile=demo_profile(tmp_path), install_dir=install, state_dir=tmp_path / "state"
    )


def verdicts(engine):
    return {attempt.strategy: attempt.verdict for attempt in engine.attempts}


CONTEXT = {"endpoint": "demo-hub", "files": [SHARD], "retry_count": 3}


def test_a_proxy_that_works_is_used_and_its_variables_are_given_out(engine, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{refusing_port()}")
    with hub_behind_a_proxy() as (_hub, proxy):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert engine.recover_network_failures("fetch the weights", CONTEXT), engine.attempts
        fetched = [line for line in proxy.asked if f"GET {HUB}/" in line and "00002-of" in line]
        assert fetched, proxy.asked
    assert verdicts(engine) == {
        "RetryWithBackoffStrategy": "refused",
        "AlternativeSourceStrategy": "refused",
        "ProxyConfigurationStrategy": "degraded",
    }
    assert engine.environment["http_proxy"] == proxy.url
    assert os.environ["http_proxy"] != proxy.url
    assert f"export http_proxy={proxy.url}" in engine.attempts[-1].note
    assert (tmp_path / "install" / "model" / SHARD).is_file()


@pytest.mark.slow
def test_without_any_way_nothing_is_claimed(engine, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{refusing_port()}")
    before = snapshot(tmp_path / "install")
    assert not engine.recover_network_failures("fetch the weights", CONTEXT)
    assert list(verdicts(engine)) == [
        "RetryWithBackoffStrategy", "AlternativeSourceStrategy", "ProxyConfigurationStrategy",
        "OfflineModeStrategy",
    ]  # fmt: skip
    assert engine.environment == {}
    assert snapshot(tmp_path / "install") == before
