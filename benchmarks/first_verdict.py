"""The first verdict on an install of 126 GB: names, sizes, headers, zip directories, indexes.

python benchmarks/first_verdict.py [RUNS]. The install is as large as the profile wan2.2-t2v-a14b
says, with real headers and directories and no data: the files are sparse, so it takes some MB.
That nothing was ever written is what the checks then say of each shard. The peer opens the same
files, reads the same headers and parses their JSON, one after the other, and judges nothing.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import struct
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import measuring

from modelmedic import rooms
from modelmedic.context import Context, ExpectedFile
from modelmedic.discovery import discover
from modelmedic.errors import CannotTell, Unhealthy
from modelmedic.facts import weight_index
from modelmedic.facts.book import FactBook
from modelmedic.profile.loader import load_profile

PROFILE = "wan2.2-t2v-a14b"
BAR_SECONDS = 1.0
TENSORS_OF_A_SHARD = 183  # 1,095 tensors in six shards
RECORDS_OF_A_CHECKPOINT = 250


def main() -> int:
    """Measure, print, and return 1 if the bar was missed."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else measuring.RUNS
    with tempfile.TemporaryDirectory(prefix="first-verdict-") as name:
        place = Path(name) / "install"
        context = make(place)
        expected = context.expected_files()
        total_bytes = sum(each.path.stat().st_size for each in expected)
        ours, peers, verdicts = [], [], {}
        for _ in range(runs):
            started = time.perf_counter()
            verdicts = judge(FactBook(context))
            ours.append(time.perf_counter() - started)
            started = time.perf_counter()
            read_plainly(expected)
            peers.append(time.perf_counter() - started)
        whole = [whole_run(place, Path(name)) for _ in range(3)]
    print(f"{len(expected)} files, {total_bytes / 1e9:.1f} GB; verdicts: {verdicts}")
    print(measuring.line("first verdict on every file", ours, BAR_SECONDS))
    print(measuring.line("peer: the same headers read and parsed", peers))
    print(f"ratio {min(ours) / min(peers):.2f}")
    print(measuring.line("pytest checks/ -k weights --offline, whole", whole))
    return int(min(ours) > BAR_SECONDS)


def judge(facts: FactBook) -> dict[str, int]:
    """Run the checks of the weights as a run does, and return how often each verdict came."""
    checks = rooms.load("checks", "test_weights")
    context, counts = facts.context, dict.fromkeys(("passed", "failed", "unknown"), 0)
    checks.warm(facts)
    steps = [
        (check, expected)
        for expected in context.expected_files()
        for check in (checks.test_model_file_is_present, checks.test_model_file_is_intact)
    ]
    for check, expected in steps:
        counts[_verdict(check, facts, context, expected, _nothing)] += 1
    for model in context.profile.models:
        check = checks.test_index_agrees_with_the_shards
        counts[_verdict(check, facts, context, model, _nothing)] += 1
    return counts


def _verdict(check: object, *given: object) -> str:
    try:
        check(*given)  # type: ignore[operator]
    except Unhealthy:
        return "failed"
    except CannotTell:
        return "unknown"
    return "passed"


def _nothing(*_: object, **__: object) -> None:
    """Take a stated loss."""


def read_plainly(expected: tuple[ExpectedFile, ...]) -> None:
    """Read what tells the structure of each file, without a judgement."""
    for each in expected:
        with each.path.open("rb") as stream:
            if each.path.suffix == ".safetensors":
                json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
            elif each.path.suffix == ".pth":
                zipfile.ZipFile(stream).namelist()
            elif each.path.name.endswith(weight_index.INDEX_SUFFIX):
                json.load(stream)


def whole_run(place: Path, folder: Path) -> float:
    """Return the wall time of a run of the weights' checks as a person starts it, in seconds."""
    env = measuring.own_environment(folder / "home")
    options = [f"--profile={PROFILE}", f"--install-dir={place}", "--offline", "-k", "weights"]
    report = f"--report-dir={folder / 'report'}"
    argv = [*measuring.PYTEST, "checks/", *options, report]
    return measuring.cost_of(argv, env=env, cwd=measuring.CHECKOUT).wall_seconds


# -- the install -----------------------------------------------------------------------------------


