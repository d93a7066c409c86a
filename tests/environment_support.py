"""Installs with a small environment, wheels for it, and what would make it anew."""

from __future__ import annotations

import atexit
import ensurepip
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from python_support import make_venv
from wheel_support import make_wheel, sha256_of

from modelmedic.facts.installed_on_disk import read_installed
from modelmedic.installer.report import Pinned
from modelmedic.operations.aside import seen
from modelmedic.operations.environment import RecreateEnvironment, held_names
from modelmedic.operations.set_distributions import row
from modelmedic.operations.tree import Tree

ENV = ".venv"
MAKER = Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
VERSION = ".".join(map(str, sys.version_info[:3]))
SUN = "import moon\n\n\ndef main():\n    print('sun', moon.__version__)\n"


def pip_wheel() -> Path:
    """Return the wheel of pip that this Python brings."""
    return next((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))


def make_wheels(folder: Path) -> dict[str, Path]:
    """Write the wheels that most tests need, by short name."""
    return {
        "sun": make_wheel(
            folder, "sun", "1.0", "moon", files={"sun.py": SUN}, scripts={"sun": "sun:main"}
        ),
        "moon1": make_wheel(folder, "moon", "1.0"),
        "moon2": make_wheel(folder, "moon", "2.0"),
    }


def unpack(wheel: Path, target: Path) -> None:
    """Lay a wheel out in the package folder of an environment, without its programs."""
    from python_support import site_packages

    site = site_packages(target)
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(site)], check=True)


def make_install(folder: Path, *wheels: Path) -> Path:
    """Make an install with an environment that holds some wheels; return the install."""
    install = folder / "install"
    install.mkdir(parents=True)
    target = make_venv(install / ENV)
    for wheel in wheels:
        unpack(wheel, target)
    return install


def lose_python(install: Path) -> None:
    """Let the Python that the environment was made from be gone."""
    for name in ("python", "python3", f"python3.{sys.version_info[1]}"):
        (install / ENV / "bin" / name).unlink(missing_ok=True)
    (install / ENV / "bin/python").symlink_to("/nowhere/bin/python3")
    settings = install / ENV / "pyvenv.cfg"
    settings.write_text(settings.read_text().replace(str(MAKER.parent), "/nowhere/bin"))


def pinned(wheel: Path) -> Pinned:
    """Return a wheel as a plan names it."""
    name, version = wheel.name.split("-")[:2]
    amount = wheel.stat().st_size
    return Pinned(name, version, wheel.name, wheel.as_uri(), sha256_of(wheel), size_bytes=amount)


def anew(install: Path, /, *wheels: Path, **changed) -> RecreateEnvironment:
    """Return what makes the environment anew from wheels."""
    folder = install / ENV
    values = {
        "path": ENV,
        "python": str(MAKER),
        "version": VERSION,
        "install": tuple(row(pinned(wheel)) for wheel in wheels),
        "script": "sun",
        "imports": ("moon",),
        "held": held_names(read_installed(folder)) if folder.is_dir() else (),
        "left_out": (),
        "index": "",
        "find_links": (),
        "is_offline": True,
        "lets_outside_in": False,
        "settings": "",
        "was": seen(Tree(install).identity(ENV)),
    }
    return RecreateEnvironment(**values | changed)


def says(program: Path, *arguments: str) -> str:
    """Return what a program prints."""
    done = subprocess.run(
        [str(program), *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    return (done.stdout + done.stderr).strip()


@functools.cache
def room() -> Path:
    """Return a folder with the wheels of `make_wheels` and pip, made once in this process."""
    folder = Path(tempfile.mkdtemp(prefix="modelmedic-wheels-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    make_wheels(folder)
    shutil.copy(pip_wheel(), folder)
    return folder


@functools.cache
def shared_wheels() -> dict[str, Path]:
    """Return the wheels of `make_wheels`, made once in this process."""
    return make_wheels(room())
