"""A transfer that was cut goes on from proven bytes only, and a block that is wrong goes alone."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading

import pytest
from fetch_support import asked_from, raw, reply
from support import FIND_US

from modelmedic import received, transfer
from modelmedic.facts.digests import Blocks, block_algorithm, new_hasher
from modelmedic.testing.hub import Fault, LoopbackHub
from modelmedic.transfer import TransferFailed, Wanted

BLOCK = 100_000
DATA = random.Random(29).randbytes(1_050_000)
SHA = hashlib.sha256(DATA).hexdigest()
NO_SLEEP = {"sleep": lambda _seconds: None}


def blocks_of(data, algorithm=None):
    algorithm = algorithm or block_algorithm()
    digests = b""
    for start in range(0, len(data), BLOCK):
        hasher = new_hasher(algorithm)
        hasher.update(data[start : start + BLOCK])
        digests += hasher.digest()
    return Blocks(algorithm, BLOCK, digests)


WANTED = Wanted(len(DATA), SHA)
KNOWN = Wanted(len(DATA), SHA, blocks=blocks_of(DATA))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(received, "BLOCK_BYTES", BLOCK)


@pytest.fixture
def hub():
    with LoopbackHub() as hub:
        hub.add_repo("org/model", {"a.safetensors": DATA})
        hub.add_repo("org/mirror", {"a.safetensors": DATA})
        yield hub


class Part:
    """A part with its record, opened anew for each fetch as another process would."""

    def __init__(self, folder):
        self.path, self.record = folder / "part", folder / "part.blocks"

    def fetch(self, url, wanted=WANTED, **options):
        flags = os.O_RDWR | os.O_CREAT
        handles = [os.open(self.path, flags), os.open(self.record, flags)]
        options.setdefault("extras", NO_SLEEP)
        try:
            return transfer.fetch(url, handles[0], wanted, record=handles[1], **options)
        finally:
            for handle in handles:
                os.close(handle)

    def cut(self, hub, after, wanted=WANTED):
        """Let a fetch end after so many bytes, and the server be well again."""
        hub.fault("cdn GET", Fault(cut_after_bytes=after))
        hub.fault("cdn GET", Fault(status=404), times=None)
        with pytest.raises(TransferFailed):
            self.fetch(url(hub), wanted)
        hub.clear()

    @property
    def content(self):
        return self.path.read_bytes()


@pytest.fixture
def part(tmp_path):
    return Part(tmp_path)


def url(hub, repo="org/model"):
    return f"{hub.endpoint}/{repo}/resolve/main/a.safetensors"


def asked(hub):
    return [record.range for record in hub.requests if record.side == "cdn"]


def test_what_was_received_is_gone_on_from_inside_a_block_too(hub, part):
    part.cut(hub, 350_123)
    done = []
    assert part.fetch(url(hub), progress=done.append) == len(DATA) - 350_123
    assert done[:3] == [100_000, 200_000, 300_000]  # while it is read
    assert done[-1] == len(DATA)
    assert part.content == DATA


def test_only_blocks_that_read_back_the_same_are_trusted(hub, part):
    part.cut(hub, 750_000)
    spoiled = bytearray(part.content)
    spoiled[420_000] ^= 1
    part.path.write_bytes(spoiled)
    assert part.fetch(url(hub)) == len(DATA) - 400_000
    assert part.content == DATA
    assert asked(hub) == ["bytes=400000-"]


def test_zeros_that_a_power_loss_left_are_not_trusted(hub, part):
    part.cut(hub, 750_000)
    part.path.write_bytes(part.content[:330_000] + bytes(420_000))
    assert part.fetch(url(hub)) == len(DATA) - 300_000
    assert part.content == DATA


@pytest.mark.parametrize("left", [0, 20, 150, 300])
def test_a_record_that_was_cut_proves_what_it_names(hub, part, left):
    part.cut(hub, 750_000)
    lines = part.record.read_bytes()
    part.record.write_bytes(lines[: len(lines) - left])
    kept = {0: 750_000, 20: 700_000, 150: 500_000, 300: 300_000}[left]
    assert part.fetch(url(hub)) == len(DATA) - kept
    assert part.content == DATA


@pytest.mark.parametrize(
    "record", [b"", b"\xff\xfe\n\n", b"modelmedic-blocks 1 md5 100000\n", b"x" * 100_000]
)
def test_without_a_readable_record_the_whole_hash_decides(hub, part, record):
    part.cut(hub, 750_000)
    part.record.write_bytes(record)
    assert part.fetch(url(hub)) == len(DATA) - 750_000
    part.path.write_bytes(b"x" * 750_000)
    part.record.write_bytes(record)
    assert part.fetch(url(hub)) == 2 * len(DATA) - 750_000
    assert part.content == DATA


def test_the_file_is_read_once_when_it_is_gone_on_from_and_never_when_it_came_in_one_go(
    hub, part, monkeypatch
):
    read = []
    real = os.read
    monkeypatch.setattr(os, "read", lambda *args: read.append(len(real(*args))) or real(*args))
    part.fetch(url(hub))
    assert sum(read) < BLOCK


def test_blocks_hashed_by_what_is_not_here_are_fetched_anew(hub, part, monkeypatch):
    part.cut(hub, 750_000)
    record = part.record.read_text()
    part.record.write_text(record.replace(block_algorithm(), "sha256", 1))
    assert part.fetch(url(hub)) == len(DATA)


def test_a_part_that_is_whole_is_not_fetched(hub, part):
    part.fetch(url(hub))
    hub.clear()
    assert part.fetch(url(hub)) == 0
    assert part.fetch(url(hub), KNOWN) == 0
    assert not hub.requests


def test_a_server_without_ranges_does_not_cost_what_is_there(hub, part):
    part.cut(hub, 750_000)
    hub.fault("cdn GET", Fault(ignore_range=True, cut_after_bytes=100_000))
    hub.fault("cdn GET", Fault(status=404), times=None)
    with pytest.raises(TransferFailed):
        part.fetch(url(hub))
    assert part.content == DATA[:750_000]


# -- known block digests ---------------------------------------------------------------------------


@pytest.mark.parametrize("where", [0, 420_000, len(DATA) - 1])
def test_a_wrong_block_is_known_as_it_arrives_and_asked_for_again(hub, part, where):
    hub.fault("cdn GET", Fault(flip_byte_at=where))
    fetched = part.fetch(url(hub), KNOWN)
    assert part.content == DATA
    assert fetched < len(DATA) + 3 * BLOCK + (1 << 18)
    assert asked(hub)[1] == (f"bytes={where // BLOCK * BLOCK}-" if where else None)


def test_a_source_with_a_wrong_block_keeps_what_was_proven(hub, part):
    hub.fault("cdn GET /org/model", Fault(flip_byte_at=420_000), times=None)
    with pytest.raises(TransferFailed, match="block at 400,000 came with other bytes"):
        part.fetch(url(hub), KNOWN)
    assert part.content == DATA[:400_000]
    assert part.fetch(url(hub, "org/mirror"), KNOWN) == len(DATA) - 400_000
    assert part.content == DATA


def test_known_blocks_prove_a_part_that_has_no_record(hub, part):
    part.path.write_bytes(DATA[:420_000] + bytes(300_000))
    assert part.fetch(url(hub), KNOWN) == len(DATA) - 400_000
    assert part.content == DATA


@pytest.mark.parametrize(
    "blocks",
    [Blocks(block_algorithm(), BLOCK, b"\0" * 32), Blocks("md5", BLOCK, KNOWN.blocks.digests)],
    ids=["too-few", "unknown"],
)
def test_block_digests_that_cannot_be_used_are_not(hub, part, blocks):
    part.fetch(url(hub), Wanted(len(DATA), SHA, blocks=blocks))
    assert part.content == DATA


def test_wrong_block_digests_accept_nothing_wrong(hub, part):
    wrong = Wanted(len(DATA), SHA, blocks=blocks_of(bytes(len(DATA))))
    with pytest.raises(TransferFailed, match="other bytes than are known"):
        part.fetch(url(hub), wrong)


@pytest.mark.parametrize(
    ("stranger", "kept"),
    [
        (DATA[:420_000], 400_000),
        (DATA[:150_000] + b"x" + DATA[150_001:], 100_000),
        (bytes(len(DATA)), 0),
        (DATA, len(DATA)),
        (b"", 0),
    ],
)
def test_a_strangers_download_is_used_as_far_as_blocks_prove_it(
    hub, part, tmp_path, stranger, kept
):
    (tmp_path / "x.incomplete").write_bytes(stranger)
    with (tmp_path / "x.incomplete").open("rb") as file:
        assert part.fetch(url(hub), KNOWN, stranger=file.fileno()) == len(DATA) - kept
    assert part.content == DATA
    assert (tmp_path / "x.incomplete").read_bytes() == stranger


def test_without_block_digests_a_strangers_download_is_not_used(hub, part, tmp_path):
    (tmp_path / "x.incomplete").write_bytes(DATA[:420_000])
    with (tmp_path / "x.incomplete").open("rb") as file:
        assert part.fetch(url(hub), stranger=file.fileno()) == len(DATA)


# -- two sources -----------------------------------------------------------------------------------


def plain(data):
    """Serve a file with ranges and without a listed hash."""

    def answer(_server, connection, head):
        start = asked_from(head)
        if start is None:
            connection.sendall(reply("200 OK", body=data))
            return
        told = f"Content-Range: bytes {start}-{len(data) - 1}/{len(data)}"
        connection.sendall(reply("206 Partial Content", told, body=data[start:]))

    return raw(answer)


def test_two_sources_that_list_the_hash_mix(hub, part):
    part.cut(hub, 750_000)
    assert part.fetch(url(hub, "org/mirror")) == len(DATA) - 750_000
    assert part.content == DATA


def test_a_source_that_lists_no_hash_does_not_go_on_from_another(hub, part):
    part.cut(hub, 750_000)
    with plain(DATA) as server:
        assert part.fetch(server.url) == len(DATA)
        assert [asked_from(head) for head in server.heads] == [750_000, None]
    assert part.content == DATA


def test_with_block_digests_it_does(hub, part):
    part.cut(hub, 750_000, KNOWN)
    with plain(DATA) as server:
        assert part.fetch(server.url, KNOWN) == len(DATA) - 750_000
    assert part.content == DATA


def test_the_same_source_goes_on_without_a_listed_hash(part):
    short = [True]

    def answer(_server, connection, head):
        start = asked_from(head) or 0
        told = f"Content-Range: bytes {start}-{len(DATA) - 1}/{len(DATA)}"
        rest = f"Content-Length: {len(DATA) - start}"
        body = DATA[start : start + 500_000] if short.pop() else b""
        short.append(False)
        connection.sendall(reply("206 Partial Content", told, rest, length=False, body=body))

    with raw(answer) as server:
        with pytest.raises(TransferFailed):
            part.fetch(server.url)
        assert part.content == DATA[:500_000]
        short[:] = [True, True]
        with pytest.raises(TransferFailed):
            part.fetch(server.url)
    assert part.content == DATA[:1_000_000]


def test_a_source_that_is_down_costs_nothing_of_what_is_there(hub, part):
    part.cut(hub, 750_000)
    with raw(reply("404 Not Found")) as server, pytest.raises(TransferFailed):
        part.fetch(server.url)
    assert part.content == DATA[:750_000]


def test_a_source_that_lists_another_hash_is_refused_before_a_byte(hub, part):
    part.cut(hub, 750_000)
    hub.add_repo("org/other", {"a.safetensors": bytes(len(DATA))})
    with pytest.raises(TransferFailed, match=f"{SHA[:12]} is expected"):
        part.fetch(url(hub, "org/other"))
    assert not asked(hub)
    assert part.content == DATA[:750_000]


@pytest.mark.parametrize("name", ["X-Linked-Etag", "X-Linked-ETag", "x-linked-etag"])
@pytest.mark.parametrize("form", ['"{}"', "{}", 'W/"{}"'])
def test_a_hash_is_listed_in_the_answer_itself_too(part, name, form):
    other = form.format(hashlib.sha256(b"other").hexdigest())
    answer = reply("200 OK", f"{name}: {other}", body=DATA)
    with raw(answer) as server, pytest.raises(TransferFailed, match="another version"):
        part.fetch(server.url)
    assert part.content == b""


# -- kills and Ctrl-C ------------------------------------------------------------------------------

CHILD = """
import os, sys
from modelmedic import received, transfer
received.BLOCK_BYTES = {block}
handles = [os.open(path, os.O_RDWR | os.O_CREAT) for path in sys.argv[2:4]]
wanted = transfer.Wanted({size}, {sha!r})
def progress(done):
    if done >= {half}:
        print(done, flush=True)
