"""Each check of imports on real environments: what it finds, says and advises."""

from __future__ import annotations

import shlex

import binary_support
import patient_support
import pytest
from python_support import install, site_packages

from modelmedic.errors import CannotTell
from modelmedic.facts.packages import shell_words
from modelmedic.limits import TimeoutManager
from modelmedic.profile.model import Requirement

libraries = binary_support.libraries
patient = patient_support.patient


def put(patient, name: str, version: str, source: str | bytes, module: str = "") -> None:
    files = (
        {f"{module or name}.py": source} if isinstance(source, str) else {f"{module}.so": source}
    )
    install(site_packages(patient.target), name, version, files=files)


def broken(patient, package: str, said: str, *, kind: str = "ImportError", module: str = ""):
    put(patient, package, "1.0", f"raise {kind}({said!r})\n", module)
    return patient.fails("imports", Requirement(package))


def test_a_package_that_is_imported_passes(patient):
    put(patient, "numpy", "1.26.4", "__version__ = '1.26.4'\n")
    patient.check("imports", Requirement("numpy"))
    assert patient.losses == []


def test_what_is_not_installed_or_no_key_package_is_skipped(patient):
    assert "not installed" in patient.skips("imports", Requirement("torch"))
    put(patient, "easydict", "1.0", "raise ImportError\n")
    assert "--deep only" in patient.skips("imports", Requirement("easydict"))
    patient.overrides = {"deep": True}
    assert patient.fails("imports", Requirement("easydict")).subject == "easydict"


def test_a_package_compiled_for_numpy_1_is_settled_with_what_the_profile_asks(patient):
    patient.needs["requirements"] = (Requirement("numpy>=1.23.5,<2"),)
    put(patient, "numpy", "2.1.3", "")
    said = "numpy.core.multiarray failed to import"
    text = (
        "import sys\nsys.stderr.write('A module that was compiled using NumPy 1.x cannot be run in"
        f"\\nNumPy 2.1.3 as it may crash.')\nraise ImportError({said!r})\n"
    )
    put(patient, "opencv-python", "4.8.0", text, "cv2")
    error = patient.fails("imports", Requirement("opencv-python"))
    assert error.failure_id == "numpy2-abi"
    assert error.subject == "opencv-python"
    assert error.what == (
        "cv2 (opencv-python 4.8.0) cannot be imported: built for an older numpy 2.1.3."
    )
    assert said in error.why
    assert shlex.split(error.next_step)[4:] == ["numpy>=1.23.5,<2", "opencv-python"]


def test_a_package_compiled_for_numpy_2_is_the_other_direction(patient):
    put(patient, "numpy", "1.26.4", "")
    said = (
        "numpy.dtype size changed, may indicate binary incompatibility. Expected 88 from C header, "
        "got 96 from PyObject"
    )
    error = broken(patient, "pandas", said, kind="ValueError")
    assert error.failure_id == "numpy2-abi"
    assert "compiled for a newer numpy than the installed 1.26.4" in error.why


def test_numpy_2_under_torch_is_a_loss_where_torch_goes_on(patient):
    put(patient, "numpy", "2.1.3", "")
    put(
        patient,
        "torch",
        "2.4.0",
        "import warnings\nwarnings.warn('Failed to initialize NumPy: _ARRAY_API not found')\n",
    )
    patient.check("imports", Requirement("torch"))
    what, _why, next_step, failure = patient.losses[0]
    assert what.startswith("torch (torch 2.4.0) is imported, but not whole")
    assert failure == "numpy2-abi"
    assert shlex.split(next_step)[4:] == ["numpy<2", "torch"]


def test_torchvision_of_another_torch_names_both_versions(patient):
    put(patient, "torch", "2.8.0", "")
    said = "operator torchvision::nms does not exist"
    error = broken(patient, "torchvision", said, kind="RuntimeError")
    assert error.failure_id == "torchvision-nms"
    assert "torch 2.8.0 and torchvision 1.0" in error.why
    assert shlex.split(error.next_step)[4:] == ["--upgrade", "torch", "torchvision"]


def test_a_flash_attn_of_another_torch_is_taken_away(patient, libraries):
    put(patient, "torch", "2.8.0", "")
    put(patient, "flash-attn", "2.8.3", (libraries / "broken.so").read_bytes(), "flash_attn")
    install(site_packages(patient.target), "flash-helper", files={
        "flash_attn/__init__.py": "import importlib.machinery as m, importlib.util as u\n"
        f"loader = m.ExtensionFileLoader('broken', {str(libraries / 'broken.so')!r})\n"
        "loader.create_module(u.spec_from_loader('broken', loader))\n"
    })  # fmt: skip
    error = patient.fails("imports", Requirement("flash_attn"))
    assert error.failure_id == "flash-attn-abi-undefined-symbol"
    assert error.evidence["detail"] == "_ZN3c106detail14torchCheckFailEv"
    command = shell_words([patient.target, "-m", "pip", "uninstall", "-y", "flash-attn"])
    assert error.next_step == f"`{command}`, then install the build for torch 2.8.0."


def test_a_flash_attn_of_a_newer_system_names_both_c_libraries(patient):
    said = "/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.99' not found (required by x.so)"
    error = broken(patient, "flash-attn", said, module="flash_attn")
    assert error.failure_id == "flash-attn-glibc"
    assert "asks for GLIBC_2.99; this one has glibc" in error.why


