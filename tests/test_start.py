"""start.py in real copies of the project: what it refuses, and in which words."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from project_copy import bare_project, dead_index, left_in, record_of, start
from support import CHECKOUT, child_env

from modelmedic.bootstrap import steps
from modelmedic.bootstrap.environment import LOCK_NAME, RECORD_NAME


@pytest.fixture
def project(tmp_path):
    return bare_project(tmp_path / "project")


def start_module():
    spec = importlib.util.spec_from_file_location("start_under_test", CHECKOUT / "start.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_start_py_is_readable_for_a_python_that_is_too_old():
    source = (CHECKOUT / "start.py").read_text()
    tree = ast.parse(source, feature_version=(3, 7))
    futures = [
        n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module == "__future__"
    ]
    assert futures == []  # Python 3.6 stops at `from __future__ import annotations`


def test_an_old_python_is_told_what_is_needed():
    text = start_module().too_old((3, 9))
    assert "Python 3.9 is too old" in text
    assert "3.10 or newer" in text
    assert "Next: " in text


@pytest.mark.parametrize("version", [(3, 10), (3, 13), (4, 0)])
def test_a_new_enough_python_is_not_refused(version):
    assert start_module().too_old(version) == ""


def find_old_python(version: str) -> str:
    """Return an interpreter of that version, from PATH or pyenv's folder."""
    candidates = [f"python{version}"]
    if shutil.which("pyenv"):
        root = subprocess.run(
            ["pyenv", "root"], capture_output=True, check=False, text=True
        ).stdout.strip()
        candidates += map(str, Path(root).glob(f"versions/{version}.*/bin/python"))
    for name in candidates:
        with contextlib.suppress(OSError):
            if subprocess.run([name, "-c", ""], capture_output=True, check=False).returncode == 0:
                return name
    pytest.skip(f"there is no Python {version} here")


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8", "3.9"])
def test_a_real_old_python_says_so_and_makes_nothing(project, version):
    done = start(project, python=find_old_python(version))
    assert done.returncode == 4
    assert f"Python {version} is too old" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project / ".venv").exists()


def test_the_advice_for_an_old_python_names_a_python_that_works():
    name = start_module().newer_python()
    if not name:
        pytest.skip("no pythonX.Y from 3.10 on is on PATH")
    subprocess.run([name, "-c", "import sys; assert sys.version_info >= (3, 10)"], check=True)


@pytest.mark.parametrize("missing", ["ensurepip", "venv"])
def test_a_python_without_ensurepip_or_venv_is_told_which_package_to_install(
    project, tmp_path, missing
):
    shim = tmp_path / "shim"
    shim.mkdir()
    (shim / "sitecustomize.py").write_text(f"import sys\nsys.modules[{missing!r}] = None\n")
    done = start(project, env=child_env(PYTHONPATH=str(shim)))
    assert done.returncode == 4
    assert missing in done.stderr
    assert "apt install python3-venv" in done.stderr
    assert "Traceback" not in done.stderr
    assert left_in(project / ".venv") == {LOCK_NAME}


def externally_managed_python() -> str | None:
    """Return a system Python that refuses `pip install` outside an environment, if there is one."""
    ask = "import sysconfig, pathlib; print(pathlib.Path(sysconfig.get_path('stdlib'), 'EXTERNALLY-MANAGED').exists() and __import__('sys').version_info >= (3, 10) and bool(__import__('ensurepip')))"
    name = shutil.which("python3", path=os.defpath)
    if name is None:
        return None
    answer = subprocess.run([name, "-I", "-c", ask], capture_output=True, check=False, text=True)
    return name if answer.stdout.strip() == "True" else None


