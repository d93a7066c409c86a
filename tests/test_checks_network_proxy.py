"""Proxy settings: which verdict each gets, and what is said."""

from __future__ import annotations

import network_checks_support
import pytest
from network_checks_support import STAGES, Run, verdict
from network_support import endpoint, proxying, refusing_port, silent_after_connect

from modelmedic.profile.model import Port

calm_network = network_checks_support.calm_network
hub = network_checks_support.hub


FAR = endpoint("https://far.invalid")


def test_a_dead_proxy_fails_by_its_name_without_its_password(tmp_path, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"http://ann:secret@127.0.0.1:{refusing_port()}")
    error = verdict(Run(tmp_path, FAR), "test_proxy_settings_work")
    assert "http://***@127.0.0.1:" in error.what
    assert "refuses the connection" in error.what
    assert error.subject == "HTTPS_PROXY"
    assert "secret" not in repr(error.__reduce__())


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("ftp://proxy.invalid", "no kind of proxy"),
        ("http://proxy.invalid:99999", "port"),
        ("http://", "no host"),
    ],
)
def test_a_setting_no_program_can_use_fails(tmp_path, monkeypatch, value, words):
    monkeypatch.setenv("HTTPS_PROXY", value)
    assert words in verdict(Run(tmp_path, FAR), "test_proxy_settings_work").what


def test_a_dead_proxy_that_leads_to_no_server_of_the_profile_is_a_loss(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{refusing_port()}")
    run = Run(tmp_path, endpoint(hub.endpoint, name="hub", kind="hub"))
    run.check("test_proxy_settings_work")
    assert "refuses the connection" in run.losses[0][0]


def test_a_proxy_that_catches_loopback_is_told(tmp_path, monkeypatch):
    with proxying({}) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        run = Run(tmp_path, FAR, ports=(Port(7860),))
        run.check("test_proxy_settings_work")
        ((what, _why, next_step, failure_id),) = run.losses
        assert "127.0.0.1" in what
        assert "NO_PROXY=localhost,127.0.0.1,::1" in next_step
        assert failure_id == "localhost-through-proxy"
        monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1,::1")
        fixed = Run(tmp_path, FAR)
        fixed.check("test_proxy_settings_work")
        assert fixed.losses == []


def test_settings_programs_read_differently_are_losses(tmp_path, monkeypatch):
    with proxying({}) as proxy, silent_after_connect() as socks:
        monkeypatch.setenv("https_proxy", proxy.url.removeprefix("http://"))
        monkeypatch.setenv("HTTPS_PROXY", "http://other.invalid:1")
        monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{socks}")
        monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
        run = Run(tmp_path, FAR)
        run.check("test_proxy_settings_work")
    told = " ".join(loss[0] for loss in run.losses)
    assert len(run.losses) == 3
    assert "has no scheme" in told
    assert "both set and differ" in told
    assert "SOCKS" in told


def test_a_proxy_that_wants_a_login_fails_at_tls_with_what_to_write(tmp_path, monkeypatch):
    with proxying({}, password="ann:secret") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        error = verdict(Run(tmp_path, FAR), STAGES[2])
    assert "HTTP 407" in error.what
    assert "HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT" in error.next_step
