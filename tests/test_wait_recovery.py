"""The recovery wait_and_ask_again: what passes is waited for, seen, bounded, and nothing more."""

from __future__ import annotations

import os
import random
import shutil
import time

import pytest
from demo_support import Desk, snapshot
from network_support import Reply, calm, serving
from proxy_support import demo_profile
from support import make_facts, make_profile
from toxic_proxy_support import HEALTHY, Toxic, toxic_proxy

from modelmedic.errors import NotItsCase, RecoveryRefused
from modelmedic.operations import kinds, wait_for_server
from modelmedic.operations.base import Workshop
from modelmedic.operations.tree import Tree
from modelmedic.operations.wait_for_server import WaitForServer
from modelmedic.profile.model import Endpoint
from modelmedic.strategies import network
from modelmedic.testing.conformance import prepare_demo
from modelmedic.testing.hub import demo_hub

pytestmark = pytest.mark.once  # nothing in it depends on the version of Python
HTTP_CHECK = "network.http[demo-hub]"
# Every wait is a twentieth of a second: how long it is drawn is tested by itself.
SHORT = "import random; random.uniform = lambda _from, _to: 0.05; "


@pytest.fixture
def desk(tmp_path, monkeypatch):
    calm(monkeypatch)
    folder = tmp_path / "desk"
    folder.mkdir()
    prepare_demo(folder / "demo-install")
    return Desk(folder, env={"PIP_CONFIG_FILE": os.devnull}, first=SHORT)


def run(desk, url, *options):
    profile = demo_profile(desk.folder.parent, url)
    return desk.run(
        f"--install-dir={desk.install}", "--stage=installed", "-k", "network", *options,
        profile=profile,
    )  # fmt: skip


def answering(*first):
    """Return a reply that is each of ``first`` once, then a Hub's answer; None counts as one."""
    left = list(first)

    def reply(_seen):
        return left.pop(0) if left else Reply(body=b'{"sha": "abc", "id": "modelmedic/demo"}')

    return reply


def test_a_server_in_trouble_is_waited_for_and_the_check_is_healed(desk):
    before = snapshot(desk.install)
    with serving(answering(*[Reply(503)] * 4)) as server:
        healed = run(desk, server.url, "--heal", "-k", "network.http or test_server_answers")
    finding = healed.finding(HTTP_CHECK)
    assert finding["outcome"] == "healed", healed.out
    assert "HTTP 503" in finding["what"]
    attempt = finding["attempts"][0]
    assert attempt["recovery"] == "wait_and_ask_again"
    assert (
        "wait up to 2.0 s, then up to 4.0 s, then up to 8.0 s" in attempt["operations"][0]["text"]
    )
    assert "modelmedic undo" not in healed.out
    assert snapshot(desk.install) == before


def test_a_connection_that_is_reset_once_is_waited_for(desk):
    with (
        demo_hub() as hub,
        toxic_proxy(
            int(hub.endpoint.rpartition(":")[2]),
            # Three only time the connection; other checks begin to ask at the same time.
            lambda number: Toxic(reset_after_bytes=20) if number <= 6 else HEALTHY,
        ) as proxy,
    ):
        url = f"http://127.0.0.1:{proxy.port}"
        healed = run(desk, url, "--heal", "-k", "test_server_answers")
    finding = healed.finding(HTTP_CHECK)
    assert finding["outcome"] == "healed", healed.out
    assert [each["verdict"] for each in finding["attempts"]] == ["healed"]


def test_a_server_that_stays_in_trouble_stays_failed(desk):
    shutil.rmtree(desk.install / "model")  # else the run could go on offline
    with serving(Reply(503)) as server:
        failed = run(desk, server.url, "--heal", "-k", "test_server_answers")
        asked = [each for each in server.seen if "/revision/" in each.target]
    finding = failed.finding(HTTP_CHECK)
    assert finding["outcome"] == "failed"
    verdicts = {each["recovery"]: each["verdict"] for each in finding["attempts"]}
    assert verdicts["wait_and_ask_again"] == "not healed"
    assert len(asked) >= 1 + 3 + 1, "the check, each wait, the check again"


@pytest.fixture
def shop(tmp_path, monkeypatch):
    calm(monkeypatch)
    slept = []
    return Workshop(Tree(tmp_path), "run", extras={"sleep": slept.append}), slept


