"""Each check of installed files on real environments: what it finds, says and advises."""

from __future__ import annotations

import shlex
from pathlib import Path

import patient_support
import pytest
from python_support import POSIX, install, make_venv, site_packages

from modelmedic.errors import CannotTell
from modelmedic.facts import interpreter, record_report
from modelmedic.profile.model import Requirement

patient = patient_support.patient
Patient = patient_support.Patient


def put(patient, name: str, version: str = "1.0", **more) -> Path:
    return install(site_packages(patient.target), name, version, **more)


def words_of(next_step: str) -> list[str]:
    return shlex.split(next_step.strip("`."))


# --- python.files


def test_a_whole_environment_passes(patient):
    put(patient, "acme", files={"acme/__init__.py": "", "acme/data.txt": "x"})
    patient.check("files")
    assert patient.losses == []


def test_a_package_that_lost_code_fails_and_is_installed_again(patient):
    put(patient, "numpy", "1.26.4", files={"numpy/__init__.py": "", "numpy/core.py": "x"})
    put(patient, "torch", "2.8.0+cu128", files={"torch/__init__.py": "", "torch/lib/a.so": "x" * 9})
    site = site_packages(patient.target)
    (site / "numpy/core.py").unlink()
    (site / "torch/lib/a.so").write_text("x")
    error = patient.fails("files")
    assert error.failure_id == "half-installed-package"
    assert error.subject == "numpy"
    assert error.what == (
        "2 packages half installed: numpy 1.26.4 (numpy/core.py missing); "
        "torch 2.8.0+cu128 (torch/lib/a.so cut short)."
    )
    assert error.evidence == {"numpy": "1 missing, 0 short", "torch": "0 missing, 1 short"}
    assert words_of(error.next_step)[4:] == [
        "--force-reinstall", "--no-deps", "--extra-index-url",
        "https://download.pytorch.org/whl/cu128", "numpy==1.26.4", "torch==2.8.0+cu128",
    ]  # fmt: skip


@pytest.mark.parametrize("spare", ["acme/tests/test_x.py", "acme/readme.txt", "docs/conf.py"])
def test_files_that_no_import_needs_are_a_stated_loss(patient, spare):
    put(patient, "acme", files={"acme/__init__.py": "", spare: "text"})
    (site_packages(patient.target) / spare).unlink()
    patient.check("files")
    assert patient.losses[0][0] == "1 file of acme missing or shorter than it was installed."


@pytest.mark.parametrize(
    ("text", "is_cut"),
    [
        ("x = 1\n", False),
        ("def f(a,\n", True),
        ("", True),
        ("x = '\\d' is 'y'", False),
        ("\0", True),
    ],
)
def test_code_that_somebody_made_shorter_is_no_code_that_was_cut(patient, text, is_cut):
    put(patient, "acme", files={"acme/__init__.py": "x = 1\n" * 50})
    (site_packages(patient.target) / "acme/__init__.py").write_text(text)
    if is_cut:
        assert "acme/__init__.py cut short" in patient.fails("files").what
    else:
        patient.check("files")
        assert "somebody" in patient.losses[0][1]


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda place: (place / "METADATA").unlink(), "it has no METADATA file"),
        (lambda place: (place / "RECORD").unlink(), "has no RECORD"),
    ],
)
def test_metadata_that_is_gone_fails_here_and_not_twice(patient, break_it, words):
    break_it(put(patient, "numpy", "1.26.4", files={"numpy.py": ""}))
    error = patient.fails("files")
    assert words in error.what
    assert error.failure_id == "half-installed-package"
    assert "--ignore-installed --no-deps numpy==1.26.4" in error.next_step
    patient.check("conflicts")


def test_a_package_that_lies_there_twice_fails(patient):
    put(patient, "numpy", "1.26.4")
    put(patient, "numpy", "2.1.0")
    error = patient.fails("files")
    assert error.failure_id == "half-installed-package"
    assert "uninstall -y numpy` (once for each copy), then `" in error.next_step


def test_metadata_with_an_option_for_a_name_is_never_typed_to_pip(patient):
    place = put(patient, "evil", files={"evil.py": ""})
    (place / "METADATA").write_text("Name: --index-url=http://evil.example\nVersion: 1\n")
    (site_packages(patient.target) / "evil.py").unlink()
    error = patient.fails("files")
    assert "evil.example" not in error.next_step


def test_leftovers_of_an_aborted_pip_are_a_stated_loss(patient):
    (site_packages(patient.target) / "~umpy").mkdir()
    patient.check("files")
    assert patient.losses[0][3] == "half-installed-package"
    assert "1 folder" in patient.losses[0][0]


def test_files_that_could_not_be_looked_at_in_time_do_not_pass(patient, monkeypatch):
    files = {f"acme/m{n}.py": "" for n in range(600)}
    put(patient, "acme", files=files)
    text = interpreter.script().replace(
        f"MAX_SECONDS = {record_report.MAX_SECONDS}", "MAX_SECONDS = -1"
    )
    assert "MAX_SECONDS = -1" in text
    monkeypatch.setattr("modelmedic.facts.interpreter.script", lambda: text)
    with pytest.raises(CannotTell, match="files of 1 package could not be looked at in time, acme"):
        patient.check("files")


# --- python.owners


