"""What the history costs: storing a run, importing a million findings, and asking for them.

    python benchmarks/history_cost.py [--records N] [--runs N]

- *storing one run* of 250 findings into a history that holds the others already, as the plugin does
  at the end of a run. Bar: 50 ms. Source: the project's own requirement: nobody waits for it.
- *import* of 4,000 run records of 250 findings (100 machines, 40 runs each), real report.json
  files in a folder for each run, through the schema's judge. Bar: 20 s for the million findings.
- *latest per machine* and *failing checks now*, on that history. Bar: 100 ms each.
- the peer, for information: the same rows into one plain table by ``sqlite3.executemany``, from
  memory, in one transaction, without an index: what SQLite itself takes for them.

The records are made from one real-looking run: 60 % passed, 25 % skipped, the rest failed, blocked,
healed, degraded; each with evidence and next steps of usual length (about 600 bytes a finding).
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelmedic.history import queries
from modelmedic.history.store import History
from modelmedic.records import counts, root_causes

FINDINGS = 250
MACHINES = 100
STORE_BAR_SECONDS, IMPORT_BAR_SECONDS, QUERY_BAR_SECONDS = 0.05, 20.0, 0.1
BEGIN = 1_760_000_000
SEED = 20_251_128


def main() -> int:
    """Print the figures; return 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=4000)
    parser.add_argument("--runs", type=int, default=9, help="of what is short")
    options = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}, seed {SEED}")
    with tempfile.TemporaryDirectory() as place:
        folder, state = Path(place, "records"), Path(place, "state")
        size = _write(folder, options.records)
        findings = options.records * FINDINGS
        print(f"{options.records:,} records, {findings:,} findings, {size / 1e6:,.0f} MB of JSON")
        is_met = _import(state, folder, findings)
        is_met &= _ask(state, options.runs)
        is_met &= _store(state, options.runs)
        _peer(Path(place, "peer.db"), findings)
    return 0 if is_met else 1


def _import(state: Path, folder: Path, findings: int) -> bool:
    with History.open(state, clock=_now) as history:
        begun, spent = time.perf_counter(), time.process_time()
        done = history.import_paths([folder])
        seconds, cpu = time.perf_counter() - begun, time.process_time() - spent
        if done.stored * FINDINGS != findings or done.refused:
            raise SystemExit(f"The import went wrong: {done}")
    size = sum(path.stat().st_size for path in state.iterdir() if path.is_file())
    bar = IMPORT_BAR_SECONDS * findings / 1_000_000
    _print(f"import of {findings:,} findings, wall time", [seconds], bar)
    _print("import, processor time", [cpu], None)
    print(f"the history: {size / 1e6:,.0f} MB, {size / findings:.0f} bytes a finding")
    return seconds <= bar


def _ask(state: Path, runs: int) -> bool:
    is_met = True
    asked: tuple[tuple[str, Callable[[History], Any]], ...] = (
        ("latest run of each machine", queries.latest_runs),
        ("failing checks now", queries.failing),
    )
    with History.open(state, is_read_only=True) as history:
        for name, query in asked:
            seconds = []
            for _ in range(runs):
                begun = time.perf_counter()
                found = query(history)
                seconds.append(time.perf_counter() - begun)
            _print(f"{name} ({len(found):,} rows)", seconds, QUERY_BAR_SECONDS)
            is_met &= min(seconds) <= QUERY_BAR_SECONDS
    return is_met


def _store(state: Path, runs: int) -> bool:
    source = random.Random(SEED)
    seconds = []
    for number in range(runs):
        record = _record(source, 0, 100_000 + number)
        begun = time.perf_counter()
        with History.open(state, clock=_now) as history:
            if not history.store(record, is_own=True):
                raise SystemExit("The run was known.")
            history.keep_house()
        seconds.append(time.perf_counter() - begun)
    _print(f"storing one run of {FINDINGS} findings, opening included", seconds, STORE_BAR_SECONDS)
    return min(seconds) <= STORE_BAR_SECONDS


