"""Repairs of the packages of the app's environment, each undone without a network."""

from __future__ import annotations

from collections.abc import Iterator

from modelmedic.context import Context
from modelmedic.errors import NotItsCase
from modelmedic.facts.book import FactBook
from modelmedic.healing.registry import recovery
from modelmedic.healing.repair import Repair
from modelmedic.operations import set_distributions
from modelmedic.strategies import distributions, environment, pip_leftovers


@recovery("dependency_failure", order=10, limit="dependency_install")
def reinstall_broken_distribution(
    repair: Repair, context: Context, facts: FactBook
) -> Iterator[None]:
    """Install the same version of a half installed package again, and nothing else.

    Changes: the files of that package in the environment; the old ones are kept aside.
    Undo: puts every old file back, without a network.
    Needs: the environment inside the install; the package index, with a wheel of that version.
    """
    _take(repair, distributions.plan_reinstall(facts, context, repair.need_subject()))
    yield


@recovery("dependency_failure", order=20)
def set_aside_leftovers(repair: Repair, context: Context, facts: FactBook) -> Iterator[None]:
    """Take the folders out of the way that an interrupted pip had moved aside.

    Changes: renames them into the folder of kept files.
    Undo: renames them back.
    Needs: the environment inside the install; no program that runs from it.
    """
    if repair.plan.check != "python.leftovers":
        raise NotItsCase("It is for folders that an interrupted pip left behind.")
    for operation in pip_leftovers.plan_set_aside(facts, context):
        repair.step(operation)
    yield


@recovery("dependency_failure", order=30, limit="dependency_install")
def settle_duplicates(repair: Repair, context: Context, facts: FactBook) -> Iterator[None]:
    """Leave one of two packages that bring the same module, or of two copies of one.

    Changes: takes both out and installs the one that fits again; the old files are kept aside.
    Undo: puts every old file back, without a network.
    Needs: the environment inside the install; the package index, with a wheel of that version.
    """
    _take(repair, distributions.plan_settle(facts, context, repair.need_subject()))
    yield


@recovery("dependency_failure", order=40, limit="dependency_install")
def install_missing_package(repair: Repair, context: Context, facts: FactBook) -> Iterator[None]:
    """Install a missing package with what it needs; nothing that is there changes.

    Changes: adds files to the environment.
    Undo: takes them away again.
    Needs: the environment inside the install; the package index, with wheels. Never torch.
    """
    _take(repair, distributions.plan_install_missing(facts, context, repair.need_subject()))
    yield


@recovery("dependency_failure", order=50, limit="dependency_install")
def fall_back_to_consistent_set(
    repair: Repair, context: Context, facts: FactBook
) -> Iterator[None]:
    """Exchange the fewest packages so that all versions agree with each other and with the app.

    Changes: the files of those packages in the environment; the old ones are kept aside.
    Undo: puts every old file back, without a network.
    Needs: the environment inside the install; the package index, with wheels. Where torch becomes
    another version: --allow=costly or --heal=ask.
    """
    _take(repair, distributions.plan_settle_versions(facts, context, repair.need_subject()))
    yield


@recovery("dependency_failure", order=60, limit="dependency_install")
def install_from_alternative_index(
    repair: Repair, context: Context, facts: FactBook
) -> Iterator[None]:
    """Install from another package index of the profile than the configured one.

    Changes: the files of the packages in the environment; the old ones are kept aside.
    Undo: puts every old file back, without a network.
    Needs: an endpoint of kind "wheels" in the profile; a configured index that fails.
    """
    _take(repair, distributions.plan_elsewhere(facts, context, repair.need_subject()))
    yield


@recovery("dependency_failure", order=70, limit="dependency_install")
def install_from_wheelhouse(repair: Repair, context: Context, facts: FactBook) -> Iterator[None]:
    """Install from a folder of wheels, without any network.

    Changes: the files of the packages in the environment; the old ones are kept aside.
    Undo: puts every old file back.
    Needs: --wheelhouse=DIR, made by `modelmedic profile wheelhouse` for this Python and platform.
    """
    _take(repair, distributions.plan_offline(facts, context, repair.need_subject()))
    yield


def _take(repair: Repair, operations: Iterator[set_distributions.SetDistributions]) -> None:
    """Plan operations; torch never becomes another version unless a person allows it."""
    for operation in operations:
        if environment.touches_torch(operation) and repair.plan.declared_risk == "safe":
            repair.plan.declared_risk = "costly"
        repair.step(operation)
