"""A target folder full of files that other tools would run: no form of ours runs one of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from project_copy import copy_project, own_state, start
from support import child_env

TOOLS_REQUIRED = bool(os.environ.get("MODELMEDIC_TOOLS_REQUIRED"))
TRAPS = (
    "conftest.py", "plugins/__init__.py", "plugins/options.py", "sitecustomize.py",
    "usercustomize.py", "modelmedic.py", "pytest.py", "json.py", "checks/conftest.py",
    "checks/test_system.py", "tests/conftest.py", "test_target.py", "start.py", "setup.py",
)  # fmt: skip
INI_FILES = {
    "pytest.ini": "[pytest]\naddopts = -p plugins --no-such-option\n",
    "tox.ini": "[pytest]\naddopts = --no-such-option\n",
    "setup.cfg": "[tool:pytest]\naddopts = --no-such-option\n",
    "pyproject.toml": '[tool.pytest.ini_options]\naddopts = "--no-such-option"\n',
}
# `=`: with a space pytest takes the folder for a path before it knows the option, see README.
EXAMINE = ("--offline", "-q", "--stage=preflight")


@pytest.fixture
def target(tmp_path):
    """The folder, whose traps write their name into ``sprung``."""
    folder = tmp_path / "target"
    for name in TRAPS:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"with open({str(tmp_path / 'sprung')!r}, 'a') as f: f.write({name!r})\n")
    for name, text in INI_FILES.items():
        (folder / name).write_text(text)
    return folder


def assert_examined_untouched(done: subprocess.CompletedProcess[str], target: Path) -> None:
    """The run came to a verdict, and nothing of the target had a part in it."""
    sprung = target.parent / "sprung"
    assert not sprung.exists(), sprung.read_text()
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    assert (target.parent / "report" / "report.json").is_file()
    assert "Traceback" not in done.stdout + done.stderr
    assert {path.name for path in target.rglob("*")} >= {Path(name).name for name in TRAPS}


def examine(argv: list[str], target: Path) -> subprocess.CompletedProcess[str]:
    report = f"--report-dir={target.parent / 'report'}"
    env = {**own_state(child_env(), target), "PYTHONFAULTHANDLER": "1"}
    command = [*argv, *EXAMINE, report]
    with subprocess.Popen(
        command, cwd=target, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    ) as child:  # fmt: skip
        try:
            out, err = child.communicate(timeout=110)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGABRT)  # each process prints where it stands
            out, err = child.communicate(timeout=10)
            pytest.fail(f"It did not end within 110 s.\n{out}\n{err}")
    return subprocess.CompletedProcess(command, child.returncode, out, err)


def test_the_traps_work(target):
    subprocess.run([sys.executable, "-m", "json"], cwd=target, env=child_env(), check=False)
    assert (target.parent / "sprung").read_text() == "json.py"


@pytest.mark.parametrize("program", ["pytest", "python -I -m pytest"])
@pytest.mark.parametrize("extra", [(), ("-n2",), ("--install-dir=.",)], ids=["", "n2", "install"])
def test_pytest_on_the_checkout(target, program, extra):
    project = copy_project(target.parent / "project")
    argv = [str(Path(sys.executable).with_name("pytest"))]
    if program != "pytest":
        argv = [sys.executable, "-I", "-m", "pytest"]
    assert_examined_untouched(examine([*argv, str(project / "checks"), *extra], target), target)


def test_an_install_inside_the_checkout_named_with_a_space_runs_nothing(tmp_path):
    """pytest takes the folder for a path of tests until it knows our options."""
    project = copy_project(tmp_path / "project")
    install = project / "demo-install"
    install.mkdir()
    sprung = tmp_path / "sprung"
    (install / "conftest.py").write_text(f"open({str(sprung)!r}, 'w').close()\n")
    done = subprocess.run(
        [sys.executable, "-I", "-m", "pytest", "checks/", "--install-dir", "demo-install",
         "--profile", "demo", "--offline"],
        cwd=project, env=own_state(child_env(), tmp_path), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert "collected" in done.stdout, done.stderr
    assert not sprung.exists()


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """A copy of the project that start.py has installed, editable."""
    project = copy_project(tmp_path_factory.mktemp("started") / "project")
    done = start(project, "--version")
    if done.returncode == 4 and "could not be reached" in done.stderr and not TOOLS_REQUIRED:
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr
    return project


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("extra", [(), ("-n2",), ("--install-dir", ".")], ids=["", "n2", "install"])
def test_start_py(target, started, extra):
    argv = [sys.executable, str(started / "start.py"), *extra]
    assert_examined_untouched(examine(argv, target), target)


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("extra", [(), ("-n2",), ("--install-dir", ".")], ids=["", "n2", "install"])
def test_the_modelmedic_command_of_an_editable_install(target, started, extra):
    command = started / ".venv" / "bin" / "modelmedic"
    assert_examined_untouched(examine([str(command), "check", *extra], target), target)


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("extra", [(), ("-n2",), ("--install-dir", ".")], ids=["", "n2", "install"])
def test_the_modelmedic_command_of_a_wheel(target, wheel_environment, extra):
    command = wheel_environment / "bin" / "modelmedic"
    assert_examined_untouched(examine([str(command), "check", *extra], target), target)


@pytest.fixture(scope="module")
def wheel_environment(tmp_path_factory):
    """An environment with the wheel; the source it was built from is gone."""
    place = tmp_path_factory.mktemp("wheel")
    project = copy_project(place / "project")
    python = [sys.executable, "-I", "-m"]
    build = [*python, "build", "--wheel", "--no-isolation", "--outdir", str(place)]
    subprocess.run(build, cwd=project, env=child_env(), check=True, capture_output=True)
    project.rename(place / "gone")
    subprocess.run([*python, "venv", str(place / "env")], env=child_env(), check=True)
    pip = [str(place / "env" / "bin" / "python"), "-I", "-m", "pip", "install", "--no-input"]
    done = subprocess.run(
        [*pip, str(next(place.glob("*.whl")))], env=child_env(), check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    if "No matching distribution found" in done.stderr and not TOOLS_REQUIRED:
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr
    return place / "env"


@pytest.mark.network
@pytest.mark.slow
def test_the_wheel_brings_the_demo_up_from_nothing_and_finds_it_healthy(
    wheel_environment, tmp_path
):
    command = str(wheel_environment / "bin" / "modelmedic")
    up = ["heal", "--profile=demo", "--stage=installed", "--allow=costly"]
    for arguments in (up, ["check", "--profile=demo"]):
        done = subprocess.run(
            [command, *arguments, "-q", f"--report-dir={tmp_path / 'report'}"],
            cwd=tmp_path, env=own_state(child_env(), tmp_path / "folder"), check=False,
            capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["profile", "list"]])
def test_the_wheel_answers_without_its_source(wheel_environment, tmp_path, arguments):
    command = str(wheel_environment / "bin" / "modelmedic")
    done = subprocess.run(
        [command, *arguments], cwd=tmp_path, env=own_state(child_env(), tmp_path / "folder"), check=False,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout
