"""Copies of the project for tests that install it or start it: never the checkout itself."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from support import CHECKOUT, child_env

from modelmedic.bootstrap.environment import RECORD_NAME

ROOMS = ("checks", "recoveries", "plugins", "reports", "profiles")
FILES = ("start.py", "pyproject.toml", "conftest.py", "LICENSE")
_JUNK = shutil.ignore_patterns("__pycache__", "*.pyc", "runs")


def copy_project(target: Path) -> Path:
    """Copy everything that is installed or run, but not the tests."""
    target.mkdir(parents=True)
    _copy_common(target)
    for name in ROOMS:
        shutil.copytree(CHECKOUT / name, target / name, ignore=_JUNK)
    return target


def bare_project(target: Path) -> Path:
    """Copy what starts and installs, with empty rooms: for tests of the start alone."""
    target.mkdir(parents=True)
    _copy_common(target)
    for name in (*ROOMS, "tests"):
        (target / name).mkdir()
        (target / name / ".keep").touch()
    return target


def _copy_common(target: Path) -> None:
    (target / "README.md").write_text("# A copy\n")
    for name in FILES:
        shutil.copy2(CHECKOUT / name, target / name)
    shutil.copytree(CHECKOUT / "src", target / "src", ignore=_JUNK)


def dead_index(environ: dict[str, str]) -> dict[str, str]:
    """Return an environment whose pip is configured with an index that refuses connections."""
    return index_at(environ, "http://127.0.0.1:9/simple")


def index_at(environ: dict[str, str], url: str) -> dict[str, str]:
    kept = {key: value for key, value in environ.items() if not key.startswith("PIP_")}
    return kept | {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": url,
        "PIP_RETRIES": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


def own_state(environ: dict[str, str], place: Path) -> dict[str, str]:
    """Return an environment whose state folder lies beside ``place``, not in the person's home."""
    return environ | {"MODELMEDIC_STATE_DIR": str(place.parent / "state")}


def start_argv(project: Path, *args: str, python: str = sys.executable) -> list[str]:
    return [python, str(project / "start.py"), *args]


def start(
    project: Path,
    *args: str,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    python: str = sys.executable,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        start_argv(project, *args, python=python),
        env=own_state(env or child_env(), project),
        cwd=cwd or project,
        capture_output=True,
        check=False,
        text=True,
        timeout=300,
    )


def record_of(project: Path, folder: str = ".venv") -> dict[str, object]:
    return json.loads((project / folder / RECORD_NAME).read_text())


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@contextlib.contextmanager
def starting(project: Path, *args: str, env: dict[str, str]):
    child = subprocess.Popen(
        start_argv(project, *args),
        env=own_state(env, project),
        cwd=project,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        child.stderr.close()
