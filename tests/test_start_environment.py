"""Which folder start.py uses, and when it trusts what it finds there."""

from __future__ import annotations

import os

import pytest
from project_copy import bare_project, left_in, record_of, start
from support import child_env

from modelmedic.bootstrap import environment, steps
from modelmedic.bootstrap.environment import LOCK_NAME, RECORD_NAME


@pytest.fixture
def project(tmp_path):
    return bare_project(tmp_path / "project")


def test_an_environment_of_somebody_else_is_left_alone_and_another_name_is_used(project):
    theirs = project / ".venv" / "lib" / "theirs.txt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    done = start(project, env=child_env() | {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull})
    assert done.returncode == 4, done.stderr  # without an index there is no build tool
    assert ".venv was not made by start.py and stays as it is" in done.stderr
    assert left_in(project / ".venv") == {"lib"}
    assert theirs.read_text() == "mine"
    assert record_of(project, ".venv-modelmedic")["state"] == "building"


def test_an_empty_folder_and_our_own_are_used(tmp_path):
    (tmp_path / ".venv").mkdir()
    assert environment.choose_folder(tmp_path, tell=print) == tmp_path / ".venv"
    (tmp_path / ".venv" / LOCK_NAME).touch()
    (tmp_path / ".venv" / "bin").mkdir()
    assert environment.choose_folder(tmp_path, tell=print) == tmp_path / ".venv"


@pytest.mark.parametrize("kind", ["file", "dangling link", "folder"])
def test_whatever_else_stands_there_is_not_ours(tmp_path, kind):
    place = tmp_path / ".venv"
    if kind == "file":
        place.touch()
    elif kind == "folder":
        (place / "bin").mkdir(parents=True)
    else:
        place.symlink_to(tmp_path / "nowhere")
    assert environment.choose_folder(tmp_path, tell=print).name == ".venv-modelmedic"


def test_with_both_names_taken_the_start_is_refused(tmp_path):
    for name in environment.FOLDERS:
        (tmp_path / name).touch()
    with pytest.raises(steps.CannotStart, match="never changes or removes"):
        environment.choose_folder(tmp_path, tell=print)


@pytest.fixture
def recorded(tmp_path):
    """A folder that counts as ready, and what is wanted of it."""
    folder = tmp_path / ".venv"
    environment.interpreter(folder).parent.mkdir(parents=True)
    environment.interpreter(folder).touch()
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    wanted = environment.describe(tmp_path)
    environment._write_record(folder, {**wanted, "state": "ready", "groups": ["dev"]})
    return folder, wanted


def test_a_finished_record_of_the_same_things_is_trusted(recorded):
    folder, wanted = recorded
    assert environment.is_ready(folder, wanted, [])
    assert environment.is_ready(folder, wanted, ["dev"])


@pytest.mark.parametrize("key", ["root", "python", "base_prefix", "pyproject"])
def test_another_place_python_or_project_file_is_not(recorded, key):
    folder, wanted = recorded
    assert not environment.is_ready(folder, {**wanted, key: "other"}, [])


def test_a_missing_group_is_not(recorded):
    folder, wanted = recorded
    assert not environment.is_ready(folder, wanted, ["docs"])


def test_an_environment_whose_python_is_gone_is_not(recorded):
    folder, wanted = recorded
    environment.interpreter(folder).unlink()
    assert not environment.is_ready(folder, wanted, [])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"state": "ready"}', "\x00", '{"groups": 3}'])
def test_an_unreadable_record_is_not(recorded, text):
    folder, wanted = recorded
    (folder / RECORD_NAME).write_text(text)
    assert not environment.is_ready(folder, wanted, [])


@pytest.mark.parametrize(
    ("text", "version"),
    [("pip 23.0.1 from /x (python 3.10)", (23, 0)), ("pip 25.1 from /x", (25, 1)), ("no", (0,))],
)
def test_pips_version_is_read_as_numbers(text, version):
    assert environment.pip_version(text) == version
