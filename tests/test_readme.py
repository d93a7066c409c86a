"""The README's first five minutes, command by command, in a copy of the project."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from project_copy import copy_project
from support import CHECKOUT, child_env

TOOLS_REQUIRED = bool(os.environ.get("MODELMEDIC_TOOLS_REQUIRED"))
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
# A command, the exit code it is shown with, and the lines of its output that follow.
_STEP = re.compile(
    r"^```sh(?: exit=(\d+))?\n(.+?)\n```\n(?:\n```text\n(.*?)\n```\n)?", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Step:
    command: str
    code: int
    shown: tuple[str, ...]


def section(title):
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def five_minutes():
    found = _STEP.findall(section("The first five minutes"))
    return [
        Step(command, int(code or 0), tuple(shown.splitlines())) for code, command, shown in found
    ]


def assert_shown(step, out):
    """Each shown line begins a line of the output, in the order of the README."""
    lines = iter(out.splitlines())
    for shown in step.shown:
        assert any(line.startswith(shown) for line in lines), f"not printed: {shown}\n{out}"


def project_with_readme(target):
    copy_project(target)
    for name in ("README.md", "CHANGELOG.md"):
        shutil.copy2(CHECKOUT / name, target / name)
    return target


def without_start(command, project):
    """Return the argv of a README command with what start.py would become: pytest, isolated."""
    python, *rest = shlex.split(command)
    assert python == "python3"
    if rest[0] != "start.py":
        return [sys.executable, *rest]
    options = [*rest[1:], str(project / "checks")]
    pinned = ["-c", str(project / "pyproject.toml"), "--rootdir", str(project)]
    entry = f"import sys; sys.path.insert(0, {str(project / 'src')!r}); import pytest; "
    entry += "sys.exit(pytest.main(sys.argv[1:]))"
    return [sys.executable, "-I", "-c", entry, *pinned, "-p", "modelmedic.entry", *options]


def test_the_five_minutes_have_their_six_commands():
    steps = five_minutes()
    assert [step.code for step in steps] == [0, 0, 1, 1, 0, 0]
    assert (
        steps[0].command
        == "python3 start.py --profile demo --stage installed --heal --allow costly"
    )
    assert all(step.shown for step in steps if "start.py" in step.command)


def test_the_five_minutes_end_as_the_readme_shows_them(tmp_path):
    project = project_with_readme(tmp_path / "modelmedic")
    env = child_env(
        MODELMEDIC_STATE_DIR=str(tmp_path / "state"), MODELMEDIC_INVOKED_AS="python3 start.py"
    )
    for step in five_minutes():
        argv = without_start(step.command, project)
        done = subprocess.run(
            argv, cwd=project, env=env, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == step.code, f"{step.command}\n{done.stdout}{done.stderr}"
        assert_shown(step, done.stdout)


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(os.name == "nt", reason="the commands are those of a POSIX shell")
def test_the_five_minutes_work_as_typed_on_a_fresh_copy(tmp_path):
    project = project_with_readme(tmp_path / "modelmedic")
    shims = tmp_path / "bin"
    shims.mkdir()
    (shims / "python3").symlink_to(Path(getattr(sys, "_base_executable", sys.executable)).resolve())
    env = child_env(
        MODELMEDIC_STATE_DIR=str(tmp_path / "state"),
        PATH=f"{shims}{os.pathsep}{os.environ['PATH']}",
    )
    for step in five_minutes():
        done = subprocess.run(
            ["sh", "-c", step.command], cwd=project, env=env, capture_output=True, text=True,
            timeout=400, check=False,
        )  # fmt: skip
        if "could not be reached" in done.stderr and not TOOLS_REQUIRED:
            pytest.skip("no package index can be reached: " + done.stderr[-300:])
        assert done.returncode == step.code, f"{step.command}\n{done.stdout}{done.stderr}"
        assert_shown(step, done.stdout)


def test_the_readme_opens_with_the_two_commands():
    commands = [block for _code, block, _out in _STEP.findall(README.partition("\n## ")[0])]
    assert [line.partition("#")[0].strip() for line in commands[0].splitlines()] == [
        "python3 start.py",
        "python3 start.py tests/",
    ]
    assert "py start.py tests\\\n" in README.partition("\n## ")[0]
