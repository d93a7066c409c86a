"""Whatever a server answers, a fetch ends: in proven bytes, or in words that name what is odd."""

from __future__ import annotations

import hashlib
import os
import random
import time
from email.utils import formatdate

import pytest
from fetch_support import asked_from, raw, reply

from modelmedic import patience, transfer
from modelmedic.transfer import TransferFailed, Wanted

DATA = random.Random(11).randbytes(300_000)
SHA = hashlib.sha256(DATA).hexdigest()
WANTED = Wanted(len(DATA), SHA)
UNSIZED = Wanted(None, SHA)
NO_SLEEP = {"sleep": lambda _seconds: None}
WHOLE = reply("200 OK", body=DATA)


@pytest.fixture
def part(tmp_path):
    handle = os.open(tmp_path / "part", os.O_RDWR | os.O_CREAT)
    yield handle
    os.close(handle)


def content(handle):
    os.lseek(handle, 0, os.SEEK_SET)
    return os.read(handle, 10 * len(DATA))


def fails(answer, part, reason, wanted=WANTED):
    with raw(answer) as server:
        with pytest.raises(TransferFailed, match=reason) as raised:
            transfer.fetch(server.url, part, wanted, extras=NO_SLEEP)
        assert str(raised.value).isprintable()
        return server.heads


@pytest.mark.parametrize(
    "told", ["abc", "-5", "²", "1_0", "0x10", "5, 6", "9" * 5000, "300000.0", ""]
)
def test_a_length_that_is_no_number_is_named(part, told):
    heads = fails(reply("200 OK", f"Content-Length: {told}", length=False, body=DATA), part, ".")
    assert len(heads) == 1


def test_a_length_said_twice_is_taken(part):
    twice = f"Content-Length: {len(DATA)}"
    with raw(reply("200 OK", twice, twice, length=False, body=DATA)) as server:
        transfer.fetch(server.url, part, UNSIZED)
    assert content(part) == DATA


@pytest.mark.parametrize(
    "told",
    ["bytes 1000-299999/²", "bytes ¹-2/3", "bytes 1000-999/300000", "bytes 1000-300005/300000",
     f"bytes 1000-{'9' * 5000}/*", "bytes=1000-299999/300000", "bytes 999-299999/300000", "",
     "items 1000-299999/300000", "bytes 1000-1999/300000"],
)  # fmt: skip
def test_a_range_that_cannot_be_is_named(part, told):
    os.write(part, DATA[:1000])
    answer = reply("206 Partial Content", f"Content-Range: {told}", body=DATA[1000:])
    heads = fails(answer, part, "range")
    assert len(heads) == 1
    assert content(part) == DATA[:1000]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("http://[::1", "cannot be read"),
        ("http://h:99999999/x", "no http or https address"),
        (b"http://h/\xff\xfe", "cannot be read"),
        ("file:///etc/passwd", "file:///etc/passwd is no http or https address"),
        ("ftp://h/x", "no http or https address"),
        ("javascript:alert(1)", "no http or https address"),
        ("https://", "no http or https address"),
    ],
)
def test_a_redirect_to_nowhere_is_final(part, target, reason):
    location = b"Location: " + (target if isinstance(target, bytes) else target.encode())
    assert len(fails(reply("302 Found", location), part, reason)) == 1


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 T", "308 P"])
def test_a_redirect_is_followed_with_its_range(part, status):
    os.write(part, DATA[:1000])

    def answer(_server, connection, head):
        if head.startswith("GET /file "):
            connection.sendall(reply(status, "Location: /else?a=b%20c"))
        else:
            assert asked_from(head) == 1000
            told = f"Content-Range: bytes 1000-299999/{len(DATA)}"
            connection.sendall(reply("206 Partial Content", told, body=DATA[1000:]))

    with raw(answer) as server:
        assert transfer.fetch(server.url, part, WANTED) == len(DATA) - 1000
    assert content(part) == DATA
    assert server.heads[1].startswith("GET /else?a=b%20c ")


def test_redirects_in_a_circle_are_final(part):
    heads = fails(reply("302 Found", "Location: /file"), part, "in a circle")
    assert len(heads) <= 11


def test_the_text_of_a_redirect_is_not_read(part):
    def answer(server, connection, head):
        if head.startswith("GET /else "):
            connection.sendall(WHOLE)
            return
        connection.sendall(reply("302 F", "Location: /else", "Content-Length: 9999", length=False))
        gone.append(connection.recv(1))  # b"" once the client has closed, an error after 10 s

    gone = []
    with raw(answer) as server:
        transfer.fetch(server.url, part, WANTED)
        assert server.heads[1].startswith("GET /else ")
    assert gone == [b""]


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br", "identity, deflate", "zstd"])
def test_a_compressed_answer_is_final(part, coding):
    answer = reply("200 OK", f"Content-Encoding: {coding}", body=DATA)
    assert len(fails(answer, part, "compressed", UNSIZED)) == 1


@pytest.mark.parametrize("coding", ["identity", "aws-chunked", ""])
def test_a_coding_that_changes_no_byte_is_no_matter(part, coding):
    with raw(reply("200 OK", f"Content-Encoding: {coding}", body=DATA)) as server:
        transfer.fetch(server.url, part, WANTED)
    assert content(part) == DATA


