"""Each stage on the way to a server, against real servers on loopback."""

from __future__ import annotations

import socket
import time

import network_facts_support
import pytest
from network_facts_support import facts_for, reach, repo
from network_support import (
    Reply,
    black_hole,
    endpoint,
    impatient,
    refusing_port,
    saying,
    serving,
    silent_after_connect,
)

from modelmedic.errors import CannotTell
from modelmedic.facts import network
from modelmedic.testing.hub import LoopbackHub

calm_network = network_facts_support.calm_network


def test_a_plain_server_is_reached_stage_by_stage(tmp_path):
    with serving(Reply(body=b"hello")) as server:
        place = endpoint(server.url)
        facts = facts_for(tmp_path, place)
        assert facts.get(network.read_dns, place).addresses == ("127.0.0.1",)
        tcp = facts.get(network.read_tcp, place)
        assert (tcp.peer, tcp.failure) == (f"127.0.0.1:{server.port}", None)
        assert len(tcp.connect_seconds) == 3
        assert 0 < tcp.latency_seconds < 1
        tls = facts.get(network.read_tls, place)
        assert (tls.is_tls, tls.is_loopback, tls.failure) == (False, True, None)
        answer = facts.get(network.read_http, place)
        assert (answer.status, answer.failure) == (200, None)
        assert [(seen.method, seen.target) for seen in server.seen] == [("HEAD", "/")]


def test_the_embedded_hub_answers_for_its_first_repo(tmp_path):
    with LoopbackHub() as hub:
        hub.add_repo("acme/model", {"a.bin": b"weights"})
        fact = reach(tmp_path, endpoint(hub.endpoint, kind="hub"), models=(repo(),))
        assert (fact.status, fact.content, fact.is_from_hub) == (200, "json", True)
        assert [r.path for r in hub.requests] == ["/api/models/acme/model/revision/main"]


def test_a_server_that_only_knows_get_is_asked_again(tmp_path):
    def answer(seen):
        return Reply(405) if seen.method == "HEAD" else Reply(200)

    with serving(answer) as server:
        fact = reach(tmp_path, endpoint(server.url))
        assert (fact.status, fact.method) == (200, "GET")


def test_modelscope_is_asked_for_its_file_list(tmp_path):
    with serving() as server:
        reach(
            tmp_path,
            endpoint(server.url, kind="modelscope"),
            models=(repo(kind="modelscope", revision="v 1"),),
        )
        assert server.seen[0].target == "/api/v1/models/acme/model/repo/files?Revision=v%201"


def test_a_name_that_does_not_exist_is_a_dns_failure(tmp_path, monkeypatch):
    def no_such(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such)
    fact = reach(tmp_path, endpoint("https://hub.invalid"))
    assert isinstance(fact, network.DnsFact)
    assert fact.failure.kind == "no-such-name"


def test_a_silent_name_server_is_a_dns_failure_and_not_an_unknown(tmp_path, monkeypatch):
    impatient(monkeypatch)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: time.sleep(4))
    fact = reach(tmp_path, endpoint("https://hub.invalid"))
    assert isinstance(fact, network.DnsFact)
    assert fact.failure.kind == "timeout"


def test_a_refused_port_is_a_tcp_failure(tmp_path):
    fact = reach(tmp_path, endpoint(f"http://127.0.0.1:{refusing_port()}"))
    assert isinstance(fact, network.TcpFact)
    assert fact.failure.kind == "refused"


@pytest.mark.skipif("sys.platform != 'linux'", reason="only Linux drops what a full queue gets")
def test_a_black_hole_is_a_tcp_failure_within_its_deadline(tmp_path, monkeypatch):
    impatient(monkeypatch)
    with black_hole() as port:
        fact = reach(tmp_path, endpoint(f"http://127.0.0.1:{port}"))
    assert isinstance(fact, network.TcpFact)
    assert fact.failure.kind == "timeout"


