"""The model folder as a mount of its own: refused before a byte comes, or served on its mount."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

IN_A_MOUNT = """
import os, sys, ctypes
from pathlib import Path
sys.path[:0] = [{tests!r}, {src!r}]
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x00020000):  # CLONE_NEWNS: the mount is this process's own and ends with it
    sys.exit(77)
place = Path({place!r})
def mount(source, target, kind, flags):
    if libc.mount(source, str(target).encode(), kind, flags, None):
        sys.exit(77)
mount(b"none", "/", None, 0x4000 | 0x40000)  # MS_REC | MS_PRIVATE
if {kind!r} == "tmpfs":
    mount(b"none", place / "model", b"tmpfs", 0)
else:
    mount(str(place.parent / "volume").encode(), place / "model", None, 0x1000)  # MS_BIND
from test_weights_strategy import *
from modelmedic.operations.fetch_file import FetchFile
from modelmedic.operations.kinds import MakeDir
context = make_context(place, the_profile())
{body}
"""


def in_a_mount(tmp_path, kind, body):
    """Run a text in a process of its own where the model folder is a mount of its own."""
    place = tmp_path / "install"
    for folder in (place / "model", tmp_path / "volume"):
        folder.mkdir(parents=True)
    tests = str(Path(__file__).parent)
    src = str(Path(__file__).parents[1] / "src")
    text = IN_A_MOUNT.format(tests=tests, src=src, place=str(place), kind=kind, body=body)
    done = subprocess.run([sys.executable, "-I", "-c", text], capture_output=True, text=True,
                          timeout=60, check=False)  # fmt: skip
    if done.returncode == 77:
        pytest.skip("this user may not mount")
    assert done.returncode == 0, done.stderr


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="mounts are made as on Linux")
KINDS = pytest.mark.parametrize(
    "kind", ["tmpfs", "bind"]
)  # another device; the same, mounted twice


@on_linux
@KINDS
def test_a_fetch_into_another_mount_is_refused_before_a_byte_comes(tmp_path, kind):
    in_a_mount(tmp_path, kind, """
with pytest.raises(RecoveryRefused, match="another disk or mount") as raised:
    refetched(context)
assert "--install-dir" in str(raised.value) and str(place / "model") in str(raised.value)
fetch = FetchFile(SUBJECT, len(GOOD), SHA, "", ("http://127.0.0.1:9/x",), None)
with pytest.raises(RecoveryRefused, match="another disk or mount"):
    fetch.prepare(Workshop(Tree(place), "run"), "seat")
""")  # fmt: skip


@on_linux
@KINDS
def test_a_stray_on_another_mount_is_named_and_left(tmp_path, kind):
    in_a_mount(tmp_path, kind, """
put(context, "stray.bin")
with pytest.raises(RecoveryRefused, match="stray.bin has the bytes of model/shard-1") as raised:
    planned(context)
assert (place / "stray.bin").exists()
""")  # fmt: skip


@on_linux
@KINDS
def test_a_stray_on_the_mount_of_its_place_is_moved_there(tmp_path, kind):
    in_a_mount(tmp_path, kind, """
put(context, "model/deep/stray.bin")
engine = Engine(context)
with engine.locked():
    engine.apply(Plan("r", "c", "n", operations=planned(context)))
assert (place / SUBJECT).read_bytes() == GOOD
""")  # fmt: skip


@on_linux
@KINDS
def test_a_stray_from_another_mount_is_copied(tmp_path, kind):
    in_a_mount(tmp_path, kind, """
shard = ModelFile("shard-1.safetensors", len(GOOD), SHA)
model = ModelRepo("m", ("here",), "native", (shard,))
context = make_context(place, make_profile(models=(model,)))
path = put(context, "model/stray.bin")
operations = list(weights.plan_move(context, "here/shard-1.safetensors"))
assert [type(each) for each in operations] == [MakeDir, CopyFile]
engine = Engine(context)
with engine.locked():
    engine.apply(Plan("r", "c", "n", operations=operations))
assert (place / "here/shard-1.safetensors").read_bytes() == path.read_bytes() == GOOD
""")  # fmt: skip


@on_linux
def test_a_full_disk_is_said_and_the_old_bytes_stay(tmp_path):
    in_a_mount(tmp_path, "tmpfs", """
from modelmedic.errors import RecoveryFailed
from modelmedic.operations import fetch_file
from modelmedic.testing.hub import LoopbackHub
if libc.mount(b"none", str(place / "model").encode(), b"tmpfs", 0, b"size=256k"):
    sys.exit(77)
data = b"x" * 1_000_000
old = put(context, "model/a.bin", b"old")
fetch_file.RESERVE_BYTES = -10_000_000  # as if the space went to others during the fetch
with LoopbackHub() as hub:
    hub.add_repo("org/model", {"a.bin": data})
    url = f"{hub.endpoint}/org/model/resolve/main/a.bin"
    install = Tree(place / "model")
    sha = hashlib.sha256(data).hexdigest()
    fetch = FetchFile("a.bin", None, sha, "", (url,), weights.seen(install.identity("a.bin")))
    shop = Workshop(install, "run")
    with pytest.raises(RecoveryFailed, match="No space left on device"):
        fetch.apply(shop, fetch.prepare(shop, "seat"))
assert old.read_bytes() == b"old"
""")  # fmt: skip
