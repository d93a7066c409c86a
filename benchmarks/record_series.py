"""Record what really happens to a disk, to memory and to open files, for the back-test.

``python benchmarks/record_series.py DISK [SECONDS] [FOLDER]``. DISK is a folder on a small disk
that may be filled: a writer of changing speed fills it. Beside it run a Python that keeps what it
should forget until it gets no more (its address space is limited), one that works and forgets, one
that does not close its files until it may open no more, a download over the loopback of changing
speed, and nothing at all: this machine's memory and disk. Each is looked at every two seconds and
written to FOLDER as one JSON. The small disk was made by root, in a name space of its own, by::

    unshare -m sh -c 'mount -t tmpfs -o size=320m tmpfs /mnt && python record_series.py /mnt'
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

EVERY_SECONDS = 2.0
MEMORY_LIMIT_BYTES = 400 << 20
FILES_LIMIT = 1024

WRITER = """
import random, sys, time
draw = random.Random(1)
with open(sys.argv[1], "wb", buffering=0) as stream:
    while True:
        pace = draw.choice([100, 300, 500, 500, 700, 1200]) << 10
        until = time.monotonic() + draw.uniform(2, 20)
        while time.monotonic() < until:
            stream.write(bytes(pace // 5))
            time.sleep(0.2)
"""
LEAK = f"""
import random, resource, time
resource.setrlimit(resource.RLIMIT_AS, ({MEMORY_LIMIT_BYTES}, {MEMORY_LIMIT_BYTES}))
draw, kept, work = random.Random(2), [], []
while True:
    kept.append(bytearray(draw.randrange(50 << 10, 150 << 10)))
    work.append(bytearray(1 << 20))
    if len(work) > draw.randrange(10, 40):
        work.clear()
    time.sleep(draw.uniform(0.05, 0.5))
"""
HEALTHY = """
import random, time
draw, work = random.Random(3), []
while True:
    work.append(bytearray(draw.randrange(1 << 20, 3 << 20)))
    if len(work) > draw.randrange(10, 60):
        work.clear()
    time.sleep(draw.uniform(0.05, 0.5))
"""
FILES = f"""
import os, random, resource, time
resource.setrlimit(resource.RLIMIT_NOFILE, ({FILES_LIMIT}, {FILES_LIMIT}))
draw, kept = random.Random(4), []
while True:
    kept += [open(os.devnull) for _ in range(draw.choice([0, 0, 1, 1, 2, 5]))]
    time.sleep(draw.uniform(0.2, 1.5))
"""
SERVER_AND_CLIENT = """
import http.server, random, sys, threading, time, urllib.request
SIZE = 256 << 20
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        draw, left = random.Random(5), SIZE
        self.send_response(200)
        self.send_header("Content-Length", str(SIZE))
        self.end_headers()
        while left:
            pace = draw.choice([100, 400, 600, 800]) << 10
            until = time.monotonic() + draw.uniform(2, 15)
            while left and time.monotonic() < until:
                piece = bytes(min(left, pace // 5))
                self.wfile.write(piece)
                left -= len(piece)
                time.sleep(0.2)
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/file") as answer:
    with open(sys.argv[1], "wb", buffering=0) as target:
        while piece := answer.read(65536):
            target.write(piece)
"""


def main() -> int:
    """Record all of them; return 0."""
    disk, seconds = Path(sys.argv[1]), float(sys.argv[2] if len(sys.argv) > 2 else 900)
    folder = Path(sys.argv[3] if len(sys.argv) > 3 else Path(__file__).parent / "series")
    part = folder / ".download.part"
    children = {
        "writer": _start(WRITER, str(disk / "filling")),
        "leak": _start(LEAK),
        "healthy": _start(HEALTHY),
        "files": _start(FILES),
        "download": _start(SERVER_AND_CLIENT, str(part)),
    }
    try:
        rows = {
            "disk_filling": ("disk_full", lambda: shutil.disk_usage(disk).free, "writer"),
            "memory_leaking": ("memory_leak", lambda: _resident(children["leak"].pid), "leak"),
            "memory_working": ("memory_leak", lambda: _resident(children["healthy"].pid), ""),
            "files_leaking": ("open_files", lambda: _open_files(children["files"].pid), "files"),
            "download": ("download_finish", lambda: part.stat().st_size, "download"),
            "machine_memory": ("memory_full", _used_memory, ""),
            "machine_disk": ("disk_full", lambda: shutil.disk_usage(folder).free, ""),
        }
        found = _watch(rows, children, seconds)
    finally:
        for child in children.values():
            child.kill()
            child.wait()
        part.unlink(missing_ok=True)
        (disk / "filling").unlink(missing_ok=True)
    limits = {
        "disk_filling": 0, "memory_leaking": None, "memory_working": MEMORY_LIMIT_BYTES,
        "files_leaking": FILES_LIMIT, "download": 256 << 20, "machine_memory": _memory(),
        "machine_disk": 0,
    }  # fmt: skip
    for name, (points, ended_at) in found.items():
        _write(folder, name, rows[name][0], points, ended_at, limits[name])
    return 0


def _start(code: str, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-c", code, *words], stderr=subprocess.DEVNULL, cwd="/"
    )


def _watch(
    rows: dict[str, tuple[str, Callable[[], float], str]],
    children: dict[str, subprocess.Popen[bytes]],
    seconds: float,
) -> dict[str, tuple[list[list[float]], float | None]]:
    begun, pause = time.monotonic(), threading.Event()
    points: dict[str, list[list[float]]] = {name: [] for name in rows}
    ended: dict[str, float | None] = dict.fromkeys(rows)
    while (now := time.monotonic() - begun) < seconds:
        for name, (_kind, look, child) in rows.items():
            if ended[name] is not None:
                continue
            if child and children[child].poll() is not None:
                ended[name] = round(now, 1)
                continue
            try:
                points[name].append([round(time.monotonic() - begun, 1), look()])
            except OSError:
                continue
        pause.wait(EVERY_SECONDS - (time.monotonic() - begun) % EVERY_SECONDS)
    return {name: (points[name], ended[name]) for name in rows}


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _open_files(pid: int) -> int:
    return len([*Path(f"/proc/{pid}/fd").iterdir()])


def _meminfo(name: str) -> int:
    for line in Path("/proc/meminfo").read_text("ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    raise SystemExit(f"no {name} in /proc/meminfo")


def _memory() -> int:
    return _meminfo("MemTotal")


def _used_memory() -> int:
    return _memory() - _meminfo("MemAvailable")


def _write(
    folder: Path,
    name: str,
    kind: str,
    points: list[list[float]],
    ended_at: float | None,
    limit: float | None,
) -> None:
    value = {
        "recorded": f"{time.strftime('%Y-%m-%d', time.gmtime())} by benchmarks/record_series.py on "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "kind": kind,
        "limit": limit if limit is not None else max(value for _at, value in points),
        "ended_at": ended_at,
        "points": points,
    }
    text = json.dumps(value, separators=(",", ":"))
    (folder / f"{name}.json").write_text(text + "\n", encoding="ascii")


if __name__ == "__main__":
    sys.exit(main())
