"""The closing pass: after repairs, a fresh process judges the same checks, read-only."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from modelmedic import commands, rooms
from modelmedic.errors import CannotTell
from modelmedic.examination import Examination
from modelmedic.limits import TimeoutManager

_DEEP_SECONDS = 3600  # a deep pass may read every byte again

# The folder a person starts in may hold a pytest.py or a json.py: "" leaves sys.path before the
# first import that could find them, and our own package comes first.
_START = (
    "import sys; sys.path[:] = [{package!r}] + [p for p in sys.path if p]; import pytest; "
    "sys.exit(pytest.main(sys.argv[1:]))"
)


def run(found: Examination, nodeids: list[str]) -> dict[str, str]:
    """Judge ``nodeids`` in a fresh process that changes nothing; return outcome by check id.

    Raises:
        CannotTell: The process did not end, or left no record.
    """
    folder = found.report_dir / "closing"
    folder.mkdir(parents=True, exist_ok=True)
    chosen = folder / "checks.txt"
    chosen.write_text("\n".join(nodeids) + "\n", encoding="utf-8")
    limit = TimeoutManager().get_timeout("validation")
    done = commands.run(
        [
            sys.executable,
            "-c",
            _START.format(package=str(Path(__file__).resolve().parents[1])),
            *_arguments(found, folder),
            f"@{chosen}",
        ],
        deadline_seconds=_DEEP_SECONDS if found.context.deep else limit,
        env=_environment(found),
        cwd=Path.cwd(),
    )
    outcomes = _outcomes(folder, done)
    if len(outcomes) < len(nodeids):
        said = (done.stderr or done.stdout).strip()[-300:]
        raise CannotTell(f"The closing pass judged {len(outcomes)} of {len(nodeids)} checks.", said)
    return outcomes


def _arguments(found: Examination, folder: Path) -> list[str]:
    context = found.context
    ini = Path(__file__).with_name("pytest.ini")
    arguments = [
        f"--config-file={rooms.home() / 'pyproject.toml' if rooms.is_checkout() else ini}",
        f"--rootdir={found.rootdir}",
        "-pmodelmedic.entry",
        f"-ocache_dir={folder / 'cache'}",  # its verdicts are not "the last run" of --lf
        f"--profile={context.profile.file}",
        f"--stage={context.stage}",
        f"--report-dir={folder}",
    ]
    if context.install_dir is not None:
        arguments.append(f"--install-dir={context.install_dir}")
    if context.target_python is not None:
        arguments.append(f"--target-python={context.target_python}")
    arguments += ["--deep"] * context.deep + ["--offline"] * context.offline
    return arguments


def _environment(found: Examination) -> dict[str, str]:
    steering = ("PYTEST_", "MODELMEDIC_")
    env = {key: value for key, value in os.environ.items() if not key.startswith(steering)}
    env["MODELMEDIC_CLOSING_PASS"] = "1"  # noqa: S105 - a pass of checks, no password
    env["MODELMEDIC_STATE_DIR"] = str(found.context.state_dir)
    if found.hub is not None:
        env["MODELMEDIC_DEMO_HUB"] = found.hub.endpoint
    return env


def _outcomes(folder: Path, done: commands.Completed) -> dict[str, str]:
    try:
        record: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        said = (done.stderr or done.stdout).strip()[-300:]
        raise CannotTell(
            f"The closing pass left no record (exit code {done.returncode}).", said
        ) from error
    return {finding["check"]: finding["outcome"] for finding in record["findings"]}
