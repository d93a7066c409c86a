"""One policy for every request: what runs out, what is refused, what is named, what is capped."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from fetch_support import asked_from, raw, reply
from network_support import VARIABLES
from support import FIND_US

from modelmedic import exchange, patience, transfer
from modelmedic.pace import Pace, Spending
from modelmedic.patience import Bandwidth
from modelmedic.testing.hub import Fault, LoopbackHub
from modelmedic.transfer import TransferFailed, Wanted

DATA = random.Random(31).randbytes(1_000_000)
SHA = hashlib.sha256(DATA).hexdigest()
WANTED = Wanted(len(DATA), SHA)
NO_SLEEP = {"sleep": lambda _seconds: None}


@pytest.fixture(autouse=True)
def calm(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hub():
    with LoopbackHub() as hub:
        hub.add_repo("org/model", {"a.safetensors": DATA})
        yield hub


@pytest.fixture
def part(tmp_path):
    handle = os.open(tmp_path / "part", os.O_RDWR | os.O_CREAT)
    yield handle
    os.close(handle)


def url(hub):
    return f"{hub.endpoint}/org/model/resolve/main/a.safetensors"


def content(handle):
    os.lseek(handle, 0, os.SEEK_SET)
    return os.read(handle, 2 * len(DATA))


def sides(hub):
    return [record.side for record in hub.requests]


# -- deadlines -------------------------------------------------------------------------------------


def test_no_total_limit_cuts_a_transfer_above_the_floor(hub, part, monkeypatch):
    monkeypatch.setattr(transfer, "_seconds_for", lambda _wanted: 1.0)
    monkeypatch.setattr(patience, "FLOOR_WINDOW_SECONDS", 0.1)
    hub.fault("cdn GET", Fault(bytes_per_second=400_000))  # two and a half times the limit
    assert transfer.fetch(url(hub), part, WANTED) == len(DATA)
    assert sides(hub) == ["hub", "cdn"]


def test_nor_one_that_breaks_off_again_and_again(hub, part, monkeypatch):
    monkeypatch.setattr(transfer, "_seconds_for", lambda _wanted: 2.0)  # a pause is one at most
    monkeypatch.setattr(patience, "FLOOR_WINDOW_SECONDS", 0.2)
    fault = Fault(bytes_per_second=400_000, cut_after_bytes=50_000)  # before a window is full
    hub.fault("cdn GET", fault, times=None)
    extras = NO_SLEEP | {"spending": Spending(replace(patience.PACE, first_seconds=1.0))}
    assert transfer.fetch(url(hub), part, WANTED, extras=extras) == len(DATA)


def test_what_brings_next_to_nothing_renews_no_deadline(part, monkeypatch):
    monkeypatch.setattr(transfer, "_seconds_for", lambda _wanted: 1.5)
    monkeypatch.setattr(patience, "FLOOR_WINDOW_SECONDS", 0.1)
    monkeypatch.setattr(patience, "MAX_ROUNDS", 2000)

    def answer(_server, connection, head):
        start = asked_from(head) or 0
        told = f"Content-Range: bytes {start}-{len(DATA) - 1}/{len(DATA)}"
        rest = f"Content-Length: {len(DATA) - start}"
        body = DATA[start : start + 1]
        connection.sendall(reply("206 Partial Content", told, rest, length=False, body=body))

    with raw(answer) as server, pytest.raises(TransferFailed, match="time allowed"):
        transfer.fetch(server.url, part, WANTED, extras=NO_SLEEP)


# -- signed addresses ------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
def test_a_signed_address_that_ran_out_midway_is_asked_for_again(hub, part, status):
    hub.fault("cdn GET", Fault(cut_after_bytes=400_000))
    hub.fault("cdn GET", Fault(status=status), times=2)
    assert transfer.fetch(url(hub), part, WANTED, extras=NO_SLEEP) == len(DATA)
    assert sides(hub) == ["hub", "cdn"] * 4
    assert content(part) == DATA


def test_a_content_network_that_refuses_always_is_left_and_named(hub, part):
    hub.fault("cdn GET", Fault(status=403), times=None)
    with pytest.raises(TransferFailed, match="answers HTTP 403") as raised:
        transfer.fetch(url(hub), part, WANTED, extras=NO_SLEEP)
    assert hub.cdn_endpoint in str(raised.value)
    assert len(hub.requests) == 2 * patience.ATTEMPTS


def test_a_refusal_of_the_source_itself_is_final(hub, part):
    hub.fault("hub GET", Fault.gated(), times=None)
    with pytest.raises(TransferFailed, match="gated"):
        transfer.fetch(url(hub), part, WANTED, extras={"sleep": pytest.fail})
    assert len(hub.requests) == 1


# -- Retry-After -----------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["hub", "cdn"])
@pytest.mark.parametrize("told", ["86400", "Thu, 01 Jan 2099 00:00:00 GMT"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_day_long_wait_is_reported_at_every_hop(hub, part, side, told, status):
    fault = Fault(status=status, headers={"Retry-After": told})
    hub.fault(f"{side} GET", fault, times=None)
    with pytest.raises(TransferFailed, match=r"asks to wait [0-9]{5,} s"):
        transfer.fetch(url(hub), part, WANTED, extras={"sleep": pytest.fail})


# -- Xet -------------------------------------------------------------------------------------------


def test_a_hub_that_advertises_xet_is_asked_over_plain_http(hub, part):
    """The address of the Xet storage refuses every connection; nobody knocks there."""
    with socket.create_server(("127.0.0.1", 0)) as storage:
        storage.settimeout(0.0)
        where = f"http://127.0.0.1:{storage.getsockname()[1]}"
        headers = {
            "X-Xet-Hash": "0" * 64,
            "X-Xet-Cas-Url": where,
            "X-Xet-Refresh-Route": f"{where}/token",
            "Link": f'<{where}/token>; rel="xet-auth", <{where}/r>; rel="xet-reconstruction-info"',
            "X-Linked-Etag": f'"{SHA}"',
            "X-Linked-Size": str(len(DATA)),
            "Location": hub_address(hub),
        }
        hub.fault("hub GET", Fault(status=302, headers=headers))
        assert transfer.fetch(url(hub), part, WANTED, extras={"sleep": pytest.fail}) == len(DATA)
        with pytest.raises(BlockingIOError):
            storage.accept()
    assert sides(hub) == ["hub", "hub", "cdn"]
    assert content(part) == DATA


def hub_address(hub):
    """Return the address on the content network that the Hub redirects to."""
    import requests

    with requests.Session() as session:
        session.trust_env = False
        answer = session.head(url(hub), allow_redirects=False, timeout=10)
    return answer.headers["Location"]


# -- proxies ---------------------------------------------------------------------------------------


def test_a_dead_proxy_is_named_without_its_credentials(part, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://us%40er:secret@127.0.0.1:9")
    with pytest.raises(
        TransferFailed, match=r"refused \(asked through the proxy 127\.0\.0\.1:9\)"
    ) as raised:
        transfer.fetch("http://hub.invalid/file", part, WANTED, extras=NO_SLEEP)
    assert "secret" not in str(raised.value)
    assert "us" not in str(raised.value).split("proxy")[1]


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:99999999", "http://[::1"])
def test_a_proxy_that_is_no_address_is_said(part, monkeypatch, proxy):
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(TransferFailed, match="proxy"):
        transfer.fetch("http://hub.invalid/file", part, WANTED, extras=NO_SLEEP)


def test_a_proxy_that_is_not_asked_is_not_named(part, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(TransferFailed, match="refused") as raised:
        transfer.fetch("http://127.0.0.1:10/file", part, WANTED, extras=NO_SLEEP)
    assert "proxy" not in str(raised.value)


# -- tries and budgets -----------------------------------------------------------------------------


@pytest.mark.parametrize("in_ranges", [False, True])
def test_a_transfer_tries_as_often_as_was_set_and_no_more_than_the_run_may(hub, part, in_ranges):
    def go(spending):
        hub.clear()
        hub.fault("hub GET", Fault(status=503), times=None)
        extras = NO_SLEEP | {"spending": spending}
        with pytest.raises(TransferFailed) as caught:  # noqa: PT012
            if in_ranges:
                whole = [(0, len(DATA))]
                take = lambda _at, _block: None  # noqa: E731
                transfer.fetch_ranges([url(hub)], whole, len(DATA), take, sha256=SHA, extras=extras)
            else:
                transfer.fetch(url(hub), part, WANTED, extras=extras)
        return len(hub.requests), caught.value.what

    assert go(Spending(Pace(tries=2)))[0] == 2
    assert go(Spending(Pace(tries=1)))[0] == 1
    of_run = Spending(Pace(tries=9, budget_count=3))
    count, told = go(of_run)
    assert count == 4
    assert "this run tries again at most 3 times" in told
    assert go(of_run)[0] == 1


# -- bandwidth -------------------------------------------------------------------------------------


def test_the_bandwidth_is_shared_and_not_saved_up(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(patience.time, "monotonic", lambda: now[0])
    cap = Bandwidth(1000)
    now[0] = 500.0
    assert cap.seconds_for(1000) == 0.0  # the second that passed
    assert cap.seconds_for(500) == 0.5
    assert cap.seconds_for(500) == 1.0  # of another connection
    now[0] += 1.0
    assert cap.seconds_for(1) == pytest.approx(0.001)


@pytest.mark.parametrize("in_ranges", [True, False])
def test_a_transfer_waits_as_the_bandwidth_says(hub, part, in_ranges):
    slept = []
    extras = {"bandwidth": Bandwidth(len(DATA) // 100), "sleep": slept.append}
    if in_ranges:
        transfer.fetch_ranges(
            [url(hub)], [(0, len(DATA))], len(DATA), lambda _at, _data: None, sha256=SHA,
            extras=extras,
        )  # fmt: skip
    else:
        transfer.fetch(url(hub), part, WANTED, extras=extras)
    # Nobody really slept, so each wait is to the end of all that came before.
    assert 95 < max(slept) <= 100


def test_a_cap_is_no_slow_server(hub, part, monkeypatch):
    monkeypatch.setattr(patience, "FLOOR_BYTES_PER_SECOND", 5_000_000)
    monkeypatch.setattr(patience, "FLOOR_WINDOW_SECONDS", 0.2)
    extras = {"bandwidth": Bandwidth(2_000_000)}
    assert transfer.fetch(url(hub), part, WANTED, extras=extras) == len(DATA)


# -- names and Ctrl-C ------------------------------------------------------------------------------


def test_a_name_that_is_never_found_is_given_up(part, monkeypatch):
    gone = threading.Event()
    monkeypatch.setattr(exchange, "CONNECT_SECONDS", 0.1)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: [] * gone.wait(60))
    try:
        with pytest.raises(TransferFailed, match=r"the name hub\.invalid could not be looked up"):
            transfer.fetch("http://hub.invalid/file", part, WANTED, extras=NO_SLEEP)
    finally:
        gone.set()


CHILD = """
import os, socket, sys, threading
from modelmedic import exchange, transfer
exchange.CONNECT_SECONDS = exchange.READ_SECONDS = exchange.CALL_SECONDS = 600.0
if sys.argv[1] == "name":  # as a system's resolver: deaf to signals
    def getaddrinfo(*args, **options):
        print("waiting", flush=True)
        while True:
            try:
                threading.Event().wait(600)
            except KeyboardInterrupt:
                pass
    socket.getaddrinfo = getaddrinfo
