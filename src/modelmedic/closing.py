"""The closing pass: after repairs, a fresh process judges the same checks, read-only."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from modelmedic import caller, commands, rooms
from modelmedic.errors import CannotTell
from modelmedic.examination import Examination
from modelmedic.facts import file_hashes
from modelmedic.findings import Outcome
from modelmedic.limits import TimeoutManager
from modelmedic.records import write_json

WORKED_AROUND = "worked-around.json"
_PATIENCE = 3  # the closing pass may take so many times what the run took until now

# The folder a person starts in may hold a pytest.py or a json.py: "" leaves sys.path before the
# first import that could find them, and our own package comes first.
_START = (
    "import sys; sys.path[:] = [{package!r}] + [p for p in sys.path if p]; import pytest; "
    "sys.exit(pytest.main(sys.argv[1:]))"
)


def run(found: Examination, nodeids: list[str]) -> dict[str, dict[str, Any]]:
    """Judge ``nodeids`` in a fresh process that changes nothing; return its findings by check id.

    Hashes computed in this run count there, too, while a file's size, times and inode stand.

    Raises:
        CannotTell: The process did not end, or left no record.
    """
    folder = found.report_dir / "closing"
    folder.mkdir(parents=True, exist_ok=True)
    chosen = folder / "checks.txt"
    chosen.write_text("\n".join(nodeids) + "\n", encoding="utf-8")
    write_json(folder / file_hashes.NAME, file_hashes.told(found.facts.memo))
    write_json(folder / WORKED_AROUND, _worked_around(found))
    limit = TimeoutManager().get_timeout("validation")
    limit += _PATIENCE * int(time.time() - found.started_at)
    done = commands.run(
        [
            sys.executable,
            "-c",
            _START.format(package=str(Path(__file__).resolve().parents[1])),
            *_arguments(found, folder),
            f"@{chosen}",
        ],
        deadline_seconds=limit,
        env=_environment(found),
        cwd=Path.cwd(),
    )
    findings = _findings(folder, done)
    if len(findings) < len(nodeids):
        said = (done.stderr or done.stdout).strip()[-300:]
        raise CannotTell(f"The closing pass judged {len(findings)} of {len(nodeids)} checks.", said)
    return findings


def _worked_around(found: Examination) -> dict[str, dict[str, Any]]:
    """Return by check the loss that stays although it holds in this run's environment.

    The fresh process inherits that environment: there the check passes, and is degraded as here.
    """
    return {
        finding.check: {
            "what": finding.what,
            "why": finding.why,
            "next": finding.next,
            "failure_id": finding.failure_id,
        }
        for finding in found.findings
        if finding.outcome == Outcome.DEGRADED.value
        and any(attempt.verdict == Outcome.DEGRADED.value for attempt in finding.attempts)
    }


def recalled_losses(report_dir: Path) -> dict[str, dict[str, Any]]:
    """Return in the closing pass what `run` left for it in its report folder; else nothing."""
    try:
        told: dict[str, dict[str, Any]] = json.loads(
            (report_dir / WORKED_AROUND).read_text(encoding="utf-8")
        )
    except (OSError, ValueError):
        return {}
    return told


def _arguments(found: Examination, folder: Path) -> list[str]:
    context = found.context
    ini = Path(__file__).with_name("pytest.ini")
    arguments = [
        f"--config-file={rooms.home() / 'pyproject.toml' if rooms.is_checkout() else ini}",
        f"--rootdir={found.rootdir}",
        "-pmodelmedic.entry",
        "-ppytest_timeout",
        f"-ocache_dir={folder / 'cache'}",  # its verdicts are not "the last run" of --lf
        f"--profile={context.profile.file}",
        f"--stage={context.stage}",
        f"--report-dir={folder}",
    ]
    if context.install_dir is not None:
        arguments.append(f"--install-dir={context.install_dir}")
    if context.target_python is not None:
        arguments.append(f"--target-python={context.target_python}")
    if found.manifest is not None:
        arguments.append(f"--manifest={found.manifest}")
    if found.check_seconds:  # by its own method: "thread" would end the pass with the first hang
        arguments.append(f"--timeout={found.check_seconds}")
    arguments += ["--deep"] * context.deep + ["--offline"] * context.offline
    return arguments


def _environment(found: Examination) -> dict[str, str]:
    steering = ("PYTEST_", "MODELMEDIC_")
    env = {key: value for key, value in os.environ.items() if not key.startswith(steering)}
    env |= {key: value for key, value in os.environ.items() if key.startswith(caller.PREFIX)}
    env["MODELMEDIC_CLOSING_PASS"] = "1"  # noqa: S105 - a pass of checks, no password
    env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # plugins of other people judge nothing here
    env["MODELMEDIC_STATE_DIR"] = str(found.context.state_dir)
    if found.hub is not None:
        env["MODELMEDIC_DEMO_HUB"] = found.hub.endpoint
    return env


def _findings(folder: Path, done: commands.Completed) -> dict[str, dict[str, Any]]:
    try:
        record: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        said = (done.stderr or done.stdout).strip()[-300:]
        raise CannotTell(
            f"The closing pass left no record (exit code {done.returncode}).", said
        ) from error
    return {finding["check"]: finding for finding in record["findings"]}
