"""What it costs to repair one flipped byte in a shard of 1 GiB: bytes fetched, and time.

    python benchmarks/repair_cost.py [MIB] [RUNS]

Measured, in one process, on a file of random bytes whose block digests (4 MiB, BLAKE3) are known:

- the bytes that a Hub on loopback sends;
- the repair step, from locating the damage to the proof of the whole file by its SHA-256, without
  the undo and the checks around it: wall time, and processor time of this process (the Hub is
  another one);
- the peer, in the same run: one plain pass of SHA-256 over the same file, as ``hashlib`` is used
  everywhere (a loop of ``readinto`` of 1 MiB).

A file larger than the page cache is read twice from the disk by the repair step, and once by the
peer. Both are measured on a warm cache; the size is stated.

Bar: 4.3 MB fetched, and 1.25 times the wall time of the peer. Source: one block of 4 MiB and its
header; one pass has to prove the file, so the rest, locating and fetching, gets a quarter of it.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import CHECKOUT, line, own_environment

sys.path.insert(0, str(CHECKOUT / "src"))

from modelmedic.facts import damage, safe_open
from modelmedic.facts.digests import BLOCK_BYTES, Blocks, block_algorithm, new_hasher
from modelmedic.operations.aside import seen
from modelmedic.operations.base import Workshop
from modelmedic.operations.tree import Tree
from modelmedic.operations.write_blocks import WriteBlocks

MIB = 1 << 20
SIZE_MIB = 1024
RUNS = 5
MOST_BYTES = 4_300_000
MOST_TIMES = 1.25
NAME = "shard.safetensors"
HUB = "import sys; sys.path.insert(0, {source!r}); from modelmedic.testing.hub import main; main()"


def main() -> int:
    """Print the figures; return 1 when a bar is missed."""
    given = [int(text) for text in sys.argv[1:]]
    size_mib, runs = (*given, *(SIZE_MIB, RUNS)[len(given) :])
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        sha256, blocks = _make(place, size_mib * MIB)
        hub, address = _serve(place)
        try:
            shares = [_repaired(place, address, sha256, blocks, run) for run in range(runs)]
        finally:
            hub.kill()
            hub.wait()
    plain = [each["plain"] for each in shares]
    whole = [each["whole"] for each in shares]
    fetched = max(each["fetched"] for each in shares)
    print(f"Python {sys.version.split()[0]}, {size_mib} MiB, blocks by {blocks.algorithm}, "
          f"{runs} runs, {os.cpu_count()} cores, warm cache")  # fmt: skip
    print(line("peer: one plain pass of sha256, wall time", plain))
    print(line("repair step, locate to proof, wall time", whole, min(plain) * MOST_TIMES))
    print(line("  of it: locate", [each["locate"] for each in shares]))
    print(line("repair step, processor time", [each["cpu"] for each in shares]))
    ratio = min(whole) / min(plain)
    print(f"ratio to the plain pass: {ratio:.2f}  bar {MOST_TIMES}")
    print(f"bytes sent for one flipped byte: {fetched:,}  bar {MOST_BYTES:,}")
    return int(ratio > MOST_TIMES or fetched > MOST_BYTES)


def _make(place: Path, size_bytes: int) -> tuple[str, Blocks]:
    """Write the good file; return its digests."""
    (place / "good").mkdir()
    whole, found, algorithm = hashlib.sha256(), [], block_algorithm()
    with (place / "good" / NAME).open("wb") as stream:
        for _ in range(0, size_bytes, BLOCK_BYTES):
            block = os.urandom(BLOCK_BYTES)
            hasher = new_hasher(algorithm)
            hasher.update(block)
            found.append(hasher.digest())
            whole.update(block)
            stream.write(block)
    install = place / "install"
    install.mkdir()
    (install / NAME).write_bytes(b"")
    with (place / "good" / NAME).open("rb") as old, (install / NAME).open("wb") as new:
        while piece := old.read(BLOCK_BYTES):
            new.write(piece)
        new.flush()
        os.fsync(new.fileno())
    return whole.hexdigest(), Blocks(algorithm, BLOCK_BYTES, b"".join(found))


def _serve(place: Path) -> tuple[subprocess.Popen[str], str]:
    argv = [sys.executable, "-I", "-c", HUB.format(source=str(CHECKOUT / "src"))]
    hub = subprocess.Popen(
        [*argv, f"--folder={place / 'good'}"], stdout=subprocess.PIPE, text=True,
        env=own_environment(place / "home"),
    )  # fmt: skip
    assert hub.stdout is not None
    return hub, f"{hub.stdout.readline().strip()}/local/folder/resolve/main/{NAME}"


def _repaired(place: Path, address: str, sha256: str, blocks: Blocks, run: int) -> dict[str, float]:
    """Flip a byte, then locate and repair it."""
    install = place / "install"
    path, size_bytes = install / NAME, blocks.count * BLOCK_BYTES
    at = (size_bytes * (run + 1) // 7) | 1
    with path.open("r+b") as stream:
        stream.seek(at)
        byte = stream.read(1)[0]
        stream.seek(at)
        stream.write(bytes([byte ^ 1]))
        stream.flush()
        os.fsync(stream.fileno())
    plain = _plain_seconds(path)
    shop = Workshop(Tree(install), f"run-{run}")
    cpu, began = time.process_time(), time.perf_counter()
    with safe_open.opened(install, NAME) as (_state, file):
        assert file is not None
        found = damage.locate(file, size_bytes, blocks)
    located = time.perf_counter()
    was = seen(shop.tree.identity(NAME))
    assert was is not None
    operation = WriteBlocks(
        NAME, size_bytes, sha256, (address,), was, found.blocks, BLOCK_BYTES, found.algorithm,
        found.digests,
    )  # fmt: skip
    operation.apply(shop, operation.prepare(shop, "seat"))
    ended = time.perf_counter()
    return {
        "plain": plain,
        "whole": ended - began,
        "locate": located - began,
        "cpu": time.process_time() - cpu,
        "fetched": shop.fetched_bytes,
    }


def _plain_seconds(path: Path) -> float:
    best = float("inf")
    for _ in range(2):
        began, hasher = time.perf_counter(), hashlib.sha256()
        block = memoryview(bytearray(MIB))
        with path.open("rb", buffering=0) as stream:
            while count := stream.readinto(block):
                hasher.update(block[:count])
        best = min(best, time.perf_counter() - began)
    return best


if __name__ == "__main__":
    raise SystemExit(main())
