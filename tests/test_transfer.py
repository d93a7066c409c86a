"""Every fault a server can have ends in proven bytes or a clear refusal, never in wrong ones."""

from __future__ import annotations

import hashlib
import os
import random

import pytest

from modelmedic import patience, transfer
from modelmedic.testing._faults import Fault
from modelmedic.testing.hub import MEMBER_TOKEN, LoopbackHub
from modelmedic.transfer import TransferFailed, Wanted

DATA = random.Random(7).randbytes(3_000_000)
WANTED = Wanted(len(DATA), hashlib.sha256(DATA).hexdigest())
NO_SLEEP = {"sleep": lambda _seconds: None}


@pytest.fixture
def hub():
    with LoopbackHub() as hub:
        hub.add_repo("org/model", {"a.safetensors": DATA, "config.json": b"{}"})
        yield hub


@pytest.fixture
def part(tmp_path):
    handle = os.open(tmp_path / "part", os.O_RDWR | os.O_CREAT)
    yield handle
    os.close(handle)


def url(hub, name="a.safetensors"):
    return f"{hub.endpoint}/org/model/resolve/main/{name}"


def content(handle):
    os.lseek(handle, 0, os.SEEK_SET)
    return os.read(handle, len(DATA) + 10)


def bodies(hub):
    return [record for record in hub.requests if record.side == "cdn"]


def test_a_whole_file_comes_over_and_is_proven(hub, part):
    assert transfer.fetch(url(hub), part, WANTED) == len(DATA)
    assert content(part) == DATA


def test_what_is_there_already_is_not_fetched_again(hub, part):
    os.write(part, DATA)
    assert transfer.fetch(url(hub), part, WANTED) == 0
    assert not hub.requests


def test_a_good_prefix_is_kept(hub, part):
    os.write(part, DATA[:1_000_000])
    assert transfer.fetch(url(hub), part, WANTED) == 2_000_000
    assert content(part) == DATA


def test_a_wrong_prefix_is_found_out_by_the_hash_and_the_file_fetched_anew(hub, part):
    os.write(part, b"x" * 1_000_000)
    assert transfer.fetch(url(hub), part, WANTED) == 2_000_000 + len(DATA)
    assert content(part) == DATA


@pytest.mark.parametrize("too_much", [len(DATA), len(DATA) + 7])
def test_a_full_sized_wrong_part_is_not_trusted(hub, part, too_much):
    os.write(part, b"x" * too_much)
    transfer.fetch(url(hub), part, WANTED)
    assert content(part) == DATA


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=503),
        Fault(status=429, headers={"Retry-After": "1"}),
        Fault(status=500),
        Fault(reset=True),
        Fault(reset=True, cut_after_bytes=1_500_000),
        Fault(cut_after_bytes=1_500_000),
        Fault(cut_after_bytes=0),
    ],
    ids=["503", "429", "500", "reset", "reset-midway", "closed-midway", "closed-at-once"],
)
@pytest.mark.parametrize("times", [1, 3])
def test_a_passing_fault_is_outlived(hub, part, fault, times):
    hub.fault("cdn GET", fault, times=times)
    transfer.fetch(url(hub), part, WANTED, extras=NO_SLEEP)
    assert content(part) == DATA


def test_after_a_drop_only_the_rest_is_asked_for(hub, part):
    hub.fault("cdn GET", Fault(cut_after_bytes=2_097_152))
    fetched = transfer.fetch(url(hub), part, WANTED, extras=NO_SLEEP)
    assert fetched == len(DATA)
    assert [record.range for record in bodies(hub)] == [None, "bytes=2097152-"]


def test_retry_after_is_waited_for(hub, part):
    slept = []
    hub.fault("cdn GET", Fault(status=429, headers={"Retry-After": "7"}))
    transfer.fetch(url(hub), part, WANTED, extras={"sleep": slept.append})
    assert slept == [7.0]


def test_a_retry_after_beyond_reason_is_reported_not_waited_for(hub, part):
    hub.fault("cdn GET", Fault(status=429, headers={"Retry-After": "86400"}), times=None)
    with pytest.raises(TransferFailed, match="asks to wait 86400 s"):
        transfer.fetch(url(hub), part, WANTED, extras={"sleep": lambda _s: pytest.fail("slept")})


