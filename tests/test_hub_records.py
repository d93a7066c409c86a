"""What the Hub's client keeps beside a model: refs, listings, parts of downloads."""

from __future__ import annotations

import json
import os
import time

import pytest
from hub_cache_support import (
    INSTALL,
    NEEDS_LINKS,
    REPO,
    SHARD,
    cache,
    downloaded,
    judge_records,
    look,
    snapshot_of,
    with_listing,
)
from support import make_facts

from modelmedic.errors import RecoveryRefused, Unhealthy
from modelmedic.facts import partials
from modelmedic.facts.book import FactBook
from modelmedic.operations.base import Workshop
from modelmedic.operations.tree import Tree
from modelmedic.strategies import hub_links

__all__ = ["cache", "downloaded"]  # fixtures
pytestmark = NEEDS_LINKS


# --- the client's records


def test_healthy_records_are_healthy(cache):
    assert judge_records(look(cache), "refs") == []
    assert judge_records(look(cache), "tree") == []


@pytest.mark.parametrize(("text", "flaw"), [("", "empty"), ("<html>", "no-commit")])
def test_an_empty_or_broken_ref_fails(cache, text, flaw):
    (cache / REPO / "refs" / "main").write_text(text)
    with pytest.raises(Unhealthy) as failed:
        judge_records(look(cache), "refs")
    assert failed.value.evidence["flaw"] == flaw
    assert failed.value.subject == f"{REPO}/refs/main"
    assert snapshot_of(cache).name in failed.value.next_step


def test_a_ref_to_a_commit_that_is_not_there_is_a_stated_loss(cache):
    (cache / REPO / "refs" / "main").write_text("f" * 40)
    (loss,) = judge_records(look(cache), "refs")
    assert "has no snapshot" in loss


@with_listing
def test_a_listing_that_omits_a_file_fails(cache):
    (tree,) = (cache / REPO / "trees").glob("*.json")
    listed = json.loads(tree.read_text())
    del listed["files"][SHARD]
    tree.write_text(json.dumps(listed))
    with pytest.raises(Unhealthy) as failed:
        judge_records(look(cache), "tree")
    assert SHARD in failed.value.what
    tree.write_text("{")
    (loss,) = judge_records(look(cache), "tree")
    assert "not readable" in loss


# --- parts that nobody goes on with


@pytest.fixture
def old_part(cache):
    part = cache / REPO / "blobs" / f"{'e' * 64}.12345678.incomplete"
    part.write_bytes(b"x" * 5000)
    os.utime(part, (1, 1))
    return part


def test_orphans_are_found_and_set_aside_and_come_back(cache, old_part):
    context = look(cache)
    facts = FactBook(context)
    assert [each.size_bytes for each in facts.get(partials.read_orphans)] == [5000]
    with pytest.raises(Unhealthy, match="1 orphaned part"):
        INSTALL.test_no_download_was_left_unfinished(facts, context, None)
    shop = Workshop(Tree(cache), "run-1")
    (change,) = hub_links.plan_set_partials_aside(context)
    note = change.prepare(shop, "seat")
    change.apply(shop, note)
    assert not old_part.exists()
    change.undo(shop, note)
    assert old_part.read_bytes() == b"x" * 5000


def test_no_part_is_touched_while_a_download_runs_or_just_ran(cache, old_part):
    import fcntl

    locks = cache / ".locks" / REPO
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / "any.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(RecoveryRefused, match="none is orphaned") as refused:
            list(hub_links.plan_set_partials_aside(look(cache)))
        assert f"process {os.getpid()}" in refused.value.why
    os.utime(old_part, (time.time() - 60,) * 2)
    with pytest.raises(RecoveryRefused, match="none is orphaned"):
        list(hub_links.plan_set_partials_aside(look(cache)))


@pytest.mark.parametrize("name", ["a.aria2", "._____temp/a.incomplete", "a.part"])
def test_parts_of_other_programs_are_theirs(tmp_path, name):
    part = tmp_path / "install" / "model" / name
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x")
    os.utime(part, (1, 1))
    assert make_facts(tmp_path / "install").get(partials.read_orphans) == ()
