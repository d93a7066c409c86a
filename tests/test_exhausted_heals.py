"""Whole runs of --heal that run out of something: said in words, nothing lost, healed afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from demo_support import Desk, snapshot

from modelmedic.testing.conformance import prepare_demo
from modelmedic.testing.hub import demo_hub

SHARD = "model/diffusion_pytorch_model-00002-of-00003.safetensors"
TORN = '{"steps": 33, "size": "32*32", "se'

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="prlimit, mount"),
    pytest.mark.skipif(not shutil.which("prlimit"), reason="no prlimit (util-linux)"),
]


def break_it(install):
    prepare_demo(install)
    (install / "outputs").rmdir()
    (install / "settings.json").write_text(TORN)
    os.truncate(install / SHARD, 1000)


@pytest.fixture
def desk(tmp_path):
    folder = tmp_path / "desk"
    folder.mkdir()
    break_it(folder / "demo-install")
    return Desk(folder)


@pytest.fixture
def small_disk(tmp_path):
    """Give a function that mounts a small disk for the install; only root may."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder = tmp_path / "desk"

    def make(options):
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"mount is denied: {done.stderr.strip()}")
        break_it(folder / "demo-install")
        return Desk(folder)

    yield make
    subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


def healed(desk, run, old, new):
    """Each file is the old or the new one; once there is room again, --heal ends green."""
    now = snapshot(desk.install)
    for path in {*old, *new, *now}:
        assert now.get(path) in (old.get(path), new.get(path)), (path, run.out)
    assert run.code != 0 or now == new, run.out
    return now


def again(desk, old, new, *options):
    run = desk.run("--heal", *options)
    assert run.code == 0, run.out
    assert snapshot(desk.install) == new


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    """The files of the install when all is repaired."""
    desk = Desk(tmp_path_factory.mktemp("whole") / "desk")
    desk.folder.mkdir()
    break_it(desk.install)
    run = desk.run("--heal")
    assert run.code == 0, run.out
    return snapshot(desk.install)


@pytest.fixture
def elsewhere(desk):
    """A Hub that has its own memory: the demo's would share that of the run."""
    with demo_hub() as hub:
        desk.env["MODELMEDIC_DEMO_HUB"] = hub.endpoint
        yield


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    "megabytes",
    [80, 120, 170, 300],
)
def test_memory(desk, new, megabytes):
    old = snapshot(desk.install)
    desk.python = ("prlimit", f"--as={megabytes << 20}", sys.executable)
    run = desk.run("--heal")
    healed(desk, run, old, new)  # pytest itself may be what finds no memory: exit code 3
    desk.python = (sys.executable,)
    again(desk, old, new)


@pytest.mark.parametrize("files", [24, 40])
def test_files(desk, new, files):
    old = snapshot(desk.install)
    desk.python = ("prlimit", f"--nofile={files}", sys.executable)
    run = desk.run("--heal")
    healed(desk, run, old, new)
    assert "INTERNALERROR" not in run.out, run.out
    desk.python = (sys.executable,)
    again(desk, old, new)


@pytest.mark.parametrize("inodes", [0, 6])
def test_inodes(small_disk, new, inodes):
    desk = small_disk("size=40m,nr_inodes=1k")
    old = snapshot(desk.install)
    place = os.statvfs(desk.folder)
    (desk.folder / "ballast").mkdir()
    for number in range(place.f_favail - 1 - inodes):
        (desk.folder / "ballast" / str(number)).touch()
    run = desk.run("--heal")
    healed(desk, run, old, new)
    assert "INTERNALERROR" not in run.out, run.out
    shutil.rmtree(desk.folder / "ballast")
    again(desk, old, new)


@pytest.mark.parametrize("kib", [0, 200])
def test_space(small_disk, new, kib):
    desk = small_disk("size=12m")
    old = snapshot(desk.install)
    place = os.statvfs(desk.folder)
    room = place.f_bavail * place.f_frsize - (kib << 10)
    (desk.folder / "ballast").write_bytes(b"x" * room)
    run = desk.run("--heal")
    healed(desk, run, old, new)
    assert "INTERNALERROR" not in run.out, run.out
    (desk.folder / "ballast").unlink()
    again(desk, old, new)
