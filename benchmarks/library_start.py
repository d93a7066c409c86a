"""What the reliability library costs an installer before anything fails.

    python benchmarks/library_start.py [RUNS]

Each run in a fresh process: seconds and resident memory that ``import modelmedic`` adds to a bare
Python; then of making a `ReliabilityManager` (its module is read before: said apart), of the first
`wrap_component`, which reads wrapt, and whether any file was written. Memory is said both ways: by
how much it grew, and what the process has in all.

Bars: import 60 ms and 25 MB, the manager 5 ms, nothing on disk. Source: the project's own
requirement.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
RUNS = 9
BARS = {"import_seconds": 0.060, "grown_mb": 25.0, "manager_seconds": 0.005}
MEASURE = """
import json, sys, time
sys.path.insert(0, {source!r})
try:
    import resource
except ImportError:
    resource = None
def resident_mb():
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            return int(status.read().partition("VmRSS:")[2].split()[0]) / 1000
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6 if resource else 0.0
bare_mb, clock = resident_mb(), time.perf_counter
begun = clock()
import modelmedic
import_seconds, grown_mb = clock() - begun, resident_mb() - bare_mb
begun = clock()
modelmedic.ReliabilityManager
module_seconds = clock() - begun
begun = clock()
manager = modelmedic.ReliabilityManager()
manager_seconds = clock() - begun
class Component:
    def work(self):
        return 1
begun = clock()
component = manager.wrap_component(Component(), "component")
wrap_seconds = clock() - begun
component.work()
names = "torch numpy requests psutil stamina tenacity pytest platformdirs"
heavy = set(names.split()) & set(sys.modules)
print(json.dumps(dict(import_seconds=import_seconds, grown_mb=grown_mb, bare_mb=bare_mb,
    total_mb=resident_mb(), module_seconds=module_seconds, manager_seconds=manager_seconds,
    wrap_seconds=wrap_seconds, heavy=sorted(heavy))))
"""


def main() -> int:
    """Print the figures; return 1 when a bar is missed."""
    runs = int(sys.argv[1]) if sys.argv[1:] else RUNS
    taken, written = [], set()
    for _run in range(runs):
        figures, files = measured()
        taken.append(figures)
        written |= files
    least = {name: min(one[name] for one in taken) for name in taken[0] if name != "heavy"}
    print(f"Python {sys.version.split()[0]}, {runs} runs, the least of each")
    for name, figure in least.items():
        unit = "MB" if name.endswith("mb") else "ms"
        shown = figure if unit == "MB" else figure * 1000
        bar = BARS.get(name)
        verdict = "" if bar is None else f"  bar {bar if unit == 'MB' else bar * 1000:g} {unit}"
        print(f"{name.rpartition('_')[0]:<10}{shown:9.2f} {unit}{verdict}")
    missed = [name for name, bar in BARS.items() if least[name] > bar]
    print(f"heavy modules: {', '.join(taken[0]['heavy']) or 'none'}")
    print(f"files written: {', '.join(sorted(written)) or 'none'}")
    if missed or written or taken[0]["heavy"]:
        print(f"MISSED: {', '.join(missed) or 'files or heavy modules'}")
        return 1
    return 0


def measured() -> tuple[dict, set[str]]:
    """Return the figures of one fresh process, and the files it left in its home and state."""
    with tempfile.TemporaryDirectory() as home:
        kept = {"PATH", "SYSTEMROOT", "LANG", "LC_ALL"}
        env = {name: value for name, value in os.environ.items() if name in kept}
        env |= {"HOME": home, "USERPROFILE": home, "TMPDIR": home, "TEMP": home}
        env |= {"MODELMEDIC_STATE_DIR": str(Path(home, "state")), "XDG_CACHE_HOME": home}
        done = subprocess.run(
            [sys.executable, "-c", MEASURE.format(source=str(CHECKOUT / "src"))],
            env=env, cwd=home, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        files = {path.relative_to(home).as_posix() for path in Path(home).rglob("*")}
    return json.loads(done.stdout), files


if __name__ == "__main__":
    raise SystemExit(main())