transfer.fetch(sys.argv[1], handles[0], wanted, record=handles[1], progress=progress)
"""


@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT"])
def test_what_a_killed_fetch_had_is_gone_on_from(hub, part, name):
    if name == "SIGKILL" and not hasattr(signal, name):
        pytest.skip("no such signal here")
    if os.name == "nt":
        pytest.skip("no signals between processes here")
    hub.fault("cdn GET", Fault(stall_seconds=600, stall_after_bytes=550_000))
    child = CHILD.format(block=BLOCK, size=len(DATA), sha=SHA, half=540_000)
    command = [
        sys.executable,
        "-I",
        "-c",
        FIND_US + child,
        url(hub),
        str(part.path),
        str(part.record),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        rescue = threading.Timer(60, process.kill)
        rescue.start()
        try:
            assert process.stdout.readline()
            process.send_signal(getattr(signal, name))
            # The server is silent for ten minutes, and silence is waited for 20 s.
            process.wait(15)
        finally:
            rescue.cancel()
            process.kill()
    assert process.returncode == -signal.SIGKILL if name == "SIGKILL" else process.returncode
    hub.clear()
    kept = 540_000 if name == "SIGINT" else 500_000
    assert part.fetch(url(hub)) <= len(DATA) - kept
    assert part.content == DATA