def in_pieces(most, total="300000"):
    """Answer with at most so many bytes, whatever was asked."""

    def answer(_server, connection, head):
        start = asked_from(head) or 0
        if start >= len(DATA):
            connection.sendall(reply("416 Range Not Satisfiable", body=b"no such range"))
            return
        body = DATA[start : start + most]
        told = f"Content-Range: bytes {start}-{start + len(body) - 1}/{total}"
        connection.sendall(reply("206 Partial Content", told, body=body))

    return answer


@pytest.mark.parametrize("wanted", [WANTED, UNSIZED], ids=["sized", "unsized"])
@pytest.mark.parametrize("total", [str(len(DATA)), "*"])
def test_an_answer_shorter_than_asked_is_gone_on_from(part, wanted, total):
    with raw(in_pieces(100_000, total)) as server:
        fetched = transfer.fetch(server.url, part, wanted, extras={"sleep": pytest.fail})
    assert fetched == len(DATA)
    assert content(part) == DATA
    assert [asked_from(head) for head in server.heads][:3] == [None, 100_000, 200_000]


def test_endless_small_pieces_are_given_up(part):
    heads = fails(in_pieces(10), part, "only pieces")
    assert len(heads) == patience.MAX_ROUNDS


@pytest.mark.parametrize("total", [f"*/{len(DATA)}", None], ids=["told", "untold"])
def test_a_part_longer_than_the_file_is_fetched_anew(part, total):
    os.write(part, b"x" * (len(DATA) + 5))
    headers = [f"Content-Range: bytes {total}"] if total else []

    def answer(_server, connection, head):
        beyond = reply("416 Range Not Satisfiable", *headers, body=b"no such range")
        connection.sendall(beyond if asked_from(head) else WHOLE)

    with raw(answer) as server:
        transfer.fetch(server.url, part, UNSIZED, extras=NO_SLEEP)
    assert content(part) == DATA
    assert len(server.heads) == 2


def test_a_part_beyond_the_end_of_another_version_is_kept_and_said(part):
    os.write(part, DATA[:1000])
    answer = reply("416 Range Not Satisfiable", "Content-Range: bytes */900")
    assert len(fails(answer, part, "900 bytes; 300,000 are expected")) == 1
    assert content(part) == DATA[:1000]


def test_the_text_of_an_error_is_no_content(part):
    text = b"no such range"
    fails(
        reply("416 Range Not Satisfiable", body=text),
        part,
        "HTTP 416",
        Wanted(None, hashlib.sha256(text).hexdigest()),
    )
    assert content(part) == b""


def test_a_reason_cannot_write_on_the_screen(part):
    fails(reply("404 \x1b[31mred"), part, r"\\x1b\[31mred")


@pytest.mark.parametrize("date_told", [True, False], ids=["servers-clock", "our-clock"])
def test_a_retry_after_may_be_a_date(part, date_told):
    slept = []
    base = 1_000_000_000 if date_told else time.time()  # the server's clock may stand anywhere
    headers = [f"Retry-After: {formatdate(base + 60, usegmt=True)}"]
    headers += [f"Date: {formatdate(base, usegmt=True)}"] if date_told else []
    answers = [reply("503 Busy", *headers), WHOLE]
    with raw(lambda _s, connection, _h: connection.sendall(answers.pop(0))) as server:
        transfer.fetch(server.url, part, WANTED, extras={"sleep": slept.append})
    assert 50 < slept[0] <= 60


@pytest.mark.parametrize("told", ["²", "soon", "-3", "Fri, 99 Foo 2026", "1e9"])
def test_a_retry_after_that_cannot_be_read_is_as_none(part, told):
    slept = []
    answers = [reply("503 Busy", f"Retry-After: {told}"), WHOLE]
    with raw(lambda _s, connection, _h: connection.sendall(answers.pop(0))) as server:
        transfer.fetch(server.url, part, WANTED, extras={"sleep": slept.append})
    assert 0 < slept[0] <= patience.PACE.first_seconds


def test_nobody_waits_beyond_the_deadline(part, monkeypatch):
    monkeypatch.setattr(transfer, "_seconds_for", lambda _wanted: 30.0)
    fails(reply("429 Slow", "Retry-After: 40"), part, "ends before another try")


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "http://[::1", "http://h:99999999/", "x"]
)
def test_a_source_that_is_no_address_is_refused(part, address):
    with pytest.raises(TransferFailed, match="no http or https address"):
        transfer.fetch(address, part, WANTED)


def test_a_file_of_unknown_size_has_a_limit(part):
    wanted = Wanted(None, SHA, expected_bytes=100_000, most_bytes=200_000)
    heads = fails(
        WHOLE, part, "300,000 bytes; at most 200,000 are taken, and about 100,000", wanted
    )
    assert len(heads) == 1
    assert content(part) == b""


def test_a_file_without_end_has_a_limit(part):
    wanted = Wanted(None, SHA, most_bytes=200_000)
    fails(reply("200 OK", body=DATA, length=False), part, "without end or size", wanted)
    assert len(content(part)) <= 200_000
