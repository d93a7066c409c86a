"""Print what the monitor's process costs at one sample a second, beside a bare loop of psutil.

The processor time and the memory of the process and its helpers come from /proc. What starting
costs is printed by itself; the share is that of the seconds after it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from modelmedic import DiagnosticMonitor

BAR_SHARE = 0.0015
BAR_BYTES = 30 * 1000 * 1000
SETTLE_SECONDS = 10.0
# The same numbers that the monitor reads, and nothing done with them.
PEER = """
import sys, time
sys.path[:0] = sys.argv[1:]
import psutil
own = psutil.Process(int(sys.argv[-1]))
while True:
    psutil.cpu_percent(None), psutil.virtual_memory(), psutil.swap_memory()
    psutil.disk_usage('/'), psutil.disk_io_counters(), psutil.net_io_counters()
    with own.oneshot():
        own.cpu_times(), own.memory_info(), own.num_threads()
    own.num_fds()
    time.sleep(1)
"""


def main() -> int:
    """Measure, print, and return 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, default=60.0)
    seconds = parser.parse_args().seconds
    if not sys.platform.startswith("linux"):
        raise SystemExit("These figures are read from /proc.")
    with tempfile.TemporaryDirectory() as folder:
        return _measured(Path(folder), seconds)


def _measured(folder: Path, seconds: float) -> int:
    (folder / "app.log").touch()
    monitor = DiagnosticMonitor(state_dir=folder / "state", logs=[folder / "app.log"])
    peer = _peer()
    try:
        with monitor:
            pid = monitor.pid or 0
            time.sleep(SETTLE_SECONDS)
            family = [pid, *_children(pid)]
            begun = [_cpu_seconds(each) for each in (*family, peer.pid)]
            time.sleep(seconds)
            used = [
                _cpu_seconds(each) - before
                for each, before in zip((*family, peer.pid), begun, strict=True)
            ]
            memory = [_memory_bytes(each) for each in (*family, peer.pid)]
            kept = monitor.kept
    finally:
        peer.kill()
        peer.wait()
    share, peer_share = sum(used[:-1]) / seconds, used[-1] / seconds
    names = ["the process", *["a helper"] * (len(family) - 1), "bare psutil loop"]
    for name, cpu, (resident, own) in zip(names, used, memory, strict=True):
        print(f"{name:18} {100 * cpu / seconds:6.3f} % of a core, {resident / 1e6:5.1f} MB resident"
              f" ({own / 1e6:.1f} MB of its own)")  # fmt: skip
    started = sum(begun[:-1])
    total = memory[0][0] + sum(own for _resident, own in memory[1:-1])
    print(f"together {100 * share:.3f} % (bar {100 * BAR_SHARE:g} %), {share / peer_share:.2f} "
          f"times the loop; {total / 1e6:.1f} MB (bar {BAR_BYTES / 1e6:g} MB; what helpers share "
          f"with the process is counted once); starting took {started:.2f} s")  # fmt: skip
    files = sorted(path for path in (folder / "state").rglob("*") if path.is_file())
    print(
        f"kept: {kept.get('rows', 0)} rows of the history, {kept.get('lines', 0)} lines of alerts"
    )
    for path in files:
        print(f"  {path.relative_to(folder / 'state')}: {path.stat().st_size:,} bytes")
    return int(share > BAR_SHARE or total > BAR_BYTES)


def _peer() -> subprocess.Popen[bytes]:
    import psutil

    path = str(Path(psutil.__file__).parents[1])
    return subprocess.Popen([sys.executable, "-I", "-S", "-c", PEER, path, str(os.getpid())])


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text(encoding="ascii").split())
    return found


def _cpu_seconds(pid: int) -> float:
    """Return user and system time to the nanosecond: ticks of 10 ms are too coarse.

    Source: sched-stats.rst, first field of schedstat: time on the processor, of each thread.
    """
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text(encoding="ascii").split()[0])
    return total / 1e9


def _memory_bytes(pid: int) -> tuple[int, int]:
    """Return resident bytes, and those of no other process."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]:
        name, _, rest = line.partition(":")
        found[name] = int(rest.split()[0]) * 1024
    return found["Rss"], found["Private_Clean"] + found["Private_Dirty"]


if __name__ == "__main__":
    sys.exit(main())
