"""Each fault of the loopback Hub is what it says, on the wire."""

from __future__ import annotations

import hashlib
import threading
import time

import hub_support
import pytest
import requests
from hub_support import (
    API,
    CONFIG,
    FILES,
    RESOLVE,
    WEIGHTS,
    body_of,
    cdn_url,
    dial,
    read_to_end,
    refused,
)

from modelmedic.testing.hub import Fault

NEVER_SECONDS = 600  # a stall that only the end of the hub can end


@pytest.fixture
def hub():
    with hub_support.small_hub() as hub:
        yield hub


@pytest.fixture
def web(hub):
    with hub_support.client(hub) as web:
        yield web


def test_a_status_is_answered_as_often_as_asked(hub, web):
    down = Fault(status=503, headers={"Retry-After": "3"}, body=b"down")
    hub.fault("hub GET .*config", down, times=2)
    assert web.head(f"{RESOLVE}/config.json").status_code == 200
    for _ in range(2):
        answer = web.get(f"{RESOLVE}/config.json")
        assert (answer.status_code, answer.content) == (503, b"down")
        assert answer.headers["Retry-After"] == "3"
    assert web.get(f"{RESOLVE}/config.json").content == CONFIG


def test_a_fault_without_a_count_stays_until_cleared(hub, web):
    hub.fault("config", Fault(status=500), times=None)
    assert {web.get(f"{RESOLVE}/config.json").status_code for _ in range(5)} == {500}
    assert web.get(f"{RESOLVE}/vae/notes.txt").status_code == 200
    hub.clear()
    assert web.get(f"{RESOLVE}/config.json").status_code == 200


def test_the_first_fault_that_fits_is_used_up_first(hub, web):
    hub.fault("config", Fault(status=500))
    hub.fault("GET", Fault(status=502))
    assert [web.get(f"{RESOLVE}/config.json").status_code for _ in range(3)] == [500, 502, 200]


def test_a_reset_before_the_header(hub):
    hub.fault("revision", Fault(reset=True))
    with dial(f"{hub.endpoint}{API}/revision/main") as connection:
        got, error = read_to_end(connection)
    assert got == b""
    assert isinstance(error, ConnectionResetError)
    assert hub.requests[0].status is None


def test_a_reset_after_some_bytes(hub, web):
    url = cdn_url(web)
    hub.fault("cdn GET", Fault(reset=True, cut_after_bytes=70_000))
    with dial(url) as connection:
        got, error = read_to_end(connection)
    head, body = body_of(got)
    assert "Content-Length: 300000" in head
    assert body == WEIGHTS[:70_000]
    assert isinstance(error, ConnectionResetError)
    assert hub.requests[-1].bytes_sent == 70_000


def test_a_reset_lets_the_bytes_before_it_arrive(hub, web):
    hub.add_repo("someone/big", {"big.bin": bytes(5_000_000)})
    url = web.head("/someone/big/resolve/main/big.bin").headers["Location"]
    hub.fault("cdn GET", Fault(reset=True, cut_after_bytes=4_000_000))
    with dial(url) as connection:
        got, error = read_to_end(connection)
    assert len(body_of(got)[1]) == 4_000_000
    assert isinstance(error, ConnectionResetError)


@pytest.mark.parametrize("cut", [0, 1, 70_000, 299_999])
def test_a_clean_close_after_some_bytes(hub, web, cut):
    url = cdn_url(web)
    hub.fault("cdn GET", Fault(cut_after_bytes=cut))
    with dial(url) as connection:
        got, error = read_to_end(connection)
    head, body = body_of(got)
    assert "Content-Length: 300000" in head
    assert (body, error) == (WEIGHTS[:cut], None)


def test_a_short_body_lies_about_its_length(hub, web):
    hub.fault("cdn GET", Fault(short_body_bytes=100))
    answer = web.get(f"{RESOLVE}/weights.safetensors")
    assert (answer.status_code, answer.headers["Content-Length"]) == (200, "100")
    assert answer.content == WEIGHTS[:100]
    hub.fault("cdn GET", Fault(short_body_bytes=3))
    part = web.get(f"{RESOLVE}/weights.safetensors", headers={"Range": "bytes=10-19"})
    assert part.headers["Content-Range"] == "bytes 10-19/300000"
    assert part.content == WEIGHTS[10:13]


@pytest.mark.parametrize("asked", [None, "bytes=150000-250000"])
def test_a_flipped_byte_is_at_its_offset_of_the_file(hub, web, asked):
    hub.fault("GET .*weights", Fault(flip_byte_at=200_000))
    headers = {"Range": asked} if asked else {}
    first = 150_000 if asked else 0
    content = web.get(f"{RESOLVE}/weights.safetensors", headers=headers).content
    wrong = [i for i, (a, b) in enumerate(zip(content, WEIGHTS[first:], strict=False)) if a != b]
    assert [first + i for i in wrong] == [200_000]


def test_a_stall_before_the_header(hub, web):
    hub.fault("tree", Fault(stall_seconds=NEVER_SECONDS))
    with pytest.raises(requests.exceptions.ReadTimeout):
        web.get(f"{API}/tree/main", timeout=0.2)
    assert hub.requests[0].status is None


def test_a_stall_after_some_bytes(hub, web):
    url = cdn_url(web)
    hub.fault("cdn GET", Fault(stall_seconds=NEVER_SECONDS, stall_after_bytes=1000))
    with dial(url) as connection:
        connection.settimeout(0.5)
        got, error = read_to_end(connection)
    assert body_of(got)[1] == WEIGHTS[:1000]
    assert isinstance(error, TimeoutError)


