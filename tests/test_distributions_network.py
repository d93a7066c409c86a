"""Real packages of the configured index, at odds as users have them, are brought to agree."""

from __future__ import annotations

import os
import sys
import zipfile

import pytest
from distributions_support import ENV, pinned, says
from python_support import POSIX
from support import make_context, make_profile
from wheel_support import extension, make_wheel, pip_venv

from modelmedic.facts import interpreter, packages
from modelmedic.facts.book import FactBook
from modelmedic.healing.engine import Engine, Plan
from modelmedic.installer.pip import Installer
from modelmedic.installer.words import InstallerRefused
from modelmedic.profile.model import PythonNeeds, Requirement
from modelmedic.strategies import distributions

TOOLS_REQUIRED = bool(os.environ.get("MODELMEDIC_TOOLS_REQUIRED"))
pytestmark = [
    POSIX,
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="numpy below 2 has no wheel there"),
]
TAG = f"cp{sys.version_info[0]}{sys.version_info[1]}"
OLD_EXTENSION = """
#include <Python.h>
#include <numpy/arrayobject.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_core", 0, -1, 0, 0, 0, 0, 0};
PyMODINIT_FUNC PyInit__core(void) { import_array(); return PyModule_Create(&module); }
"""


@pytest.fixture
def install(tmp_path):
    """Make an install whose environment has pip and uses the configured index."""
    place = tmp_path / "install"
    place.mkdir()
    (pip_venv(place / ENV).parent.parent / "pip.conf").unlink()
    return place


def put(install, folder, *specs):
    """Put exactly these into the environment, whatever they ask for."""
    python = install / ENV / "bin/python"
    installer = Installer.of(python)
    folder.mkdir(exist_ok=True)
    try:
        items = installer.resolve(specs, alone=True).items
        installer.download(items, folder)
    except InstallerRefused as refused:
        if refused.kind == "network" and not TOOLS_REQUIRED:
            pytest.skip(f"The package index is not reachable: {refused.why}")
        raise
    installer.stage(items, [folder], install / ENV)
    return items


def heal(install, needs, subject):
    profile = make_profile(python=PythonNeeds(requirements=tuple(map(Requirement, needs))))
    context = make_context(install, profile, target_python=install / ENV / "bin/python")
    facts = FactBook(context)
    operations = list(distributions.plan_settle_versions(facts, context, subject))
    engine = Engine(context)
    with engine.locked():
        engine.keep(engine.apply(Plan("r", "c", "n", operations=operations)))
    found = interpreter.ask(context.target_python, deadline_seconds=60)
    return found, packages.find_conflicts(found.distributions, found.marker_environment)


def test_numpy_2_under_a_module_built_for_1_is_exchanged_for_the_one_that_fits(install, tmp_path):
    python = install / ENV / "bin/python"
    (old,) = put(install, tmp_path / "old", "numpy==1.26.4")
    with zipfile.ZipFile(tmp_path / "old" / old.filename) as archive:
        archive.extractall(tmp_path / "headers")
    include = tmp_path / "headers/numpy/core/include"
    name, library = extension(OLD_EXTENSION, "_core", f"-I{include}")
    files = {"orbit/__init__.py": "from . import _core\n", f"orbit/{name}": library}
    wheel = make_wheel(
        tmp_path / "w", "orbit", "1.0", "numpy", files=files, tag=f"{TAG}-{TAG}-linux_x86_64"
    )
    Installer.of(python).stage([pinned(wheel)], [wheel.parent], install / ENV)
    for path in (install / ENV).glob("lib/python*/site-packages/numpy*"):
        path.rename(tmp_path / path.name)
    put(install, tmp_path / "new", "numpy>=2,<2.1")
    assert "NumPy 1.x cannot be run in" in says(python, "import orbit")
    found, conflicts = heal(install, ["numpy>=1.23.5,<2", "orbit"], "numpy")
    assert found.installed["numpy"].version == "1.26.4"
    assert says(python, "import orbit, numpy; print(numpy.__version__)") == "1.26.4"
    assert not conflicts


def test_transformers_4_51_beside_a_hub_1_gets_the_hub_it_can_be_imported_with(install, tmp_path):
    wheels = tmp_path / "wheels"
    put(install, wheels, "transformers==4.51.3", "huggingface_hub>=1,<2")
    needs = ["transformers>=4.49.0,<=4.51.3"]
    found, conflicts = heal(install, needs, "transformers")
    assert found.installed["huggingface-hub"].version.startswith("0.")
    assert found.installed["transformers"].version == "4.51.3"
    assert not conflicts
    python = install / ENV / "bin/python"
    assert says(python, "import transformers; print(transformers.__version__)").startswith("4.51.3")
