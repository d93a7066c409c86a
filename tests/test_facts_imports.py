"""Modules imported in a child of a real environment; failures told by their reason."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import binary_support
import interpreter_support
import pytest
from python_support import POSIX, install, make_venv, program, site_packages
from support import make_facts

from modelmedic import caller
from modelmedic.errors import CannotTell
from modelmedic.facts import import_faults, import_probe
from modelmedic.facts.import_faults import Fault, Link, Reason, classify_import

libraries = binary_support.libraries
own_venv = interpreter_support.own_venv


def imported(target: Path, module: str, seconds: float = 30.0) -> import_probe.Import:
    return import_probe.import_in(target, module, deadline_seconds=seconds)


def test_a_module_that_is_imported_tells_where_it_was_found(own_venv):
    site = site_packages(own_venv)
    install(site, "acme", files={"acme/__init__.py": "__version__ = '2.1'\nprint('hello')\n"})
    found = imported(own_venv, "acme")
    assert found.is_imported
    assert found.fault is None
    assert found.version == "2.1"
    assert Path(found.file) == site / "acme" / "__init__.py"
    assert "hello" in found.noise
    assert not (site / "acme" / "__pycache__").exists()


def test_a_missing_module_is_named_by_the_deepest_error(own_venv):
    text = "try:\n    import transformers.modeling_layers\nexcept ImportError as error:\n    raise RuntimeError('no peft') from error\n"
    files = {"peft.py": text, "transformers/__init__.py": ""}
    install(site_packages(own_venv), "peft", files=files)
    found = imported(own_venv, "peft")
    assert not found.is_imported
    assert found.fault == Fault(Reason.MISSING_MODULE, "transformers.modeling_layers")
    assert [link.type for link in found.errors] == ["RuntimeError", "ModuleNotFoundError"]
    assert found.errors[0].line == 4
    assert import_faults.failure_of("peft", found.fault) == "peft-needs-newer-transformers"


def test_a_real_extension_with_an_undefined_symbol_is_told(own_venv, libraries):
    content = (libraries / "broken.so").read_bytes()
    install(site_packages(own_venv), "flash-attn", files={"broken.so": content})
    found = imported(own_venv, "broken")
    assert found.fault == Fault(Reason.UNDEFINED_SYMBOL, "_ZN3c106detail14torchCheckFailEv")
    failure = import_faults.failure_of("flash_attn", found.fault)
    assert failure == "flash-attn-abi-undefined-symbol"


def test_a_real_extension_that_misses_a_library_is_told(own_venv, libraries):
    install(
        site_packages(own_venv), "needy", files={"needy.so": (libraries / "needy.so").read_bytes()}
    )
    assert imported(own_venv, "needy").fault == Fault(Reason.MISSING_LIBRARY, "libpart.so")


def test_a_cut_extension_is_told(own_venv, libraries):
    content = (libraries / "broken.so").read_bytes()
    for name, length in (("half", len(content) // 2), ("stub", 10)):
        install(site_packages(own_venv), name, files={f"{name}.so": content[:length]})
        found = imported(own_venv, name)
        assert found.fault is not None, found
        assert found.fault.reason in {Reason.CUT_FILE, Reason.CRASHED}, found


@POSIX
def test_a_crash_is_decoded_and_leaves_its_last_words(own_venv):
    text = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"
    install(site_packages(own_venv), "acme", files={"acme.py": text})
    found = imported(own_venv, "acme")
    assert not found.is_imported
    assert found.fault == Fault(Reason.CRASHED)
    assert found.ended.startswith("was ended by SIGSEGV")
    assert "acme.py" in found.noise


@pytest.mark.parametrize("ending", ["raise SystemExit(0)", "import sys; sys.exit('no GPU')"])
def test_a_module_that_ends_the_program_is_not_imported(own_venv, ending):
    install(site_packages(own_venv), "acme", files={"acme.py": ending})
    found = imported(own_venv, "acme")
    assert not found.is_imported
    assert found.errors[0].type == "SystemExit"


def test_a_module_that_leaves_at_once_gave_no_answer(own_venv):
    install(site_packages(own_venv), "acme", files={"acme.py": "import os; os._exit(0)"})
    found = imported(own_venv, "acme")
    assert not found.is_imported
    assert found.fault == Fault(Reason.CRASHED)


def test_a_module_that_hangs_is_stopped_and_proves_nothing(own_venv):
    install(site_packages(own_venv), "acme", files={"acme.py": "import time; time.sleep(600)"})
    with pytest.raises(CannotTell, match="did not answer within 1 s"):
        imported(own_venv, "acme", 1.0)


def test_an_error_that_cannot_be_shown_is_shown_by_its_type(own_venv):
    text = "class Odd(Exception):\n    def __str__(self):\n        raise ValueError\nraise Odd\n"
    install(site_packages(own_venv), "acme", files={"acme.py": text})
    assert imported(own_venv, "acme").fault == Fault(Reason.OTHER, "acme.Odd")


def test_what_a_library_prints_counts_where_it_goes_on(own_venv):
    text = (
        "import logging\nlogging.warning(\"xFormers can't load C++/CUDA extensions. xFormers was "
        'built for: PyTorch 2.6.0+cu126 (you have 2.8.0)")\n'
    )
    install(site_packages(own_venv), "xformers", files={"xformers.py": text})
    found = imported(own_venv, "xformers")
    assert found.is_imported
    assert found.fault == Fault(Reason.XFORMERS, "xFormers")


def test_a_file_in_the_current_folder_is_not_imported(own_venv, tmp_path, monkeypatch):
    for name in ("acme.py", "json.py"):
        (tmp_path / name).write_text("raise SystemExit('picked up')\n")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where children start
    assert imported(own_venv, "acme").fault == Fault(Reason.MISSING_MODULE, "acme")


def test_it_starts_as_the_app_would(tmp_path, monkeypatch):
    """PYTHONPATH and the user's packages decide there as they do for the app."""
    monkeypatch.setenv("PYTHONUSERBASE", str(tmp_path / "base"))
    target = make_venv(tmp_path / "env", "--system-site-packages")
    user_site = Path(interpreter_support.ask(target).user_site)
    install(user_site, "leaked", files={"leaked.py": ""})
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "given.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    assert imported(target, "leaked").is_imported
    assert imported(target, "given").is_imported
    monkeypatch.setenv("PYTHONNOUSERSITE", "1")
    assert not imported(target, "leaked").is_imported


