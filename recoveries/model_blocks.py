"""Repairs inside model files: only what is broken is fetched and written."""

from __future__ import annotations

from collections.abc import Iterator

from modelmedic.facts.book import FactBook
from modelmedic.healing.registry import recovery
from modelmedic.healing.repair import Repair
from modelmedic.strategies import blocks, indexes


@recovery("model_validation", order=15, limit="model_repair")
def rebuild_weight_index(repair: Repair, facts: FactBook) -> Iterator[None]:
    """Write the index of a sharded model anew from the headers of its shards.

    Changes: the one file; the old one is kept aside.
    Undo: puts the old file back.
    Needs: all shards whole; where a hash of the index is known, exactly those bytes come out.
    """
    for operation in indexes.plan_rebuild(facts, repair.need_subject()):
        repair.step(operation)
    yield


@recovery("model_validation", order=20, limit="model_repair")
def fetch_missing_tail(repair: Repair, facts: FactBook) -> Iterator[None]:
    """Fetch the end of a file that broke off, or cut off bytes that are too many.

    Changes: the one file, in place; what is cut off or replaced is kept aside.
    Undo: restores bytes, size and time.
    Needs: its size and SHA-256 in the profile, network for a tail, disk for the tail.
    """
    repair.step(blocks.plan_size(facts, repair.need_subject()))
    yield


@recovery("model_validation", order=22, limit="model_repair")
def repair_damaged_blocks(repair: Repair, facts: FactBook) -> Iterator[None]:
    """Fetch only the damaged blocks of a file and write them into it.

    Changes: the one file, in place; the replaced blocks are kept aside.
    Undo: restores bytes, size and time.
    Needs: digests of its blocks, CRCs or holes of zeros that tell where; disk for twice the damage.
    """
    repair.step(blocks.plan_damaged(facts, repair.need_subject()))
    yield


@recovery("model_validation", order=25, limit="model_repair")
def rewrite_differing_blocks(repair: Repair, facts: FactBook) -> Iterator[None]:
    """Read a file anew from its source and write only what differs.

    Changes: the one file, in place; the replaced blocks are kept aside.
    Undo: restores bytes, size and time.
    Needs: network for the whole file, disk for twice what differs.
    """
    repair.step(blocks.plan_differing(facts, repair.need_subject()))
    yield
