"""What goes wrong in one cycle of the chaos run: drawn from a seed, then planted and counted."""

from __future__ import annotations

import os
import random
import resource
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from chaos_place import GOOD, LOCK, SETTINGS, Place

from modelmedic.testing.hub import Fault

_TENSORS = tuple(path for path in GOOD if path.endswith((".safetensors", ".pth")))
_DEAD_PID = 2**22 - 3  # above what this kernel gives out by default


@dataclass(slots=True)
class Cycle:
    """One draw.

    Args:
        number: Of the cycle.
        place: "demo" or "sample".
        command: "check", "heal", "undo" or "install".
        is_deep: Whether the run reads all bytes.
        files: Names of file faults.
        server: What happens to the Hub; empty for nothing.
        process: "kill", "stop" or nothing.
        moment_seconds: When that happens.
        limit: "files", "memory", "disk" or nothing.
    """

    number: int
    place: str
    command: str
    is_deep: bool
    files: list[str] = field(default_factory=list)
    server: str = ""
    process: str = ""
    moment_seconds: float = 0.0
    limit: str = ""

    def told(self) -> str:
        """Return it as one line."""
        parts = [f"{self.place} {self.command}{' --deep' * self.is_deep}", *self.files]
        parts += [f"hub {self.server}"] if self.server else []
        parts += [f"{self.process} after {self.moment_seconds:.2f} s"] if self.process else []
        parts += [f"little {self.limit}"] if self.limit else []
        return f"cycle {self.number}: {', '.join(parts)}"


def draw_cycle(seed: int, number: int, limits: tuple[str, ...]) -> tuple[Cycle, random.Random]:
    """Return what happens in a cycle, and the numbers that its faults draw from."""
    draw = random.Random(f"{seed} {number}")  # of its own: what came before does not shift it
    place = draw.choices(("demo", "sample"), (3, 2))[0]
    other = "install" if place == "sample" else "heal"
    command = draw.choices((other, "heal", "check", "undo"), (6, 3, 1, 1))[0]
    cycle = Cycle(number, place, command, is_deep=draw.random() < 0.5 and command != "undo")
    cycle.files = draw.choices(tuple(FILE_FAULTS), k=draw.choices((0, 1, 2, 3), (1, 4, 3, 2))[0])
    if draw.random() < 0.4:
        cycle.server = draw.choice((*SERVER_FAULTS, "down", "restart"))
    if draw.random() < 0.35:
        cycle.process = draw.choices(("kill", "stop"), (3, 1))[0]
    cycle.moment_seconds = draw.uniform(0.05, 3.0)
    if limits and draw.random() < 0.15:
        cycle.limit = draw.choice(limits)
    return cycle, draw


def flip(place: Place, draw: random.Random) -> None:
    _change(place, draw, lambda data, at: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def cut(place: Place, draw: random.Random) -> None:
    _change(place, draw, lambda data, at: data[:at])


def grow(place: Place, draw: random.Random) -> None:
    _change(place, draw, lambda data, at: data + bytes(at % 5_000 + 1))


def zeros(place: Place, draw: random.Random) -> None:
    _change(place, draw, lambda data, at: data[:at] + bytes(len(data) - at))


def delete(place: Place, draw: random.Random) -> None:
    (place.root / draw.choice(tuple(GOOD))).unlink(missing_ok=True)


def forbid(place: Place, draw: random.Random) -> None:
    path = place.root / draw.choice(tuple(GOOD))
    if path.is_file():
        path.chmod(draw.choice((0o000, 0o400)))


def stray(place: Place, draw: random.Random) -> None:
    """Leave a part of an unfinished download, which the Hub's client would go on from."""
    folder = place.root / "model/.cache/huggingface/download"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{draw.randbytes(20).hex()}.incomplete").write_bytes(draw.randbytes(3_000))


def lock(place: Place, _draw: random.Random) -> None:
    path = place.root / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{_DEAD_PID}\n{socket.gethostname()}\n")


def settings(place: Place, draw: random.Random) -> None:
    text = draw.choice(('{"steps": 20,, ', '{"steps": 9000, "size": "64*64"}', "", "\x00" * 40))
    (place.root / SETTINGS).write_text(text)


FILE_FAULTS: dict[str, Callable[[Place, random.Random], None]] = {
    each.__name__: each for each in (flip, cut, grow, zeros, delete, forbid, stray, lock, settings)
}
SERVER_FAULTS: dict[str, tuple[str, Fault, int]] = {
    "503": ("GET .*(config|shard|diff|Demo)", Fault(status=503), 2),
    "429": ("hub GET ", Fault(status=429, headers={"Retry-After": "1"}), 1),
    "reset": ("cdn GET ", Fault(reset=True, cut_after_bytes=90_000), 2),
    "cut": ("cdn GET ", Fault(cut_after_bytes=200_000), 2),
    "short": ("cdn GET ", Fault(short_body_bytes=50_000), 2),
    "flip": ("cdn GET ", Fault(flip_byte_at=70_000), 2),
    "page": ("hub GET .*resolve", Fault.html_page(), 2),
    "stall": ("cdn GET ", Fault(stall_seconds=1.0, stall_after_bytes=100_000), 2),
    "slow": ("cdn GET ", Fault(bytes_per_second=1_000_000), 4),
    "whole": ("cdn GET ", Fault(ignore_range=True), 4),
}


def _change(place: Place, draw: random.Random, how: Callable[[bytes, int], bytes]) -> None:
    path = place.root / draw.choice(_TENSORS)
    at = draw.random()
    if not path.is_file() or not (size := path.stat().st_size):
        return
    mode = path.stat().st_mode
    path.chmod(0o600)
    data = how(path.read_bytes(), int(at * size))
    beside = place.root / "chaos"  # a new file, as what a repair keeps may share the old one
    beside.write_bytes(data)
    beside.replace(path)
    path.chmod(mode & 0o777)


def limiter(name: str, draw: random.Random) -> Callable[[], None] | None:
    """Return what limits a child before it starts; None for nothing."""
    files, memory = draw.randint(24, 90), draw.randint(250, 600) << 20
    if name == "files":
        return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if name == "memory":
        return lambda: resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    return None


def fill(folder: Path, draw: random.Random) -> Path:
    """Leave only so much on the small disk; return the file to be removed again."""
    status = os.statvfs(folder)
    left = draw.choice((0, 50_000, 900_000, 2_500_000))
    ballast = folder / "ballast"
    with ballast.open("wb") as stream:
        taken = status.f_bavail * status.f_frsize - left
        if taken > 0:
            os.posix_fallocate(stream.fileno(), 0, taken)
    return ballast
