"""Repairs of the app's Python environment as a whole."""

from __future__ import annotations

from collections.abc import Iterator

from modelmedic.facts.book import FactBook
from modelmedic.healing.registry import recovery
from modelmedic.healing.repair import Repair
from modelmedic.strategies import recreation


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
