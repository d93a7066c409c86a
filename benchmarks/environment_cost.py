"""What all environment facts of a large target cost: one child start, its seconds and memory.

    python benchmarks/environment_cost.py [PACKAGES] [RUNS]

A real environment with that many distributions as an installer leaves them: METADATA, WHEEL,
RECORD, entry points, thirty files and one compiled extension each (4,500 files in all). Measured:

- the child that makes the report (`interpreter_report`): processor time, wall time and peak memory,
  each run a fresh process;
- the whole question as a check asks it (`interpreter.ask`), from a process that runs already:
  wall time, and how many programs it starts.

Bar: 0.6 s and 60 MB for the child, and one start. Source: the project's own requirement on the
facts of a target with 150 packages. The least of the runs is judged.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import CHECKOUT, cost_of, line, own_environment

sys.path.insert(0, str(CHECKOUT / "src"))

from modelmedic import commands
from modelmedic.facts import interpreter

PACKAGES = 150
FILES = 30
RUNS = 7
BAR_SECONDS = 0.6
BAR_BYTES = 60 << 20
QUESTION = json.dumps({"variables": {}, "place": ""})


def main() -> int:
    """Print the figures; return 1 when a bar is missed."""
    given = [int(text) for text in sys.argv[1:]]
    packages, runs = (*given, *(PACKAGES, RUNS)[len(given) :])
    with tempfile.TemporaryDirectory() as folder:
        target = make_environment(Path(folder, "env"), packages)
        env = own_environment(Path(folder, "home"))
        argv = [str(target), "-I", "-B", "-c", interpreter.script(), QUESTION, "nonce"]
        costs = [cost_of(argv, env=env, cwd=Path(folder)) for _ in range(runs)]
        asked = [_ask(target) for _ in range(runs)]
    wall = [cost.wall_seconds for cost in costs]
    peak = min(cost.peak_bytes for cost in costs)
    starts = max(count for _seconds, count, _found in asked)
    found = asked[0][2]
    print(f"{packages} distributions, {packages * FILES:,} files; the report has "
          f"{len(costs[0].output):,} characters")  # fmt: skip
    print(line("the child: wall", wall, BAR_SECONDS))
    print(line("the child: processor", [cost.cpu_seconds for cost in costs]))
    is_small = peak <= BAR_BYTES
    print(f"{'the child: peak memory':<58} {peak / (1 << 20):6.1f} MB    bar "
          f"{BAR_BYTES >> 20} MB: {'met' if is_small else 'MISSED'}")  # fmt: skip
    print(line("asked by a check: wall", [seconds for seconds, _count, _found in asked]))
    print(f"{'programs started':<58} {starts}    bar 1: {'met' if starts == 1 else 'MISSED'}")
    is_right = found == (packages, packages) and all(cost.code == 0 for cost in costs)
    if not is_right:
        print(f"The report is wrong: {found}, expected {packages} whole distributions.")
    return 0 if is_right and is_small and starts == 1 and min(wall) <= BAR_SECONDS else 1


def make_environment(folder: Path, packages: int) -> Path:
    """Make an environment with distributions as an installer leaves them; return its Python."""
    subprocess.run([sys.executable, "-I", "-m", "venv", "--without-pip", folder], check=True)
    on_windows = os.name == "nt"
    target = folder / ("Scripts/python.exe" if on_windows else "bin/python")
    site = folder / "Lib/site-packages" if on_windows else next(folder.glob("lib/*/site-packages"))
    for number in range(packages):
        _install(site, f"package{number:03}")
    return target


def _install(site: Path, name: str) -> None:
    info = f"{name}-1.{len(name)}.dist-info"
    requires = "".join(f"Requires-Dist: other{n}>={n}; extra == 'all'\n" for n in range(12))
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.{len(name)}\n{requires}\n"
    contents = {
        f"{name}/__init__.py": b"value = 1\n",
        f"{name}/_core.cpython-311-x86_64-linux-gnu.so": b"\x7fELF\x02\x01" + bytes(4090),
        f"{info}/METADATA": (head + "A long description.\n" * 200).encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nTag: cp311-cp311-manylinux_2_17_x86_64\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:value\n".encode(),
        f"{info}/INSTALLER": b"pip\n",
    }
    more = FILES - len(contents) - 1
    contents |= {f"{name}/part{n}/module{n}.py": b"x = 1\n" * 40 for n in range(more)}
    record = [f"{info}/RECORD,,\n"]
    for path, content in contents.items():
        place = site / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record.append(f"{path},sha256={digest},{len(content)}\n")
    (site / info / "RECORD").write_text("".join(record), encoding="utf-8")


def _ask(target: Path) -> tuple[float, int, tuple[int, int]]:
    """Return seconds, programs started, and how many distributions there are and are whole."""
    count = 0
    run = commands.run

    def counted(*args: object, **more: object) -> commands.Completed:
        nonlocal count
        count += 1
        return run(*args, **more)  # type: ignore[arg-type]

    commands.run = counted  # type: ignore[assignment]
    try:
        start = time.perf_counter()
        found = interpreter.ask(target, deadline_seconds=60)
        seconds = time.perf_counter() - start
    finally:
        commands.run = run
    whole = [d for d in found.distributions if d.is_judged and not d.missing and not d.short]
    return seconds, count, (len(found.distributions), len(whole))


if __name__ == "__main__":
    raise SystemExit(main())
