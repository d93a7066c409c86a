"""Runs of the real checks on the demo profile, in their own folder and state."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from support import CHECKOUT, child_env

_PATHS = f"import sys; sys.path[:] = [{str(CHECKOUT / 'src')!r}] + [p for p in sys.path if p]; "
_PYTEST = "import pytest; sys.exit(pytest.main(sys.argv[1:]))"
START = _PATHS + _PYTEST
# For `Desk.first`: between two tries of a source that is down lie 12 s; a hanging Python has 20.
SHORT_WAITS = (
    "import time, types; from modelmedic import patience; patience.time = types.SimpleNamespace("
    "**{**vars(time), 'sleep': lambda seconds: time.sleep(seconds / 50)}); "
)
SHORT_PROBES = (
    "from modelmedic.limits import TimeoutManager as limits; "
    "limits.DEFAULT_TIMEOUTS = {**limits.DEFAULT_TIMEOUTS, 'interpreter_probe': 3}; "
)


@dataclass(slots=True)
class Run:
    """A finished run: exit code, screen, record."""

    code: int
    out: str
    record: dict
    folder: Path

    def finding(self, check: str) -> dict:
        return next(f for f in self.record["findings"] if f["check"] == check)

    def outcomes(self) -> dict[str, str]:
        return {f["check"]: f["outcome"] for f in self.record["findings"]}

    def bad(self) -> dict[str, str]:
        return {
            check: outcome
            for check, outcome in self.outcomes().items()
            if outcome in {"failed", "unknown", "blocked"}
        }


@dataclass(slots=True)
class Desk:
    """A folder a person works in, with a state folder of its own."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    python: tuple[str, ...] = (sys.executable,)
    first: str = ""  # statements that its runs begin with: SHORT_WAITS

    @property
    def install(self) -> Path:
        return self.folder / "demo-install"

    def run(self, *options: str, profile: str | None = "demo", timeout: float = 110) -> Run:
        reports = self.folder.parent / f"{self.folder.name}-report"
        env = child_env(MODELMEDIC_STATE_DIR=str(self.folder.parent / "state")) | self.env
        done = subprocess.run(
            [
                *self.python,
                "-c",
                _PATHS + self.first + _PYTEST,
                "-c",
                str(CHECKOUT / "pyproject.toml"),
                f"--rootdir={CHECKOUT}",
                str(CHECKOUT / "checks"),
                *([] if profile is None else [f"--profile={profile}"]),
                f"--report-dir={reports}",
                *options,
            ],
            cwd=self.folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        out = done.stdout + done.stderr
        try:
            record = json.loads((reports / "report.json").read_text(encoding="utf-8"))
        except OSError:
            record = {}
        return Run(done.returncode, out, record, reports)


def snapshot(root: Path, *, without: tuple[str, ...] = (".modelmedic",)) -> dict[str, object]:
    """Return every file's bytes and every link's target; folders as None."""
    found: dict[str, object] = {}
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name not in without]
        for name in [*names, *files]:
            path = Path(folder, name)
            if path.is_symlink():
                found[str(path.relative_to(root))] = str(path.readlink())
            else:
                found[str(path.relative_to(root))] = None if path.is_dir() else path.read_bytes()
    return found
