"""Ranges of one content, from the sources in turn: exactly those bytes, or words that say why."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
from fetch_support import raw, reply

from modelmedic import patience, transfer
from modelmedic.testing.hub import Fault, LoopbackHub
from modelmedic.transfer import TransferFailed

DATA = random.Random(23).randbytes(3_000_000)
SHA = hashlib.sha256(DATA).hexdigest()
RANGES = ((100_000, 200_000), (1_000_000, 1_500_000), (2_900_000, 3_000_000))
WANTED = sum(end - start for start, end in RANGES)
NO_SLEEP = {"sleep": lambda _seconds: None}


@pytest.fixture
def hub():
    with LoopbackHub() as hub:
        hub.add_repo("org/model", {"a.safetensors": DATA})
        hub.add_repo("org/other", {"a.safetensors": bytes(len(DATA))})
        hub.add_repo("org/longer", {"a.safetensors": DATA + b"x"})
        yield hub


class Taker:
    """Takes what comes, and knows whether it came in order and once."""

    def __init__(self):
        self.pieces = []

    def __call__(self, offset, data):
        assert data
        self.pieces.append((offset, data))

    def prove(self, ranges=RANGES):
        joined = {}
        at = None
        for offset, data in self.pieces:
            if offset != at:
                assert at is None or offset > at
                start = offset
                joined[start] = b""
            joined[start] += data
            at = offset + len(data)
        for start, data in joined.items():
            assert data == DATA[start : start + len(data)]
        covered = sorted((start, start + len(data)) for start, data in joined.items())
        assert covered == list(ranges)


def url(hub, repo="org/model"):
    return f"{hub.endpoint}/{repo}/resolve/main/a.safetensors"


def bodies(hub):
    return [record for record in hub.requests if record.side == "cdn"]


def fetch(sources, take, ranges=RANGES, **options):
    options.setdefault("extras", NO_SLEEP)
    return transfer.fetch_ranges(sources, ranges, len(DATA), take, sha256=SHA, **options)


def test_only_the_ranges_come_over(hub):
    taker, done = Taker(), []
    assert fetch([url(hub)], taker, progress=done.append) == WANTED
    taker.prove()
    assert [record.range for record in bodies(hub)] == [
        f"bytes={start}-{end - 1}" for start, end in RANGES
    ]
    assert done[-1] == WANTED


def test_ranges_that_touch_are_one_request(hub):
    taker = Taker()
    fetch([url(hub)], taker, ((0, 1000), (1000, 1000), (1000, 5000), (5000, 6000)))
    taker.prove(((0, 6000),))
    assert [record.range for record in bodies(hub)] == ["bytes=0-5999"]


@pytest.mark.parametrize("ranges", [(), ((7, 7),)])
def test_nothing_wanted_is_nothing_asked(hub, ranges):
    assert fetch([url(hub)], pytest.fail, ranges) == 0
    assert not hub.requests


@pytest.mark.parametrize("ranges", [((5, 3),), ((-1, 3),), ((0, 3_000_001),), ((9, 12), (4, 6))])
def test_ranges_outside_or_out_of_order_are_refused(hub, ranges):
    with pytest.raises(ValueError, match="is not behind"):
        fetch([url(hub)], pytest.fail, ranges)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=503),
        Fault(status=429, headers={"Retry-After": "1"}),
        Fault(reset=True),
        Fault(cut_after_bytes=50_000),
        Fault(reset=True, cut_after_bytes=50_000),
        Fault(status=403),
    ],
    ids=["503", "429", "reset", "closed-midway", "reset-midway", "signature-expired"],
)
@pytest.mark.parametrize("times", [1, 3])
def test_a_passing_fault_is_outlived(hub, fault, times):
    hub.fault("cdn GET", fault, times=times)
    taker = Taker()
    assert fetch([url(hub)], taker) == WANTED
    taker.prove()


def test_a_server_without_ranges_is_read_to_the_last_wanted_byte(hub):
    hub.fault("cdn GET", Fault(ignore_range=True), times=None)
    taker, ranges = Taker(), RANGES[:2]
    fetched = fetch([url(hub)], taker, ranges)
    taker.prove(ranges)
    assert 1_500_000 <= fetched < 1_500_000 + (1 << 18)
    assert len(bodies(hub)) == 1


def test_a_server_without_ranges_that_drops_always_is_given_up(hub):
    hub.fault("cdn GET", Fault(ignore_range=True, cut_after_bytes=150_000), times=None)
    with pytest.raises(TransferFailed, match="tries"):
        fetch([url(hub)], Taker())
    assert len(bodies(hub)) <= patience.ATTEMPTS + 1


@pytest.mark.parametrize(
    "fault",
    [Fault(status=404), Fault(status=503), Fault(cut_after_bytes=250_000), Fault(reset=True)],
    ids=["missing", "down", "half", "reset"],
)
def test_the_next_source_goes_on_where_one_fails(hub, fault):
    hub.add_repo("org/mirror", {"a.safetensors": DATA})
    if fault.status:
        hub.fault("cdn GET /org/model", fault, times=None)
    else:
        hub.fault("cdn GET /org/model", fault, times=1)
        hub.fault("cdn GET /org/model", Fault(status=404), times=None)
    taker = Taker()
    assert fetch([url(hub), url(hub, "org/mirror")], taker) == WANTED
    taker.prove()


def test_a_source_that_lists_another_hash_is_refused_before_a_byte(hub):
    with pytest.raises(TransferFailed, match=f"{SHA[:12]} is expected"):
        fetch([url(hub, "org/other")], pytest.fail)
    assert not bodies(hub)
    taker = Taker()
    assert fetch([url(hub, "org/other"), url(hub)], taker) == WANTED
    taker.prove()


def test_a_source_of_another_size_is_refused(hub):
    told = f"Content-Range: bytes 100000-199999/{len(DATA) + 1}"
    with (
        raw(reply("206 Partial Content", told, body=DATA[100_000:200_000])) as server,
        pytest.raises(TransferFailed, match="3,000,001 bytes; 3,000,000 are expected"),
    ):
        fetch([server.url], pytest.fail)


@pytest.mark.parametrize(
    "told",
    ["bytes 100000-199999/*", "bytes 100000-200000/3000000", "bytes 99999-199998/3000000", ""],
)
def test_an_inexact_range_is_never_spliced(told):
    body = DATA[100_000:200_001] if "200000/" in told else DATA[100_000:200_000]
    with (
        raw(reply("206 Partial Content", f"Content-Range: {told}", body=body)) as server,
        pytest.raises(TransferFailed, match=r"range|part"),
    ):
        fetch([server.url], pytest.fail)


def test_a_whole_file_of_another_size_is_refused():
    with (
        raw(reply("200 OK", body=DATA[:-1])) as server,
        pytest.raises(TransferFailed, match="2,999,999 bytes"),
    ):
        fetch([server.url], pytest.fail)


def test_a_range_beyond_the_end_is_refused():
    answer = reply("416 Range Not Satisfiable", "Content-Range: bytes */900")
    with raw(answer) as server, pytest.raises(TransferFailed, match="900 bytes"):
        fetch([server.url], pytest.fail)


def test_a_file_of_this_machine_is_read(hub, tmp_path):
    (tmp_path / "do nor.safetensors").write_bytes(DATA)
    taker = Taker()
    assert fetch([(tmp_path / "do nor.safetensors").as_uri()], taker) == 0
    taker.prove()


@pytest.mark.parametrize("content", [None, DATA[:-1], "folder"])
def test_a_file_of_this_machine_that_is_none_is_passed_over(hub, tmp_path, content):
    donor = tmp_path / "donor"
    if content == "folder":
        donor.mkdir()
    elif content:
        donor.write_bytes(content)
    taker = Taker()
    assert fetch([donor.as_uri(), url(hub)], taker) == WANTED
    taker.prove()


@pytest.mark.parametrize(
    "error", [TransferFailed("mine"), OSError(28, "full"), KeyboardInterrupt()]
)
@pytest.mark.parametrize("is_local", [True, False])
def test_what_the_taker_raises_ends_the_fetch(hub, tmp_path, error, is_local):
    def take(_offset, _data):
        raise error

    donor = Path(tmp_path / "donor")
    donor.write_bytes(DATA)
    source = donor.as_uri() if is_local else url(hub)
    with pytest.raises(type(error)) as raised:
        fetch([source, url(hub)], take)
    assert raised.value is error


def test_the_byte_budget_ends_it(hub):
    with pytest.raises(TransferFailed, match="budget") as raised:
        fetch([url(hub), url(hub)], Taker(), budget_bytes=150_000)
    assert 150_000 < raised.value.fetched_bytes < WANTED
    assert len(bodies(hub)) == 2


def test_every_source_is_named_in_the_failure(hub):
    sources = ["http://127.0.0.1:9/x?Signature=secret", url(hub, "org/other")]
    with pytest.raises(TransferFailed, match=r"127\.0\.0\.1:9/x: .*org/other") as raised:
        fetch(sources, pytest.fail)
    assert "secret" not in str(raised.value)


def test_no_source_is_said():
    with pytest.raises(TransferFailed, match="No source"):
        fetch([], pytest.fail)


def test_a_source_that_just_failed_is_asked_once_by_the_next(hub):
    """With the network gone, each repair of a chain would else wait as long as the first."""
    hub.fault("hub GET", Fault(status=503), times=None)
    extras = {**NO_SLEEP, "failed": {}}
    counts = []
    for _ in (1, 2):
        with pytest.raises(TransferFailed, match="503"):
            transfer.fetch_ranges(
                [url(hub)], RANGES, len(DATA), pytest.fail, sha256=SHA, extras=extras
            )
        counts.append(sum(each.method == "GET" for each in hub.requests))
    assert counts == [patience.ATTEMPTS, patience.ATTEMPTS + 1]
    hub.clear()
    taker = Taker()
    transfer.fetch_ranges([url(hub)], RANGES, len(DATA), taker, sha256=SHA, extras=extras)
    taker.prove()
