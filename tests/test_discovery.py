"""What a run examines: install folder, stage, folders of the models."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from discovery_support import MODEL, POSIX_ONLY, UNKNOWN, look, put

from modelmedic.errors import BadInstall
from modelmedic.profile.model import ModelFile, ModelRepo
from modelmedic.rooms import state_dir


@contextlib.contextmanager
def as_nobody():
    """Give up root's power to read everything for a moment."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


# ---------------------------------------------------------------- install folder


def test_without_anything_there_is_no_install_and_the_stage_is_preflight(tmp_path):
    context = look(tmp_path)
    assert context.install_dir is None
    assert context.place == tmp_path
    assert context.stage == "preflight"
    assert context.stage_reason == "there is no install folder"
    assert context.install_reason.startswith("none given")
    assert context.target_python is None
    assert context.model_folders == ("Model-1",)


def test_a_given_folder_is_the_install_though_it_is_not_there_yet(tmp_path):
    context = look(tmp_path, install_dir="new")
    assert context.install_dir == context.place == tmp_path / "new"
    assert context.install_reason == "given; it does not exist yet"
    assert context.stage == "preflight"
    assert not (tmp_path / "new").exists()


def test_an_empty_text_means_not_given(tmp_path):
    assert look(tmp_path, install_dir="", target_python="").install_dir is None


def test_a_given_folder_wins_over_the_current_one(tmp_path):
    put(tmp_path / "Model-1" / "vae.pth")
    assert look(tmp_path, install_dir="other").install_dir == tmp_path / "other"


def test_a_tilde_means_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert look(tmp_path / "x", install_dir="~/ai").install_dir == tmp_path / "ai"


def test_a_tilde_of_nobody_is_an_ordinary_name(tmp_path):
    found = look(tmp_path, install_dir="~no-such-user-here/ai").install_dir
    assert found == tmp_path / "~no-such-user-here" / "ai"


@pytest.mark.parametrize("file", ["Model-1/config.json", "unet/part-1.safetensors", "vae.pth"])
def test_the_current_folder_is_the_install_when_it_holds_a_model(tmp_path, file):
    put(tmp_path / file)
    context = look(tmp_path)
    assert context.install_dir == tmp_path
    assert context.install_reason == "the current folder holds a model of the profile"
    assert context.stage == "installed"


def test_a_config_that_lies_in_any_folder_makes_no_install(tmp_path):
    put(tmp_path / "config.json")
    assert look(tmp_path).install_dir is None


def test_the_profiles_folder_is_used_when_nothing_else_is_known(tmp_path):
    context = look(tmp_path, default="demo-install")
    assert context.install_dir == tmp_path / "demo-install"
    assert context.install_reason == "the profile's default folder"
    assert context.stage == "preflight"


def test_inside_the_profiles_folder_the_current_folder_is_the_install(tmp_path):
    put(tmp_path / "Model-1" / "vae.pth")
    assert look(tmp_path, default="demo-install").install_dir == tmp_path


def test_of_a_model_with_unknown_files_its_folder_is_enough(tmp_path):
    assert look(tmp_path, models=(UNKNOWN,)).install_dir is None
    (tmp_path / "Unknown-1").mkdir()
    assert look(tmp_path, models=(UNKNOWN,)).install_dir == tmp_path


# ---------------------------------------------------------------- folders that cannot be one


def test_a_file_is_no_install_folder(tmp_path):
    put(tmp_path / "f")
    with pytest.raises(BadInstall, match=r"f is a file, not a folder.*--install-dir"):
        look(tmp_path, install_dir="f")


def test_a_folder_under_a_file_is_no_install_folder(tmp_path):
    put(tmp_path / "f")
    with pytest.raises(BadInstall, match="cannot be read: Not a directory"):
        look(tmp_path, install_dir="f/x")


@POSIX_ONLY
def test_a_pipe_is_no_install_folder_and_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "p")
    with pytest.raises(BadInstall, match="device or pipe"):
        look(tmp_path, install_dir="p")


@POSIX_ONLY
def test_a_loop_of_links_is_no_install_folder(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(BadInstall, match="Too many levels of symbolic links"):
        look(tmp_path, install_dir="a")


@POSIX_ONLY
def test_a_link_into_nowhere_is_no_install_folder(tmp_path):
    (tmp_path / "a").symlink_to("gone\x1b[31m")
    with pytest.raises(BadInstall, match=r"link whose target is gone: gone\\x1b"):
        look(tmp_path, install_dir="a")


@pytest.mark.parametrize("option", ["install_dir", "target_python"])
def test_a_nul_in_a_path_is_refused(tmp_path, option):
    with pytest.raises(BadInstall, match=r"NUL character: a\\x00b"):
        look(tmp_path, **{option: "a\0b"})


def test_a_name_too_long_for_the_file_system_is_refused(tmp_path):
    with pytest.raises(BadInstall, match="File name too long"):
        look(tmp_path, install_dir="x" * 5000)


@POSIX_ONLY
def test_a_folder_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir(mode=0)
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)  # the folders above belong to the user who runs the tests
    with as_nobody(), pytest.raises(BadInstall, match="closed cannot be read: Permission denied"):
        look(Path(), install_dir="closed")


