"""Which Python a run examines: the install's own, the active one, the one given."""

from __future__ import annotations

import os
import sys
import venv
from pathlib import Path

import pytest
from discovery_support import POSIX_ONLY, look, put

from modelmedic.facts import places


def make_python(folder: Path) -> Path:
    """Make an environment folder as a venv has it, with our own Python behind a link."""
    name = places.interpreter_names(windows=os.name == "nt")[0]
    (folder / name).parent.mkdir(parents=True)
    (folder / name).symlink_to(sys.executable)
    return folder / name


@pytest.mark.parametrize("name", [".venv", "venv", "python_embeded"])
def test_the_environment_of_the_install_is_the_target(tmp_path, name):
    python = make_python(tmp_path / "i" / name)
    context = look(tmp_path, install_dir="i")
    assert context.target_python == python
    assert context.target_reason == f"the install folder has {name}"


def test_a_real_environment_is_found_without_following_its_link(tmp_path):
    venv.create(tmp_path / ".venv", with_pip=False)
    target = look(tmp_path, install_dir=".").target_python
    assert target is not None
    assert target.is_relative_to(tmp_path)
    assert target.exists()


def test_dot_venv_comes_before_the_others(tmp_path):
    make_python(tmp_path / "venv")
    python = make_python(tmp_path / ".venv")
    assert look(tmp_path, install_dir=".").target_python == python


@POSIX_ONLY
def test_an_environment_whose_base_is_gone_is_still_the_target(tmp_path):
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to("/no/such/python")
    make_python(tmp_path / "venv")
    assert look(tmp_path, install_dir=".").target_python == tmp_path / ".venv" / "bin" / "python"


def test_half_an_environment_is_still_the_target(tmp_path):
    put(tmp_path / ".venv" / "pyvenv.cfg")
    target = look(tmp_path, install_dir=".").target_python
    assert target is not None
    assert target.name.startswith("python")


def test_the_active_environment_is_the_target_when_the_install_has_none(tmp_path):
    python = make_python(tmp_path / "active")
    context = look(tmp_path, environ={"VIRTUAL_ENV": str(tmp_path / "active")})
    assert (context.target_python, context.target_reason) == (python, "VIRTUAL_ENV")


def test_our_own_environment_is_never_the_target(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(sys.prefix)
    for prefix in (sys.prefix, str(link)):
        context = look(tmp_path, environ={"VIRTUAL_ENV": prefix})
        assert context.target_python is None
        assert context.target_reason.endswith("modelmedic's own")


@pytest.mark.parametrize("value", ["gone\n", "a\0b", ""])
def test_an_active_environment_that_is_not_there_gives_no_target(tmp_path, value):
    context = look(tmp_path, environ={"VIRTUAL_ENV": value})
    assert context.target_python is None
    assert context.target_reason.isprintable()


def test_a_given_target_wins_and_need_not_be_there(tmp_path):
    make_python(tmp_path / ".venv")
    context = look(tmp_path, install_dir=".", target_python="other/python")
    assert context.target_python == tmp_path / "other" / "python"
    assert context.target_reason == "given"


def test_a_given_target_may_be_the_folder_of_an_environment(tmp_path):
    python = make_python(tmp_path / "env")
    assert look(tmp_path, target_python="env").target_python == python


def test_a_given_target_may_be_the_name_of_a_program(tmp_path):
    folder, name = os.path.split(sys.executable)
    target = look(tmp_path, target_python=name, environ={"PATH": folder}).target_python
    assert target == Path(sys.executable)


def test_windows_places_of_python_differ():
    assert places.interpreter_names(windows=True) == ("Scripts/python.exe", "python.exe")
    assert places.interpreter_names(windows=False)[0] == "bin/python"