def make(place: Path) -> Context:
    """Write the files of the profile, sparse, and return the context of a run on them.

    The texts are ours, so the profile is given their sizes, and no hash.
    """
    profile = load_profile(PROFILE, cwd=Path.cwd())
    (model,) = profile.models
    folder = place / model.folders[0]
    files = []
    for file in model.files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        size_bytes = file.size_bytes or 100
        if path.suffix == ".safetensors":
            write_shard(path, size_bytes)
        elif path.suffix == ".pth":
            write_checkpoint(path, size_bytes)
        else:
            path.write_text(index_of(path.parent) if "index" in path.name else "{}")
            size_bytes = path.stat().st_size
        files.append(
            dataclasses.replace(file, size_bytes=size_bytes, sha256=None, git_blob="0" * 40)
        )
    known = dataclasses.replace(model, files=tuple(files))
    return discover(
        profile=dataclasses.replace(profile, models=(known,)),
        install_dir=str(place),
        target_python=None,
        stage="installed",
        deep=False,
        offline=True,
        run_id="bench",
        command="pytest checks/",
        cwd=place,
        environ={},
    )


def write_shard(path: Path, size_bytes: int) -> None:
    """Write the header of a safetensors file of exactly ``size_bytes`` bytes, and no data."""
    header_bytes = 8 * ((TENSORS_OF_A_SHARD * 120) // 8)
    data_bytes = size_bytes - 8 - header_bytes
    each_bytes = data_bytes // TENSORS_OF_A_SHARD // 2 * 2
    entries, at = {}, 0
    for number, name in enumerate(tensor_names(path)):
        last = number == TENSORS_OF_A_SHARD - 1
        end = data_bytes if last else at + each_bytes
        dtype, count = ("U8", end - at) if last else ("BF16", (end - at) // 2)
        entries[name] = {"dtype": dtype, "shape": [count], "data_offsets": [at, end]}
        at = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", header_bytes) + text.ljust(header_bytes))
    os.truncate(path, size_bytes)


def tensor_names(path: Path) -> Iterator[str]:
    """Give the names of the tensors of one shard, its number in them."""
    shard = path.name.split("-")[1] if "-0" in path.name else "0"
    for number in range(TENSORS_OF_A_SHARD):
        yield f"blocks.{shard}.{number}.self_attn.weight"


def index_of(folder: Path) -> str:
    """Return the index of the shards in a folder."""
    weight_map = {
        name: shard.name for shard in folder.glob("*.safetensors") for name in tensor_names(shard)
    }
    return json.dumps({"metadata": {}, "weight_map": weight_map}, indent=2)


def write_checkpoint(path: Path, size_bytes: int) -> None:
    """Write the directory of a PyTorch checkpoint of exactly ``size_bytes`` bytes, and no data.

    The directory of small records is made by zipfile; then each is given its share of the bytes.
    """
    central, names = io.BytesIO(), [f"archive/data/{n}" for n in range(RECORDS_OF_A_CHECKPOINT)]
    names[0] = "archive/data.pkl"
    end_bytes = 56 + 20 + 22
    record_bytes = 46 + 28  # and the name: a zip64 field with three numbers
    directory_bytes = sum(record_bytes + len(name) for name in names)
    start = size_bytes - directory_bytes - end_bytes
    share = start // len(names)
    for number, name in enumerate(names):
        stored = share - 30 - len(name)
        extra = struct.pack("<2H3Q", 1, 24, stored, stored, number * share)
        fields = (0, 45, 0, 0, 0, 0, 0, 0xFFFFFFFF, 0xFFFFFFFF, len(name), len(extra), 0, 0, 0, 0)
        central.write(struct.pack("<4s6H3I5H2I", b"PK\1\2", 45, *fields[1:], 0xFFFFFFFF))
        central.write(name.encode() + extra)
    with path.open("wb") as stream:
        stream.truncate(start)
        stream.seek(start)
        stream.write(central.getvalue())
        numbers = (len(names), len(names), directory_bytes, start)
        stream.write(struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, *numbers))
        stream.write(struct.pack("<4sIQI", b"PK\6\7", 0, start + directory_bytes, 1))
        few = (0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
        stream.write(struct.pack("<4s4H2IH", b"PK\5\6", *few))


if __name__ == "__main__":
    sys.exit(main())