@POSIX_ONLY
def test_a_model_folder_that_may_not_be_read_counts_as_not_there(tmp_path, monkeypatch):
    put(tmp_path / "Model-1" / "vae.pth")
    (tmp_path / "Model-1").chmod(0)
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    with as_nobody():
        assert look(Path()).install_dir is None
    (tmp_path / "Model-1").chmod(0o755)


@POSIX_ONLY
def test_hostile_things_in_the_current_folder_do_no_harm(tmp_path):
    (tmp_path / "Model-1").symlink_to("Model-1")
    os.mkfifo(tmp_path / ".venv")
    (tmp_path / "venv").symlink_to("venv")
    context = look(tmp_path, install_dir=".")
    assert (context.stage, context.target_python) == ("preflight", None)


# ---------------------------------------------------------------- stage


def test_weights_in_the_install_make_it_installed(tmp_path):
    put(tmp_path / "i" / "Model-1" / "vae.pth")
    context = look(tmp_path, install_dir="i")
    assert (context.stage, context.is_installed) == ("installed", True)
    assert context.stage_reason == "the install folder holds a model of the profile"


def test_an_environment_in_the_install_makes_it_installed(tmp_path):
    put(tmp_path / "i" / ".venv" / "pyvenv.cfg")
    context = look(tmp_path, install_dir="i")
    assert context.stage == "installed"
    assert context.stage_reason == "the install folder holds a Python environment"


def test_other_files_in_the_install_leave_it_at_preflight(tmp_path):
    put(tmp_path / "i" / "notes.txt")
    context = look(tmp_path, install_dir="i")
    assert context.stage == "preflight"
    assert context.stage_reason.startswith("the install folder holds neither")


@pytest.mark.parametrize("stage", ["preflight", "installed"])
def test_a_given_stage_is_taken(tmp_path, stage):
    context = look(tmp_path, install_dir="i", stage=stage)
    assert (context.stage, context.stage_reason) == (stage, "given")


def test_stage_installed_without_a_folder_is_refused(tmp_path):
    with pytest.raises(BadInstall, match="--install-dir=FOLDER"):
        look(tmp_path, stage="installed")


# ---------------------------------------------------------------- folders of the models


def test_each_model_lies_where_its_files_are(tmp_path):
    other = ModelRepo(name="o", folders=("A", "B"), layout="native", files=(ModelFile("x.bin"),))
    put(tmp_path / "B" / "x.bin")
    put(tmp_path / "vae.pth")
    context = look(tmp_path, models=(MODEL, other), install_dir=".")
    assert context.model_folders == (".", "B")
    assert context.model_dir(other) == context.place / "B"


def test_the_most_usual_folder_with_files_comes_first(tmp_path):
    put(tmp_path / "vae.pth")
    put(tmp_path / "Model-1" / "config.json")
    assert look(tmp_path).model_folders == ("Model-1",)


def test_an_empty_folder_of_the_usual_name_does_not_hide_the_model(tmp_path):
    (tmp_path / "Model-1").mkdir()
    put(tmp_path / "vae.pth")
    assert look(tmp_path).model_folders == (".",)


def test_another_config_in_the_install_does_not_attract_the_model(tmp_path):
    put(tmp_path / "i" / "config.json")
    assert look(tmp_path, install_dir="i").model_folders == ("Model-1",)


@POSIX_ONLY
def test_a_model_behind_a_link_is_found(tmp_path):
    put(tmp_path / "store" / "vae.pth")
    (tmp_path / "i").mkdir()
    (tmp_path / "i" / "Model-1").symlink_to(tmp_path / "store")
    assert look(tmp_path, install_dir="i").stage == "installed"


def test_looking_changes_nothing_and_lists_no_folder(tmp_path, monkeypatch):
    put(tmp_path / "Model-1" / "vae.pth")
    before = sorted(tmp_path.rglob("*"))
    opened = []

    class OpenedOnly:
        """What os.scandir gives, without the entries."""

        def __init__(self, path):
            opened.append(path)

        def close(self):
            """Close nothing."""

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", OpenedOnly)
        patch.setattr(os, "listdir", None)
        context = look(tmp_path, install_dir=".", deep=True, offline=True)
    assert (context.deep, context.offline, context.run_id) == (True, True, "r1")
    assert context.state_dir == state_dir()
    assert opened == [tmp_path]
    assert sorted(tmp_path.rglob("*")) == before