handle = os.open(sys.argv[3], os.O_RDWR | os.O_CREAT)
try:
    transfer.fetch(sys.argv[2], handle, transfer.Wanted(1000, "0" * 64))
except KeyboardInterrupt:
    os._exit(7)
"""


@pytest.mark.skipif(os.name == "nt", reason="no signals between processes there")
@pytest.mark.parametrize("where", ["name", "header", "redirect"])
def test_ctrl_c_is_heard_wherever_it_waits(tmp_path, where):
    asked = threading.Event()

    def answer(server, connection, head):
        if where == "redirect" and head.startswith("GET /file "):
            connection.sendall(reply("302 Found", "Location: /else"))
            return
        asked.set()
        server.stopped.wait(60)

    with raw(answer) as server:
        address = "http://hub.invalid/file" if where == "name" else server.url
        command = [
            sys.executable,
            "-I",
            "-c",
            FIND_US + CHILD,
            where,
            address,
            str(tmp_path / "part"),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            rescue = threading.Timer(60, process.kill)
            rescue.start()
            try:
                assert process.stdout.readline() if where == "name" else asked.wait(60)
                process.send_signal(signal.SIGINT)
                assert process.wait(30) == 7  # every wait of the child would last for ten minutes
            finally:
                rescue.cancel()
                process.kill()
