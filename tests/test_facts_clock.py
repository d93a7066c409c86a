"""The clock against servers: real ones on loopback, with TLS and with wrong dates."""

from __future__ import annotations

import contextlib
import datetime as dt
import http.server
import socket
import ssl
import threading
from email.utils import format_datetime

import pytest
import trustme
from support import make_facts, make_profile

from modelmedic.errors import CannotTell
from modelmedic.facts import clock
from modelmedic.profile.model import Endpoint


@contextlib.contextmanager
def server(ahead_seconds=0.0, status=200, date=True, context=None):
    """A server whose clock is ahead of ours by so many seconds."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response_only(status)
            if date:
                now = dt.datetime.now(dt.timezone.utc)
                stated = now + dt.timedelta(seconds=ahead_seconds)
                self.send_header("Date", format_datetime(stated, usegmt=True))
            if status == 302:
                self.send_header("Location", "http://127.0.0.1:9/never")
            self.end_headers()

        def log_message(self, *args):
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context:
        httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    scheme = "https" if context else "http"
    try:
        yield Endpoint("hub", f"{scheme}://127.0.0.1:{httpd.server_port}", "hub")
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


def ask(endpoint):
    return clock.server_time(endpoint)


def ask_all(place, *endpoints):
    return make_facts(place, make_profile(endpoints=endpoints)).get(clock.read_server_times)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.mark.parametrize("ahead", [-7200, 0, 400])
def test_the_difference_to_a_server_is_measured(ahead):
    with server(ahead_seconds=ahead) as endpoint:
        found = ask(endpoint)
    assert found.endpoint == "hub"
    assert found.ahead_seconds == pytest.approx(-ahead, abs=3)


@pytest.mark.parametrize("status", [302, 401, 404, 503])
def test_any_answer_tells_the_time_and_a_redirect_is_not_followed(status):
    with server(ahead_seconds=100, status=status) as endpoint:
        assert ask(endpoint).ahead_seconds == pytest.approx(-100, abs=3)


def test_an_answer_without_a_date_is_unknown():
    with server(date=False) as endpoint, pytest.raises(CannotTell, match="without a date"):
        ask(endpoint)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "embedded:demo", "file:///etc/hostname"])
def test_a_server_that_is_not_there_is_unknown(url):
    with pytest.raises(CannotTell):
        ask(Endpoint("hub", url, "hub"))


def tls(dates):
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", **dates)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return authority, context


def test_a_certificate_that_cannot_be_trusted_is_unknown_and_never_accepted():
    _, context = tls({})
    with server(context=context) as endpoint, pytest.raises(CannotTell) as caught:
        ask(endpoint)
    assert not isinstance(caught.value, clock.ClockSuspected)


def test_a_certificate_out_of_its_dates_casts_suspicion_on_the_clock(monkeypatch):
    expired = dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)
    authority, context = tls({"not_before": expired, "not_after": expired.replace(year=2021)})
    with authority.cert_pem.tempfile() as roots, server(context=context) as endpoint:
        monkeypatch.setenv("SSL_CERT_FILE", roots)
        with pytest.raises(clock.ClockSuspected, match="no longer valid"):
            ask(endpoint)


def test_a_trusted_server_over_tls_tells_its_time(monkeypatch):
    authority, context = tls({})
    with authority.cert_pem.tempfile() as roots, server(context=context) as endpoint:
        monkeypatch.setenv("SSL_CERT_FILE", roots)
        assert abs(ask(endpoint).ahead_seconds) < 3


@pytest.mark.parametrize(("year", "is_possible"), [(1970, False), (2025, False), (2036, False)])
def test_dates_before_this_program_or_far_after_it_cannot_be(year, is_possible):
    then = dt.datetime(year, 6, 1, tzinfo=dt.timezone.utc)
    assert clock.Clock(then).is_possible is is_possible
    assert clock.Clock(clock.FLOOR).is_possible


def test_the_servers_are_asked_together_and_the_least_difference_counts(tmp_path):
    with server(ahead_seconds=5000) as wrong, server(ahead_seconds=100) as right:
        dead = Endpoint("dead", "http://127.0.0.1:9", "other")
        found = ask_all(tmp_path, wrong, dead, right)
    assert len(found.times) == 2
    assert found.ahead_seconds == pytest.approx(-100, abs=3)


def test_a_server_that_hangs_is_given_up_and_nobody_answers_for_it(tmp_path, monkeypatch):
    monkeypatch.setattr(clock, "_ALL_SECONDS", 0.3)
    monkeypatch.setattr(clock, "_TIMEOUT_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hanging = Endpoint("slow", f"http://127.0.0.1:{silent.getsockname()[1]}", "other")
        found = ask_all(tmp_path, hanging)
        assert found == clock.ServerTimes(())
        assert found.ahead_seconds is None
        with server() as endpoint:
            assert len(ask_all(tmp_path, hanging, endpoint).times) == 1


def test_a_refused_certificate_is_kept_as_a_suspicion(tmp_path, monkeypatch):
    expired = dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)
    authority, context = tls({"not_before": expired, "not_after": expired.replace(year=2021)})
    with authority.cert_pem.tempfile() as roots, server(context=context, date=False) as endpoint:
        monkeypatch.setenv("SSL_CERT_FILE", roots)
        found = ask_all(tmp_path, endpoint)
    assert "no longer valid" in found.suspicion
    assert found.times == ()


def test_how_wrong_the_clock_is_comes_from_a_server_proven_in_all_but_its_dates(
    tmp_path, monkeypatch
):
    begins = dt.datetime.now(dt.timezone.utc) + dt.timedelta(days=2)
    authority, context = tls({"not_before": begins})
    with (
        authority.cert_pem.tempfile() as roots,
        server(ahead_seconds=3 * 86_400, context=context) as endpoint,
    ):
        monkeypatch.setenv("SSL_CERT_FILE", roots)
        found = ask_all(tmp_path, endpoint)
        assert found.ahead_seconds == pytest.approx(-3 * 86_400, abs=5)
        assert found.suspicion == ""
        monkeypatch.delenv("SSL_CERT_FILE")  # nobody's root: not asked for the time either
        assert ask_all(tmp_path, endpoint) == clock.ServerTimes(())


def test_without_endpoints_nobody_is_asked(tmp_path):
    assert ask_all(tmp_path) == clock.ServerTimes(())