@pytest.mark.parametrize("kind", ["this python", "externally managed"])
def test_an_unreachable_index_is_named_and_nothing_half_made_stays(project, kind):
    python = sys.executable if kind == "this python" else externally_managed_python()
    if python is None:
        pytest.skip("no externally managed Python here")
    done = start(project, env=dead_index(child_env()), python=python)
    assert done.returncode == 4, done.stderr
    assert "The package index could not be reached." in done.stderr
    assert "Next: " in done.stderr
    assert "externally" not in done.stderr
    assert "Traceback" not in done.stderr
    assert left_in(project / ".venv") == {LOCK_NAME, RECORD_NAME}
    assert record_of(project)["state"] == "building"


def in_own_mounts(script: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script where it may mount things that vanish with it."""
    unshare = ["unshare", "--map-root-user", "--mount"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("this machine does not let us make private mounts")
    return subprocess.run(
        [*unshare, "sh", "-euc", script, "sh", *args],
        capture_output=True,
        check=False,
        text=True,
        env=dead_index(child_env()),
        timeout=120,
    )


def test_a_full_disk_is_named(project, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    done = in_own_mounts(
        'mount -t tmpfs -o size=12m tmpfs "$2"; cp -r "$1/." "$2"; cd "$2"; exec "$3" start.py',
        str(project),
        str(small),
        sys.executable,
    )
    assert done.returncode == 4, done.stderr
    assert "The disk is full." in done.stderr
    assert "Traceback" not in done.stderr


def test_a_read_only_checkout_is_named(project):
    done = in_own_mounts(
        'mount --bind "$1" "$1"; mount -o remount,ro,bind "$1"; cd "$1"; exec "$2" start.py',
        str(project),
        sys.executable,
    )
    assert done.returncode == 4, done.stderr
    assert "could not be written" in done.stderr
    assert ".venv" in done.stderr
    assert "Traceback" not in done.stderr


PIP_SAYS = {
    "refused": (
        "WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after connection broken by 'NewConnectionError(\"HTTPConnection(host='127.0.0.1', port=9): Failed to establish a new connection: [Errno 111] Connection refused\")': /simple/hatch-vcs/\nERROR: No matching distribution found for hatch-vcs",
        "could not be reached",
    ),
    "not offered": (
        "Looking in indexes: http://127.0.0.1:8314/simple\nERROR: Could not find a version that satisfies the requirement hatch-vcs (from versions: none)\nERROR: No matching distribution found for hatch-vcs",
        "does not offer",
    ),
    "disk": (
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
        "disk is full",
    ),
    "quota": (
        "ERROR: Could not install packages due to an OSError: [Errno 122] Disk quota exceeded",
        "disk is full",
    ),
    "tls": (
        "WARNING: Retrying (Retry(total=0)) after connection broken by 'SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self signed certificate'))': /simple/pip/",
        "certificate",
    ),
    "denied": (
        "ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: '/x'",
        "could not be written",
    ),
    "credentials": (
        "ERROR: HTTP error 401 Client Error: Unauthorized for url: https://example.org/a.whl",
        "credentials",
    ),
}


@pytest.mark.parametrize("kind", PIP_SAYS)
def test_what_pip_printed_becomes_words(kind):
    output, expected = PIP_SAYS[kind]
    error = steps.explain(["pip"], output, free_bytes=10**12)
    assert isinstance(error, steps.CannotStart)
    assert expected in error.what
    assert error.next_step


def test_a_failure_we_do_not_know_is_our_own_fault_and_shows_the_output():
    error = steps.explain(["pip", "install"], "AttributeError: nonsense 28", free_bytes=10**12)
    assert isinstance(error, steps.StartBroke)
    assert "nonsense" in str(error)


def test_a_password_in_what_pip_printed_is_not_repeated():
    error = steps.explain(
        ["pip"], "Looking in indexes: https://me:s3cret@example.org/simple", free_bytes=10**12
    )
    assert "s3cret" not in str(error)
    assert "example.org" in str(error)


def test_a_failure_with_no_room_left_is_a_full_disk_whatever_was_printed():
    assert "disk is full" in steps.explain(["venv"], "non-zero exit status 1", free_bytes=1000).what
