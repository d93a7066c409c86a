"""Repairs of folders, locks and settings."""

from __future__ import annotations

from collections.abc import Iterator

from modelmedic.context import Context
from modelmedic.healing.registry import recovery
from modelmedic.healing.repair import Repair
from modelmedic.strategies import configs, files


@recovery("system", order=10)
def create_missing_folder(repair: Repair, context: Context) -> Iterator[None]:
    """Create a folder that the profile asks for.

    Changes: creates the folder and its missing parents inside the install, or the install itself.
    Undo: removes them while they are empty.
    Needs: the folder above the install.
    """
    for operation in files.plan_missing_folder(context, repair.need_subject()):
        repair.step(operation)
    yield


@recovery("resource", order=20)
def remove_stale_lock(repair: Repair, context: Context) -> Iterator[None]:
    """Take a download lock away that no process holds.

    Changes: moves the lock file aside.
    Undo: moves it back.
    Needs: nobody holds it, tested at the kernel and by the process id it names.
    """
    for operation in files.plan_remove_lock(context, repair.need_subject()):
        repair.step(operation)
    yield


@recovery("configuration", order=10)
def restore_config(repair: Repair, context: Context) -> Iterator[None]:
    """Write a config file anew from the last good copy or safe defaults, keeping readable keys.

    Changes: the one file; the bad copy is kept aside.
    Undo: puts the bad copy back.
    Needs: a good value for every required key.
    """
    for operation in configs.plan_restore(context, repair.need_subject()):
        repair.step(operation)
    yield
