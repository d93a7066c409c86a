"""Each check of the target Python on real environments: what it finds, says and advises."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import patient_support
import pytest
from patient_support import CHECKS, Patient
from python_support import POSIX, make_venv, program, site_packages
from support import make_facts

from modelmedic import rooms
from modelmedic.errors import CannotTell
from modelmedic.facts import interpreter
from modelmedic.limits import TimeoutManager
from modelmedic.profile.model import Requirement

healthy_python = patient_support.healthy_python
whole = patient_support.whole
patient = patient_support.patient


@pytest.mark.parametrize("name", ["target", "version", "environment", "managed", "conflicts"])
def test_a_healthy_environment_passes(whole, name):
    whole.check(name)
    assert whole.losses == []


@pytest.mark.parametrize("name", CHECKS)
def test_a_profile_that_needs_no_python_is_skipped(tmp_path, name):
    patient = Patient(tmp_path, None, is_required=False)
    assert patient.skips(name, Requirement("x")) == "The profile needs no Python environment."


@pytest.mark.parametrize("name", [name for name in CHECKS if CHECKS[name][0] != "test_app_code"])
def test_before_the_install_there_is_no_environment_to_judge(tmp_path, name):
    patient = Patient(tmp_path, None)
    patient.overrides = {"stage": "preflight"}
    assert "no environment yet" in patient.skips(name, Requirement("x"))


def test_a_finished_install_without_an_environment_fails_and_says_how_to_make_one(tmp_path):
    error = Patient(tmp_path, None).fails("target")
    assert error.what == f"There is no Python environment in {tmp_path}."
    assert str(tmp_path / ".venv") in error.next_step


@pytest.mark.parametrize("name", [n for n in CHECKS if n != "target"])
def test_without_a_target_the_other_checks_do_not_pass(tmp_path, name):
    with pytest.raises(CannotTell):
        Patient(tmp_path, None).check(name, Requirement("x"))


@POSIX
def test_the_printed_command_makes_an_environment_beside_the_old_one(patient):
    patient.target.unlink()
    patient.target.symlink_to("/no/such/python3")
    error = patient.fails("target")
    assert error.failure_id == "venv-base-python-gone"
    assert error.evidence["fault"] == "base-gone"
    command = error.next_step.split("`")[1]
    subprocess.run(["sh", "-c", command], check=True, timeout=60, capture_output=True)
    made = patient.place / ".venv-2" / "bin" / "python"
    assert interpreter.ask(made, deadline_seconds=20).is_venv


@POSIX
@pytest.mark.parametrize(
    ("text", "fault", "words"),
    [
        ("#!/bin/sh\nkill -SEGV $$\n", "crashed", "SIGSEGV"),
        ("#!/bin/sh\necho 'I am \033[31mno Python'\n", "garbage", "ended without an answer"),
        ("no program", "not-startable", "exec format error"),
    ],
)
def test_a_target_that_cannot_answer_fails_with_its_own_words(tmp_path, text, fault, words):
    error = Patient(tmp_path, program(tmp_path / "python", text)).fails("target")
    assert error.evidence["fault"] == fault
    assert words in error.what
    assert isinstance(error.__cause__, CannotTell)


@POSIX
def test_a_target_that_hangs_is_unknown_not_failed(tmp_path, monkeypatch):
    limits = {**TimeoutManager.DEFAULT_TIMEOUTS, "interpreter_probe": 1}
    monkeypatch.setattr(TimeoutManager, "DEFAULT_TIMEOUTS", limits)
    patient = Patient(tmp_path, program(tmp_path / "python", "#!/bin/sh\nsleep 600\n"))
    with pytest.raises(CannotTell, match="did not answer"):
        patient.check("target")


def test_a_python_above_the_range_is_too_new(whole):
    whole.needs["requires"] = ">=3.6,<3.7"
    error = whole.fails("version")
    assert error.failure_id == "python-too-new"
    assert "the app needs >=3.6,<3.7" in error.what
    assert "Install Python >=3.6,<3.7" in error.next_step or "python3.6" in error.next_step


def test_a_python_below_the_range_is_another_failure(whole):
    whole.needs["requires"] = ">=3.99"
    error = whole.fails("version")
    assert error.failure_id is None
    assert error.next_step.startswith("Install Python >=3.99, then: `")


def test_a_range_that_is_none_is_unknown(whole):
    whole.needs["requires"] = "three"
    with pytest.raises(CannotTell):
        whole.check("version")


def test_without_a_range_the_version_is_not_judged(whole):
    whole.needs["requires"] = ""
    assert whole.skips("version") == "The profile names no Python version."


@POSIX
def test_a_moved_environment_is_found_by_its_programs(patient):
    folder = patient.place / ".venv"
    head = f"#!/bin/sh\n'''exec' \"{folder}/bin/python\" \"$0\" \"$@\"\n' '''\n"
    program(folder / "bin" / "pip", head)  # as pip writes it: there is a blank in the path
    patient.check("environment")
    folder.rename(patient.place / "venv")
    patient.target = patient.place / "venv" / "bin" / "python"
    error = patient.fails("environment")
    assert error.failure_id == "venv-base-python-gone"
    assert error.subject == "pip"
    assert "1 of 1 program" in error.what
    assert "which does not exist" in error.what
    program_words = shlex.split(error.next_step.split("`")[1])
    assert program_words == [str(patient.target), "-m", "NAME"]


def test_an_environment_whose_home_is_gone_fails(patient):
    config = patient.place / ".venv" / "pyvenv.cfg"
    lines = config.read_text().splitlines()
    lines = ["home = /no/such/home" if line.startswith("home") else line for line in lines]
    config.write_text("\n".join(lines))
    error = patient.fails("environment") if os.name == "posix" else patient.fails("target")
    assert error.failure_id == "venv-base-python-gone"
    assert "/no/such/home" in error.what


def test_an_environment_whose_python_was_upgraded_fails(patient):
    config = patient.place / ".venv" / "pyvenv.cfg"
    config.write_text(config.read_text().replace("version = 3.", "version = 2."))
    error = patient.fails("environment")
    assert error.failure_id == "venv-base-python-gone"
    assert "was made for Python 2." in error.what


def test_an_environment_without_its_package_folder_fails(patient):
    shutil.rmtree(site_packages(patient.target))
    assert "does not exist" in patient.fails("environment").what


@POSIX
def test_a_python_that_ignores_its_environment_fails(patient):
    """A wrapper in the place of the interpreter starts another Python."""
    patient.target.unlink()
    program(patient.target, f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    assert patient.fails("environment").failure_id == "wrong-interpreter-or-env"


def test_a_python_without_an_environment_is_a_stated_loss(tmp_path):
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    patient = Patient(tmp_path, base)
    patient.check("environment")
    assert "a Python without an environment" in patient.losses[0][0]
    assert str(tmp_path / ".venv") in patient.losses[0][2]


def test_a_broken_pth_file_is_a_stated_loss(patient):
    (site_packages(patient.target) / "odd.pth").write_text("import no_such_module\n")
    patient.check("environment")
    assert "Error processing line 1" in patient.losses[0][0]


def test_a_missing_pip_names_the_command_that_brings_it(patient):
    error = patient.fails("pip")
    assert "No module named pip" in error.why or "not installed" in error.why
    assert shlex.split(error.next_step)[1:] == ["-m", "ensurepip", "--upgrade"]


@POSIX
def test_the_command_that_brings_pip_works(patient):
    command = patient.fails("pip").next_step
    subprocess.run(["sh", "-c", command], check=True, timeout=120, capture_output=True)
    patient.check("pip")


def test_an_environment_of_uv_without_pip_is_a_stated_loss(patient):
    config = patient.place / ".venv" / "pyvenv.cfg"
    config.write_text(config.read_text() + "uv = 0.5.1\n")
    patient.check("pip")
    assert patient.losses[0][2].startswith("uv pip install --python ")


def test_a_pip_that_crashes_is_told_with_its_last_line(patient):
    patient.add("pip", "24.0")
    folder = site_packages(patient.target) / "pip"
    folder.mkdir()
    (folder / "__main__.py").write_text("raise SystemExit('pip is \\x1b[31mbroken')\n")
    error = patient.fails("pip")
    assert r"It said: pip is \x1b[31mbroken." in error.why


@POSIX
def test_an_externally_managed_python_is_refused_with_the_way_out(tmp_path, monkeypatch):
    """A base Python made of links, so that the marker can be laid into its standard library."""
    target = _managed_python(tmp_path)
    patient = Patient(tmp_path / "app", target)
    patient.place.mkdir()
    error = patient.fails("managed")
    assert error.failure_id == "externally-managed-environment"
    assert "--break-system-packages" not in str(error)
    needed = patient.fails("package", Requirement("numpy<2"))
    assert "-m venv" in needed.next_step
    patient.target = make_venv(tmp_path / "app" / ".venv", python=str(target))
    patient.check("managed")


def _managed_python(place: Path) -> Path:
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    asked = interpreter.ask(base, deadline_seconds=20)
    version = "python" + ".".join(asked.version.split(".")[:2])
    library = place / "base" / "lib" / version
    library.mkdir(parents=True)
    for entry in Path(asked.stdlib).iterdir():
        if entry.name not in {"EXTERNALLY-MANAGED", "site-packages"}:
            (library / entry.name).symlink_to(entry)
    (library / "EXTERNALLY-MANAGED").write_text("[externally-managed]\nError=no\n")
    (place / "base" / "bin").mkdir()
    target = place / "base" / "bin" / "python3"
    shutil.copy(base, target)
    return target


def test_warming_up_starts_the_target_only_where_there_is_one(whole, tmp_path):
    warm = rooms.load("checks", "test_python").warm
    facts = make_facts(whole.place, target_python=whole.target)
    warm(facts)
    assert facts.get(interpreter.read_interpreter).is_venv
    warm(make_facts(tmp_path))
