"""The stages on the way to a server, and what its answers are worth."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import network_checks_support
import pytest
from network_checks_support import ALL, STAGES, Run, checks, skipped, verdict
from network_support import (
    Reply,
    black_hole,
    endpoint,
    impatient,
    refusing_port,
    serving,
    silent_after_connect,
)

from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import network
from modelmedic.testing.hub import Fault

calm_network = network_checks_support.calm_network
hub = network_checks_support.hub


def test_everything_holds_for_a_hub_that_is_well(hub, tmp_path):
    run = Run(tmp_path, endpoint(hub.endpoint, name="hub", kind="hub"))
    checks.warm(run.facts)
    for name in [*STAGES, "test_hub_gives_out_the_models", "test_no_server_limits_this_machine"]:
        run.check(name)
    run.check("test_proxy_settings_work")
    assert run.losses == []


@pytest.mark.parametrize("name", ALL)
def test_offline_every_check_is_skipped_and_nothing_is_asked(hub, tmp_path, name):
    run = Run(tmp_path, endpoint(hub.endpoint, name="hub", kind="hub"), offline=True)
    checks.warm(run.facts)
    assert "--offline was given" in skipped(run, name)
    assert hub.requests == ()


def test_every_check_has_an_id_a_title_and_guidance():
    ids = []
    for name in ALL:
        marks = {mark.name: mark for mark in getattr(checks, name).pytestmark}
        ids.append(marks["check"].args[0])
        if "recover" not in marks:
            anchor = marks["guidance"].args[0].partition("#")[2]
            assert anchor == ids[-1].replace(".", "-")
        assert getattr(checks, name).__doc__.splitlines()[0].endswith(".")
    assert sorted(ids) == sorted(
        f"network.{word}"
        for word in (
            [
                "proxy",
                "dns",
                "tcp",
                "tls",
                "http",
                "latency",
                "index",
                "hub-token",
                "hub-access",
                "rate-limit",
            ]
        )
    )


def test_a_name_that_does_not_exist_fails_with_the_name_and_the_next_step(tmp_path):
    run = Run(tmp_path, endpoint("https://no-such-host.invalid", name="hub", kind="hub"))
    error = verdict(run, STAGES[0])
    assert "no-such-host.invalid" in error.what
    assert error.next_step
    assert error.subject == "hub"


def test_a_refused_connection_fails_with_host_and_port(tmp_path):
    port = refusing_port()
    error = verdict(Run(tmp_path, endpoint(f"http://127.0.0.1:{port}")), STAGES[1])
    assert f"127.0.0.1:{port} refuses the connection" in error.what


def test_a_lost_stage_is_the_verdict_of_a_later_check_run_alone(tmp_path):
    run = Run(tmp_path, endpoint(f"http://127.0.0.1:{refusing_port()}"))
    assert "refuses the connection" in verdict(run, "test_server_answers_as_itself").what


def test_an_optional_server_that_is_lost_is_one_loss_and_then_skipped(tmp_path):
    run = Run(tmp_path, endpoint(f"http://127.0.0.1:{refusing_port()}", is_required=False))
    run.check(STAGES[0])
    run.check(STAGES[1])
    assert len(run.losses) == 1
    assert "earlier stage" in skipped(run, STAGES[2])
    assert "earlier stage" in skipped(run, STAGES[3])
    assert skipped(run, STAGES[4])
    assert len(run.losses) == 1


@pytest.mark.skipif("sys.platform != 'linux'", reason="only Linux drops what a full queue gets")
def test_when_everything_is_silent_the_area_still_ends(tmp_path, monkeypatch):
    impatient(monkeypatch)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with black_hole() as hole, silent_after_connect() as mute:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{mute}/simple")
        servers = [
            endpoint(f"http://127.0.0.1:{hole}", name="hole"),
            endpoint(f"https://127.0.0.1:{mute}", name="mute-tls"),
            endpoint(f"http://127.0.0.1:{mute}", name="hub", kind="hub"),
        ]
        run = Run(tmp_path, *servers, target_python=Path(sys.executable))
        started = time.monotonic()
        checks.warm(run.facts)
        assert "takes no connection" in verdict(run, STAGES[1], servers[0]).what
        assert "TLS handshake" in verdict(run, STAGES[2], servers[1]).what
        assert "no HTTP answer" in verdict(run, STAGES[3], servers[2]).what
        with pytest.raises(CannotTell):
            run.check("test_hub_gives_out_the_models", servers[2])
        assert "gives no answer" in verdict(run, "test_package_index_answers").what
        assert time.monotonic() - started < 15  # they wait together, not one after the other


def answered(tmp_path, reply, kind="hub", **overrides):
    with serving(reply) as server:
        run = Run(tmp_path, endpoint(server.url, name="hub", kind=kind, **overrides))
        try:
            run.check("test_server_answers_as_itself")
        except Unhealthy as error:
            return error
        return run.losses


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (Reply(200, b"<html>Sign in"), "hub", "web page"),
        (Reply(200, b"<html>Sign in"), "modelscope", "web page"),
        (Reply(302, b"", {"Location": "http://login.invalid"}), "hub", "http://login.invalid"),
        (Reply(511, b"<html>"), "other", "web page"),
        (Reply(407, b"", {"Proxy-Authenticate": "NTLM"}), "other", "NTLM"),
        (Reply(503), "other", "HTTP 503"),
        (Reply(502), "hub", "HTTP 502"),
        (Reply(403, b"<html>blocked"), "hub", "HTTP 403"),
        (Reply(403, b"blocked"), "wheels", "HTTP 403"),
        (Reply(404, b"<html>nothing"), "hub", "HTTP 404"),
        (Reply(404), "wheels", "HTTP 404"),
    ],
)
def test_an_answer_that_is_not_the_servers_own_fails(tmp_path, reply, kind, words):
    error = answered(tmp_path, reply, kind)
    assert isinstance(error, Unhealthy)
    assert words in error.what
    assert error.evidence["status"] == reply.status


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(200, b'{"sha": "0"}'), "hub"),
        (Reply(401, b'{"error": "x"}', {"X-Error-Code": "RepoNotFound"}), "hub"),
        (Reply(404, b"{}", {"X-Error-Code": "RevisionNotFound"}), "hub"),
        (Reply(307, b"", {"Location": "/api/models/acme/renamed"}), "hub"),
        (Reply(429), "hub"),
        (Reply(200, b'{"Code": 200}'), "modelscope"),
        (Reply(404), "other"),
        (Reply(200, b"<html>"), "other"),
        (Reply(302, b"", {"Location": "https://www.other.invalid"}), "other"),
    ],
)
def test_an_answer_of_the_server_itself_holds(tmp_path, reply, kind):
    assert answered(tmp_path, reply, kind) == []


def test_a_bad_answer_of_an_optional_server_is_a_loss(tmp_path):
    ((what, _why, _next, failure_id),) = answered(
        tmp_path, Reply(200, b"<html>"), is_required=False
    )
    assert "web page" in what
    assert failure_id == "error-page-saved-as-weight"


def test_a_slow_connection_and_a_slow_answer_are_losses(tmp_path, monkeypatch):
    with serving() as server:
        run = Run(tmp_path, endpoint(server.url))
        run.check("test_server_is_near_enough")
        assert run.losses == []
        monkeypatch.setattr(checks, "SLOW_CONNECTION_SECONDS", 0.0)
        monkeypatch.setattr(checks, "SLOW_ANSWER_SECONDS", 0.0)
        run.check("test_server_is_near_enough")
    assert [loss[0].partition(" http")[0].split(" 127")[0] for loss in run.losses] == [
        "A connection to",
        "An answer of",
    ]


def test_a_rate_limit_fails_with_the_time_to_wait(tmp_path):
    with serving(Reply(429, b"{}", {"Retry-After": "90"})) as server:
        run = Run(tmp_path, endpoint(server.url, name="hub", kind="hub"))
        error = verdict(run, "test_no_server_limits_this_machine")
    assert "90 s" in error.what
    assert error.failure_id == "rate-limited-429"


def test_a_rate_limit_on_the_files_alone_is_found(hub, tmp_path):
    hub.fault("HEAD /acme/model/resolve", Fault(status=429, headers={"Retry-After": "5"}))
    run = Run(tmp_path, endpoint(hub.endpoint, name="hub", kind="hub"))
    assert "5.0 s" in verdict(run, "test_no_server_limits_this_machine").what


def test_without_any_answer_there_is_no_rate_limit_to_judge(tmp_path):
    run = Run(tmp_path, endpoint(f"http://127.0.0.1:{refusing_port()}"))
    assert "No server" in skipped(run, "test_no_server_limits_this_machine")


def test_the_embedded_hub_that_does_not_run_is_an_unknown(tmp_path):
    run = Run(tmp_path, endpoint("embedded:demo", kind="hub"))
    with pytest.raises(CannotTell):
        run.check(STAGES[0])
    assert network.settings_in_use(run.profile) == frozenset()
