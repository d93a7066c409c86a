"""What proving a model's every byte costs, beside `hf cache verify` over the same files.

python benchmarks/verify_cost.py [--gigabytes N] [--files N] [--runs N]

A loopback Hub lists the files, a Hub cache of them is made in a temporary folder (its file system
must have room for them once). Everything is said as a ratio to a peer of the same run. Files that
fit the page cache are read warm; cold they are dropped from it first (posix_fadvise, no root), so
that the disk decides. What is larger than memory is not measured here unless you ask for it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from measuring import CHECKOUT, Cost, cost_of, own_environment

from modelmedic.facts import seals
from modelmedic.testing.hub import LoopbackHub

REPO = "acme/large"
SEALED = 32
CPU_BAR, WALL_BAR, RSS_BAR = 1.05, 0.6, 40 << 20
BLOCKS_BAR, SEALS_BAR = 3.0, 0.020

# What a run of checks does for the bytes, with the library alone: hash all, largest first, keep.
VERIFY = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from modelmedic.context import Context
from modelmedic.facts import file_hashes, seals
from modelmedic.facts.book import FactBook
from modelmedic.facts.digests import Digests
from modelmedic.profile.model import ModelFile, ModelRepo, Profile
place, state = Path(sys.argv[2]), Path(sys.argv[3])
wanted = dict(line.split() for line in sys.argv[4].split(","))
files = tuple(ModelFile(name, None, sha256) for name, sha256 in wanted.items())
model = ModelRepo("large", (".",), "native", files)
profile = Profile("p", "P", place, models=(model,))
context = Context(profile, place, place, "", None, "", "installed", "", True, True, "run", state,
                  "", (".",))
facts = FactBook(context)
facts.get(file_hashes.begin_all)
for name, sha256 in wanted.items():
    found = facts.get(file_hashes.read_proof, name, sha256)
    assert found.hexdigest == sha256
    if not found.is_by_blocks:
        seals.keep_blocks(state, Digests(found.size_bytes, found.hexdigest, found.blocks))
    print("by blocks" if found.is_by_blocks else "by sha256")
# Not ru_maxrss: it is never below that of the process we were forked from.
lines = Path("/proc/self/status").read_text().splitlines()
print("PEAK", *(line.split()[1] for line in lines if line.startswith("VmHWM")))
"""
# What no program can go below that takes both digests with these libraries: nothing around them.
FLOOR = """
import hashlib, mmap, sys
import blake3
buffer = memoryview(mmap.mmap(-1, 4 << 20))
for name in sys.argv[1:]:
    whole, digests = hashlib.sha256(), []
    with open(name, "rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            whole.update(buffer[:count])
            digests.append(blake3.blake3(buffer[:count]).digest())
    whole.digest()
"""
PLAIN = """
import os, sys
buffer = bytearray(1 << 20)
for name in sys.argv[1:]:
    with open(name, "rb", buffering=0) as stream:
        while stream.readinto(buffer):
            pass
"""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    with tempfile.TemporaryDirectory(prefix="modelmedic-bench-") as folder:
        return _measured(Path(folder), options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=2.147, help="all files together")
    parser.add_argument("--files", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    return parser.parse_args(arguments)


def _measured(place: Path, options: argparse.Namespace) -> int:
    cores = len(os.sched_getaffinity(0))
    print(f"{options.gigabytes:.2f} GB in {options.files} files, {cores} cores, "
          f"load {os.getloadavg()[0]:.1f}, best of {options.runs}")  # fmt: skip
    files = _made(place / "source", int(options.gigabytes * 1e9), options.files)
    hub = LoopbackHub()
    hub.add_repo(REPO, {path.name: path for path in files})
    with hub:
        snapshot, wanted = _cache(place / "cache", files, hub.commit)
        env = own_environment(place / "home") | {"HF_ENDPOINT": hub.endpoint}
        run = Bench(place, env, snapshot, wanted, options.runs)
        missed = [*run.first(), *run.again(), *_seals(place / "sparse")]
    for line in missed:
        print(f"MISSED: {line}")
    return 1 if missed else 0


class Bench:
    def __init__(
        self, place: Path, env: dict[str, str], snapshot: Path, wanted: dict[str, str], runs: int
    ) -> None:
        self.place, self.env, self.snapshot = place, env, snapshot
        self.wanted, self.runs = wanted, runs
        self.best_first: Cost | None = None

    def first(self) -> list[str]:
        """Compare the first proof, with block digests, with hf cache verify."""
        theirs, ours, floor = [], [], []
        names = [str(self.snapshot / name) for name in self.wanted]
        for number in range(self.runs):
            floor.append(self._ended([sys.executable, "-I", "-c", FLOOR, *names]))
            theirs.append(self._ended(
                [str(Path(sys.executable).with_name("hf")), "cache", "verify", REPO,
                 "--cache-dir", str(self.snapshot.parents[2])]
            ))  # fmt: skip
            ours.append(self._verify(self.place / f"state{number}"))
        cpu = _least(ours, "cpu_seconds") / _least(theirs, "cpu_seconds")
        wall = _least(ours, "wall_seconds") / _least(theirs, "wall_seconds")
        peak = min(int(cost.output.split("PEAK ")[1]) << 10 for cost in ours)
        print(f"hf cache verify          {_told(theirs)}")
        print(f"first proof, with blocks {_told(ours)}")
        least = _least(floor, "cpu_seconds")
        share, over = least / _least(theirs, "cpu_seconds"), _least(ours, "cpu_seconds") / least
        print(f"both digests alone       {_told(floor)}")
        print(f"both digests alone to hf cache verify: {share:.2f}; ours to both alone: {over:.2f}")
        return [
            *_bar("processor time to hf cache verify", cpu, CPU_BAR),
            *_bar("time to hf cache verify (two idle cores)", wall, WALL_BAR),
            *_bar("resident MiB of the hashing process", peak / (1 << 20), RSS_BAR / (1 << 20)),
        ]

    def again(self) -> list[str]:
        """Compare a later proof by blocks with a first one, warm, and with a plain read, cold."""
        sha256 = [self._verify(self.place / f"new{number}") for number in range(self.runs)]
        blocks = [self._verify(self.place / "state0") for _ in range(self.runs)]
        assert "by sha256" not in blocks[0].output
        print(f"later proof, warm        {_told(blocks)}")
        factor = _least(sha256, "cpu_seconds") / _least(blocks, "cpu_seconds")
        missed = _bar(
            "processor time of a first proof to a later one", factor, BLOCKS_BAR, least=True
        )
        names = [str(self.snapshot / name) for name in self.wanted]
        plain, cold = [], []
        for _ in range(self.runs):
            _drop(names)
            plain.append(self._ended([sys.executable, "-I", "-c", PLAIN, *names]))
            _drop(names)
            cold.append(self._verify(self.place / "state0"))
        print(f"plain read, cold         {_told(plain)}")
        print(f"later proof, cold        {_told(cold)}")
        ratio = _least(cold, "wall_seconds") / _least(plain, "wall_seconds")
        return missed + _bar("time of a later cold proof to a plain cold read", ratio, 1.1)

    def _verify(self, state: Path) -> Cost:
        pairs = ",".join(f"{name} {sha256}" for name, sha256 in self.wanted.items())
        return self._ended(
            [sys.executable, "-I", "-c", VERIFY, str(CHECKOUT / "src"), str(self.snapshot),
             str(state), pairs]
        )  # fmt: skip

    def _ended(self, argv: list[str]) -> Cost:
        cost = cost_of(argv, env=self.env, cwd=self.place)
        if cost.code:
            raise SystemExit(f"{argv[0]} ended with {cost.code}:\n{cost.output[-2000:]}")
        return cost


def _seals(place: Path) -> list[str]:
    """Time the verification of sealed files; they are sparse, no byte of them is read."""
    state_dir, known = place / "state", {}
    (place / "install").mkdir(parents=True)
    for number in range(SEALED):
        path = place / "install" / f"{number}.safetensors"
        with path.open("wb") as stream:
            stream.truncate(10 << 30)
        state = seals.safe_open.look(place / "install", path.name)
        known[path.name] = seals.Seal(seals.identity_of(state), {"sha256": "0" * 64}, "2026-01-01")
    seals.keep_seals(state_dir, place / "install", known)
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        standing = seals.verify(state_dir, place / "install", known)
        seconds.append(time.perf_counter() - start)
        assert len(standing) == SEALED
    return _bar(f"milliseconds for {SEALED} sealed files", min(seconds) * 1e3, SEALS_BAR * 1e3)


def _made(place: Path, size_bytes: int, count: int) -> list[Path]:
    place.mkdir()
    piece = random.Random(1).randbytes(64 << 20)
    made = []
    for number in range(count):
        path = place / f"model-{number + 1:05}-of-{count:05}.safetensors"
        left = size_bytes // count
        with path.open("wb") as stream:
            while left:
                part = number.to_bytes(8, "little") + left.to_bytes(8, "little") + piece[16:]
                left -= stream.write(part[:left])
        made.append(path)
    return made


def _cache(place: Path, files: list[Path], commit: str) -> tuple[Path, dict[str, str]]:
    """Lay the files out as the Hub's client does: blobs, links in a snapshot, a ref."""
    repo = place / f"models--{REPO.replace('/', '--')}"
    snapshot = repo / "snapshots" / commit
    for folder in (snapshot, repo / "blobs", repo / "refs"):
        folder.mkdir(parents=True)
    (repo / "refs/main").write_text(commit)
    wanted = {}
    for path in files:
        with path.open("rb") as stream:
            digest = hashlib.sha256()
            while data := stream.read(1 << 20):
                digest.update(data)
        sha256 = wanted[path.name] = digest.hexdigest()
        os.link(path, repo / "blobs" / sha256)
        (snapshot / path.name).symlink_to(f"../../blobs/{sha256}")
    return snapshot, wanted


def _drop(names: list[str]) -> None:
    """Take files out of the page cache; that needs no root, only that they are written out."""
    for name in names:
        handle = os.open(name, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def _least(costs: list[Cost], name: str) -> float:
    return min(float(getattr(cost, name)) for cost in costs)


def _told(costs: list[Cost]) -> str:
    cpu, wall = _least(costs, "cpu_seconds"), _least(costs, "wall_seconds")
    return f"cpu {cpu:6.2f} s  wall {wall:6.2f} s"


def _bar(name: str, value: float, bar: float, *, least: bool = False) -> list[str]:
    is_met = value >= bar if least else value <= bar
    text = f"{name}: {value:.2f}, bar {'at least' if least else 'at most'} {bar:g}"
    print(f"{text}: {'met' if is_met else 'MISSED'}")
    return [] if is_met else [text]


if __name__ == "__main__":
    if not shutil.which("hf", path=str(Path(sys.executable).parent)):
        raise SystemExit("This needs the hf command of huggingface_hub 1.0 or newer.")
    raise SystemExit(main())