def test_an_opencv_without_a_desktop_is_replaced_by_the_headless_one(patient):
    said = "libGL.so.1: cannot open shared object file: No such file or directory"
    error = broken(patient, "opencv-python", said, module="cv2")
    assert error.failure_id == "opencv-duplicates-or-libgl"
    assert error.next_step.endswith("install opencv-python-headless`.")


def test_a_missing_dll_leads_to_microsoft_and_nowhere_else(patient):
    text = "error = OSError('[WinError 126] Error loading fbgemm.dll')\nerror.winerror = 126\nraise error\n"
    put(patient, "torch", "2.4.0", text)
    error = patient.fails("imports", Requirement("torch"))
    assert error.failure_id == "vc-redist-missing"
    assert "https://aka.ms/vs/17/release/vc_redist.x64.exe" in error.next_step


def test_a_peft_that_wants_a_newer_transformers_is_told(patient):
    patient.needs["requirements"] = (Requirement("peft<0.18"),)
    install(site_packages(patient.target), "transformers", files={"transformers/__init__.py": ""})
    put(patient, "peft", "0.19", "import transformers.modeling_layers\n")
    error = patient.fails("imports", Requirement("peft<0.18"))
    assert error.failure_id == "peft-needs-newer-transformers"
    assert shlex.split(error.next_step)[-1] == "peft<0.18"


def test_transformers_that_refuses_the_hub_is_told(patient):
    said = (
        "huggingface-hub>=0.30.0,<1.0 is required for a normal functioning of this module, but "
        "found huggingface-hub==1.2.0."
    )
    error = broken(patient, "transformers", said)
    assert error.failure_id == "transformers-hub-tokenizers-skew"
    assert shlex.split(error.next_step)[4:] == ["huggingface-hub>=0.30.0,<1.0", "transformers"]


def test_a_module_that_nobody_asked_pip_for_is_installed(patient):
    put(patient, "decord", "0.6.0", "import a_thing\n")
    error = patient.fails("imports", Requirement("decord"))
    assert shlex.split(error.next_step)[-1] == "a_thing"


def test_what_a_package_asks_for_itself_is_told_by_its_metadata(patient):
    """pandas 3 under numpy 1, and ftfy without wcwidth, as the real ones say it."""
    patient.needs["requirements"] = (Requirement("numpy>=1.23.5,<2"),)
    put(patient, "numpy", "1.26.4", "")
    said = "Please upgrade numpy to >= 2.0.2 to use this pandas version."
    files = {"pandas.py": f"raise ImportError({said!r})\n"}
    install(site_packages(patient.target), "pandas", "3.1.1", "numpy>=2.0.2", files=files)
    error = patient.fails("imports", Requirement("pandas"))
    assert error.why.startswith(
        "pandas 3.1.1 requires numpy>=2.0.2, but numpy 1.26.4 is installed."
    )
    assert shlex.split(error.next_step)[4:] == ["pandas", "numpy>=1.23.5,<2"]


def test_an_import_that_ends_python_tells_how(patient):
    put(patient, "numpy", "1.26.4", "import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    error = patient.fails("imports", Requirement("numpy"))
    assert error.what.startswith(
        "Importing numpy (numpy 1.26.4) ended Python: it was ended by SIGILL"
    )
    assert "--force-reinstall --no-deps numpy==1.26.4" in error.next_step


def test_an_import_without_end_is_unknown(patient, monkeypatch):
    limits = {**TimeoutManager.DEFAULT_TIMEOUTS, "module_import": 1}
    monkeypatch.setattr(TimeoutManager, "DEFAULT_TIMEOUTS", limits)
    put(patient, "numpy", "1.26.4", "import time\ntime.sleep(600)\n")
    with pytest.raises(CannotTell, match=r"did not answer within 0\.9 s"):
        patient.check("imports", Requirement("numpy"))


def test_words_of_a_module_come_out_printable(patient):
    put(patient, "numpy", "1.26.4", "raise ImportError('\\x1b[2J\\n<script>' * 200)\n")
    assert patient.fails("imports", Requirement("numpy")).why.isprintable()


# --- python.addons


def test_without_addons_there_is_nothing_to_import(patient):
    assert "None of them" in patient.skips("addons")


def test_xformers_that_goes_on_without_its_extensions_is_a_stated_loss(patient):
    put(patient, "torch", "2.8.0", "")
    put(patient, "xformers", "0.0.29", 'print("xFormers can\'t load C++/CUDA extensions.")\n')
    patient.check("addons")
    assert patient.losses[0][3] == "xformers-mismatch"
    assert "another torch than the installed 2.8.0" in patient.losses[0][1]


def test_a_triton_that_does_not_load_fails(patient):
    put(
        patient,
        "triton-windows",
        "3.3",
        "raise ImportError('DLL load failed while importing libtriton: x')\n",
        "triton",
    )
    error = patient.fails("addons")
    assert error.failure_id == "triton-not-working"
    assert error.subject == "triton-windows"


def test_what_the_profile_asks_for_is_not_told_twice(patient):
    put(patient, "pandas", "2.0", "raise ImportError('x')\n")
    patient.needs["requirements"] = (Requirement("pandas"),)
    assert "None of them" in patient.skips("addons")