def _peer(path: Path, findings: int) -> None:
    record = _record(random.Random(SEED), 0, 0)
    rows = [
        (0, each["check"], each["outcome"], each["severity"], each["category"], each["what"],
         each["why"], each["blocked_by"])
        for each in record["findings"]
    ]  # fmt: skip
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE finding (run, name, outcome, severity, category, what, "
                           "why, blocked_by)")  # fmt: skip
        begun = time.perf_counter()
        for _ in range(findings // FINDINGS):
            connection.executemany("INSERT INTO finding VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        connection.commit()
        _print("peer: executemany of as many rows", [time.perf_counter() - begun], None)
    connection.close()
    print(f"peer's file: {path.stat().st_size / 1e6:,.0f} MB")


def _write(folder: Path, records: int) -> int:
    source, size = random.Random(SEED), 0
    for number in range(records):
        machine, run = number % MACHINES, number // MACHINES
        record = _record(source, machine, run)
        path = folder / f"machine-{machine:03}" / record["run_id"] / "report.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        size += path.stat().st_size
    return size


def _record(source: random.Random, machine: int, run: int) -> dict[str, Any]:
    at = BEGIN + run * 3600 + machine
    findings = [_finding(source, number) for number in range(FINDINGS)]
    return {
        "schema": 1,
        "run_id": f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(at))}-{machine:03x}{run:05x}",
        "modelmedic": "0.1.0",
        "profile": "wan2.2",
        "install_dir": "~/Wan2.2",
        "target_python": "~/Wan2.2/.venv/bin/python",
        "mode": "check",
        "stage": "installed",
        "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)),
        "duration_seconds": 12.5,
        "counts": counts(each["outcome"] for each in findings),
        "exit_code": 1,
        "root_causes": root_causes(findings),
        "findings": findings,
        "environment": _environment(source, machine),
    }


def _environment(source: random.Random, machine: int) -> dict[str, Any]:
    packages = {f"package-{number}": f"1.{number}.{source.randrange(2)}" for number in range(150)}
    files = {f"weights/shard-{number:05}.safetensors": 10**9 + number for number in range(40)}
    words = ("command", "next_command", "undo_command", "undo_until", "install_reason",
             "target_reason", "stage_reason")  # fmt: skip
    return {
        "system": "Linux",
        "release": "6.1.0",
        "machine": "x86_64",
        "python": "3.12.4",
        **dict.fromkeys(words, "python start.py --profile=wan2.2"),
        "notes": [],
        "is_deep": False,
        "is_offline": False,
        "is_partial": False,
        "machine_id": f"machine:{machine:010x}",
        "inventory": {
            "hash": "0" * 32, "system": "Linux 6.1.0 x86_64", "python": "3.12.4",
            "driver": "550.54.15", "gpus": ["NVIDIA GeForce RTX 4090"], "memory_bytes": 64 << 30,
            "packages": packages, "files": files,
        },
    }  # fmt: skip


def _finding(source: random.Random, number: int) -> dict[str, Any]:
    outcome = source.choices(
        ("passed", "skipped", "failed", "blocked", "healed", "degraded"), (60, 25, 3, 8, 2, 2)
    )[0]
    is_silent = outcome in {"passed", "skipped"}
    return {
        "check": f"weights.size[shard-{number:05}.safetensors]",
        "nodeid": f"checks/test_weights.py::test_every_shard_is_whole[shard-{number:05}]",
        "title": "Every shard of the model has the size that its profile names.",
        "area": "weights",
        "severity": "blocker",
        "outcome": outcome,
        "category": None if is_silent else "corruption",
        "failure_id": None if is_silent else "short-shard",
        "what": ""
        if is_silent
        else f"Shard {number} is cut short: it has 1,204,224 bytes; its "
        f"header promises 9,876,543,{source.randrange(999):03}.",
        "why": "" if is_silent else "Most often an interrupted download.",
        "next": "" if is_silent else "Start again with --heal: `python start.py --heal`.",
        "blocked_by": "install.folder" if outcome == "blocked" else None,
        "facts": {"size_bytes": 1_204_224 + number, "path": f"weights/shard-{number:05}"},
        "attempts": [],
    }


def _now() -> float:
    return float(BEGIN + 86_400 * 30)


def _print(name: str, seconds: list[float], bar: float | None) -> None:
    least, middle = min(seconds), statistics.median(seconds)
    text = f"{name:<62} min {least:8.4f} s  median {middle:8.4f} s"
    said = "" if bar is None else f"  bar {bar:.2f} s: {'met' if least <= bar else 'MISSED'}"
    print(text + said, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
