"""The records of the Hub's client in its cache: a wrong one makes it report success over losses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath

import pytest

from modelmedic.context import Context
from modelmedic.errors import Unhealthy
from modelmedic.facts import cache_words, hub_cache
from modelmedic.facts.book import FactBook
from modelmedic.profile.model import ModelRepo

Degraded = Callable[..., None]


@pytest.mark.check(
    "weights.refs", area="weights", needs=["install.folder"], severity="major", stage="installed"
)
@pytest.mark.recover("model_validation", using=["restore_hub_ref"])
def test_refs_of_the_cache_lead_to_a_snapshot(
    facts: FactBook, context: Context, model: ModelRepo, degraded: Degraded
) -> None:
    """Each branch in the Hub's cache names the commit of a snapshot that is there."""
    folder = PurePosixPath(context.model_folders[context.profile.models.index(model)])
    if context.store != "hub" or folder.parent.name != "snapshots":
        pytest.skip("The model lies in no cache of the Hub's client.")
    refs = facts.get(hub_cache.read_refs, folder.parts[0])
    for ref in refs:
        if ref.flaw == "no-snapshot":
            degraded(*cache_words.ref_without_snapshot(ref))
    broken = [ref for ref in refs if ref.flaw in {"empty", "no-commit"}]
    if broken:
        raise cache_words.broken_ref(broken, folder.name)


@pytest.mark.check(
    "weights.tree", area="weights", needs=["install.folder"], severity="major", stage="installed"
)
@pytest.mark.recover("model_validation", using=["set_aside_hub_listing"])
def test_listing_of_the_hub_client_is_complete(
    facts: FactBook, context: Context, model: ModelRepo, degraded: Degraded
) -> None:
    """The Hub client's own listing of the commit names every file of the model, if there is one."""
    tree = facts.get(hub_cache.read_tree, model.name)
    if tree is None:
        if context.store == "hub":
            return  # none is as good as a whole one: the client asks the Hub
        pytest.skip("The model lies in no cache of the Hub's client.")
    if not tree.is_readable:
        degraded(*cache_words.unreadable_tree(tree))
    elif tree.missing:
        verdict: Unhealthy = cache_words.incomplete_tree(tree)
        if tree.is_same_commit:
            raise verdict
        degraded(verdict.what, cache_words.OTHER_COMMIT, verdict.next_step)
