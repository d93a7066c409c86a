"""How a download by the Hub's own client goes wrong: each row of the table in docs/weights.md."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from modelmedic.testing.hub import Fault

REPO = "someone/model"
SHARD = "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"


@dataclass(slots=True)
class World:
    """A Hub, a client with its home, and the install that came of it."""

    hub: object
    client: object
    files: dict[str, bytes]
    root: Path  # of the cache, or of the install with its local_dir
    is_local: bool
    notes: dict[str, object] = field(default_factory=dict)

    def fetch(self):
        """Let the client fetch everything; return what it says."""
        if self.is_local:
            return self.client.fetch_to(self.hub, self.root / "model")
        return self.client.download(self.hub, REPO)

    def at(self, path: str = SHARD) -> Path:
        """Return where the app would open a file."""
        if self.is_local:
            return self.root / "model" / path
        return self.repo / "snapshots" / self.hub.commit / path

    def blob(self, path: str = SHARD) -> Path:
        """Return the real file, made writable."""
        real = self.at(path).resolve()
        real.chmod(0o644)
        return real

    @property
    def repo(self) -> Path:
        return self.root / f"models--{REPO.replace('/', '--')}"

    def partial(self) -> Path:
        """Return where the older client keeps what it has of the shard."""
        sha256 = self.hub.repo(REPO).revisions["main"].files[SHARD].sha256
        folder = self.repo / "blobs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{sha256}.incomplete"


@dataclass(frozen=True, slots=True)
class Row:
    """One way to break an install.

    Args:
        name: As in the table.
        make: Makes the state with the client.
        check: The check that must find it (its id without the parameter).
        deep: Whether every byte has to be read to see it.
        ends: "healed", or "kept": no source has the bytes, so nothing may be lost.
        only: Generations of the client that can make this state.
        during: Set on the Hub while modelmedic repairs.
        is_silent: The client says that all is well although it is not.
    """

    name: str
    make: Callable[[World], None]
    check: str
    deep: bool = False
    ends: str = "healed"
    only: tuple[str, ...] = ("ours", "old")
    during: Callable[[World], None] | None = None
    is_silent: tuple[str, ...] = ()
    local: bool = False


def damaged(change: Callable[[Path], None]) -> Callable[[World], None]:
    def make(world: World) -> None:
        assert "folder" in world.fetch()
        change(world.blob())

    return make


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


def cut_and_keep_the_time(path: Path) -> None:
    before = path.stat()
    cut(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def empty(path: Path) -> None:
    os.truncate(path, 0)


def flip(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.seek(-1000, os.SEEK_END)
        byte = stream.read(1)[0]
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte ^ 1]))


def hole(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.seek(path.stat().st_size // 2)
        stream.write(bytes(200_000))


def point(path: Path) -> None:
    path.write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"
    )


def drop_link(world: World) -> None:
    assert "folder" in world.fetch()
    world.at().unlink()


def drop_blob(world: World) -> None:
    assert "folder" in world.fetch()
    blob = world.at().resolve()
    blob.unlink()


def empty_ref(world: World) -> None:
    assert "folder" in world.fetch()
    (world.repo / "refs" / "main").write_text("")


def poison_the_tree(world: World) -> None:
    assert "folder" in world.fetch()
    [tree] = (world.repo / "trees").glob("*.json")
    listed = json.loads(tree.read_text())
    del listed["files"][SHARD]
    tree.write_text(json.dumps(listed))
    world.client.forget()
    drop = world.at()
    real = drop.resolve()
    drop.unlink()
    real.unlink()


def wrong_prefix(world: World) -> None:
    """The older client goes on after the wrong bytes; the newer one leaves them lying there."""
    world.partial().write_bytes(b"x" * 100_000)
    world.fetch()


def full_partial(world: World) -> None:
    world.partial().write_bytes(b"x" * len(world.files[SHARD]))
    world.fetch()


def killed(world: World) -> None:
    """Kill the client in the middle of the shard."""
    world.hub.fault(f"cdn GET .*{SHARD}", Fault(bytes_per_second=400_000), times=None)
    process = world.client.start(world.hub, REPO)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            sent = [e.bytes_sent for e in world.hub.requests if e.side == "cdn" and SHARD in e.path]
            if any(count > 200_000 for count in sent):
                break
            time.sleep(0.05)
        else:
            raise AssertionError("the client never began with the shard")
    finally:
        process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        process.wait(20)
    world.hub.clear()


def in_flight(fault: Fault) -> Callable[[World], None]:
    """Let the bytes be wrong on the way; what the client makes of them is its own affair."""

    def make(world: World) -> None:
        world.hub.fault(f"cdn GET .*{SHARD}", fault, times=None)
        world.fetch()
        world.hub.clear()

    return make


def refused(match: str, fault: Fault, times: int = 60) -> Callable[[World], None]:
    """Let the client fail by a fault of the server."""

    def make(world: World) -> None:
        world.hub.fault(match, fault, times=times)
        assert "error" in world.fetch()
        world.hub.clear()

    return make


def again(match: str, fault: Fault, times: int = 1) -> Callable[[World], None]:
    """Let modelmedic meet the fault as well."""

    def during(world: World) -> None:
        world.hub.fault(match, fault, times=times)

    return during


def all_down(world: World) -> None:
    world.hub.fault("(hub|cdn)", Fault(status=503), times=None)


def edit_config(world: World) -> None:
    assert "folder" in world.fetch()
    path = world.at("config.json")
    path.write_text('{"dim": 4, "mine": true}\n')


def flip_the_cache_blob_then_copy(world: World) -> None:
    assert "folder" in world.client.download(world.hub, REPO)
    cache = world.client.home / "hub" / f"models--{REPO.replace('/', '--')}"
    blob = (cache / "snapshots" / world.hub.commit / SHARD).resolve()
    blob.chmod(0o644)
    flip(blob)
    assert "folder" in world.fetch()


GET = f"cdn GET .*{SHARD}"
BOTH = ("ours", "old")
ROWS = (
    Row("blob truncated", damaged(cut), "weights.intact", is_silent=BOTH),
    Row("blob emptied", damaged(empty), "weights.intact", is_silent=BOTH),
    Row("blob byte flip", damaged(flip), "weights.sha256", deep=True, is_silent=BOTH),
    Row("blob zero hole", damaged(hole), "weights.sha256", deep=True, is_silent=BOTH),
    Row("blob is a pointer", damaged(point), "weights.intact", is_silent=BOTH),
    Row("damage, server down", damaged(cut), "weights.intact", ends="kept", during=all_down,
        is_silent=BOTH),
    Row("flip, server down", damaged(flip), "weights.sha256", deep=True, ends="kept",
        during=all_down, is_silent=BOTH),
    Row("link missing", drop_link, "weights.present"),
    Row("link dangling", drop_blob, "weights.present"),
    Row("refs/main empty", empty_ref, "", is_silent=()),
    Row("tree lacks a file", poison_the_tree, "weights.present", only=("ours",),
        is_silent=("ours",)),
    Row("stale partial, wrong prefix", wrong_prefix, "weights.sha256", deep=True, only=("old",),
        is_silent=("old",)),
    Row("stale partial of full size", full_partial, "weights.sha256", deep=True, only=("old",),
        is_silent=("old",)),
    Row("client killed in a shard", killed, "weights.present"),
    Row("byte flipped in flight", in_flight(Fault(flip_byte_at=100_000)), "weights.sha256",
        deep=True, is_silent=BOTH),
    Row("server sends pointers", in_flight(Fault(pointer=True)), "weights.present"),
    Row("503 from the CDN", refused(GET, Fault(status=503)), "weights.present",
        during=again(GET, Fault(status=503), 2)),
    Row("429 with Retry-After", refused(GET, Fault(status=429, headers={"Retry-After": "0"})),
        "weights.present",
        during=again(GET, Fault(status=429, headers={"Retry-After": "1"}), 1)),
    Row("reset before the header", refused(GET, Fault(reset=True)), "weights.present",
        during=again(GET, Fault(reset=True), 1)),
    Row("reset in the body", refused(GET, Fault(cut_after_bytes=100_000, reset=True)),
        "weights.present", during=again(GET, Fault(cut_after_bytes=300_000, reset=True), 1)),
    Row("close in the body, no Range",
        refused(GET, Fault(status=404)), "weights.present",
        during=again(GET, Fault(cut_after_bytes=300_000, ignore_range=True), 1)),
    Row("short object", refused(GET, Fault(short_body_bytes=1000)), "weights.present",
        ends="kept", during=again(GET, Fault(short_body_bytes=1000), 500)),
    Row("web page instead", refused(GET, Fault(status=403)), "weights.present", ends="kept",
        during=lambda world: world.hub.fault("(hub|cdn)", Fault.html_page(), times=None)),
    Row("local_dir truncated, time kept", damaged(cut_and_keep_the_time), "weights.intact",
        is_silent=BOTH, local=True),
    Row("local_dir truncated", damaged(cut), "weights.intact", local=True),
    Row("local_dir flip, CDN 503", damaged(flip), "weights.sha256", deep=True, ends="kept",
        during=all_down, local=True),
    Row("local_dir from a flipped blob", flip_the_cache_blob_then_copy, "weights.sha256",
        deep=True, local=True, is_silent=BOTH),
    Row("edited config.json", edit_config, "", local=True),
)  # fmt: skip
