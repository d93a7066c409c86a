"""Conformance of the repairs of a whole environment: real ones, real wheels, no network."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

from environment_support import ENV, MAKER, lose_python, make_install, make_wheels, pip_wheel
from python_support import site_packages
from wheel_support import make_wheel

from modelmedic.testing.conformance import Case

PROFILE = Path(__file__).parent / "conformance_profiles" / "environment.toml"
REQUIREMENTS = "requirements.txt"
_ROOM = Path(tempfile.mkdtemp(prefix="modelmedic-wheels-"))
atexit.register(shutil.rmtree, _ROOM, ignore_errors=True)
# Laying out the real one twice for each repair is most of the time of these cases.
SMALL_PIP = """
import sys

__version__ = "99.0"


def main():
    is_settings = "config" in sys.argv
    print(":env:.no-index='1'" if is_settings else f"pip 99.0 from {__file__} (python 3)")
"""
ENVIRON = (
    # pyenv and the like choose by the home folder, which is the kit's own.
    ("PATH", f"{MAKER.parent}{os.pathsep}{os.environ.get('PATH', '')}"),
    ("PIP_CONFIG_FILE", os.devnull),
    ("PIP_NO_INDEX", "1"),
    ("PIP_FIND_LINKS", str(_ROOM)),
)


def prepare(install: Path) -> None:
    """Make an install whose packages have no programs: the kit copies it to other paths."""
    made = make_wheels(_ROOM)
    files = {"pip/__init__.py": SMALL_PIP, "pip/__main__.py": "from pip import main\n\nmain()\n"}
    small = make_wheel(_ROOM, "pip", "99.0", files=files, scripts={"pip": "pip:main"})
    make_install(install.parent, small, made["moon1"], made["sun"])
    (install / REQUIREMENTS).write_text("sun\nmoon>=1\n")


def remove_environment(install: Path) -> None:
    shutil.rmtree(install / ENV)


def put_a_folder_in_its_place(install: Path) -> None:
    (install / ENV).mkdir()


def link_the_environment(install: Path) -> None:
    (install / ENV).rename(install / "elsewhere")
    (install / ENV).symlink_to("elsewhere")


def remove_pip(install: Path) -> None:
    site = site_packages(install / ENV / "bin/python")
    shutil.rmtree(site / "pip")
    for info in site.glob("pip-*.dist-info"):
        shutil.rmtree(info)


def ask_for_a_module_of_python(install: Path) -> None:
    (install / REQUIREMENTS).write_text("sun\nargparse\nmoon>=1#the newest\n")


def ask_for_nobody_knows_what(install: Path) -> None:
    (install / REQUIREMENTS).write_text("sun\nargparse\n=?\n")


def _site(name: str) -> str:
    return f"{ENV}/lib/python3.{sys.version_info[1]}/site-packages/{name}"


def _case(recovery: str, check: str, broken, **more) -> Case:
    values = {
        "profile": str(PROFILE),
        "prepare": prepare,
        "category": "dependency",
        "environ": ENVIRON,
    }
    return Case(recovery=recovery, check=check, break_install=broken, **values | more)


_PIP = pip_wheel().name.partition("-py3")[0] + ".dist-info"
CASES = (
    _case(
        "recreate_environment", "python.target", lose_python,
        spoil=link_the_environment, options=("--allow=destructive",), replaces=(ENV,),
    ),
    _case(
        "create_environment", "python.target", remove_environment,
        spoil=put_a_folder_in_its_place, replaces=(ENV,),
    ),
    _case(
        "restore_pip", "python.pip", remove_pip, spoil=link_the_environment,
        replaces=(f"{ENV}/bin", _site("pip"), _site("pip-99.0.dist-info"), _site(_PIP)),
    ),
    _case(
        "write_clean_requirements", "python.requirement-lines", ask_for_a_module_of_python,
        spoil=ask_for_nobody_knows_what, leaves="degraded",
        also_changes=("requirements.modelmedic.txt",),
    ),
)  # fmt: skip
