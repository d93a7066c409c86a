"""Certificates, authorities and bundles, against real TLS servers on loopback."""

from __future__ import annotations

import datetime as dt
from email.utils import format_datetime

import network_facts_support
import pytest
import trustme
from network_facts_support import facts_for, reach
from network_support import Reply, endpoint, proxying, server_context, serving

from modelmedic.facts import network, network_words

calm_network = network_facts_support.calm_network
authority = network_facts_support.authority
trusted = network_facts_support.trusted


def test_a_trusted_certificate_passes_and_names_its_issuer(trusted, tmp_path):
    with serving(tls=server_context(trusted.issue_cert("127.0.0.1"))) as server:
        place = endpoint(server.url)
        facts = facts_for(tmp_path, place)
        tls = network.reach(facts, place, network.read_tls)
        assert tls.failure is None
        assert tls.version.startswith("TLSv1.")
        assert "trustme" in tls.issuer
        assert tls.store.startswith("SSL_CERT_FILE=")
        assert network.reach(facts, place, network.read_http).status == 200


def tls_failure(tmp_path, certificate, reply=None, asked=()):
    with serving(reply or Reply(), tls=server_context(certificate)) as server:
        fact = reach(tmp_path, endpoint(server.url))
        assert isinstance(fact, network.TlsFact)
        # Not one byte of HTTP to a server that is not proven; one that is, in all but its dates,
        # is asked for the time alone.
        assert [(seen.method, seen.target) for seen in server.seen] == list(asked)
        assert not [seen for seen in server.seen if "authorization" in seen.headers]
        return fact


FOR_THE_TIME = [("HEAD", "/")]


def dated(days):
    """An answer of a server whose clock is so many days after ours."""
    there = dt.datetime.now(tz=dt.timezone.utc) + dt.timedelta(days=days)
    return Reply(404, b"", {"Date": format_datetime(there, usegmt=True)})


def test_a_certificate_for_another_host_is_told(trusted, tmp_path):
    fact = tls_failure(tmp_path, trusted.issue_cert("other.example"))
    assert fact.failure.kind == "wrong-host"


def test_a_certificate_for_another_name_behind_a_proxy_is_told(trusted, tmp_path, monkeypatch):
    tls = server_context(trusted.issue_cert("other.invalid"))
    with serving(tls=tls) as server, proxying({"hub.invalid:443": server.port}) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert reach(tmp_path, endpoint("https://hub.invalid")).failure.kind == "wrong-host"


def test_an_expired_certificate_is_told(trusted, tmp_path):
    ended = dt.datetime.now(tz=dt.timezone.utc) - dt.timedelta(days=1)
    certificate = trusted.issue_cert(
        "127.0.0.1", not_before=ended - dt.timedelta(days=9), not_after=ended
    )
    fact = tls_failure(tmp_path, certificate, asked=FOR_THE_TIME)
    assert fact.failure.kind == "expired"
    assert not fact.is_clock_off
    words = network_words.of_failure(endpoint("https://x"), fact)
    assert "its certificate was not renewed" in words.why


def test_a_clock_behind_the_servers_is_told_from_a_certificate_of_tomorrow(trusted, tmp_path):
    begins = dt.datetime.now(tz=dt.timezone.utc) + dt.timedelta(days=2)
    certificate = trusted.issue_cert("127.0.0.1", not_before=begins)
    fact = tls_failure(tmp_path, certificate, dated(days=3), FOR_THE_TIME)
    assert fact.failure.kind == "not-yet-valid"
    assert fact.ahead_seconds == pytest.approx(-3 * 86_400, abs=5)
    words = network_words.of_failure(endpoint("https://x"), fact)
    assert "off by 3 days" in words.what
    assert "behind" in words.what


def test_a_clock_ahead_of_the_servers_is_told_from_a_certificate_that_ended(trusted, tmp_path):
    ended = dt.datetime.now(tz=dt.timezone.utc) - dt.timedelta(days=300)
    certificate = trusted.issue_cert(
        "127.0.0.1", not_before=ended - dt.timedelta(days=90), not_after=ended
    )
    fact = tls_failure(tmp_path, certificate, dated(days=-365), FOR_THE_TIME)
    words = network_words.of_failure(endpoint("https://x"), fact)
    assert "off by 365 days" in words.what
    assert "ahead of" in words.what


def test_nobody_but_who_the_certificate_names_is_believed_about_the_time(tmp_path, trusted):
    begins = dt.datetime.now(tz=dt.timezone.utc) + dt.timedelta(days=2)
    stranger = trustme.CA().issue_cert("127.0.0.1", not_before=begins)
    other = trusted.issue_cert("other.example", not_before=begins)
    for certificate in (stranger, other):
        fact = tls_failure(tmp_path, certificate, dated(days=3))
        assert fact.ahead_seconds is None


def test_a_certificate_from_tomorrow_is_told(trusted, tmp_path):
    begins = dt.datetime.now(tz=dt.timezone.utc) + dt.timedelta(days=1)
    certificate = trusted.issue_cert("127.0.0.1", not_before=begins)
    fact = tls_failure(tmp_path, certificate, asked=FOR_THE_TIME)
    assert fact.failure.kind == "not-yet-valid"


def test_an_unknown_authority_is_untrusted_by_certifi_and_by_the_system(authority, tmp_path):
    fact = tls_failure(tmp_path, authority.issue_cert("127.0.0.1"))
    assert (fact.failure.kind, fact.store, fact.trusted_by) == (
        "untrusted",
        "certifi's bundle",
        "",
    )


def test_a_self_signed_certificate_is_told(tmp_path):
    own = trustme.CA()

    class SelfSigned:
        def configure_cert(self, context):
            path = tmp_path / "self.pem"
            path.write_bytes(own.private_key_pem.bytes() + own.cert_pem.bytes())
            context.load_cert_chain(path)

    fact = tls_failure(tmp_path, SelfSigned())
    assert fact.failure.kind in {"self-signed", "untrusted"}


def test_a_store_that_would_trust_the_server_is_named(trusted, tmp_path, monkeypatch):
    import certifi

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    fact = tls_failure(tmp_path, trusted.issue_cert("127.0.0.1"))
    assert fact.store.startswith("REQUESTS_CA_BUNDLE=")
    assert fact.trusted_by.startswith("SSL_CERT_FILE=")
    assert fact.trusted_by_file.endswith("root.pem")
    assert "trustme" in fact.issuer


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_a_bundle_that_is_missing_or_none_is_named(authority, tmp_path, monkeypatch, name, content):
    path = tmp_path / "gone.pem"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv(name, str(path))
    fact = tls_failure(tmp_path, authority.issue_cert("127.0.0.1"))
    assert fact.failure.kind == "bad-trust-store"
    assert f"{name}={path}" in fact.failure.detail


def test_curl_ca_bundle_is_honoured(authority, tmp_path, monkeypatch):
    path = tmp_path / "root.pem"
    authority.cert_pem.write_to_path(path)
    monkeypatch.setenv("CURL_CA_BUNDLE", str(path))
    with serving(tls=server_context(authority.issue_cert("127.0.0.1"))) as server:
        assert reach(tmp_path, endpoint(server.url)).status == 200
