"""pip is put back from the wheel that the environment's own Python brings, and undone exactly."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
from environment_support import ENV, make_install, pip_wheel, says, shared_wheels, unpack
from interpreter_support import ask
from python_support import POSIX, site_packages
from support import make_facts

from modelmedic.errors import RecoveryRefused
from modelmedic.healing.engine import Engine, Plan, undo_run
from modelmedic.strategies import pip_repair
from modelmedic.testing.conformance.snapshot import UNTOUCHED, differences, take

pytestmark = POSIX


@pytest.fixture
def install(tmp_path):
    return make_install(tmp_path, shared_wheels()["moon1"])


def python(install):
    return install / ENV / "bin/python"


def look(install):
    return take(install, without=(".modelmedic",))


def repair(install):
    facts = make_facts(install, target_python=python(install))
    engine = Engine(facts.context)
    with engine.locked():
        plan = Plan("r", "c", "n", operations=list(pip_repair.plan_restore(facts)))
        engine.keep(engine.apply(plan))
    return engine


def test_pip_comes_back_works_and_is_undone(install):
    before = look(install)
    engine = repair(install)
    version = pip_wheel().name.split("-")[1]
    assert says(install / ENV / "bin/pip", "--version").startswith(f"pip {version} from {install}")
    undo_run(engine.context.state_dir, install)
    assert differences(before, look(install), UNTOUCHED) == []


def test_what_is_left_of_a_broken_pip_is_replaced_and_put_back_by_undo(install):
    unpack(pip_wheel(), python(install))
    site = site_packages(python(install))
    (site / "pip" / "__main__.py").write_text("raise SystemExit('broken')\n")
    shutil.rmtree(site / "pip" / "_vendor")
    before = look(install)
    engine = repair(install)
    assert says(python(install), "-B", "-m", "pip", "--version").startswith("pip ")
    undo_run(engine.context.state_dir, install)
    assert differences(before, look(install), UNTOUCHED) == []
    assert says(python(install), "-B", "-m", "pip", "--version") == "broken"


def test_a_python_without_ensurepip_is_refused_with_the_package_to_install(install):
    found = dataclasses.replace(ask(python(install)), has_ensurepip=False, version="3.12.3")
    with pytest.raises(RecoveryRefused, match=r"(?s)brings no pip.*`apt install python3\.12-venv`"):
        pip_repair.bundled(found)


def test_an_environment_elsewhere_is_not_changed(install, tmp_path):
    elsewhere = make_install(tmp_path / "other")
    facts = make_facts(install, target_python=python(elsewhere))
    with pytest.raises(RecoveryRefused, match="it is in no environment of the install"):
        list(pip_repair.plan_restore(facts))
