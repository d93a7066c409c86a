"""A network whose IPv6 leads nowhere: transfers take the address that answers."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import ssl
import sys
import time

import pytest
import trustme
from fetch_support import raw, reply
from network_support import calm, server_context

from modelmedic import addresses, exchange, transfer
from modelmedic.transfer import TransferFailed, Wanted

DATA = b"the bytes of a model" * 2000
WANTED = Wanted(len(DATA), hashlib.sha256(DATA).hexdigest())
NAME = "two-families.test"
pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux drops what a full queue gets"
)


@pytest.fixture(autouse=True)
def calm_network(monkeypatch):
    calm(monkeypatch)


@pytest.fixture
def part(tmp_path):
    handle = os.open(tmp_path / "part", os.O_RDWR | os.O_CREAT)
    yield handle
    os.close(handle)


@contextlib.contextmanager
def silent(family, address, port):
    """Hold a port of one family whose queue is full: what comes is dropped, nobody refuses."""
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.socket(family))
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(8):
            filler = opened.enter_context(socket.socket(family))
            filler.setblocking(False)
            filler.connect_ex((address, port))
        time.sleep(0.05)
        yield


@contextlib.contextmanager
def ipv6_leads_nowhere(monkeypatch, port, order=("::1", "127.0.0.1")):
    """Let a name have both families, with IPv6 first and silent at ``port``."""

    def answer(host, asked, *_args, **_kwargs):
        assert host in {NAME, *order}  # no other name is looked up
        mine = order if host == NAME else (host,)
        return [
            (
                socket.AF_INET6 if ":" in ip else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (ip, asked),
            )
            for ip in mine
        ]

    try:
        with silent(socket.AF_INET6, "::1", port):
            monkeypatch.setattr(socket, "getaddrinfo", answer)
            yield
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")


def test_a_transfer_does_not_wait_for_an_address_that_is_silent(part, monkeypatch):
    """One try at the silent address takes longer than the whole transfer may."""
    monkeypatch.setattr(transfer, "_seconds_for", lambda _wanted: 8.0)
    monkeypatch.setattr(exchange, "CONNECT_SECONDS", 60.0)
    with raw(reply("200 OK", body=DATA)) as server, ipv6_leads_nowhere(monkeypatch, server.port):
        transfer.fetch(f"http://{NAME}:{server.port}/f", part, WANTED)
        assert f"Host: {NAME}" in server.heads[0]
    os.lseek(part, 0, os.SEEK_SET)
    assert os.read(part, 2 * len(DATA)) == DATA


def test_the_certificate_still_has_to_be_that_of_the_name(part, monkeypatch, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "root.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "root.pem"))
    for name in (NAME, "127.0.0.1"):
        tls = server_context(authority.issue_cert(name))
        with (
            raw(reply("200 OK", body=DATA), tls) as server,
            ipv6_leads_nowhere(monkeypatch, server.port),
        ):
            url = f"https://{NAME}:{server.port}/f"
            if name == NAME:
                transfer.fetch(url, part, WANTED)
                os.ftruncate(part, 0)
                continue
            with pytest.raises(TransferFailed, match="certificate is not valid for") as raised:
                transfer.fetch(url, part, WANTED)
            assert isinstance(raised.value.__cause__, Exception)
            assert not server.heads
    assert ssl.HAS_SNI


def test_where_there_is_nothing_to_choose_nobody_is_asked(monkeypatch):
    monkeypatch.setattr(socket, "socket", pytest.fail)
    assert addresses.answering((), 80, 1) == ""
    assert addresses.answering(("192.0.2.1", "192.0.2.2"), 80, 1) == ""
    assert addresses.answering(("2001:db8::1",), 80, 1) == ""


def test_where_none_answers_whoever_connects_finds_out(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert addresses.answering(("::1", "127.0.0.1"), port, 1) == ""
