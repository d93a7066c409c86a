"""The check of compiled parts: real libraries in real environments."""

from __future__ import annotations

import struct

import binary_support
import patient_support
import pytest
from python_support import install, site_packages

from modelmedic.profile.model import Requirement

libraries = binary_support.libraries
patient = patient_support.patient
NUMPY = Requirement("numpy")
MODULE = "numpy/_core.cpython-311-x86_64-linux-gnu.so"


@pytest.fixture
def whole(libraries) -> bytes:
    return (libraries / "whole.so").read_bytes()


def put(patient, content: bytes, name: str = "numpy", path: str = MODULE) -> None:
    install(site_packages(patient.target), name, "1.26.4", files={path: content})


def test_a_whole_library_for_this_machine_passes(patient, whole):
    put(patient, whole)
    patient.check("binaries", NUMPY)


def test_a_package_without_compiled_parts_passes(patient):
    """Not skipped: its import waits for this check."""
    install(site_packages(patient.target), "numpy", files={"numpy.py": ""})
    patient.check("binaries", NUMPY)
    assert "not installed" in patient.skips("binaries", Requirement("torch"))


def test_a_library_that_was_cut_before_it_was_installed_is_told(patient, whole):
    """RECORD agrees with the file: only its own tables tell."""
    put(patient, whole[:-1000])
    error = patient.fails("binaries", NUMPY)
    assert error.failure_id == "half-installed-package"
    assert f"it has {len(whole) - 1000:,} bytes" in error.what
    assert "--force-reinstall --no-deps numpy==1.26.4" in error.next_step


def test_a_library_for_another_processor_is_told(patient, whole):
    other = bytearray(whole)
    struct.pack_into("<H", other, 18, 40)
    put(patient, bytes(other))
    error = patient.fails("binaries", NUMPY)
    assert "is made for armv7l, 64 bits; this Python runs on" in error.what
    assert error.subject == "numpy"


def test_a_library_that_nobody_imports_may_be_for_another_processor(patient, whole):
    other = bytearray(whole)
    struct.pack_into("<H", other, 18, 40)
    put(patient, bytes(other), path="numpy/devices/helper.so")
    patient.check("binaries", NUMPY)


def asking(whole: bytes, version: bytes) -> bytes:
    """Return the library as if it were built on a system of that version."""
    now = next(name for name in (b"GLIBC_2.29", b"GLIBC_2.2.5") if name + b"\0" in whole)
    return whole.replace(now + b"\0", version.ljust(len(now) + 1, b"\0"))


def test_an_older_c_library_is_older_by_number_not_by_text(patient, whole):
    put(patient, asking(whole, b"GLIBC_2.9"))
    patient.check("binaries", NUMPY)


def test_a_library_of_a_newer_system_names_both(patient, whole):
    newer = asking(whole, b"GLIBC_9.9")
    put(patient, newer, "flash-attn", "flash_attn_2_cuda.cpython-311-x86_64-linux-gnu.so")
    error = patient.fails("binaries", Requirement("flash_attn"))
    assert error.failure_id == "flash-attn-glibc"
    assert error.what.startswith("flash-attn 1.26.4 needs glibc 9.9; this system has 2.")
