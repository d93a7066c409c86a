"""Each check of the app's own code and lists of requirements, on real environments."""

from __future__ import annotations

import shlex

import patient_support
import pytest
from app_code_support import WAN, write
from python_support import install, site_packages

from modelmedic.errors import CannotTell
from modelmedic.facts import app_code
from modelmedic.profile.model import Component, Requirement

patient = patient_support.patient
START = ("torch", "PIL", "decord", "librosa")


@pytest.fixture
def app(patient):
    """An install with code like Wan's, and all that it imports at its start."""
    write(patient.place, WAN)
    patient.components = (Component("generate", "generate"),)
    site = site_packages(patient.target)
    for module in START:
        install(site, module, files={f"{module}/__init__.py": ""})
    return patient


def remove(patient, module: str) -> None:
    site = site_packages(patient.target)
    (site / module / "__init__.py").unlink()
    (site / module).rmdir()
    for path in (site / f"{module}-1.0.dist-info").iterdir():
        path.unlink()
    (site / f"{module}-1.0.dist-info").rmdir()


# --- python.undeclared


def test_a_start_whose_modules_are_all_there_passes(app):
    app.check("undeclared")


def test_modules_that_nobody_declared_are_told_with_their_line(app):
    for module in ("decord", "PIL"):
        remove(app, module)
    error = app.fails("undeclared")
    assert error.failure_id == "undeclared-imports-at-top-level"
    assert "2 modules" in error.what
    assert "decord (wan/speech2video.py line 2)" in error.what
    assert shlex.split(error.next_step)[4:] == ["pillow", "decord"]
    assert error.evidence["decord"] == "wan/speech2video.py line 2"


def test_what_the_profile_asks_for_is_left_to_its_own_check(app):
    remove(app, "librosa")
    app.needs["requirements"] = (Requirement("librosa"),)
    app.check("undeclared")


@pytest.mark.parametrize("how", ["namespace", "editable", "by-hand", "extension"])
def test_a_module_that_is_there_in_any_way_counts(app, how):
    remove(app, "librosa")
    site = site_packages(app.target)
    if how == "namespace":
        install(site, "librosa-core", files={"librosa/core/__init__.py": ""})
    elif how == "editable":
        install(site, "librosa", direct_url='{"dir_info": {"editable": true}}')
    elif how == "by-hand":
        (site / "librosa.py").write_text("")
    else:
        (site / "librosa.cpython-311-x86_64-linux-gnu.so").write_bytes(b"")
    app.check("undeclared")


def test_an_install_without_code_is_skipped(patient):
    assert "no code of the app" in patient.skips("undeclared")


def test_code_that_was_not_read_to_its_end_does_not_pass(app, monkeypatch):
    monkeypatch.setattr(app_code, "MAX_MODULES", 2)
    with pytest.raises(CannotTell, match="left out"):
        app.check("undeclared")


# --- python.attention


def test_calls_without_a_way_around_fail_where_flash_attn_is_not_installed(app):
    error = app.fails("attention")
    assert error.failure_id == "flash-attn-missing-assert"
    assert "1 line of the app's code call it directly: wan/modules/model.py line 6" in error.what


def test_with_flash_attn_or_with_a_way_around_it_passes(app):
    text = WAN["wan/modules/model.py"].replace("flash_attention", "attention")
    (app.place / "wan/modules/model.py").write_text(text)
    app.check("attention")
    (app.place / "wan/modules/model.py").write_text(WAN["wan/modules/model.py"])
    install(site_packages(app.target), "flash-attn")
    app.check("attention")


def test_a_flash_attn_that_the_profile_asks_for_is_not_told_twice(app):
    app.needs["requirements"] = (Requirement("flash_attn"),)
    assert "python.package says" in app.skips("attention")
    app.needs["requirements"] = (Requirement("flash_attn", is_optional=True),)
    app.fails("attention")


# --- python.app-code


def test_code_of_one_piece_passes(app):
    app.check("app-code")


def test_parts_that_are_not_there_are_told(app):
    (app.place / "wan/configs/__init__.py").write_text("")
    error = app.fails("app-code")
    assert error.failure_id == "component-version-skew"
    assert "wan.configs.SIZES (generate.py line 6)" in error.what
    assert "Download one released version" in error.next_step


def test_in_a_clone_the_next_step_is_gits(app):
    (app.place / ".git").mkdir()
    (app.place / "wan/configs/__init__.py").unlink()
    (app.place / "wan/configs").rmdir()
    error = app.fails("app-code")
    command = error.next_step.partition("`")[2].partition("`")[0]
    assert shlex.split(command) == ["git", "-C", str(app.place), "status", "--short"]


def test_a_merge_that_was_not_finished_is_told(app):
    (app.place / "wan/modules/model.py").write_text("x = 1\n<<<<<<< HEAD\n")
    error = app.fails("app-code")
    assert "wan/modules/model.py line 2, invalid syntax" in error.what


def test_a_class_that_is_there_twice_is_told(app):
    (app.place / "wan/configs/__init__.py").write_text("SIZES = 1\nclass A: ...\n\nclass A: ...\n")
    error = app.fails("app-code")
    assert error.what == "The class A is defined twice in wan/configs/__init__.py: lines 2 and 4."


# --- python.app-package


def test_an_app_that_was_installed_without_its_parts_is_told(app):
    install(site_packages(app.target), "wan", files={"wan/__init__.py": ""})
    error = app.fails("app-package")
    assert error.failure_id == "pip-install-dot-incomplete"
    assert "without 2 parts of the app's code: configs, modules" in error.what
    assert shlex.split(error.next_step)[1:] == ["-m", "pip", "uninstall", "-y", "wan"]


def test_an_app_that_is_installed_whole_or_by_link_passes(app):
    app.check("app-package")
    names = ("wan/__init__.py", "wan/configs/__init__.py", "wan/modules/__init__.py")
    install(site_packages(app.target), "wan", files=dict.fromkeys(names, ""))
    app.check("app-package")


# --- python.requirement-lines


def test_lines_that_pip_cannot_install_are_told_with_their_correction(patient):
    assert "no requirements" in patient.skips("requirement-lines")
    (patient.place / "requirements.txt").write_text("torch>=2\nnumpy<2#not 2\nargparse\n")
    error = patient.fails("requirement-lines")
    assert "2 lines" in error.what
    assert "requirements.txt line 2, 'numpy<2#not 2', has a comment without a blank" in error.what
    assert "line 3, 'argparse', is a module of Python itself" in error.what
    expected = f"Replace line 2 of {patient.place / 'requirements.txt'} by: numpy<2  # not 2"
    assert error.next_step == expected
    (patient.place / "requirements.txt").write_text("torch>=2\nnumpy<2  # not 2\n")
    patient.check("requirement-lines")
