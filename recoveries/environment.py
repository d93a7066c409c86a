"""Repairs of the app's Python environment as a whole."""

from __future__ import annotations

from collections.abc import Iterator

from modelmedic.errors import NotItsCase
from modelmedic.facts.book import FactBook
from modelmedic.healing.registry import recovery
from modelmedic.healing.repair import Repair
from modelmedic.strategies import pip_repair, recreation, requirement_lines


@recovery("dependency_failure", order=10)
def write_clean_requirements(repair: Repair, facts: FactBook) -> Iterator[None]:
    """Write a copy of the app's requirements that pip can install; the list itself is not touched.

    Changes: creates requirements.modelmedic.txt beside requirements.txt, and so for each list.
    Undo: takes the copies away.
    Needs: nothing; refuses where nobody can tell what a line should say.
    """
    if repair.plan.check != "python.requirement-lines":
        raise NotItsCase("It is for lists of requirements that pip cannot read.")
    for operation in requirement_lines.plan_clean_copies(facts):
        repair.step(operation)
    yield


@recovery("dependency_failure", order=15)
def restore_pip(repair: Repair, facts: FactBook) -> Iterator[None]:
    """Put pip into the environment: the wheel that its own Python brings.

    Changes: the package pip of the environment and its programs; a broken one is kept aside.
    Undo: puts back what was there.
    Needs: the ensurepip part of that Python; no network.
    """
    if repair.plan.check != "python.pip":
        raise NotItsCase("It is for an environment whose pip does not start.")
    for operation in pip_repair.plan_restore(facts):
        repair.step(operation)
    yield


@recovery("dependency_failure", order=80, limit="dependency_install")
def create_environment(repair: Repair, facts: FactBook) -> Iterator[None]:
    """Make the first environment of an install, with the packages that the profile requires.

    Changes: creates the folder .venv of the install.
    Undo: deletes it; its wheels are kept for the next try.
    Needs: a Python of this machine in the profile's range; wheels of all packages; disk.
    """
    recreation.refuse_other(repair.plan.check)
    for operation in recreation.plan_first(facts):
        repair.step(operation)
    yield


@recovery("dependency_failure", order=90, risk="destructive", limit="dependency_install")
def recreate_environment(repair: Repair, facts: FactBook) -> Iterator[None]:
    """Make the app's environment anew from wheels; the old one is kept aside whole.

    Changes: the environment's folder; the old one is renamed aside.
    Undo: renames the old one back, byte for byte; works offline.
    Needs: a Python of this machine in the profile's range; wheels of what was installed; disk for
    them and a second environment; nobody runs the old one; --allow=destructive or --heal=ask.
    """
    recreation.refuse_other(repair.plan.check)
    for operation in recreation.plan_recreation(facts):
        repair.step(operation)
    yield
