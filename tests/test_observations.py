"""What a real transfer shows of the network is what the next error's context says of it."""

from __future__ import annotations

import hashlib
import math
import os
import socket

import pytest

from modelmedic import observations, transfer
from modelmedic.reliability import observations as told
from modelmedic.testing.hub import LoopbackHub
from modelmedic.transfer import TransferFailed, Wanted


@pytest.fixture(autouse=True)
def seen(monkeypatch):
    """A process that has seen nothing yet."""
    fresh = observations.Observations()
    monkeypatch.setattr(observations, "SEEN", fresh)
    monkeypatch.setattr("modelmedic.exchange.SEEN", fresh)
    return fresh


@pytest.fixture
def part(tmp_path):
    handle = os.open(tmp_path / "x.part", os.O_RDWR | os.O_CREAT)
    yield handle
    os.close(handle)


def test_a_transfer_shows_connection_latency_and_bandwidth(part):
    assert math.isinf(told.status(proxy_configured=False).age_seconds)
    with LoopbackHub() as hub:
        content = b"x" * 300_000
        hub.add_repo("org/model", {"a.safetensors": content})
        url = f"{hub.endpoint}/org/model/resolve/main/a.safetensors"
        transfer.fetch(url, part, Wanted(len(content), hashlib.sha256(content).hexdigest()))
    status = told.status(proxy_configured=False)
    assert status.connectivity
    assert status.dns_resolution
    assert 0 <= status.latency_ms < 60_000
    assert status.bandwidth_mbps > 0
    assert told.recent_mbps() > 0
    assert status.age_seconds < 60


def test_a_server_that_is_not_there_shows_no_connection(part):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(TransferFailed):
        transfer.fetch(
            f"http://127.0.0.1:{port}/x",
            part,
            Wanted(1, "0" * 64),
            extras={"sleep": lambda _seconds: None},
        )
    assert not told.status(proxy_configured=False).connectivity
