"""The way through a proxy, against real proxies on loopback."""

from __future__ import annotations

import network_facts_support
import pytest
from network_facts_support import facts_for, reach
from network_support import (
    endpoint,
    proxying,
    refusing_port,
    saying,
    server_context,
    serving,
    silent_after_connect,
)

from modelmedic.errors import CannotTell
from modelmedic.facts import network

calm_network = network_facts_support.calm_network
authority = network_facts_support.authority
trusted = network_facts_support.trusted


def test_https_goes_through_the_proxy_by_connect_and_is_verified_end_to_end(
    trusted, tmp_path, monkeypatch
):
    with (
        serving(tls=server_context(trusted.issue_cert("hub.invalid"))) as server,
        proxying({"hub.invalid:443": server.port}) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        place = endpoint("https://hub.invalid")
        facts = facts_for(tmp_path, place)
        fact = network.reach(facts, place, network.read_http)
        assert (fact.status, fact.via) == (200, proxy.url)
        assert facts.get(network.read_dns, place).addresses == ()  # the proxy's business
        assert facts.get(network.read_tcp, place).peer == f"127.0.0.1:{proxy.port}"
        assert set(proxy.asked) == {"CONNECT hub.invalid:443 HTTP/1.1"}


def test_plain_http_goes_through_the_proxy_with_the_whole_address(tmp_path, monkeypatch):
    with serving() as server, proxying({"wheels.invalid": server.port}) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        fact = reach(tmp_path, endpoint("http://wheels.invalid/whl", kind="wheels"))
        assert fact.status == 200
        assert proxy.asked == ["HEAD http://wheels.invalid/whl HTTP/1.1"]
        assert server.seen[0].headers["host"] == "wheels.invalid"


def test_credentials_reach_the_proxy_and_no_fact(trusted, tmp_path, monkeypatch):
    with (
        serving(tls=server_context(trusted.issue_cert("hub.invalid"))) as server,
        proxying({"hub.invalid:443": server.port}, password="ann:p@ss") as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://ann:p%40ss@127.0.0.1:{proxy.port}")
        place = endpoint("https://hub.invalid")
        facts = facts_for(tmp_path, place)
        fact = network.reach(facts, place, network.read_http)
        assert fact.status == 200
        assert fact.via == f"http://***@127.0.0.1:{proxy.port}"
        told = repr([facts.get(stage, place) for stage in network.STAGES])
        told += repr(facts.get(network.read_proxies))
        assert "ann" not in told
        assert "p%40ss" not in told
        assert not any(seen.headers.get("proxy-authorization") for seen in server.seen)


def test_a_proxy_that_wants_a_login_is_a_tls_failure_with_its_scheme(
    trusted, tmp_path, monkeypatch
):
    with proxying({}, password="ann:secret") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        fact = reach(tmp_path, endpoint("https://hub.invalid"))
        assert isinstance(fact, network.TlsFact)
        assert (fact.failure.kind, fact.failure.detail) == ("proxy-auth", "Basic")


def test_a_407_on_plain_http_is_an_answer_with_its_scheme(tmp_path, monkeypatch):
    with proxying({}, password="ann:secret") as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        fact = reach(tmp_path, endpoint("http://hub.invalid"))
        assert (fact.status, fact.proxy_scheme) == (407, "Basic")


def test_a_proxy_that_forbids_the_host_is_told_with_its_words(tmp_path, monkeypatch):
    with proxying({}, refusal="403 Blocked by policy") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        fact = reach(tmp_path, endpoint("https://hub.invalid"))
        assert (fact.failure.kind, fact.failure.status) == ("proxy-refused", 403)
        assert "Blocked by policy" in fact.failure.detail


def test_a_proxy_that_does_not_speak_http_is_told(tmp_path, monkeypatch):
    with saying(b"\x05\xff\r\n\r\n") as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        fact = reach(tmp_path, endpoint("https://hub.invalid"))
        assert fact.failure.kind == "proxy-not-http"


def test_a_dead_proxy_is_a_tcp_failure_that_names_the_proxy(tmp_path, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"http://ann:secret@127.0.0.1:{refusing_port()}")
    fact = reach(tmp_path, endpoint("https://hub.invalid"))
    assert isinstance(fact, network.TcpFact)
    assert fact.failure.kind == "refused"
    assert fact.via.startswith("http://***@127.0.0.1:")


def test_loopback_never_goes_through_a_proxy(tmp_path, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{refusing_port()}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{refusing_port()}")
    with serving() as server:
        assert reach(tmp_path, endpoint(server.url)).status == 200


def test_a_socks_proxy_is_an_unknown_beyond_its_port(tmp_path, monkeypatch):
    with silent_after_connect() as port:
        monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{port}")
        place = endpoint("https://hub.invalid")
        facts = facts_for(tmp_path, place)
        assert network.reach(facts, place, network.read_tcp).failure is None
        with pytest.raises(CannotTell, match="SOCKS"):
            network.reach(facts, place, network.read_tls)


def test_a_proxy_setting_that_cannot_be_used_is_told_without_its_password(tmp_path, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "ftp://ann:secret@proxy.invalid:21")
    fact = reach(tmp_path, endpoint("https://hub.invalid"))
    assert fact.failure.kind == "proxy-setting"
    assert "secret" not in repr(fact)
