"""The login page of a network: no page becomes a file, and the message says what to do."""

from __future__ import annotations

import os

import pytest
from network_support import Reply, calm, serving

from modelmedic import transfer
from modelmedic.transfer import TransferFailed, Wanted

PAGE = b"<!DOCTYPE html><html><title>Sign in to the network</title></html>"
HTML = {"Content-Type": "text/html; charset=utf-8"}
WANTED = Wanted(len(PAGE), "0" * 64)  # a client that only minds sizes would believe it


@pytest.fixture(autouse=True)
def calm_network(monkeypatch):
    calm(monkeypatch)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(200, PAGE, HTML), "web page instead of the file"),
        (Reply(511, PAGE, HTML), "HTTP 511"),
        (Reply(302, b"", {"Location": "/login"}), "web page instead of the file"),
    ],
    ids=["page", "511", "redirect"],
)
def test_a_login_page_is_named_once_and_nothing_of_it_is_kept(tmp_path, reply, words):
    def portal(seen):
        return Reply(200, PAGE, HTML) if seen.target == "/login" else reply

    handle = os.open(tmp_path / "part", os.O_RDWR | os.O_CREAT)
    try:
        with serving(portal) as server, pytest.raises(TransferFailed) as raised:
            transfer.fetch(f"{server.url}/f", handle, WANTED, extras={"sleep": pytest.fail})
        assert words in str(raised.value)
        assert "captive portal" in raised.value.why
        assert os.fstat(handle).st_size == 0
        assert len(server.seen) == (2 if reply.status == 302 else 1)
    finally:
        os.close(handle)
