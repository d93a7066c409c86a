"""A rate limit is honoured: the server's own log shows that nobody came before the time."""

from __future__ import annotations

import hashlib
import os
import random
import re
import time

import pytest
from network_support import Reply, calm, serving

from modelmedic import patience, transfer
from modelmedic.transfer import TransferFailed, Wanted

DATA = random.Random(53).randbytes(60_000)
WANTED = Wanted(len(DATA), hashlib.sha256(DATA).hexdigest())


@pytest.fixture(autouse=True)
def calm_network(monkeypatch):
    calm(monkeypatch)


@pytest.fixture
def part(tmp_path):
    handle = os.open(tmp_path / "part", os.O_RDWR | os.O_CREAT)
    yield handle
    os.close(handle)


class Limiter:
    """Answers 429 with ``headers`` so many times, then the file; notes when each request came."""

    def __init__(self, headers, times=1, status=429):
        self.headers, self.left, self.status = headers, times, status
        self.came: list[float] = []

    def __call__(self, _seen):
        self.came.append(time.monotonic())
        if self.left > 0:
            self.left -= 1
            return Reply(self.status, b"", self.headers)
        return Reply(200, DATA)


def held(handle):
    os.lseek(handle, 0, os.SEEK_SET)
    return os.read(handle, 2 * len(DATA))


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "1"},
        {"RateLimit": '"api";r=0;t=1', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'},
        {"RateLimit-Limit": "100", "RateLimit-Remaining": "0", "RateLimit-Reset": "1"},
    ],
    ids=["retry-after", "ratelimit", "ratelimit-reset"],
)
def test_no_request_comes_before_the_time_allowed(part, headers):
    told = []
    limiter = Limiter(headers, times=2)
    with serving(limiter) as server:
        transfer.fetch(f"{server.url}/f", part, WANTED, extras={"told": told.append})
    assert held(part) == DATA
    assert len(limiter.came) == 3
    assert all(b - a >= 1.0 for a, b in zip(limiter.came, limiter.came[1:], strict=False))
    assert (
        told == ["127.0.0.1 asks to wait 1.0 s (HTTP 429 Too Many Requests). Waiting as told."] * 2
    )


def test_the_next_file_of_the_run_waits_as_well(part, tmp_path):
    turns, slept = patience.Turns(), []
    with serving(Limiter({"Retry-After": "30"}, times=99)) as server:
        extras = {"turns": turns, "sleep": slept.append}
        with pytest.raises(TransferFailed):
            transfer.fetch(f"{server.url}/f", part, WANTED, extras=extras)
        asked, slept[:] = len(server.seen), []
        with pytest.raises(TransferFailed):
            transfer.fetch(f"{server.url}/other", part, WANTED, extras=extras)
        assert 29 < slept[0] <= 30  # before its first request
        assert server.seen[asked].target == "/other"


def test_a_wait_too_long_keeps_the_other_files_from_asking_at_all(part):
    turns = patience.Turns()
    with serving(Limiter({"Retry-After": "600"}, times=99)) as server:
        extras = {"turns": turns, "sleep": pytest.fail}
        with pytest.raises(TransferFailed, match="asks to wait 600 s: try again after"):
            transfer.fetch(f"{server.url}/f", part, WANTED, extras=extras)
        with pytest.raises(TransferFailed, match=r"asked for a pause.* try again after"):
            transfer.fetch(f"{server.url}/other", part, WANTED, extras=extras)
        assert [seen.target for seen in server.seen] == ["/f"]


def test_a_limit_that_stays_ends_with_the_time_to_try_again(part):
    before, extras = time.time(), {"sleep": lambda _seconds: None}
    limiter = Limiter({"Retry-After": "90"}, times=99)
    with serving(limiter) as server, pytest.raises(TransferFailed) as raised:
        transfer.fetch(f"{server.url}/f", part, WANTED, extras=extras)
    assert f"{patience.ATTEMPTS} tries" in str(raised.value)
    clock = re.search(r"try again after (\d\d:\d\d:\d\d|[-\d]+ \d\d:\d\d)", str(raised.value))[1]
    due = {time.strftime("%H:%M:%S", time.localtime(before + 90 + s)) for s in range(20)}
    assert clock in due or "-" in clock  # around midnight the date stands there, too


def test_only_a_429_takes_a_window_for_a_wait(part):
    slept = []
    limiter = Limiter({"RateLimit": '"api";r=7;t=100'}, status=503)
    with serving(limiter) as server:
        transfer.fetch(f"{server.url}/f", part, WANTED, extras={"sleep": slept.append})
    assert slept
    assert slept[0] < 100  # our own pause
