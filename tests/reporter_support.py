"""Histories for the reporter's tests: run records that fit the schema, stored by `History.store`."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from pathlib import Path

from support import CHECKOUT

from modelmedic import (
    EnhancedErrorContext,
    HardwareProfile,
    NetworkStatus,
    ResourceSnapshot,
    SystemInfo,
    jsonshape,
    records,
)
from modelmedic.history.store import History

DAY = 86_400.0
NOW = 1_795_910_400.0  # 2026-11-29 00:00 UTC
_SCHEMA = json.loads((CHECKOUT / "reports/run-record.schema.json").read_text("utf-8"))


def finding(check, outcome="passed", **more):
    """Return a finding of a run record."""
    wrong = outcome not in {"passed", "skipped"}
    return {
        "check": check,
        "nodeid": f"checks/test_x.py::{check}",
        "title": f"Title of {check}.",
        "area": check.partition(".")[0],
        "severity": "major",
        "outcome": outcome,
        "category": None,
        "failure_id": None,
        "what": f"{check} is {outcome}." if wrong else "",
        "why": "Because." if wrong else "",
        "next": "Do this." if wrong else "",
        "blocked_by": None,
        "facts": {},
        "attempts": [],
        **more,
    }


def attempt(recovery, verdict="healed", seconds=2.0):
    return {
        "recovery": recovery,
        "verdict": verdict,
        "operations": [],
        "seconds": seconds,
        "bytes_fetched": 0,
        "error": "",
        "history": "",
        "recheck": None,
        "put_back": None,
    }


def record(number, at, findings, *, machine="", inventory=None, is_partial=False, **more):
    """Return the record of run ``number`` that began at ``at``."""
    environment = {
        "system": "Linux", "release": "6.1", "machine": "x86_64", "python": "3.11.2",
        "command": "modelmedic check", "next_command": "", "undo_command": "", "undo_until": "",
        "notes": [], "install_reason": "", "target_reason": "", "stage_reason": "",
        "is_deep": False, "is_offline": False, "is_partial": is_partial,
    }  # fmt: skip
    if machine:
        environment["machine_id"] = machine
    if inventory is not None:
        environment["inventory"] = inventory
    causes = records.root_causes(findings)
    made = {
        "schema": 1,
        "run_id": f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(at))}-{number:06x}",
        "modelmedic": "0.1.0",
        "profile": "wan2.2-t2v-a14b",
        "install_dir": "/models/wan",
        "target_python": None,
        "mode": "check",
        "stage": "installed",
        "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)),
        "duration_seconds": 12.5,
        "counts": records.counts(each["outcome"] for each in findings),
        "exit_code": 1 if causes else 0,
        "root_causes": causes,
        "findings": findings,
        "environment": environment,
        **more,
    }
    known = _SCHEMA["$defs"]["finding"]["properties"]
    judged = [{key: part for key, part in each.items() if key in known} for each in findings]
    assert jsonshape.first_fault({**made, "findings": judged}, _SCHEMA) is None
    return made


def inventory(**more):
    return {
        "hash": "0" * 32, "system": "Linux 6.1 x86_64", "python": "3.11.2", "driver": "550.54",
        "gpus": ["NVIDIA GeForce RTX 4090"], "memory_bytes": 64 << 30,
        "packages": {"torch": "2.4.0"}, "files": {"vae.pth": 507609880}, **more,
    }  # fmt: skip


class Past:
    """Writes a history: one run a day unless said otherwise, the newest at `NOW` - one hour."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.number = 0
        self._history: History | None = None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        if self._history is not None:
            self._history.close()
            self._history = None

    @property
    def history(self) -> History:
        if self._history is None:
            self._history = History.open(self.state_dir, clock=lambda: NOW)
        return self._history

    def store(self, days_ago, findings, *, is_own=True, **more):
        self.number += 1
        made = record(self.number, NOW - 3600 - days_ago * DAY, findings, **more)
        assert self.history.store(made, is_own=is_own)
        return made

    def heal(self, recovery, *verdicts, category="corruption", seconds=2.0):
        """Write judged repairs into the table as the log of repairs is taken in."""
        own = self.history.own_machine()
        with self.history.writing():
            for number, verdict in enumerate(verdicts):
                took = 0.0 if verdict == "failed" else seconds + number
                self.history.connection.execute(
                    "INSERT INTO heal VALUES (?, ?, 'log', ?, ?, 'weights', ?, 'Linux', "
                    "'x86_64', 'weights.intact', ?, ?, 0)",
                    [own, f"{recovery}-{category}-{number}", NOW - (number + 1) * DAY,
                     recovery, category, verdict, took],
                )  # fmt: skip


def error_context(at, **more):
    """Return the context of a failed call."""
    nan = float("nan")
    values = {
        "phase": "", "task": "", "component": "Downloader", "method": "fetch",
        "hardware_profile": HardwareProfile("", 1, nan, "x86_64"),
        "system_info": SystemInfo("Linux", "3.11", nan, nan, nan, None, {}),
        "environment_vars": {}, "stack_trace": "", "retry_count": 0, "previous_errors": [],
        "recovery_attempts": [], "system_resources": ResourceSnapshot(-1, nan, nan, -1, nan, -1),
        "network_status": NetworkStatus(True, nan, nan, False, True),
        "error": "TimeoutError: slow", "category": "timeout", **more,
    }  # fmt: skip
    return EnhancedErrorContext(timestamp=datetime.fromtimestamp(at, timezone.utc), **values)
