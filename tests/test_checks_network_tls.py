"""Certificates and bundles: which verdict each gets, and what is said."""

from __future__ import annotations

import subprocess
import time

import network_checks_support
import trustme
from network_checks_support import STAGES, Run, verdict
from network_support import Reply, endpoint, proxying, server_context, serving

from modelmedic.facts import clock

calm_network = network_checks_support.calm_network


def test_a_server_only_the_systems_bundle_trusts_names_issuer_and_command(tmp_path, monkeypatch):
    import certifi

    authority = trustme.CA()
    root = tmp_path / "it's here" / "root.pem"
    root.parent.mkdir()
    authority.cert_pem.write_to_path(root)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    monkeypatch.setenv("SSL_CERT_FILE", str(root))
    with serving(tls=server_context(authority.issue_cert("127.0.0.1"))) as server:
        error = verdict(Run(tmp_path, endpoint(server.url)), STAGES[2])
    assert error.failure_id == "tls-interception"
    assert "trustme" in error.why
    code = f'{error.next_step}; printf "%s\\n%s" "$SSL_CERT_FILE" "$REQUESTS_CA_BUNDLE"'
    done = subprocess.run(["sh", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str(root), str(root)]


def test_a_server_nobody_trusts_is_never_answered_by_turning_verification_off(tmp_path):
    tls = server_context(trustme.CA().issue_cert("127.0.0.1"))
    with serving(tls=tls) as server:
        error = verdict(Run(tmp_path, endpoint(server.url)), STAGES[2])
    assert error.failure_id == "tls-interception"
    assert "Never turn verification off" in error.next_step


def test_an_expired_certificate_shows_this_machines_clock(tmp_path, monkeypatch):
    import datetime as dt

    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "root.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "root.pem"))
    ended = dt.datetime.now(tz=dt.timezone.utc) - dt.timedelta(days=1)
    certificate = authority.issue_cert(
        "127.0.0.1", not_before=ended - dt.timedelta(days=9), not_after=ended
    )
    with serving(tls=server_context(certificate)) as server:
        error = verdict(Run(tmp_path, endpoint(server.url)), STAGES[2])
    assert "expired" in error.what
    assert time.strftime("%Y-%m-%d") in error.what


def test_a_missing_bundle_names_the_variable_to_correct(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone.pem"))
    with serving(tls=server_context(trustme.CA().issue_cert("127.0.0.1"))) as server:
        error = verdict(Run(tmp_path, endpoint(server.url)), STAGES[2])
    assert "gone.pem" in error.what
    assert "unset SSL_CERT_FILE" in error.next_step


def test_plain_http_to_another_machine_is_a_loss(tmp_path, monkeypatch):
    with serving() as server, proxying({"plain.invalid": server.port}) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        run = Run(tmp_path, endpoint("http://plain.invalid"))
        run.check(STAGES[2])
    assert "plain HTTP" in run.losses[0][0]


def test_a_wrong_clock_is_named_with_how_far_and_the_command_that_sets_it(tmp_path, monkeypatch):
    import datetime as dt
    from email.utils import format_datetime

    there = dt.datetime.now(tz=dt.timezone.utc) + dt.timedelta(days=3)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "root.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "root.pem"))
    certificate = authority.issue_cert("127.0.0.1", not_before=there - dt.timedelta(days=1))
    reply = Reply(200, b"", {"Date": format_datetime(there, usegmt=True)})
    with serving(reply, tls=server_context(certificate)) as server:
        run = Run(tmp_path, endpoint(server.url))
        error = verdict(run, STAGES[2])
    assert "off by 3 days" in error.what
    assert error.next_step == clock.cure(run.facts)
    assert "clock" in error.next_step or "time" in error.next_step