def test_two_opencv_packages_are_told_as_what_they_are(patient):
    patient.needs["requirements"] = (Requirement("opencv-python>=4.9"),)
    put(patient, "opencv-python", "4.11")
    put(patient, "opencv-contrib-python", "4.11")
    error = patient.fails("owners")
    assert error.failure_id == "opencv-duplicates-or-libgl"
    assert "uninstall -y opencv-contrib-python opencv-python`" in error.next_step
    assert error.next_step.endswith("install 'opencv-python>=4.9'`.")
    patient.check("conflicts")


def test_files_that_two_owners_overwrote_are_not_told_twice(patient):
    for name, size in (("opencv-python", 90), ("opencv-python-headless", 10)):
        put(patient, name, "4.11", files={"cv2/__init__.py": "", "cv2/cv2.abi3.so": "x" * size})
    patient.check("files")
    patient.fails("owners")


def test_the_old_pynvml_beside_the_real_one_fails(patient):
    put(patient, "pynvml", "11.5.3", files={"pynvml/__init__.py": "old"})
    put(patient, "nvidia-ml-py", "13.0", files={"pynvml.py": "new"})
    error = patient.fails("owners")
    assert "both bring the module pynvml" in error.what
    assert error.subject == "pynvml"
    first, second = error.next_step.strip("`.").split("`, then `")
    assert shlex.split(first)[-2:] == ["-y", "pynvml"]
    assert shlex.split(second)[-1] == "nvidia-ml-py"


def test_a_pynvml_that_is_there_only_to_warn_is_a_stated_loss(patient):
    put(patient, "pynvml", "13.0.1", files={"pynvml_utils/__init__.py": ""})
    put(patient, "nvidia-ml-py", "13.0", files={"pynvml.py": ""})
    patient.check("owners")
    assert patient.losses[0][0].startswith("pynvml 13.0.1 is installed only to warn")
    assert "install nvidia-ml-py" not in patient.losses[0][2]


def test_modules_of_two_owners_count_by_whether_the_app_needs_one(patient):
    for name in ("one", "two"):
        put(patient, name, files={"thing/__init__.py": name, "tests/__init__.py": name})
    patient.check("owners")
    assert len(patient.losses) == 1  # the folder of tests is nobody's module
    patient.needs["requirements"] = (Requirement("one"),)
    error = patient.fails("owners")
    assert error.subject == "two"


# --- python.shadowing


def test_a_folder_of_the_app_that_hides_a_needed_package_fails(patient):
    patient.needs["requirements"] = (Requirement("diffusers"),)
    put(patient, "diffusers", files={"diffusers/__init__.py": ""})
    (patient.place / "diffusers").mkdir()
    patient.check("shadowing")  # a folder without code gives way
    (patient.place / "diffusers" / "__init__.py").write_text("")
    error = patient.fails("shadowing")
    assert error.failure_id == "module-shadowing"
    assert error.subject == "diffusers"
    assert str(patient.place / "diffusers") in error.what


def test_a_file_with_the_name_of_a_standard_module_is_a_stated_loss(patient):
    (patient.place / "queue.py").write_text("")
    (patient.place / "test.py").write_text("")
    patient.check("shadowing")
    assert [loss[3] for loss in patient.losses] == ["module-shadowing"]
    assert patient.losses[0][0].startswith("1 module of the app's folder")


def test_the_app_that_is_installed_from_its_folder_hides_nothing(patient):
    put(patient, "wan", files={"wan/__init__.py": ""}, direct_url='{"dir_info": {}}')
    (patient.place / "wan").mkdir()
    (patient.place / "wan" / "__init__.py").write_text("")
    patient.check("shadowing")
    assert patient.losses == []


def test_pythonpath_that_hides_a_needed_package_fails(patient, tmp_path, monkeypatch):
    patient.needs["requirements"] = (Requirement("torch"),)
    put(patient, "torch", files={"torch/__init__.py": ""})
    (tmp_path / "ros").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "ros"))
    patient.check("shadowing")
    (tmp_path / "ros" / "torch.py").write_text("")
    error = patient.fails("shadowing")
    assert error.failure_id == "user-site-leak"
    assert "PYTHONPATH" in error.why


def test_pythonhome_fails(patient, monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/opt/python")
    assert "PYTHONHOME is set to /opt/python" in patient.fails("shadowing").what


def test_packages_of_the_user_that_leak_in_are_a_stated_loss(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONUSERBASE", str(tmp_path / "base"))
    patient = Patient(tmp_path, make_venv(tmp_path / "env", "--system-site-packages"))
    user_site = interpreter.ask(patient.target, deadline_seconds=20).user_site
    install(Path(user_site), "triton", "3.0", files={"triton.py": ""})
    patient.check("shadowing")
    assert patient.losses[0][3] == "user-site-leak"
    error = patient.fails("package", Requirement("triton"))
    assert error.failure_id == "user-site-leak"


# --- python.encoding


@POSIX
def test_texts_in_another_encoding_fail_where_python_reads_no_utf_8(patient, monkeypatch):
    requirements = patient.place / "requirements.txt"
    requirements.write_text("torch  # größer als 2\n", encoding="utf-8")
    patient.check("encoding")
    text = interpreter.script().replace("encoding = stream.encoding", "encoding = 'cp936'")
    monkeypatch.setattr("modelmedic.facts.interpreter.script", lambda: text)
    error = patient.fails("encoding")
    assert error.failure_id == "text-encoding-windows"
    assert "reads texts as cp936" in error.what
    assert "PYTHONUTF8=1" in error.next_step
    monkeypatch.setenv("PYTHONUTF8", "1")
    patient.check("encoding")
    monkeypatch.delenv("PYTHONUTF8")
    requirements.write_text("torch\n")
    patient.check("encoding")