def test_after_a_stall_the_answer_goes_on(hub, web):
    hub.fault("cdn GET", Fault(stall_seconds=0.2, stall_after_bytes=1000))
    hub.fault("hub GET", Fault(stall_seconds=0.1))
    started = time.monotonic()
    answer = web.get(f"{RESOLVE}/weights.safetensors", headers={"Connection": "close"})
    assert answer.content == WEIGHTS
    assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize("after", [None, 1000])
def test_stopping_the_hub_ends_a_stall(hub, web, after):
    url = cdn_url(web)
    hub.fault("cdn", Fault(stall_seconds=NEVER_SECONDS, stall_after_bytes=after))
    with dial(url) as connection:
        if after:
            assert connection.recv(1)
        while len(hub.requests) < 2:
            time.sleep(0.01)
        hub.stop()
        assert not [each.name for each in threading.enumerate() if "loopback" in each.name]
        got, _ = read_to_end(connection)
    assert len(body_of(got)[1]) <= 1000


def test_a_trickle_is_as_slow_as_asked_and_ends_with_the_hub(hub, web):
    url = cdn_url(web, "vae/deep/decoder.safetensors")
    hub.fault("cdn GET", Fault(bytes_per_second=10_000))
    started = time.monotonic()
    with dial(url, "Connection: close") as connection:
        got, _ = read_to_end(connection)
    assert time.monotonic() - started >= 0.4
    assert body_of(got)[1] == FILES["vae/deep/decoder.safetensors"]
    hub.fault("cdn GET", Fault(bytes_per_second=1))
    with dial(url) as connection:
        assert connection.recv(1)
        hub.stop()
        assert len(body_of(read_to_end(connection)[0])[1]) < 5


def test_a_server_without_range_support_sends_it_all(hub, web):
    hub.fault("cdn GET", Fault(ignore_range=True))
    answer = web.get(f"{RESOLVE}/weights.safetensors", headers={"Range": "bytes=1000-"})
    assert (answer.status_code, answer.content) == (200, WEIGHTS)
    assert "Content-Range" not in answer.headers


def test_faults_combine(hub, web):
    url = cdn_url(web)
    hub.fault("cdn GET", Fault(ignore_range=True, flip_byte_at=3, cut_after_bytes=10))
    with dial(url, "Range: bytes=1000-") as connection:
        head, body = body_of(read_to_end(connection)[0])
    assert head.startswith("HTTP/1.1 200")
    assert body == WEIGHTS[:3] + bytes([WEIGHTS[3] ^ 1]) + WEIGHTS[4:10]


def test_unauthorized_and_gated_answers(hub, web):
    hub.fault("tree", Fault.unauthorized())
    hub.fault("tree", Fault.gated())
    first, second = web.get(f"{API}/tree/main"), web.get(f"{API}/tree/main")
    assert (first.status_code, first.headers["X-Error-Message"]) == (
        401,
        "Invalid credentials in Authorization header",
    )
    assert refused(second) == (403, "GatedRepo")


def test_an_html_page_instead_of_anything(hub, web):
    hub.fault("revision|resolve", Fault.html_page(), times=None)
    for path in (f"{API}/revision/main", f"{RESOLVE}/weights.safetensors"):
        answer = web.get(path)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html")
        assert answer.content.startswith(b"<!DOCTYPE html>")


@pytest.mark.parametrize("side", ["hub", "cdn"])
def test_a_pointer_instead_of_the_file(hub, web, side):
    hub.fault(f"{side} GET", Fault(pointer=True))
    answer = web.get(f"{RESOLVE}/weights.safetensors")
    assert answer.status_code == 200
    assert answer.text == (
        "version https://git-lfs.github.com/spec/v1\n"
        f"oid sha256:{hashlib.sha256(WEIGHTS).hexdigest()}\nsize 300000\n"
    )
    assert answer.headers["Content-Length"] == str(len(answer.content))


def test_a_file_that_is_not_in_lfs_has_no_pointer(hub, web):
    hub.fault("hub GET", Fault(pointer=True))
    assert web.get(f"{RESOLVE}/config.json").content == CONFIG


def test_a_fault_of_the_body_waits_for_a_body(hub, web):
    hub.fault("weights", Fault(flip_byte_at=0))
    web("HEAD", f"{RESOLVE}/weights.safetensors", allow_redirects=True)
    assert web.get(f"{RESOLVE}/none/weights").status_code == 404
    assert web.get(f"{RESOLVE}/weights.safetensors").content[0] == WEIGHTS[0] ^ 1


def test_a_mixed_fault_waits_for_a_body_too(hub, web):
    hub.fault("weights", Fault(stall_seconds=0.01, short_body_bytes=5))
    assert web.head(f"{RESOLVE}/weights.safetensors").headers["X-Linked-Size"] == "300000"
    assert web.get(f"{RESOLVE}/weights.safetensors").content == WEIGHTS[:5]


def test_a_fault_with_a_body_of_its_own_can_cut_it(hub, web):
    hub.fault("weights", Fault(status=500, body=b"0123456789", cut_after_bytes=4))
    with dial(f"{hub.endpoint}{RESOLVE}/weights.safetensors") as connection:
        head, body = body_of(read_to_end(connection)[0])
    assert head.startswith("HTTP/1.1 500")
    assert body == b"0123"


@pytest.mark.parametrize(
    "wrong",
    [
        {"cut_after_bytes": -1},
        {"bytes_per_second": 0},
        {"body": b"x"},
        {"stall_after_bytes": 5},
        {"stall_seconds": -0.1},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=r"must|need"):
        Fault(**wrong)
