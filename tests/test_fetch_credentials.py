"""A token goes to its own origin, nothing else goes anywhere, and the proxy is honoured."""

from __future__ import annotations

import hashlib
import os

import pytest
import trustme
from fetch_support import authorization, raw, reply
from network_support import VARIABLES, server_context

from modelmedic import transfer
from modelmedic.transfer import TransferFailed, Wanted

DATA = b"weights " * 1000
WANTED = Wanted(len(DATA), hashlib.sha256(DATA).hexdigest())
WHOLE = reply("200 OK", body=DATA)
NO_SLEEP = {"sleep": lambda _seconds: None}


@pytest.fixture(autouse=True)
def calm(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def part(tmp_path):
    handle = os.open(tmp_path / "part", os.O_RDWR | os.O_CREAT)
    yield handle
    os.close(handle)


@pytest.fixture
def netrc(tmp_path, monkeypatch):
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login user password secret\n"
                    "default login user password secret\n")  # fmt: skip
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))


def tokens(*servers):
    return NO_SLEEP | {"tokens": {transfer.origin(s.url): f"hf_{n}" for n, s in enumerate(servers)}}


# A loopback address, and one that only a proxy could reach: requests treats them differently.
@pytest.mark.parametrize("address", ["http://{here}/file", "http://hub.invalid/file"])
@pytest.mark.parametrize("has_token", [True, False])
def test_netrc_is_never_used(part, netrc, monkeypatch, address, has_token):
    with raw(WHOLE) as server:
        here = f"127.0.0.1:{server.port}"
        monkeypatch.setenv("http_proxy", f"http://{here}")
        url = address.format(here=here)
        extras = {"tokens": {transfer.origin(url): "hf_mine"}} if has_token else {}
        transfer.fetch(url, part, WANTED, extras=extras)
    assert [authorization(head) for head in server.heads] == [
        "Bearer hf_mine" if has_token else None
    ]


def test_netrc_is_not_used_behind_a_redirect(part, netrc, monkeypatch):
    def answer(_server, connection, head):
        is_first = head.startswith("GET http://hub.invalid/")
        connection.sendall(reply("302 F", "Location: http://cdn.invalid/x") if is_first else WHOLE)

    with raw(answer) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        extras = {"tokens": {"http://hub.invalid": "hf_mine"}}
        transfer.fetch("http://hub.invalid/file", part, WANTED, extras=extras)
    assert [authorization(head) for head in proxy.heads] == ["Bearer hf_mine", None]
    assert proxy.heads[1].startswith("GET http://cdn.invalid/x ")


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_the_environments_proxy_is_asked(part, monkeypatch, variable):
    with raw(WHOLE) as proxy:
        monkeypatch.setenv(variable, f"http://us%40er:pw@127.0.0.1:{proxy.port}")
        transfer.fetch("http://hub.invalid/file", part, WANTED)
    assert proxy.heads[0].startswith("GET http://hub.invalid/file ")
    assert "Proxy-Authorization: Basic" in proxy.heads[0]


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy"])
def test_no_proxy_is_asked_for_this_machine(part, monkeypatch, variable):
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with raw(WHOLE) as server:
        transfer.fetch(server.url, part, WANTED, extras=NO_SLEEP)


def test_a_token_stays_behind_when_a_redirect_leaves_its_origin(part):
    with raw(WHOLE) as other, raw(reply("302 F", f"Location: {other.url}")) as first:
        transfer.fetch(first.url, part, WANTED, extras=tokens(first))
    assert authorization(first.heads[0]) == "Bearer hf_0"
    assert authorization(other.heads[0]) is None


def test_another_origin_gets_its_own_token(part):
    with raw(WHOLE) as other, raw(reply("302 F", f"Location: {other.url}")) as first:
        transfer.fetch(first.url, part, WANTED, extras=tokens(first, other))
    assert authorization(first.heads[0]) == "Bearer hf_0"
    assert authorization(other.heads[0]) == "Bearer hf_1"


def test_a_refused_token_is_left_out_and_not_sent_again(part):
    cut = [reply("200 OK", f"Content-Length: {len(DATA)}", length=False, body=DATA[:100]), WHOLE]

    def answer(_server, connection, head):
        is_open = authorization(head) is None
        connection.sendall(cut.pop(0) if is_open else reply("401 Unauthorized"))

    with raw(answer) as server:
        transfer.fetch(server.url, part, WANTED, extras=tokens(server))
    assert [authorization(head) for head in server.heads] == ["Bearer hf_0", None, None]


@pytest.mark.parametrize("token", ["hf_secret\r\nX: y", "hf secret", "hf_s\u00e9cret\n"])
def test_a_token_that_is_none_is_not_sent_nor_shown(part, token):
    with raw(WHOLE) as server:
        extras = {"tokens": {transfer.origin(server.url): token}}
        with pytest.raises(TransferFailed, match="characters no token has") as raised:
            transfer.fetch(server.url, part, WANTED, extras=extras)
    assert "cret" not in str(raised.value)
    assert not server.heads


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def secured(authority):
    with raw(WHOLE, server_context(authority.issue_cert("127.0.0.1"))) as server:
        yield server


def test_the_environments_certificates_count_on_this_machine_too(
    part, secured, authority, monkeypatch, tmp_path
):
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    assert transfer.fetch(secured.url, part, WANTED) == len(DATA)


def test_a_certificate_nobody_vouches_for_is_final(part, secured):
    with pytest.raises(TransferFailed, match="certificate verify failed"):
        transfer.fetch(secured.url, part, WANTED, extras={"sleep": pytest.fail})
    assert secured.connections == 1
    assert not secured.heads


def test_certificates_that_are_not_there_are_named(part, secured, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(TransferFailed, match=r"/nowhere/ca\.pem"):
        transfer.fetch(secured.url, part, WANTED, extras={"sleep": pytest.fail})
