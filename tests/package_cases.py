"""Conformance of the repairs of packages: a real environment, real wheels, an index on loopback."""

from __future__ import annotations

import atexit
import contextlib
import functools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from python_support import site_packages
from wheel_support import LocalIndex, make_wheel, pip, pip_venv

from modelmedic.testing.conformance import Case

ENV = ".venv"
_ROOM = Path(tempfile.mkdtemp(prefix="modelmedic-index-"))
atexit.register(shutil.rmtree, _ROOM, ignore_errors=True)
PROFILE, MIRRORED = _ROOM / "packages.toml", _ROOM / "mirrored.toml"
WHEELHOUSE = _ROOM / "wheelhouse"
_PROFILE = """
name = "{name}"
title = "An app with four packages"
[python]
requires = ">=3.10"
requirements = [
    {{ spec = "moon>=2" }}, {{ spec = "star" }}, {{ spec = "sun" }},
    {{ spec = "opencv-python>=4" }},
]
"""
_MIRROR = """
[[endpoints]]
name = "mirror"
url = "{url}"
kind = "wheels"
required = false
"""


@functools.cache
def wheels() -> dict[str, Path]:
    cv = {"cv2/__init__.py": "V = 'plain'\n"}
    folder = _ROOM / "wheels"
    made = [
        make_wheel(folder, "moon", "1.0"),
        make_wheel(folder, "moon", "2.0", "star>=2"),
        make_wheel(folder, "pip", "1.0"),  # every index has it, and a check asks for it
        make_wheel(folder, "star", "1.0"),
        make_wheel(folder, "star", "2.0"),
        make_wheel(folder, "sun", "1.0"),
        make_wheel(folder, "opencv-python", "4.9", files=cv),
        make_wheel(folder, "opencv-python-headless", "4.9", files={"cv2/__init__.py": "V = 'h'\n"}),
    ]
    return {"-".join(path.name.split("-")[:2]): path for path in made}


@functools.cache
def index(*without: str) -> LocalIndex:
    """Serve the wheels, but for some."""
    folder = _ROOM / f"index-{len(without)}"
    folder.mkdir()
    for name, path in wheels().items():
        if name not in without:
            shutil.copy(path, folder)
    served = LocalIndex(folder)
    atexit.register(served.stop)
    return served


def prepare(install: Path) -> None:
    PROFILE.write_text(_PROFILE.format(name="packages"))
    _make(install, index().url)


def prepare_with_mirror(install: Path) -> None:
    """As before, but the configured index does not have the sun; another one of the profile has."""
    MIRRORED.write_text(_PROFILE.format(name="mirrored") + _MIRROR.format(url=index().url))
    _make(install, index("sun-1.0").url)


def prepare_with_wheelhouse(install: Path) -> None:
    from modelmedic.profile.loader import load_profile
    from modelmedic.strategies import wheelhouse

    prepare(install)
    profile = load_profile(str(PROFILE), cwd=_ROOM)
    wheelhouse.make(profile, install / ENV / "bin/python", WHEELHOUSE, lambda _line: None)


def _make(install: Path, url: str) -> None:
    install.mkdir()
    names = ("moon-2.0", "star-2.0", "sun-1.0", "opencv_python-4.9")
    pip_venv(install / ENV, *(wheels()[name] for name in names), index=url)
    for program in (install / ENV / "bin").glob("pip*"):
        program.unlink()  # the kit copies the install: they would name another environment
    for record in site_packages(install / ENV / "bin/python").glob("pip-*/RECORD"):
        lines = record.read_text().splitlines(keepends=True)
        record.write_text("".join(line for line in lines if "bin/pip" not in line))


def _pip(install: Path, *arguments: str) -> None:
    pip(install / ENV / "bin/python", *arguments)


def lose_the_metadata(install: Path) -> None:
    site = site_packages(install / ENV / "bin/python")
    (site / "moon-2.0.dist-info" / "METADATA").unlink()


def lose_the_sun(install: Path) -> None:
    _pip(install, "uninstall", "-y", "sun")


def install_an_old_star(install: Path) -> None:
    _pip(install, "install", "--no-deps", "--no-compile", "star==1.0")


def install_a_rival(install: Path) -> None:
    _pip(install, "install", "--no-deps", "--no-compile", "opencv-python-headless==4.9")


def leave_what_pip_moved_aside(install: Path) -> None:
    folder = site_packages(install / ENV / "bin/python") / "~tar"
    folder.mkdir()
    (folder / "__init__.py").write_text("V = 1\n")


@contextlib.contextmanager
def run_the_app(install: Path):
    """Let a program run from the environment: it may be the pip whose folders these are."""
    python = install / ENV / "bin/python"
    with subprocess.Popen([python, "-I", "-c", "input()"], stdin=subprocess.PIPE) as app:
        try:
            yield
        finally:
            app.kill()


@contextlib.contextmanager
def hide_the_wheelhouse(_install: Path):
    hidden = WHEELHOUSE.with_name("hidden")
    WHEELHOUSE.rename(hidden)
    try:
        yield
    finally:
        hidden.rename(WHEELHOUSE)


def _own(*names: str) -> tuple[str, ...]:
    """Return paths of the folder of packages, which the repair makes anew with what is in it."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return tuple(f"{ENV}/lib/{version}/site-packages/{name}" for name in names)


_FILES = ("INSTALLER", "METADATA", "RECORD", "REQUESTED", "WHEEL")
_META = tuple(f"moon-2.0.dist-info/{name}" for name in _FILES)
_CV_META = tuple(f"opencv_python-4.9.dist-info/{name}" for name in _FILES)


def _case(recovery: str, check: str, broken, **more) -> Case:
    values = {
        "profile": str(PROFILE),
        "prepare": prepare,
        "spoil_options": ("--offline",),
        "category": "dependency",
    }
    return Case(recovery=recovery, check=check, break_install=broken, **values | more)


CASES = (
    _case(
        "reinstall_broken_distribution", "python.files", lose_the_metadata,
        also_changes=_own("moon", "moon/__init__.py", "moon-2.0.dist-info", *_META),
    ),
    _case(
        "set_aside_leftovers", "python.leftovers", leave_what_pip_moved_aside,
        spoil=run_the_app, spoil_options=(),
    ),
    _case(
        "settle_duplicates", "python.owners", install_a_rival,
        also_changes=_own("cv2", "opencv_python-4.9.dist-info", *_CV_META),
    ),
    _case("install_missing_package", "python.package[sun]", lose_the_sun),
    _case(
        "fall_back_to_consistent_set", "python.conflicts", install_an_old_star,
        also_changes=_own("star"),
    ),
    _case(
        "install_from_alternative_index", "python.package[sun]", lose_the_sun,
        profile=str(MIRRORED), prepare=prepare_with_mirror,
    ),
    _case(
        "install_from_wheelhouse", "python.package[sun]", lose_the_sun,
        prepare=prepare_with_wheelhouse, spoil=hide_the_wheelhouse, spoil_options=(),
        options=("--offline", f"--wheelhouse={WHEELHOUSE}"),
    ),
)  # fmt: skip
