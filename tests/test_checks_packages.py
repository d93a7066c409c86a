"""Each check of the installed packages on real environments: what it finds, says and advises."""

from __future__ import annotations

import shlex

import patient_support
import pytest

from modelmedic.errors import CannotTell
from modelmedic.profile.model import Requirement

patient = patient_support.patient


def test_a_package_that_fits_passes(patient):
    patient.add("numpy", "1.26.4")
    patient.check("package", Requirement("numpy>=1.23.5,<2"))


def test_a_missing_package_is_told_with_its_trap_and_the_command(patient):
    error = patient.fails("package", Requirement("ftfy>=6", trap="Diffusers fails late."))
    assert error.failure_id == "ftfy-missing"
    assert error.subject == "ftfy"
    assert error.why == "Diffusers fails late."
    assert error.evidence == {"requirement": "ftfy>=6", "installed_version": None}
    expected = [str(patient.target), "-m", "pip", "install", "ftfy>=6"]
    assert shlex.split(error.next_step) == expected


def test_a_wrong_version_names_both(patient):
    patient.add("numpy", "2.1.0")
    error = patient.fails("package", Requirement("numpy>=1.23.5,<2"))
    assert error.what == "numpy 2.1.0 is installed; the app needs numpy<2,>=1.23.5."
    assert error.failure_id == "numpy2-abi"
    assert error.evidence["installed_version"] == "2.1.0"


def test_a_local_build_number_does_not_hide_a_version(patient):
    patient.add("torch", "2.8.0+cu128")
    patient.check("package", Requirement("torch==2.8.0"))
    patient.check("package", Requirement("torch>=2.4.0"))


def test_a_package_for_another_system_is_not_asked_for(patient):
    reason = patient.skips("package", Requirement("triton-windows ; sys_platform == 'no-such'"))
    assert "does not hold" in reason


def test_a_missing_extra_is_told(patient):
    patient.add("imageio", "2.35", "imageio-ffmpeg ; extra == 'ffmpeg'")
    patient.check("package", Requirement("imageio"))
    error = patient.fails("package", Requirement("imageio[ffmpeg]"))
    assert "requires imageio-ffmpeg, which is not installed" in error.what
    assert shlex.split(error.next_step)[-1] == "imageio[ffmpeg]"


def test_a_half_installed_package_is_left_to_its_own_check(patient):
    patient.add("numpy", "1.26.4", metadata="")
    assert "python.files says" in patient.skips("package", Requirement("numpy<2"))


def test_an_optional_package_is_a_stated_loss(patient):
    patient.check("package", Requirement("flash_attn", trap="Slower.", is_optional=True))
    assert patient.losses[0][:2] == (
        "flash-attn is not installed; the app can do without it.",
        "Slower.",
    )


def test_an_optional_package_of_the_wrong_version_fails(patient):
    patient.add("flash-attn", "1.0")
    assert patient.fails("package", Requirement("flash_attn>=2", is_optional=True))


def test_the_headless_opencv_in_the_place_of_the_other_is_a_stated_loss(patient):
    patient.add("opencv-python-headless", "4.11.0.86")
    patient.check("package", Requirement("opencv-python>=4.9"))
    assert "brings the same module" in patient.losses[0][0]
    assert patient.fails("package", Requirement("opencv-python>=5"))


def test_a_requirement_that_is_none_and_a_version_that_is_none_are_unknown(patient):
    with pytest.raises(CannotTell, match="no requirement"):
        patient.check("package", Requirement("numpy >> 2"))
    patient.add("numpy", "odd!version")
    with pytest.raises(CannotTell, match="no version number"):
        patient.check("package", Requirement("numpy"))


def test_a_conflict_is_settled_together_with_what_the_profile_asks(patient):
    """opencv 4.12 wants numpy 2, the profile numpy below 2: only one resolve finds 4.11."""
    patient.needs["requirements"] = (Requirement("numpy>=1.23.5,<2"), Requirement("opencv-python"))
    patient.add("opencv-python", "4.12.0.88", "numpy<2.3.0,>=2")
    patient.add("numpy", "1.26.4")
    error = patient.fails("conflicts")
    assert error.failure_id == "opencv-vs-numpy-pin"
    assert error.what.startswith("1 conflict between installed packages: opencv-python 4.12.0.88")
    assert shlex.split(error.next_step)[4:] == ["opencv-python", "numpy>=1.23.5,<2"]


def test_many_conflicts_are_counted_and_some_are_spelled_out(patient):
    for number in range(6):
        patient.add(f"asker{number}", "1", "torch>=2")
    error = patient.fails("conflicts")
    assert error.what.startswith("6 conflicts")
    assert error.what.endswith("; and 2 more.")
    assert len(error.evidence) == 6


def test_metadata_with_an_option_for_a_name_is_never_typed_to_pip(patient):
    metadata = "Name: --index-url=http://evil.example\nVersion: 1\nRequires-Dist: torch\n"
    patient.add("evil", "1", metadata=metadata)
    error = patient.fails("conflicts")
    assert "evil" not in error.next_step
    assert shlex.split(error.next_step)[4:] == ["torch"]
