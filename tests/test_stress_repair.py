"""Whatever is damaged, and whatever the server does: the reference, or the untouched original.

``MODELMEDIC_STRESS_CASES=500 python -m pytest tests/test_stress_repair.py`` runs more cases.
Hypothesis chooses them and prints how to repeat the one that fails.
"""

from __future__ import annotations

import itertools
import os
import shutil

import pytest
from demo_support import SHORT_WAITS, Desk
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from test_fault_table import REPO, profile_for

from modelmedic.testing.hub import Fault, LoopbackHub
from modelmedic.testing.specimens import checkpoint_bytes, safetensors_bytes, seeded_tensor

CASES = int(os.environ.get("MODELMEDIC_STRESS_CASES", "50"))
LARGE = "model-00001-of-00002.safetensors"  # of three blocks: what a repair by blocks is for
SMALL = "model-00002-of-00002.safetensors"
CHECKPOINT = "vae.pth"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 5\n" % (b"0" * 64)
PAGE = b"<!DOCTYPE html><html><body>sign in</body></html>"


def reference() -> dict[str, bytes]:
    return {
        LARGE: safetensors_bytes(
            {f"a{n}": seeded_tensor(f"a{n}", "F32", (700, 1000)) for n in range(3)}
        ),
        SMALL: safetensors_bytes({"b": seeded_tensor("b", "BF16", (60, 300))}),
        CHECKPOINT: checkpoint_bytes({"c": seeded_tensor("c", "F32", (40, 500))}),
        "config.json": b'{"dim": 4}\n',
    }


FILES = reference()


def cut(data, at, _size):
    return data[: int(len(data) * at)]


def flip(data, at, _size):
    place = int((len(data) - 1) * at)
    return data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]


def zero(data, at, size):
    place = int((len(data) - 1) * at)
    return data[:place] + bytes(min(size, len(data) - place)) + data[place + size :]


def lengthen(data, _at, size):
    return data + b"\x07" * size


def insert(data, at, size):
    place = int(len(data) * at)
    return (data[:place] + b"!" * size + data[place:])[: len(data)]


def everything_else(data, _at, size):
    return bytes([size % 256]) * len(data)


DAMAGES = {
    "cut": cut,
    "flip": flip,
    "zero": zero,
    "lengthen": lengthen,
    "insert": insert,
    "other content": everything_else,
    "pointer": lambda *_: POINTER,
    "page": lambda *_: PAGE,
    "empty": lambda *_: b"",
    "zeros": lambda data, *_: bytes(len(data)),
    "gone": lambda *_: None,
}
WEIGHTS = (LARGE, SMALL, CHECKPOINT)
damages = st.lists(
    st.tuples(
        st.sampled_from(WEIGHTS),
        st.sampled_from(sorted(DAMAGES)),
        st.floats(0, 0.999),
        st.integers(1, 5_000_000),
    ),
    min_size=1,
    max_size=4,
)
faults = st.lists(
    st.tuples(
        st.sampled_from(["cdn GET", "hub GET", "cdn GET .*model-00001"]),
        st.sampled_from(
            [
                Fault(status=503),
                Fault(status=404),
                Fault(status=403),
                Fault(status=429, headers={"Retry-After": "0"}),
                Fault(status=429, headers={"Retry-After": "90000"}),
                Fault(reset=True),
                Fault(cut_after_bytes=10_000),
                Fault(cut_after_bytes=3_000_000, reset=True),
                Fault(cut_after_bytes=3_000_000, ignore_range=True),
                Fault(ignore_range=True),
                Fault(flip_byte_at=5_000),
                Fault(flip_byte_at=5_000_000),
                Fault(pointer=True),
                Fault(short_body_bytes=20_000),
                Fault.html_page(),
            ]
        ),
        st.sampled_from([1, 2, None]),
    ),
    max_size=3,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Serve the model; give its profile, and the state of somebody who once proved all of it."""
    place = tmp_path_factory.mktemp("stress")
    with LoopbackHub() as hub:
        hub.add_repo(REPO, FILES)
        profile = profile_for(hub, place)
        desk = Desk(place / "proved" / "desk", {"NO_PROXY": "127.0.0.1"})
        write(desk.folder / "install", FILES)
        proved = heal(desk, profile)
        assert proved.code == 0, proved.out
        yield hub, profile, place


numbers = itertools.count(1)


@pytest.mark.slow
@pytest.mark.timeout(max(600, CASES * 10))
@pytest.mark.parametrize("half", [1, 2])  # so that two workers share them
@settings(
    max_examples=-(-CASES // 2),
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
@given(damages=damages, faults=faults, is_known=st.booleans())
def test_the_end_is_the_reference_or_what_was_there(world, half, damages, faults, is_known):
    del half
    hub, profile, place = world
    case = place / str(next(numbers))
    env = {"NO_PROXY": "127.0.0.1", "HF_HOME": str(case / "home")}
    desk = Desk(case / "desk", env, first=SHORT_WAITS)
    broken: dict[str, bytes | None] = dict(FILES)
    for path, kind, at, size in damages:
        if broken[path]:
            broken[path] = DAMAGES[kind](broken[path], at, size)
    write(desk.folder / "install", broken)
    if is_known and (place / "proved" / "state" / "digests").is_dir():
        shutil.copytree(place / "proved" / "state" / "digests", case / "state" / "digests")
    hub.clear()
    for match, fault, times in faults:
        hub.fault(match, fault, times=times)
    try:
        run = heal(desk, profile)
        judge(run, desk.folder / "install", broken)
    finally:
        hub.clear()
        shutil.rmtree(case, ignore_errors=True)


def heal(desk, profile):
    return desk.run(
        f"--install-dir={desk.folder / 'install'}",
        "--stage=installed",
        "--deep",
        "--heal",
        "-k",
        "weights",
        profile=profile,
        timeout=100,
    )


def write(install, files):
    for path, data in files.items():
        target = install / "model" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if data is not None:
            target.write_bytes(data)


def judge(run, install, broken):
    note(run.out[-3000:])
    assert run.code in {0, 1}, run.out
    named = {
        finding["check"].partition("[")[2].removesuffix("]")
        for finding in run.record["findings"]
        if finding["outcome"] in {"failed", "unknown"}
    }
    for path in FILES:
        target = install / "model" / path
        now = target.read_bytes() if target.exists() else None
        if now != FILES[path]:
            assert run.code == 1, f"{path} is wrong, and the run is green"
            assert now == broken[path], f"{path} is neither the reference nor what was there"
            assert f"model/{path}" in named, f"{path} is wrong, and no finding names it: {named}"
    left = {p.relative_to(install / "model").as_posix() for p in (install / "model").rglob("*")}
    assert left <= set(FILES), f"something was left behind: {left - set(FILES)}"