def wait_for(server, **more):
    return WaitForServer("hub", server.url, "GET /api", (2, 4, 8), **more)


def apply(shop, operation):
    operation.apply(shop, operation.prepare(shop, "seat"))


def test_each_wait_is_drawn_below_its_longest_and_ends_with_an_answer(shop):
    workshop, slept = shop
    random.seed(7)
    with serving(answering(Reply(500))) as server:
        apply(workshop, wait_for(server))
        assert len(server.seen) == 2
    assert len(slept) == 2
    assert 0 <= slept[0] <= 2
    assert 0 <= slept[1] <= 4


def test_what_the_server_asks_for_is_the_least_wait(shop):
    workshop, slept = shop
    again = Reply(429, headers={"Retry-After": "33"})
    with serving(answering(again)) as server:
        operation = wait_for(server, least_seconds=12)
        assert "the server asks for at least 12 s" in operation.describe()
        assert operation.cost().seconds == 36
        apply(workshop, operation)
    assert slept == [12, 33]


def test_a_server_that_asks_for_more_than_a_run_waits_is_left(shop):
    workshop, slept = shop
    with serving(Reply(429, headers={"Retry-After": "600"})) as server:
        apply(workshop, wait_for(server))
    assert len(slept) == 1


def test_the_budget_of_the_run_ends_the_waiting(shop, monkeypatch):
    workshop, slept = shop
    monkeypatch.setattr(wait_for_server.random, "uniform", lambda _from, to: to)
    workshop.ends_at = time.monotonic() + 6.0
    with serving(Reply(503)) as server:
        apply(workshop, wait_for(server))
        assert len(server.seen) == 2
    assert slept == [2, 4]
    with pytest.raises(RecoveryRefused, match="heal-budget-seconds"):
        wait_for(server, least_seconds=7).prepare(workshop, "seat")


def test_it_says_that_nothing_is_to_be_put_back(shop):
    workshop, _slept = shop
    operation = WaitForServer("hub", "http://127.0.0.1:9", "GET /", (2,))
    assert "it only waited" in operation.undo(workshop, {})
    assert not kinds.is_lasting(operation.to_json())
    assert kinds.from_json(operation.to_json()) == operation


@pytest.mark.parametrize(
    ("reply", "waits"),
    [
        (Reply(503), True),
        (Reply(429, headers={"Retry-After": "7"}), True),
        (Reply(404), False),
        (Reply(200, b"<html>log in</html>"), False),
    ],
)
def test_only_what_passes_is_waited_for(tmp_path, monkeypatch, reply, waits):
    calm(monkeypatch)
    with serving(reply) as server:
        endpoint = Endpoint("hub", server.url, "hub")
        facts = make_facts(tmp_path, make_profile(endpoints=(endpoint,)))
        if not waits:
            with pytest.raises(NotItsCase):
                list(network.plan_wait(facts, "hub"))
            return
        (operation,) = network.plan_wait(facts, "hub")
    assert operation.least_seconds == (7 if reply.status == 429 else 0)


def test_the_waits_are_those_of_the_one_pace(tmp_path, monkeypatch):
    calm(monkeypatch)
    with serving(Reply(503)) as server:
        endpoint = Endpoint("hub", server.url, "hub")
        facts = make_facts(tmp_path, make_profile(endpoints=(endpoint,)))
        (operation,) = network.plan_wait(facts, "hub")
        assert operation.waits_seconds == (2, 4, 8)
        monkeypatch.setenv("MODELMEDIC_RETRY_TRIES", "2")
        monkeypatch.setenv("MODELMEDIC_RETRY_FIRST_SECONDS", "1")
        (operation,) = network.plan_wait(facts, "hub")
        assert operation.waits_seconds == (1, 2)


def test_a_wait_that_is_too_long_for_a_run_is_refused_with_the_time(tmp_path, monkeypatch):
    calm(monkeypatch)
    with serving(Reply(429, headers={"Retry-After": "3600"})) as server:
        endpoint = Endpoint("hub", server.url, "hub")
        facts = make_facts(tmp_path, make_profile(endpoints=(endpoint,)))
        with pytest.raises(RecoveryRefused, match="start again in 60 min"):
            list(network.plan_wait(facts, "hub"))