def test_an_import_leaves_no_cache(own_venv, monkeypatch, tmp_path):
    """transformers and diffusers write a mark into their cache when they are imported."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    text = (
        "import os\ntry:\n    os.makedirs(os.environ['HF_HOME'])\nexcept OSError as error:\n"
        "    print('went on without')\n"
    )
    install(site_packages(own_venv), "acme", files={"acme.py": text})
    found = imported(own_venv, "acme")
    assert found.is_imported
    assert "went on without" in found.noise
    assert not (tmp_path / "hub").exists()


def test_what_modules_put_aside_for_their_end_goes(own_venv, tmp_path):
    """matplotlib makes a temporary folder where it may not write, and removes it at the end."""
    folder = tmp_path / "made"
    text = f"import atexit, os\nos.mkdir({str(folder)!r})\natexit.register(os.rmdir, {str(folder)!r})\n"
    install(site_packages(own_venv), "acme", files={"acme.py": text + "atexit.register(exit, 3)\n"})
    assert imported(own_venv, "acme").is_imported
    assert not folder.exists()


def test_variables_that_start_py_took_away_count_for_the_app(own_venv, tmp_path, monkeypatch):
    (tmp_path / "given.py").write_text("")
    started = caller.put_aside({"PYTHONPATH": str(tmp_path), "PYTHONHOME": "", "HOME": "/"})
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    assert set(started) == {"MODELMEDIC_STARTED_WITH_PYTHONPATH"}
    assert imported(own_venv, "given").is_imported
    assert interpreter_support.ask(own_venv).path_variable == (str(tmp_path),)


@pytest.mark.parametrize("minor", [6, 8, 9, 12, 13])
def test_other_pythons_answer(minor):
    found = shutil.which(f"python3.{minor}")
    argv = [found or "", "-I", "-c", ""]
    if not found or subprocess.run(argv, capture_output=True, check=False).returncode:
        pytest.skip(f"There is no python3.{minor} here.")
    assert imported(Path(found), "json.decoder").is_imported


@pytest.mark.network
@pytest.mark.slow
def test_real_packages_built_for_numpy_1_under_numpy_2(tmp_path):
    """The words of real libraries: opencv 4.8 and pandas 2.1 are built for numpy 1."""
    target = make_venv(tmp_path / "env")
    pip = [sys.executable, "-m", "pip", "--python", str(target), "install", "-q", "--no-deps"]
    wanted = ["numpy==2.0.2", "opencv-python-headless==4.8.0.76", "pandas==2.1.4", "six==1.16.0"]
    wanted += ["python-dateutil==2.9.0.post0", "pytz==2024.1", "tzdata==2024.1"]
    done = subprocess.run(
        [*pip, "--only-binary=:all:", *wanted], capture_output=True, text=True, check=False
    )
    if done.returncode and not os.environ.get(binary_support.TOOLS_REQUIRED):
        pytest.skip("These wheels cannot be had: " + done.stderr[-200:])
    assert done.returncode == 0, done.stderr
    for module in ("cv2", "pandas"):
        found = imported(target, module, 60)
        assert not found.is_imported
        assert found.fault.reason is Reason.NUMPY_TOO_NEW, found


# --- recorded words

RECORDED = [
    ("A module that was compiled using NumPy 1.x cannot be run in\nNumPy 2.1.3 as it may crash.",
     Reason.NUMPY_TOO_NEW, "2.1.3"),
    ("AttributeError: _ARRAY_API not found", Reason.NUMPY_TOO_NEW, "_ARRAY_API"),
    (("numpy.dtype size changed, may indicate binary incompatibility. Expected 96 from C header, "
     "got 88 from PyObject"), Reason.NUMPY_TOO_NEW, "numpy.dtype"),  # pandas 2.1.4, numpy 2.0.2
    (("numpy.dtype size changed, may indicate binary incompatibility. Expected 88 from C header, "
     "got 96 from PyObject"), Reason.NUMPY_TOO_OLD, "numpy.dtype"),
    (("numpy.ndarray size changed, may indicate binary incompatibility. Expected 88 from C header, "
     "got 80 from PyObject"), Reason.NUMPY_TOO_OLD, "numpy.ndarray"),
    ("module compiled against ABI version 0x2000000 but this version of numpy is 0x1000009",
     Reason.NUMPY_TOO_OLD, "0x2000000"),
    ("libGL.so.1: cannot open shared object file: No such file or directory",
     Reason.MISSING_LIBRARY, "libGL.so.1"),
    (("/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.32' not found (required by /x/flash_attn_2"
     "_cuda.cpython-310-x86_64-linux-gnu.so)"), Reason.GLIBC, "GLIBC_2.32"),
    ("/x/flash_attn_2_cuda.so: undefined symbol: _ZN3c105ErrorC2ENS_14SourceLocationE",
     Reason.UNDEFINED_SYMBOL, "_ZN3c105ErrorC2ENS_14SourceLocationE"),
    ("dlopen(/x/_C.so, 0x0002): symbol not found in flat namespace (__ZN2at4_ops)",
     Reason.UNDEFINED_SYMBOL, "__ZN2at4_ops"),
    ("operator torchvision::nms does not exist", Reason.OPERATOR, "torchvision::nms"),
    ("Cannot find a working triton installation. Either the package is not installed",
     Reason.TRITON, "working triton"),
    ("DLL load failed while importing libtriton: Das angegebene Modul wurde nicht gefunden.",
     Reason.DLL, "libtriton"),
    ("CUDA error: no kernel image is available for execution on the device",
     Reason.NO_KERNEL, "no kernel image is available"),
    (("huggingface-hub>=0.30.0,<1.0 is required for a normal functioning of this module, but found "
     "huggingface-hub==1.2.0."), Reason.REFUSED_VERSION, "huggingface-hub>=0.30.0,<1.0"),
    ("/x/libtorch_cuda.so: file too short", Reason.CUT_FILE, "/x/libtorch_cuda.so"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason", "detail"), RECORDED)
def test_recorded_words_tell_the_reason(text, reason, detail):
    assert classify_import([Link("ImportError", text)], "") == Fault(reason, detail)
    assert classify_import([], f"Traceback:\n{text}\n") == Fault(reason, detail)


@pytest.mark.parametrize(
    "text",
    [
        "numpy is great", "undefined behaviour", "GLIBC_2.32", "libGL.so.1 was found",
        "the operator does not exist", "no kernel", "size changed", "triton",
    ],
)  # fmt: skip
def test_other_words_tell_nothing(text):
    assert import_faults.of_text(text) is None


@pytest.mark.parametrize("number", [126, 127, 1114, 193])
def test_windows_tells_by_number_in_any_language(number):
    link = Link("OSError", f"[WinError {number}] 找不到指定的模块。 Error loading c10.dll", number)
    fault = classify_import([link], "")
    assert fault == Fault(Reason.DLL, f"WinError {number}")
    assert import_faults.failure_of("torch", fault) == "vc-redist-missing"


@pytest.mark.parametrize(
    ("returncode", "reason", "words"),
    [
        (0xC0000135, Reason.DLL, "0xC0000135: a DLL it needs was not found"),
        (0xC0000005, Reason.CRASHED, "0xC0000005: it touched memory"),
        (-11, Reason.CRASHED, "SIGSEGV"),
        (-7 if sys.platform == "linux" else -10, Reason.CRASHED, "SIGBUS"),
        (-9, Reason.CRASHED, "SIGKILL: it was killed from outside, most often for lack of memory"),
    ],
)
def test_exit_codes_are_decoded(returncode, reason, words):
    found = import_probe.parse_import("torch", None, "", returncode)
    assert found.fault == Fault(reason)
    assert words in found.ended


@pytest.mark.parametrize("document", ["[]", "{", "[" * 100_000, '{"errors": [7]}'])
def test_an_answer_of_another_shape_is_unknown(document):
    with pytest.raises(CannotTell, match="cannot be read"):
        import_probe.parse_import("torch", document, "", 0)


def test_without_a_target_there_is_nothing_to_import(tmp_path):
    with pytest.raises(CannotTell):
        make_facts(tmp_path).get(import_probe.read_import, "torch")


@POSIX
def test_a_target_that_is_no_python_gives_no_answer(tmp_path):
    target = program(tmp_path / "python", "#!/bin/sh\nexit 3\n")
    facts = make_facts(tmp_path, target_python=target)
    found = facts.get(import_probe.read_import, "torch")
    assert found.ended == "ended with exit code 3"