@pytest.mark.skipif("sys.platform != 'linux'", reason="only Linux drops what a full queue gets")
def test_an_address_that_is_silent_beside_one_that_answers_is_named(tmp_path, monkeypatch):
    with serving() as server:
        loopback = ("127.0.0.1", "127.0.0.2")

        with socket.create_server(("127.0.0.2", server.port), backlog=0) as hole:
            fillers = [socket.socket() for _ in range(8)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(hole.getsockname())
            monkeypatch.setattr(network.wire, "resolve", lambda *args: loopback)
            fact = reach(tmp_path, endpoint(server.url), network.read_tcp)
            for filler in fillers:
                filler.close()
        assert (fact.address, fact.silent, fact.failure) == ("127.0.0.1", ("127.0.0.2",), None)


def test_a_server_that_never_answers_is_an_http_failure(tmp_path, monkeypatch):
    impatient(monkeypatch)
    with silent_after_connect() as port:
        fact = reach(tmp_path, endpoint(f"http://127.0.0.1:{port}"))
    assert isinstance(fact, network.HttpFact)
    assert fact.failure.kind == "timeout"


def test_a_header_that_trickles_for_ever_ends_with_the_deadline(tmp_path, monkeypatch):
    impatient(monkeypatch)
    with saying(b"x", every_seconds=0.1) as port:
        started = time.monotonic()
        fact = reach(tmp_path, endpoint(f"http://127.0.0.1:{port}"))
        assert time.monotonic() - started < 8
    assert fact.failure.kind == "timeout"


def test_a_server_that_hangs_in_the_tls_handshake_is_a_tls_failure(tmp_path, monkeypatch):
    impatient(monkeypatch)
    with silent_after_connect() as port:
        fact = reach(tmp_path, endpoint(f"https://127.0.0.1:{port}"))
    assert isinstance(fact, network.TlsFact)
    assert fact.failure.kind == "timeout"


def test_a_peer_that_is_no_http_server_is_told(tmp_path):
    with saying(b"SSH-2.0-OpenSSH_9.2\r\n\r\n") as port:
        fact = reach(tmp_path, endpoint(f"http://127.0.0.1:{port}"))
    assert fact.failure.kind == "not-http"


def test_a_server_that_hangs_up_without_an_answer_is_told(tmp_path):
    with saying(b"") as port:
        fact = reach(tmp_path, endpoint(f"http://127.0.0.1:{port}"))
    assert fact.failure.kind in {"closed", "reset"}


def test_a_peer_that_speaks_plain_text_where_tls_is_expected_is_told(tmp_path):
    with saying(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        fact = reach(tmp_path, endpoint(f"https://127.0.0.1:{port}"))
    assert (type(fact), fact.failure.kind) == (network.TlsFact, "not-tls")


def test_hf_endpoint_replaces_the_profiles_hub(tmp_path, monkeypatch):
    with LoopbackHub() as hub:
        hub.add_repo("acme/model", {"a.bin": b"weights"})
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        place = endpoint("https://hub.invalid", kind="hub")
        facts = facts_for(tmp_path, place, models=(repo(),))
        assert facts.get(network.read_dns, place).setting == "HF_ENDPOINT"
        assert network.reach(facts, place, network.read_http).status == 200
        assert len(hub.requests) == 1


def test_hf_endpoint_does_not_replace_other_servers(tmp_path, monkeypatch):
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", "https://hub.invalid")
        assert reach(tmp_path, endpoint(server.url, kind="wheels")).status == 200


def test_hf_endpoint_without_a_scheme_is_told_and_nothing_is_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "user:secret@hub.invalid")
    fact = reach(tmp_path, endpoint("https://hub.invalid", kind="hub"))
    assert fact.failure.kind == "bad-address"
    assert "HF_ENDPOINT" in fact.failure.detail
    assert "secret" not in repr(fact)


def test_the_embedded_hub_that_does_not_run_is_an_unknown(tmp_path):
    with pytest.raises(CannotTell, match="not running"):
        reach(tmp_path, endpoint("embedded:demo", kind="hub"))


def test_a_later_stage_alone_cannot_tell_when_an_earlier_one_failed(tmp_path):
    place = endpoint(f"http://127.0.0.1:{refusing_port()}")
    with pytest.raises(CannotTell, match="refused"):
        facts_for(tmp_path, place).get(network.read_http, place)
