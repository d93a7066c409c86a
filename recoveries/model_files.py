"""Repairs of model files."""

from __future__ import annotations

from collections.abc import Iterator

from modelmedic.context import Context
from modelmedic.facts.book import FactBook
from modelmedic.healing.registry import recovery
from modelmedic.healing.repair import Repair
from modelmedic.strategies import model_files, weights


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


@recovery("model_validation", order=15, limit="model_download")
def copy_identical_file(repair: Repair, context: Context, facts: FactBook) -> Iterator[None]:
    """Copy a file with the right bytes from elsewhere on this machine, without the network.

    Changes: the one file; the old one is set aside. What is copied is only read.
    Undo: takes the copy away and puts the old file back.
    Needs: its size and SHA-256 in the profile; a twin in a cache of the Hub or of ModelScope,
    another install or a folder of `also_in`; disk for a copy where blocks cannot be shared.
    """
    subject = repair.need_subject()
    weights.refuse_published(repair.error, subject)
    for operation in model_files.plan_copy(facts, context, subject):
        repair.step(operation)
    yield


@recovery("model_validation", order=20, limit="model_download")
def bring_up_model(repair: Repair, context: Context, facts: FactBook) -> Iterator[None]:
    """Bring all missing files of a model in one go: moved, copied, or fetched and proven.

    Changes: creates the missing files and their folders.
    Undo: takes them away; what was fetched is kept for the next try.
    Needs: two or more missing files with hashes in the profile; disk for all of them.
    """
    for operation in model_files.plan_bring_up(facts, context, repair.need_subject()):
        repair.step(operation)
    yield


@recovery("model_validation", order=25, limit="model_download")
def replace_pointer_or_page(repair: Repair, context: Context, facts: FactBook) -> Iterator[None]:
    """Fetch the file in whose place a Git LFS pointer, a web page or only zeros lie.

    Changes: the one file; what lay there is set aside.
    Undo: puts back what lay there.
    Needs: network; a hash in the profile, or that of the pointer; disk for one copy of the file.
    """
    for operation in model_files.plan_replace(facts, context, repair.need_subject()):
        repair.step(operation)
    yield


@recovery("model_validation", order=30, limit="model_download")
def refetch_model_file(repair: Repair, context: Context) -> Iterator[None]:
    """Fetch one missing or damaged model file again and prove it by its hash.

    Changes: the one file; the old one is set aside, never deleted before the new one is proven.
    Undo: puts the old file back.
    Needs: network, a hash in the profile, disk for one copy of the file.
    """
    subject = repair.need_subject()
    weights.refuse_published(repair.error, subject)
    for operation in weights.plan_refetch(context, subject):
        repair.step(operation)
    yield


@recovery("model_validation", order=40, limit="model_download")
def fetch_from_alternative_source(repair: Repair, context: Context) -> Iterator[None]:
    """Fetch one model file from another source of the profile than the preferred one.

    Changes: the one file; the old one is set aside, never deleted before the new one is proven.
    Undo: puts the old file back.
    Needs: network, a hash and two sources in the profile, disk for one copy of the file.
    """
    subject = repair.need_subject()
    weights.refuse_published(repair.error, subject)
    for operation in weights.plan_alternative(context, subject):
        repair.step(operation)
    yield
