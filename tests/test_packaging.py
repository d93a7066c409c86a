"""What is in the wheel, and what the project says of its dependencies."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import PurePosixPath

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from project_copy import ROOMS, copy_project
from support import CHECKOUT, child_env

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYPROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
DEPENDENCIES = [Requirement(line) for line in PYPROJECT["project"]["dependencies"]]
DEV = [Requirement(line) for line in PYPROJECT["dependency-groups"]["dev"]]
DOC = CHECKOUT / "docs" / "dependencies.md"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of a copy in which somebody has already run things; built without a network."""
    place = tmp_path_factory.mktemp("wheel")
    project = copy_project(place / "project")
    for junk in (
        "reports/runs/1/report.json",
        "checks/__pycache__/x.cpython-311.pyc",
        "tests/t.py",
    ):
        (project / junk).parent.mkdir(parents=True, exist_ok=True)
        (project / junk).write_text("junk")
    subprocess.run(
        [sys.executable, "-I", "-m", "build", "--wheel", "--no-isolation", "--outdir", str(place)],
        cwd=project, env=child_env(), check=True, capture_output=True,
    )  # fmt: skip
    shutil.rmtree(project)
    with zipfile.ZipFile(next(place.glob("*.whl"))) as archive:
        yield archive


@pytest.fixture
def metadata(wheel):
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


def test_the_wheel_brings_one_importable_name(wheel):
    tops = {PurePosixPath(name).parts[0] for name in wheel.namelist()}
    version = PYPROJECT["project"]["version"]
    assert tops == {"modelmedic", f"modelmedic-{version}.dist-info"}


@pytest.mark.parametrize("room", [*ROOMS, "src/modelmedic"])
def test_every_file_of_a_room_is_in_the_wheel(wheel, room):
    folder = CHECKOUT / room
    inside = "modelmedic" if room == "src/modelmedic" else f"modelmedic/{room}"
    expected = {
        f"{inside}/{path.relative_to(folder).as_posix()}"
        for path in folder.rglob("*")
        if path.is_file() and not {"__pycache__", "runs"} & set(path.parts) and path.name != ".keep"
    }
    assert expected <= set(wheel.namelist())
    assert expected


def test_what_runs_leave_behind_and_the_tests_are_not_in_the_wheel(wheel):
    names = wheel.namelist()
    assert not [name for name in names if "/runs/" in name or name.endswith(".pyc")]
    assert not [name for name in names if name.startswith(("tests/", "modelmedic/tests/"))]
    assert not [name for name in names if wheel.read(name) == b"junk"]


def test_the_typing_marker_and_the_pinned_ini_file_are_in_the_wheel(wheel):
    assert {"modelmedic/py.typed", "modelmedic/pytest.ini"} <= set(wheel.namelist())


def test_the_modelmedic_command_is_declared(wheel):
    name = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    text = wheel.read(name).decode()
    assert "[console_scripts]\nmodelmedic = modelmedic.cli:main" in text


def test_the_wheel_runs_its_checks_for_an_installer(wheel, tmp_path):
    """The rooms lie elsewhere in it, and the child must find the package that started it."""
    wheel.extractall(tmp_path / "site")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); import modelmedic; "
        f"made = modelmedic.PreInstallationValidator(profile='demo', install_dir={str(tmp_path)!r}, "
        "options=['--checks=permissions']); result = made.validate_permissions(); "
        "print(modelmedic.__file__, result.outcome, result.problem)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code],
        env=child_env(MODELMEDIC_STATE_DIR=str(tmp_path / "state")),
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    told = done.stdout.strip()
    assert told == f"{tmp_path / 'site' / 'modelmedic' / '__init__.py'} passed", done.stderr


def plain(requirement: Requirement) -> tuple[str, str, str]:
    """Return a requirement with its name in the one normal spelling."""
    return canonicalize_name(requirement.name), str(requirement.specifier), str(requirement.marker)


def test_the_wheel_asks_for_what_the_project_file_says(metadata):
    asked = [Requirement(line) for line in metadata.get_all("Requires-Dist")]
    assert sorted(map(plain, asked)) == sorted(map(plain, DEPENDENCIES))
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["License-Expression"] == "Apache-2.0"


def test_the_version_is_said_once(metadata):
    from modelmedic import __version__

    assert metadata["Version"] == __version__


@pytest.mark.parametrize("requirement", DEPENDENCIES, ids=lambda requirement: requirement.name)
def test_every_dependency_has_a_lower_bound_and_no_upper_one(requirement):
    operators = [part.operator for part in requirement.specifier]
    assert operators == [">="]


def documented(heading: str) -> dict[str, str]:
    """Return package -> reason of the table below a heading of docs/dependencies.md."""
    text = DOC.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"(?m)^\| `([^`]+)` \| ([^|]+) \|", text)
    return {canonicalize_name(name): reason.strip() for name, reason in rows}


@pytest.mark.parametrize(
    ("heading", "declared"), [("Run time", DEPENDENCIES), ("Development", DEV)]
)
def test_every_dependency_is_documented_with_its_reason_and_no_other(heading, declared):
    told = documented(heading)
    assert set(told) == {canonicalize_name(requirement.name) for requirement in declared}
    assert [name for name, reason in told.items() if len(reason) < 20] == []
