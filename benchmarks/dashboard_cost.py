"""What the dashboard of a fleet costs: seconds, memory and bytes of its pages.

    python benchmarks/dashboard_cost.py [MACHINES] [FINDINGS] [RUNS]

Measured on a history made from a seed (500 machines, 1,000,000 findings of 250 checks, 5 % wrong,
60 packages each): `modelmedic dashboard` as a person starts it, in a fresh process: processor time,
wall time, peak memory; then the size of the index and of all pages; then, in one process, what each
part of the survey takes.

Bars: the index under 2 MB (the project's own bound for a page of 500 machines), and the whole in
under 30 s of processor time and 400 MiB, because cron runs it beside other work. The bar on time is
of our own making; the peer is the least it could do, one scan of all findings, which is printed.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from measuring import CHECKOUT, cost_of, own_environment

sys.path.insert(0, str(CHECKOUT / "tests"))
sys.path.insert(0, str(CHECKOUT / "src"))

import fleet_support

from modelmedic.fleet import (
    cohort,
    health,
    machines,
    recoveries,
    slowest,
    stale,
    trend,
)
from modelmedic.history.store import History

T = TypeVar("T")

CHECKS = 250
INDEX_BYTES = 2_000_000
SECONDS = 30.0
PEAK_BYTES = 400 << 20


def main() -> int:
    """Print the figures; return 1 when a bar is missed."""
    given = [int(text) for text in sys.argv[1:]]
    count, findings, runs = (*given, *(500, 1_000_000, 3)[len(given) :])
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "home")
        state = home / "state"
        state.mkdir(parents=True)
        began = time.perf_counter()
        stored = make(state / "history.db", count, findings)
        size_mb = (state / "history.db").stat().st_size / 1e6
        spent = time.perf_counter() - began
        print(f"made {stored:,} findings of {count} machines in {spent:.0f} s: {size_mb:.0f} MB")
        is_met = whole(home, runs)
        parts(state)
    return 0 if is_met else 1


def make(path: Path, count: int, findings: int) -> int:
    """Write the history; return how many findings it has."""
    random_ = random.Random(5)
    book = fleet_support.Book(path)
    book.connection.execute("BEGIN")
    names = [f"area{n % 12}.check{n}" for n in range(CHECKS)]
    each = max(findings // count // CHECKS, 1)
    now = time.time()
    for number in range(count):
        machine = book.machine(f"machine:{random_.getrandbits(40):010x}", is_own=number == 0)
        install = book.install(machine)
        fact = fleet_support.a_fact(random_)
        fact.packages |= {f"pkg{n}": f"{random_.randint(0, 9)}.{n}" for n in range(30)}
        environment = book.environment(fact)
        wrong = {check for check in names if random_.random() < 0.05}
        for run in range(each):
            rows = [
                (name, "failed" if name in wrong else "passed",
                 {"seconds": random_.random(), **(
                     {"what": f"{name} has 12 of 40 parts. " * 4, "failure_id": f"cause-{name}"}
                     if name in wrong else {})})
                for name in names
            ]  # fmt: skip
            at = now - (each - run) * 86_400 * 20 / each + number
            book.run(machine, install, at, rows, environment=environment)
        for _ in range(4):
            at = now - random_.random() * 86_400 * 20
            book.heal(machine, at, f"recovery{random_.randint(1, 30)}", "healed")
    book.connection.execute("COMMIT")
    book.close().close()
    return count * each * CHECKS


def whole(home: Path, runs: int) -> bool:
    """Print what the command costs, and return whether it is within the bars."""
    argv = [sys.executable, "-m", "modelmedic", "dashboard", "--output", str(home / "site")]
    env = own_environment(home) | {"PYTHONPATH": str(CHECKOUT / "src")}
    costs = [cost_of(argv, env=env, cwd=home) for _ in range(runs)]
    for cost in costs:
        print(f"modelmedic dashboard: {cost.wall_seconds:.2f} s, processor {cost.cpu_seconds:.2f} "
              f"s, peak {cost.peak_bytes / (1 << 20):.0f} MiB, exit code {cost.code}")  # fmt: skip
    print(costs[-1].output.strip())
    index = (home / "site" / "index.html").stat().st_size
    total = sum(entry.stat().st_size for entry in os.scandir(home / "site"))
    print(f"index {index:,} bytes (bar {INDEX_BYTES:,}), all pages {total:,} bytes")
    best = min(cost.cpu_seconds for cost in costs)
    peak = max(cost.peak_bytes for cost in costs)
    is_met = index <= INDEX_BYTES and best <= SECONDS and peak <= PEAK_BYTES
    print("bars met" if is_met and not any(cost.code for cost in costs) else "a bar is MISSED")
    return is_met


def parts(state: Path) -> None:
    """Print what each part of the survey takes, beside one scan of all findings."""
    with History.open(state, is_read_only=True) as history:
        connection = history.connection
        now = time.time()
        told: dict[str, float] = {}

        def timed(name: str, work: Callable[[], T]) -> T:
            began = time.perf_counter()
            found = work()
            told[name] = round(time.perf_counter() - began, 3)
            return found

        scan = "SELECT sum(seconds) FROM finding"
        timed("one scan of all findings", lambda: connection.execute(scan).fetchone())
        known = timed("machines", lambda: machines.read(connection))
        healths = timed("health", lambda: health.of_all(connection, known))
        timed("stale", lambda: stale.silent(healths, now))
        timed("trend", lambda: trend.trend(connection, known, now, 30))
        timed("recoveries", lambda: recoveries.success(connection))
        timed("slowest", lambda: slowest.slowest(connection, known))
        timed("cohort", lambda: cohort.contrasts(connection, known, healths))
        print("seconds:", json.dumps(told))


if __name__ == "__main__":
    sys.exit(main())
