"""What is planted for the sample installer: the table in docs/sample-installer.md, row by row."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from sample_support import SHARD, World, end

from modelmedic.testing.hub import Fault

NEEDS_ROOT = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="Mounts, or gives rights away: needs root."
)


@dataclass(frozen=True, slots=True)
class Planted:
    """One fault.

    Args:
        name: Of the row.
        plant: Makes it; told the mode, for what happened before the run.
        plain: What the plain installer says as it stops; None when it hangs.
        ends: Of the reliable one: "completes", "degraded" (with a loss that is said) or "stops".
        says: Patterns in what it prints: the true cause, or the loss.
        tried: Strategy and verdict of each line that its journal must have.
        skip: A mark for where it cannot be planted.
    """

    name: str
    plant: Callable[[World, str], None]
    plain: str | None
    ends: str
    says: tuple[str, ...] = ()
    tried: tuple[tuple[str, str], ...] = ()
    registrations: int = 1
    skip: pytest.MarkDecorator | None = None


def release(name: str) -> Callable[[World, str], None]:
    def plant(world: World, mode: str) -> None:
        ready(world)
        world.release = name

    return plant


def lost_with_shim(world: World, mode: str) -> None:
    ready(world)
    world.release = "lost_missing_files"
    world.has_shim = True


def server(match: str, fault: Fault, times: int | None = 1) -> Callable[[World, str], None]:
    def plant(world: World, mode: str) -> None:
        world.with_environment("moon-2.0", "sun-1.0")
        world.hub.fault(match, fault, times=times)

    return plant


def in_model(change: Callable[[World], None]) -> Callable[[World, str], None]:
    def plant(world: World, mode: str) -> None:
        ready(world)
        world.with_model()
        change(world)

    return plant


def ready(world: World) -> None:
    world.with_environment("moon-2.0", "sun-1.0")


def dead_proxy(world: World, mode: str) -> None:
    ready(world)
    with socket.socket() as probe:  # nobody will listen on its port
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    world.env |= {"http_proxy": f"http://127.0.0.1:{port}", "no_proxy": ""}


def cut(world: World) -> None:
    os.truncate(world.model / SHARD, 700_000)


def flip(world: World) -> None:
    with (world.model / SHARD).open("r+b") as stream:
        stream.seek(900_000)
        byte = stream.read(1)[0]
        stream.seek(900_000)
        stream.write(bytes([byte ^ 1]))


def lose_tokenizer(world: World) -> None:
    (world.model / "tokenizer" / "tokenizer.json").unlink()


def leave_lock(world: World, mode: str) -> None:
    ready(world)
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()  # so nobody has this number now
    lock = world.model / ".cache/huggingface/download/model.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text(f"{done.pid}\n{socket.gethostname()}\n")


def break_package(world: World, mode: str) -> None:
    site = world.with_environment("moon-2.0", "sun-1.0")
    (site / "moon/core.py").unlink()
    shutil.rmtree(site / "moon/__pycache__", ignore_errors=True)
    world.with_model()


def old_package(world: World, mode: str) -> None:
    world.with_environment("moon-1.0", "sun-1.0")
    world.with_model()


def settings(text: str) -> Callable[[World], None]:
    def change(world: World) -> None:
        (world.app / "settings.json").write_text(text)

    return change


def take_rights(world: World, mode: str) -> None:
    """Root is asked for rights as well once it may not override them."""
    ready(world)
    world.app.chmod(0o555)
    world.after.callback(world.app.chmod, 0o755)
    world.before = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def fill_disk(world: World, mode: str) -> None:
    world.app.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(world.app)]
    done = subprocess.run(mount, capture_output=True, text=True, timeout=10, check=False)
    if done.returncode:
        pytest.skip(f"this sandbox may not mount: {done.stderr.strip()}")
    world.after.callback(subprocess.run, ["umount", str(world.app)], check=True, timeout=10)
    ready(world)


def unknown_extra(world: World, mode: str) -> None:
    ready(world)
    world.extras = ["glow"]


def lose_answer(world: World, mode: str) -> None:
    ready(world)
    world.with_model()
    world.registrar.resets = 1


def kill_first(world: World, mode: str) -> None:
    """Let a first run die in the middle of a shard."""
    ready(world)
    stall = Fault(stall_seconds=60, stall_after_bytes=600_000)
    world.hub.fault(f"cdn GET .*{SHARD}", stall)
    child = world.start(mode)
    ends_at = time.monotonic() + 60
    parts = (world.model / f"{SHARD}.part", world.model / ".unfinished" / SHARD)
    while not any(part.exists() and part.stat().st_size > 300_000 for part in parts):
        assert time.monotonic() < ends_at, end(child)
        assert child.poll() is None, end(child)
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        child.kill()
    end(child)
    world.hub.clear()


FAULTS = (
    Planted(
        "missing-method-with-shim", lost_with_shim, "missing_files", "degraded",
        ("missing_files",), (("DynamicMethodInjectionStrategy", "degraded"),),
    ),
    Planted(
        "missing-method-with-alternative", release("renamed_fetch"), "fetch_file", "degraded",
        ("fetch_file", "download_file"), (("FallbackImplementationStrategy", "degraded"),),
    ),
    Planted(
        "missing-method-without-cure", release("renamed_validate"), "validate_config", "stops",
        ("validate_config", "Nearest names .*validate_configs"), (), 0,
    ),
    Planted("typo-in-method", release("typo_in_verify"), "ordr", "stops", ("ordr",), (), 0),
    Planted(
        "connection-reset",
        server(f"cdn GET .*{SHARD}", Fault(reset=True, cut_after_bytes=500_000)),
        "reset|Incomplete|bytes", "completes",
    ),
    Planted("503-twice", server("hub GET .*config.json", Fault(status=503), 2), "503", "completes"),
    Planted(
        "429-retry-after",
        server("hub GET .*config.json", Fault(status=429, headers={"Retry-After": "1"})),
        "429", "completes",
    ),
    Planted(
        "body-truncated", server(f"cdn GET .*{SHARD}", Fault(short_body_bytes=100_000)),
        "100000 bytes", "completes",
    ),
    Planted(
        "wrong-bytes-with-mirror", server(f"cdn GET .*{SHARD}", Fault(flip_byte_at=9_000), None),
        "checksum mismatch", "completes", (), (("ModelRedownloadStrategy", "healed"),),
    ),
    Planted(
        "dead-proxy", dead_proxy, "refused", "stops",
        (r"The proxy http://127.0.0.1:\d+ \(set by http_proxy\) refuses the connection",),
        (("RetryWithBackoffStrategy", "not healed"),), 0,
    ),
    Planted("shard-cut-short", in_model(cut), "700000 bytes", "completes"),
    Planted("byte-flipped", in_model(flip), "checksum mismatch", "completes"),
    Planted("tokenizer-missing", in_model(lose_tokenizer), "tokenizer.json", "completes"),
    Planted("stale-lock", leave_lock, "model.lock", "completes"),
    Planted("package-broken", break_package, "moon.core", "completes"),
    Planted("package-too-old", old_package, "moon has version 1.0", "completes"),
    Planted(
        "setting-wrong", in_model(settings('{"steps": 9000, "size": "64*64"}')), "steps is 9000",
        "completes",
    ),
    Planted("settings-not-json", in_model(settings('{"steps": 20,, ')), "JSON|Expecting", "completes"),
    Planted(
        "folder-without-permission", take_rights, "Permission denied", "stops",
        ("ermission|cannot be written",), (), 0, NEEDS_ROOT,
    ),
    Planted(
        "disk-full", fill_disk, "No space left", "stops", ("MiB free .* missing files .* need",), (), 0,
        NEEDS_ROOT,
    ),
    Planted("hang", server("hub GET .*/api/models", Fault(stall_seconds=90)), None, "completes"),
    Planted("optional-extra-missing", unknown_extra, "glow", "degraded", ("install_extras",)),
    Planted("answer-lost-after-effect", lose_answer, "reset|closed", "stops", ("register",)),
    Planted("killed-and-started-again", kill_first, "model.lock", "completes"),
)  # fmt: skip
