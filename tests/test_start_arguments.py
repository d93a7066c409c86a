"""What the arguments of start.py mean, wherever it is started."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from modelmedic.bootstrap import arguments, launch


@pytest.fixture
def layout(tmp_path):
    """A checkout, and a folder under test that has a ``tests`` folder of its own."""
    root, target = tmp_path / "root", tmp_path / "target"
    for path in (root / "checks", root / "tests", target / "tests", target / "demo"):
        path.mkdir(parents=True)
    (root / "checks" / "test_disk.py").touch()
    return root, target


@pytest.mark.parametrize(
    ("given", "expected", "wants_tests"),
    [
        ([], ["R/checks"], False),
        (["-q"], ["-q", "R/checks"], False),
        (["--profile", "demo"], ["--profile=demo", "R/checks"], False),
        (["--install-dir", "demo", "-x"], ["--install-dir=demo", "-x", "R/checks"], False),
        (["-k", "demo"], ["-k", "demo", "R/checks"], False),
        (["-xk", "demo"], ["-xk", "demo", "R/checks"], False),
        (["-n2", "checks/"], ["-n2", "R/checks"], False),
        (["-n", "2", "--tb", "short"], ["-n", "2", "--tb", "short", "R/checks"], False),
        (["--heal", "checks/"], ["--heal", "R/checks"], False),
        (["--heal=plan"], ["--heal=plan", "R/checks"], False),
        (["checks/test_disk.py::test_x[a/b::c]"], ["R/checks/test_disk.py::test_x[a/b::c]"], False),
        (["tests/"], ["R/tests"], True),
        (["tests/test_a.py"], ["R/tests/test_a.py"], True),
        (["--profile"], ["--profile", "R/checks"], False),
    ],
)
def test_arguments_given_in_another_folder_mean_the_checkout(layout, given, expected, wants_tests):
    root, target = layout
    if given == ["tests/test_a.py"]:
        (root / "tests" / "test_a.py").touch()
    request = arguments.read(given, cwd=target, root=root)
    assert request.arguments == [part.replace("R/", f"{root}/") for part in expected]
    assert request.wants_tests is wants_tests


def test_a_path_that_starts_with_a_dot_means_the_current_folder(layout):
    root, target = layout
    request = arguments.read(["./tests"], cwd=target, root=root)
    assert request.arguments == [str(target / "tests")]
    assert not request.wants_tests


def test_inside_the_checkout_paths_are_relative_to_where_one_stands(layout):
    root, _target = layout
    request = arguments.read(["test_disk.py"], cwd=root / "checks", root=root)
    assert request.arguments == [str(root / "checks" / "test_disk.py")]


def test_the_whole_checkout_reaches_the_tests_too(layout):
    root, _target = layout
    assert arguments.read(["."], cwd=root, root=root).wants_tests


def test_a_command_that_can_be_typed_again_is_handed_on(monkeypatch):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    name = Path(sys.executable).name
    assert launch.invoked_as([name, "start.py"], "start.py") == f"{name} start.py"
    odd = launch.invoked_as(["/no/such/python9", "start.py"], "my folder/start.py")
    assert odd == "/no/such/python9 'my folder/start.py'"
