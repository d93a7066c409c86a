"""Repairs of the caches of the Hub's client."""

from __future__ import annotations

from collections.abc import Iterator

from modelmedic.context import Context
from modelmedic.healing.registry import recovery
from modelmedic.healing.repair import Repair
from modelmedic.strategies import hub_links, hub_records


@recovery("model_validation", order=5)
def relink_hub_snapshot(repair: Repair, context: Context) -> Iterator[None]:
    """Link a file of a Hub snapshot to the blob that has its bytes.

    Changes: one link of the snapshot; a dead one is set aside.
    Undo: removes it and puts the dead one back.
    Needs: a known hash, and a blob of the repo that has it, read whole; a disk that can link.
    """
    for operation in hub_links.plan_relink(context, repair.need_subject()):
        repair.step(operation)
    yield


@recovery("resource", order=30)
def set_aside_orphaned_partials(repair: Repair, context: Context) -> Iterator[None]:
    """Take parts of dead Hub downloads out of the way, which the clients never use or prove.

    Changes: moves each `*.incomplete` of a Hub cache or download folder aside.
    Undo: moves them back.
    Needs: no download lock beside them is held, and nobody wrote to them for an hour.
    """
    for operation in hub_links.plan_set_partials_aside(context):
        repair.step(operation)
    yield


@recovery("model_validation", order=6)
def restore_hub_ref(repair: Repair, context: Context) -> Iterator[None]:
    """Write the commit of the cache's only snapshot into a ref that names none.

    Changes: the one ref; the broken one is set aside.
    Undo: puts the broken one back.
    Needs: exactly one snapshot in the cache of that repo.
    """
    for operation in hub_records.plan_restore_ref(context, repair.need_subject()):
        repair.step(operation)
    yield


@recovery("model_validation", order=7)
def set_aside_hub_listing(repair: Repair, context: Context) -> Iterator[None]:
    """Take a listing of the Hub's client out of the way that omits files of the model.

    Changes: moves `trees/<commit>.json` aside; the client fetches a new one when it next runs.
    Undo: moves it back.
    Needs: the profile, or a sealed manifest, of the same commit names what is omitted.
    """
    for operation in hub_records.plan_set_listing_aside(context, repair.need_subject()):
        repair.step(operation)
    yield
