"""What a report costs over a million findings: 100 machines, 4,000 runs, two weeks of a monitor.

    python benchmarks/reporter_cost.py [--runs N] [--seed S]

- *installation report* of one of the 100 installs, *trend analysis* of all over 90 days, and
  *metrics* of one machine in each format; each in a `HealthReporter` of its own, processor time and
  the memory that Python allocated at most meanwhile (measured in a run of its own).
- the bar: one second, and 64 MB. Source: what a person waits for without wondering, and a quarter
  of what a small machine has to spare.
- the peer, for information: reading every finding once, without doing anything with it.

4 % of the findings failed, 1 % were healed; ten pairs of causes fail together. The rows are written
as `History.store` writes them, by the million.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from modelmedic.history.store import History
from modelmedic.reporter.health_reporter import HealthReporter
from modelmedic.reporter.interfaces import FORMATS

MACHINES, RUNS_EACH, CHECKS = 100, 40, 250
NOW = 1_795_910_400.0
DAY = 86_400.0
BAR_SECONDS, BAR_BYTES = 1.0, 64 << 20


def main() -> int:
    """Print the figures; return 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=20_261_128)
    options = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}, seed {options.seed}")
    with tempfile.TemporaryDirectory() as place:
        state = Path(place)
        begun = time.perf_counter()
        with History.open(state, clock=lambda: NOW) as history:
            _fill(history, random.Random(options.seed))
        print(f"{MACHINES * RUNS_EACH * CHECKS:,} findings in {time.perf_counter() - begun:.1f} s")
        works: list[tuple[str, Callable[[HealthReporter], Any]]] = [
            ("installation report", lambda each: each.generate_installation_report()),
            ("trend analysis of 90 days", lambda each: each.generate_trend_analysis(days=90)),
            *((f"metrics as {form}", lambda each, form=form: each.export_metrics(form))
              for form in FORMATS),
        ]  # fmt: skip
        met = [_measured(state, name, work, options.runs) for name, work in works]
        _peer(state)
    return 0 if all(met) else 1


def _measured(state: Path, name: str, work: Callable[[HealthReporter], Any], runs: int) -> bool:
    seconds = []
    for _ in range(runs):
        begun = time.process_time()
        with HealthReporter(state_dir=state, clock=lambda: NOW) as reporter:
            work(reporter)
        seconds.append(time.process_time() - begun)
    tracemalloc.start()
    with HealthReporter(state_dir=state, clock=lambda: NOW) as reporter:
        work(reporter)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"{name}: least of {runs} {min(seconds):.2f} s, at most {peak / 1e6:.0f} MB")
    return min(seconds) <= BAR_SECONDS and peak <= BAR_BYTES


def _peer(state: Path) -> None:
    with History.open(state, is_read_only=True) as history:
        begun = time.process_time()
        for _ in history.connection.execute("SELECT run, check_id, outcome, what FROM finding"):
            pass
        print(f"peer, all findings read once: {time.process_time() - begun:.2f} s")


def _fill(history: History, dice: random.Random) -> None:
    db = history.connection
    own = history.own_machine()
    with history.writing():
        db.executemany(
            "INSERT INTO machine (name, first_seen, last_seen) VALUES (?, 0, ?)",
            [(f"machine:{number:010x}", NOW) for number in range(MACHINES - 1)],
        )
        db.executemany(
            "INSERT INTO install (machine_id, folder, profile) VALUES (?, '/models', 'wan')",
            [(own + number,) for number in range(MACHINES)],
        )
        db.executemany(
            "INSERT INTO check_name (name, title, area) VALUES (?, 'Title.', 'weights')",
            [(f"area.check-{number}[part]",) for number in range(CHECKS)],
        )
        for number in range(MACHINES * RUNS_EACH):
            _add_run(db, own, number, dice)
        db.execute(
            "INSERT INTO latest_finding SELECT install_id, check_id, run, outcome, "
            "max(started_at), 3 FROM finding JOIN run ON run.id = run GROUP BY install_id, check_id"
        )
        db.executemany(
            "INSERT INTO heal VALUES (?, ?, 'log', ?, ?, 'f', 'corruption', 'Linux', 'x86_64', "
            "'c', ?, 2.0, 0)",
            [(own + n % MACHINES, str(n), NOW - n * 60, f"recovery-{n % 20}",
              dice.choice(["healed", "healed", "not healed"])) for n in range(20_000)],
        )  # fmt: skip
    for series in range(20):
        history.add_minutes(
            (f"disk.free_bytes[/{series}]", int(NOW - 60 * minute), *(1e12 + minute * 1e5,) * 4, 60)
            for minute in range(14 * 1440)
        )


def _add_run(db: sqlite3.Connection, own: int, number: int, dice: random.Random) -> None:
    machine, place = number % MACHINES, number // MACHINES
    findings = list(_findings(dice))
    counts = {"failed": sum(each[1] == "failed" for each in findings), "passed": 1}
    run = db.execute(
        "INSERT INTO run (machine_id, install_id, run_id, started_at, seconds, mode, stage, "
        "exit_code, modelmedic, counts, root_causes, record_sha256) "
        "VALUES (?, ?, ?, ?, 20, 'check', 'installed', 1, '0.1.0', ?, '[{}]', '')",
        [own + machine, machine + 1, f"20261128-000000-{number:06x}",
         NOW - (RUNS_EACH - place) * 2 * DAY + machine, json.dumps(counts)],
    ).lastrowid  # fmt: skip
    db.executemany(
        "INSERT INTO finding VALUES (?, ?, ?, 'major', 'corruption', ?, ?, ?, ?, NULL)",
        [(run, check, outcome, failure, dice.random(), what, what)
         for check, outcome, failure, what in findings],
    )  # fmt: skip


def _findings(dice: random.Random) -> Iterator[tuple[int, str, str | None, str | None]]:
    both = {pair for pair in range(10) if dice.random() < 0.04}
    for check in range(1, CHECKS + 1):
        roll = dice.random()
        is_wrong = roll < 0.04 or (check <= 20 and (check - 1) // 2 in both)
        outcome = "failed" if is_wrong else "healed" if roll < 0.05 else "passed"
        is_silent = outcome == "passed"
        yield (
            check,
            outcome,
            None if is_silent else f"failure-{check}",
            (None if is_silent else "What was found, in a sentence of usual length. " * 2),
        )


if __name__ == "__main__":
    sys.exit(main())
