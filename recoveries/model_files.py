"""Repairs of model files."""

from __future__ import annotations

from collections.abc import Iterator

from modelmedic.context import Context
from modelmedic.healing.registry import recovery
from modelmedic.healing.repair import Repair
from modelmedic.strategies import weights


@recovery("model_validation", order=10, limit="model_download")
def move_misplaced_model_file(repair: Repair, context: Context) -> Iterator[None]:
    """Move a file with the right bytes from elsewhere in the install to where it belongs.

    Changes: renames a stray, copies what belongs to a cache or another model; creates folders.
    Undo: renames it back, or takes the copy away.
    Needs: its size and SHA-256 in the profile; reads files of the same size; disk for a copy.
    """
    for operation in weights.plan_move(context, repair.need_subject()):
        repair.step(operation)
    yield


@recovery("model_validation", order=30, limit="model_download")
def refetch_model_file(repair: Repair, context: Context) -> Iterator[None]:
    """Fetch one missing or damaged model file again and prove it by its hash.

    Changes: the one file; the old one is set aside, never deleted before the new one is proven.
    Undo: puts the old file back.
    Needs: network, a hash in the profile, disk for one copy of the file.
    """
    for operation in weights.plan_refetch(context, repair.need_subject()):
        repair.step(operation)
    yield
