"""The transfer through a bad network: it ends with proven bytes or a clear error, never without."""

from __future__ import annotations

import hashlib
import os
import random
import re
import sys

import pytest
from network_support import Reply, calm, serving
from toxic_proxy_support import Toxic, toxic_proxy

from modelmedic import exchange, patience, transfer
from modelmedic.transfer import TransferFailed, Wanted

SEED = int(os.environ.get("MODELMEDIC_TEST_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
DATA = random.Random(41).randbytes(700_000)
WANTED = Wanted(len(DATA), hashlib.sha256(DATA).hexdigest())
NO_SLEEP = {"sleep": lambda _seconds: None}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    calm(monkeypatch)
    monkeypatch.setattr(patience, "FLOOR_WINDOW_SECONDS", 0.3)
    monkeypatch.setattr(exchange, "CALL_SECONDS", 0.6)
    monkeypatch.setattr(exchange, "READ_SECONDS", 0.4)


@pytest.fixture
def part(tmp_path):
    handle = os.open(tmp_path / "part", os.O_RDWR | os.O_CREAT)
    yield handle
    os.close(handle)


@pytest.fixture(scope="module")
def source():
    with serving(with_ranges) as server:
        yield server


def with_ranges(seen):
    """Answer as any static server of files does."""
    told = re.fullmatch(r"bytes=(\d+)-", seen.headers.get("range", ""))
    if not told:
        return Reply(200, DATA)
    start = int(told[1])
    span = f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"
    return Reply(206, DATA[start:], {"Content-Range": span})


def held(handle):
    os.lseek(handle, 0, os.SEEK_SET)
    return os.read(handle, 2 * len(DATA))


def fetch(proxy, part):
    return transfer.fetch(f"http://127.0.0.1:{proxy.port}/f", part, WANTED, extras=NO_SLEEP)


@pytest.mark.parametrize("turn", range(8))
def test_resets_and_latency_anywhere_end_in_the_proven_bytes(source, part, turn):
    sys.stdout.write(f"seed {SEED}, turn {turn}: MODELMEDIC_TEST_SEED={SEED}\n")
    rng = random.Random(f"{SEED}-{turn}")
    bad = rng.randrange(1, 30)
    plan = [
        Toxic(
            latency_seconds=rng.choice([0, 0.002, 0.02]),
            # Above the header, so that each connection brings something: no try is in vain.
            reset_after_bytes=rng.randrange(5_000, len(DATA)),
        )
        for _ in range(bad)
    ]
    with toxic_proxy(source.port, lambda n: plan[n] if n < bad else Toxic()) as proxy:
        fetch(proxy, part)
    assert held(part) == DATA
    assert proxy.connections <= bad + 1


def test_a_line_that_breaks_at_any_point_for_ever_ends_bounded_and_says_why(source, part):
    sys.stdout.write(f"seed {SEED}: MODELMEDIC_TEST_SEED={SEED}\n")
    rng = random.Random(SEED)
    plan = [rng.randrange(0, 1200) for _ in range(patience.MAX_ROUNDS + 1)]
    toxic = lambda n: Toxic(reset_after_bytes=plan[n])  # noqa: E731
    with toxic_proxy(source.port, toxic) as proxy, pytest.raises(TransferFailed) as raised:
        fetch(proxy, part)
    assert re.search(r"\(\d+ (tries|times)\)", str(raised.value))
    assert proxy.connections <= patience.MAX_ROUNDS
    assert DATA.startswith(held(part))  # what is there is a beginning of it, for the next try


def test_a_line_that_trickles_below_the_floor_is_left(source, part):
    with (
        toxic_proxy(source.port, Toxic(bytes_per_second=200)) as proxy,
        pytest.raises(TransferFailed, match="less than 1 KiB a second"),
    ):
        fetch(proxy, part)
    assert proxy.passed_bytes < 1000
    assert DATA.startswith(held(part))


def test_a_line_that_falls_silent_is_left_after_its_tries(source, part):
    with (
        toxic_proxy(source.port, Toxic(is_silent=True)) as proxy,
        pytest.raises(TransferFailed, match=rf"\({patience.ATTEMPTS} tries\)"),
    ):
        fetch(proxy, part)
    assert proxy.connections == patience.ATTEMPTS


def test_what_a_bad_line_brought_is_not_fetched_again_over_the_good_one(source, part):
    with toxic_proxy(source.port, Toxic(reset_after_bytes=300_000)) as proxy:
        url = f"http://127.0.0.1:{proxy.port}/f"
        with pytest.raises(TransferFailed):
            transfer.fetch(url, part, WANTED, extras=NO_SLEEP, budget_bytes=250_000)
    had = os.fstat(part).st_size
    assert had >= 200_000
    with toxic_proxy(source.port) as proxy:
        # The same source has another port now; without a record it is taken for a beginning.
        assert fetch(proxy, part) <= len(DATA) - had
    assert held(part) == DATA
