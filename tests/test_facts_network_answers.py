"""What an HTTP answer is: a Hub's own, a login page, a rate limit, an attack."""

from __future__ import annotations

import datetime as dt

import network_facts_support
import pytest
from network_facts_support import reach, repo
from network_support import Reply, endpoint, serving

calm_network = network_facts_support.calm_network


def http_fact(tmp_path, reply, kind="hub"):
    with serving(reply) as server:
        return reach(tmp_path, endpoint(server.url, kind=kind), models=(repo(),))


def test_a_login_page_is_html_and_not_from_a_hub(tmp_path):
    page = b"<!DOCTYPE html><title>Sign in</title>"
    fact = http_fact(tmp_path, Reply(200, page, {"Content-Type": "application/json"}))
    assert (fact.content, fact.is_from_hub) == ("html", False)


def test_a_redirect_to_another_host_is_named_and_not_followed(tmp_path):
    fact = http_fact(tmp_path, Reply(302, b"", {"Location": "http://login.invalid/?u=x"}))
    assert (fact.status, fact.redirect) == (302, "http://login.invalid")


def test_a_redirect_within_the_server_is_none(tmp_path):
    fact = http_fact(tmp_path, Reply(307, b"", {"Location": "/api/models/acme/renamed"}))
    assert fact.redirect == ""


def test_a_rate_limit_says_how_long(tmp_path):
    fact = http_fact(
        tmp_path, Reply(429, b"{}", {"Retry-After": "17", "RateLimit": '"api";r=0;t=55'})
    )
    assert (fact.status, fact.limits.wait_seconds, fact.limits.remaining) == (429, 17.0, 0)


def test_a_rate_limit_window_is_used_without_retry_after(tmp_path):
    fact = http_fact(tmp_path, Reply(429, b"{}", {"RateLimit": '"api";r=0;t=55'}))
    assert fact.limits.wait_seconds == 55.0


def test_a_retry_after_date_becomes_seconds(tmp_path):
    from email.utils import format_datetime

    later = dt.datetime.now(tz=dt.timezone.utc) + dt.timedelta(seconds=100)
    fact = http_fact(tmp_path, Reply(429, b"{}", {"Retry-After": format_datetime(later)}))
    assert 90 < fact.limits.wait_seconds <= 100


@pytest.mark.parametrize("told", ["soon", "-5", "99999999999999", "Mon, 99 Foo 2026"])
def test_a_retry_after_that_means_nothing_is_none(tmp_path, told):
    fact = http_fact(tmp_path, Reply(429, b"{}", {"Retry-After": told}))
    assert fact.limits.wait_seconds is None


def test_hostile_headers_are_shown_escaped_and_short(tmp_path):
    fact = http_fact(
        tmp_path, Reply(404, b"{}", {"X-Error-Message": "\x1b[31m" + "x" * 900, "Server": "a\x07b"})
    )
    assert "\x1b" not in fact.error_message
    assert len(fact.error_message) <= 200
    assert fact.server == "a\\x07b"


def test_a_body_without_end_is_read_only_to_its_bound(tmp_path):
    with serving(Reply(200, b'{"sha": "' + b"x" * (3 << 20))) as server:
        fact = reach(tmp_path, endpoint(server.url, kind="hub"), models=(repo(),))
    assert (fact.status, fact.content) == (200, "json")
