"""Run records made by hand, as several machines would have written them."""

from __future__ import annotations

import json
import time

from modelmedic.records import counts, root_causes, write_json

BEGIN = 1_790_000_000  # a moment in 2026
OWN = "machine:00000000aa"
OTHER = "machine:00000000bb"
SILENT = {"passed", "skipped"}


def finding(check="x.one", outcome="failed", **values):
    is_silent = outcome in SILENT
    return {
        "check": check,
        "nodeid": f"checks/test_x.py::test_{check}",
        "title": "It holds.",
        "area": "system",
        "severity": "blocker",
        "outcome": outcome,
        "category": None if is_silent else "system",
        "failure_id": None,
        "what": "" if is_silent else f"{check} does not hold.",
        "why": "",
        "next": "",
        "blocked_by": None,
        "facts": {},
        "attempts": [],
        **values,
    }


def attempt(recovery="refetch-file", verdict="healed"):
    return {
        "recovery": recovery, "verdict": verdict, "operations": [], "seconds": 1.5,
        "bytes_fetched": 7, "error": "",
    }  # fmt: skip


def inventory(**values):
    return {
        "hash": "0" * 32, "system": "Linux 6.1 x86_64", "python": "3.12.4", "driver": "550.54",
        "gpus": ["NVIDIA GeForce RTX 4090"], "memory_bytes": 64 << 30,
        "packages": {"torch": "2.8.0", "numpy": "2.1.0"}, "files": {"weights/vae.pth": 1000},
        **values,
    }  # fmt: skip


def record(outcomes=None, *, number=0, at=None, machine=OTHER, found=None, kept=None, **top):
    """A run record: its findings by check and outcome, its number and start in hours."""
    findings = found or [finding(*pair) for pair in (outcomes or {"x.one": "passed"}).items()]
    begun = BEGIN + number * 3600 if at is None else at
    is_bad = any(each["outcome"] in {"failed", "unknown"} for each in findings)
    return {
        "schema": 1,
        "run_id": f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(begun))}-{number:06x}",
        "modelmedic": "0.1.0",
        "profile": "demo",
        "install_dir": "~/models/demo",
        "target_python": None,
        "mode": "check",
        "stage": "installed",
        "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begun)),
        "duration_seconds": 2.5,
        "counts": counts(each["outcome"] for each in findings),
        "exit_code": int(is_bad),
        "root_causes": root_causes(findings),
        "findings": findings,
        "environment": {
            "system": "Linux", "release": "6.1", "machine": "x86_64", "python": "3.12.4",
            "command": "modelmedic check", "next_command": "", "notes": [], "install_reason": "",
            "target_reason": "", "stage_reason": "", "is_deep": False, "is_offline": False,
            **({"machine_id": machine} if machine else {}),
            **({"inventory": kept} if kept else {}),
        },
        **top,
    }  # fmt: skip


def written(folder, *records):
    """Write records as report folders; return the folder."""
    for each in records:
        name = f"{each['environment'].get('machine_id', 'none').replace(':', '-')}-{each['run_id']}"
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        write_json(place / "report.json", each)
    return folder


def rows(history, sql, *values):
    return [tuple(row) for row in history.connection.execute(sql, values)]


def bytes_of(folder):
    """All that lies in the files of a folder, in one piece."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def as_text(value):
    return json.dumps(value, sort_keys=True)
