"""A server that keeps us waiting is left: drips never fall silent, so silence is not enough."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import threading
import time

import pytest
import trustme
from fetch_support import asked_from, raw, reply
from network_support import server_context

from modelmedic import exchange, patience, transfer
from modelmedic.testing._faults import Fault
from modelmedic.testing.hub import LoopbackHub
from modelmedic.transfer import TransferFailed, Wanted

DATA = random.Random(13).randbytes(3_000_000)
SHA = hashlib.sha256(DATA).hexdigest()
NO_SLEEP = {"sleep": lambda _seconds: None}
DRIPS = 400  # eight seconds: a client that only minds silence comes to the end of them
MANY = Wanted(DRIPS + 1, SHA)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(patience, "FLOOR_WINDOW_SECONDS", 0.3)
    monkeypatch.setattr(exchange, "CALL_SECONDS", 0.5)


@pytest.fixture
def part(tmp_path):
    handle = os.open(tmp_path / "part", os.O_RDWR | os.O_CREAT)
    yield handle
    os.close(handle)
    assert "transfer-watch" not in {thread.name for thread in threading.enumerate()}


def dripping(head, pieces):
    """Send a head, then piece by piece; the server remembers whether it came to the end."""

    def answer(server, connection, _head):
        connection.sendall(head)
        server.drip(connection, iter(pieces))
        server.came_to_the_end = not server.stopped.is_set()

    return answer


def left(answer, part, reason, wanted=MANY, tls=None):
    with raw(answer, tls) as server:
        server.came_to_the_end = False
        with pytest.raises(TransferFailed, match=reason):
            transfer.fetch(server.url, part, wanted, extras=NO_SLEEP)
    assert not server.came_to_the_end
    assert len(server.heads) == 1


def test_a_body_that_drips_is_left(part):
    head = reply("200 OK", f"Content-Length: {DRIPS + 1}", length=False)
    left(dripping(head, [b"x"] * DRIPS), part, "less than 1 KiB a second")
    assert os.fstat(part).st_size < DRIPS


def test_a_header_that_drips_is_left(part):
    head = b"HTTP/1.1 200 OK\r\nX-Endless: "
    left(dripping(head, [b"x"] * DRIPS), part, "less than 1 KiB a second")


def test_a_chunk_whose_length_drips_is_left(part):
    head = reply("200 OK", "Transfer-Encoding: chunked", body=b"1; name=", length=False)
    left(dripping(head, [b"x"] * DRIPS), part, "less than 1 KiB a second")


@pytest.mark.parametrize("where", ["header", "chunk"])
def test_what_drips_behind_tls_is_left(part, where, monkeypatch, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    chunk = reply("200 OK", "Transfer-Encoding: chunked", body=b"1; name=", length=False)
    head = {"header": b"HTTP/1.1 200 OK\r\nX-Endless: ", "chunk": chunk}[where]
    tls = server_context(authority.issue_cert("127.0.0.1"))
    left(dripping(head, [b"x"] * DRIPS), part, "less than 1 KiB a second", tls=tls)


def test_a_redirect_whose_text_drips_costs_nothing(part):
    def answer(server, connection, head):
        if head.startswith("GET /else "):
            connection.sendall(reply("200 OK", body=DATA))
            return
        connection.sendall(reply("302 F", "Location: /else", "Content-Length: 999", length=False))
        server.drip(connection, itertools.repeat(b"x", 100))

    with raw(answer) as server:
        transfer.fetch(server.url, part, Wanted(len(DATA), SHA))


@pytest.mark.parametrize("where", ["header", "body"])
def test_the_deadline_holds_whatever_drips(part, monkeypatch, where):
    monkeypatch.setattr(transfer, "_seconds_for", lambda _wanted: 0.3)
    monkeypatch.setattr(patience, "FLOOR_WINDOW_SECONDS", 1000.0)
    monkeypatch.setattr(exchange, "CALL_SECONDS", 1000.0)
    monkeypatch.setattr(exchange, "_TICK_SECONDS", 0.1)
    heads = {
        "header": b"HTTP/1.1 200 OK\r\nX-Endless: ",
        "body": reply("200 OK", f"Content-Length: {DRIPS + 1}", length=False),
    }
    left(dripping(heads[where], [b"x"] * DRIPS), part, "time allowed for this file is over")


def test_a_slow_server_above_the_floor_is_waited_for(part, monkeypatch):
    monkeypatch.setattr(patience, "FLOOR_WINDOW_SECONDS", 0.1)
    with LoopbackHub() as hub:
        hub.add_repo("org/model", {"a.safetensors": DATA[:200_000]})
        hub.fault("cdn GET", Fault(bytes_per_second=200_000))
        wanted = Wanted(200_000, hashlib.sha256(DATA[:200_000]).hexdigest())
        url = f"{hub.endpoint}/org/model/resolve/main/a.safetensors"
        assert transfer.fetch(url, part, wanted) == 200_000
        assert len([record for record in hub.requests if record.side == "cdn"]) == 1


def test_a_slow_disk_is_no_slow_server(part, monkeypatch):
    monkeypatch.setattr(patience, "FLOOR_BYTES_PER_SECOND", 5_000_000)
    monkeypatch.setattr(patience, "FLOOR_WINDOW_SECONDS", 0.2)
    with raw(reply("200 OK", body=DATA)) as server:
        transfer.fetch(
            server.url, part, Wanted(len(DATA), SHA), progress=lambda _done: time.sleep(0.1)
        )


def test_silence_in_a_body_is_gone_on_from(part, monkeypatch):
    monkeypatch.setattr(exchange, "READ_SECONDS", 0.3)
    with LoopbackHub() as hub:
        hub.add_repo("org/model", {"a.safetensors": DATA})
        hub.fault("cdn GET", Fault(stall_seconds=60, stall_after_bytes=1_500_000))
        url = f"{hub.endpoint}/org/model/resolve/main/a.safetensors"
        transfer.fetch(url, part, Wanted(len(DATA), SHA), extras=NO_SLEEP)
        ranges = [record.range for record in hub.requests if record.side == "cdn"]
    first, second = ranges
    asked_bytes = int(second.removeprefix("bytes=").removesuffix("-"))
    assert first is None
    assert 0 <= 1_500_000 - asked_bytes < 16_384  # urllib3 before 2 gives whole reads only


@pytest.mark.parametrize("gives", [0, 1000], ids=["nothing", "a-little"])
def test_a_server_that_closes_early_for_ever_is_left(part, gives):
    def answer(_server, connection, head):
        start = asked_from(head) or 0
        told = f"Content-Range: bytes {start}-{len(DATA) - 1}/{len(DATA)}"
        rest = f"Content-Length: {len(DATA) - start}"
        body = DATA[start : start + gives]
        connection.sendall(reply("206 Partial Content", told, rest, length=False, body=body))

    with raw(answer) as server, pytest.raises(TransferFailed, match=r"tries|times"):
        transfer.fetch(server.url, part, Wanted(len(DATA), SHA), extras=NO_SLEEP)
    assert len(server.heads) == (patience.MAX_ROUNDS if gives else patience.ATTEMPTS)


def test_a_bad_line_that_brings_much_each_time_is_not_left(part, monkeypatch):
    monkeypatch.setattr(patience, "UNCOUNTED_BYTES", 20_000)
    monkeypatch.setattr(patience, "MAX_ROUNDS", 10)

    def answer(_server, connection, head):
        start = asked_from(head) or 0
        told = f"Content-Range: bytes {start}-{len(DATA) - 1}/{len(DATA)}"
        rest = f"Content-Length: {len(DATA) - start}"
        body = DATA[start : start + 100_000]
        connection.sendall(reply("206 Partial Content", told, rest, length=False, body=body))

    with raw(answer) as server:
        transfer.fetch(server.url, part, Wanted(len(DATA), SHA), extras=NO_SLEEP)
    assert len(server.heads) == 30
