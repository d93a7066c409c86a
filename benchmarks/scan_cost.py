"""What walking a huge install costs: seconds and memory of the scan of 200,000 files.

    python benchmarks/scan_cost.py [FILES] [RUNS]

Measured, each in a fresh process, on empty files in folders of 1,000:

- the scan (`modelmedic.facts.install_scan.scan`): processor time, wall time, and by how much the
  process grew (its peak resident memory against the same process without the scan);
- the peer, in the same run: a bare ``os.walk`` of the same folder, which is the least that any
  look at every name takes. The ratio does not depend on how fast or busy the machine is.

Bar: the walk ends before its own limit, `install_scan.MAX_SECONDS`, with every file seen. Source:
the project's own requirement that an install of 200,000 files is judged in seconds; the limit is
the one in the code, read from there.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from measuring import CHECKOUT, cost_of, line, own_environment

FILES = 200_000
FILES_A_FOLDER = 1_000
RUNS = 5
LOOK = """
import json, resource, sys, time
sys.path.insert(0, {source!r})
from pathlib import Path
from modelmedic.facts import install_scan
place = Path(sys.argv[1])
def peak_bytes():
    if sys.platform == "linux":  # its ru_maxrss begins with the peak of the process that forked us
        text = Path("/proc/self/status").read_text()
        return int(text.partition("VmHWM:")[2].split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
before, cpu, wall = peak_bytes(), time.process_time(), time.perf_counter()
{work}
print(json.dumps([time.process_time() - cpu, time.perf_counter() - wall, peak_bytes() - before,
                  seen, cut, install_scan.MAX_SECONDS]))
"""
SCAN = "found = install_scan.scan(place); seen, cut = found.entries, found.cut"
WALK = """
import os
seen, cut = sum(len(folders) + len(files) for _, folders, files in os.walk(place)), ""
"""


def main() -> int:
    """Print the figures; return 1 when the walk was cut or too slow."""
    given = [int(text) for text in sys.argv[1:]]
    files, runs = (*given, *(FILES, RUNS)[len(given) :])
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "install")
        made = _fill(place, files)
        scans = [_measured(SCAN, place) for _ in range(runs)]
        walks = [_measured(WALK, place) for _ in range(runs)]
    limit_seconds = scans[0][5]
    grown_mib = max(each[2] for each in scans) / 2**20
    print(f"Python {sys.version.split()[0]}, {made} names, {runs} runs each")
    print(line("scan, processor time", [each[0] for each in scans]))
    print(line("scan, wall time", [each[1] for each in scans], limit_seconds))
    print(line("peer: os.walk, processor time", [each[0] for each in walks]))
    ratio = min(each[0] for each in scans) / min(each[0] for each in walks)
    print(f"ratio of the scan to os.walk: {ratio:.2f}; memory the scan added: {grown_mib:.1f} MiB")
    if any(each[4] or each[3] != made for each in scans):
        print(f"MISSED: the walk saw {scans[0][3]} of {made} names; cut: {scans[0][4] or 'no'}")
        return 1
    return 0


def _fill(place: Path, files: int) -> int:
    """Make ``files`` empty files; return how many names there are, folders included."""
    folders = 0
    for first in range(0, files, FILES_A_FOLDER):
        folder = place / f"folder-{first // FILES_A_FOLDER}"
        folder.mkdir(parents=True)
        folders += 1
        for number in range(first, min(first + FILES_A_FOLDER, files)):
            os.close(os.open(folder / f"file-{number}.bin", os.O_CREAT | os.O_WRONLY, 0o600))
    return files + folders


def _measured(work: str, place: Path) -> list:
    code = LOOK.format(source=str(CHECKOUT / "src"), work=work)
    argv = [sys.executable, "-I", "-c", code, str(place)]
    cost = cost_of(argv, env=own_environment(place.parent / "home"), cwd=place.parent)
    if cost.code:
        raise SystemExit(f"The measured process ended with {cost.code}:\n{cost.output}")
    return json.loads(cost.output)


if __name__ == "__main__":
    raise SystemExit(main())