def test_a_server_without_range_that_drops_always_is_given_up(hub, part):
    hub.fault("cdn GET", Fault(ignore_range=True, cut_after_bytes=1_500_000), times=None)
    with pytest.raises(TransferFailed):
        transfer.fetch(url(hub), part, WANTED, extras=NO_SLEEP)
    assert len(bodies(hub)) <= patience.ATTEMPTS + 1


def test_a_server_that_ignores_range_is_read_from_the_start(hub, part):
    os.write(part, DATA[:1_000_000])
    hub.fault("cdn GET", Fault(ignore_range=True))
    transfer.fetch(url(hub), part, WANTED)
    assert content(part) == DATA


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(flip_byte_at=2_000_000), "do not match the expected hash"),
        (Fault(short_body_bytes=1000), "1,000 bytes; 3,000,000 are expected"),
        (Fault(status=404), "404"),
    ],
    ids=["flipped", "short-object", "missing"],
)
def test_wrong_bytes_are_never_accepted(hub, part, fault, reason):
    hub.fault("cdn GET", fault, times=None)
    with pytest.raises(TransferFailed, match=reason):
        transfer.fetch(url(hub), part, WANTED, extras=NO_SLEEP)


def test_a_pointer_in_place_of_the_file_is_refused(hub, part):
    hub.fault("GET .*resolve", Fault(pointer=True), times=None)
    with pytest.raises(TransferFailed, match="another version"):
        transfer.fetch(url(hub), part, WANTED, extras=NO_SLEEP)


def test_a_login_page_is_named(hub, part):
    page = Fault(status=200, headers={"Content-Type": "text/html"}, body=b"<html>Sign in</html>")
    hub.fault("GET", page, times=None)
    with pytest.raises(TransferFailed, match="web page instead of the file"):
        transfer.fetch(url(hub), part, WANTED, extras=NO_SLEEP)


def test_a_gated_model_says_what_to_do(hub, part):
    hub.add_repo("org/gated", {"a.safetensors": DATA}, gated=True)
    with pytest.raises(TransferFailed, match=r"token|terms"):
        transfer.fetch(f"{hub.endpoint}/org/gated/resolve/main/a.safetensors", part, WANTED)


def test_a_token_goes_to_its_own_origin_only(hub, part):
    tokens = {transfer.origin(hub.endpoint): MEMBER_TOKEN}
    transfer.fetch(url(hub), part, WANTED, extras={"tokens": tokens})
    seen = {record.side: record.authorization for record in hub.requests}
    assert seen == {"hub": True, "cdn": False}


def test_an_expired_token_does_not_close_a_public_model(hub, part):
    tokens = {transfer.origin(hub.endpoint): "hf_expired"}
    transfer.fetch(url(hub), part, WANTED, extras={"tokens": tokens})
    assert content(part) == DATA


def test_a_proxy_is_not_asked_for_this_machine(hub, part, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    transfer.fetch(url(hub), part, WANTED)
    assert content(part) == DATA


def test_a_dead_server_is_named_and_given_up(part):
    with pytest.raises(TransferFailed, match="refused"):
        transfer.fetch("http://127.0.0.1:9/x", part, WANTED, extras=NO_SLEEP)


def test_the_byte_budget_ends_a_fetch(hub, part):
    with pytest.raises(TransferFailed, match="budget") as raised:
        transfer.fetch(url(hub), part, WANTED, budget_bytes=1_500_000)
    assert raised.value.fetched_bytes >= 1_500_000
    assert os.fstat(part).st_size < len(DATA)


def test_a_small_file_is_proven_by_its_git_hash(hub, part):
    git_blob = hashlib.sha1(b"blob 2\0{}").hexdigest()
    assert transfer.fetch(url(hub, "config.json"), part, Wanted(2, "", git_blob)) == 2
    os.ftruncate(part, 0)
    with pytest.raises(TransferFailed, match="do not match"):
        transfer.fetch(url(hub, "config.json"), part, Wanted(2, "", "0" * 40))
