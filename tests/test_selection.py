"""Some checks with all they need, and some recoveries: what --checks and --using leave out."""

from __future__ import annotations

import pytest
from option_support import FOLDERS, HOLDS, folders_in, heals
from room_support import Room

from modelmedic.healing.registry import Registry, recovery
from modelmedic.needs import Need
from modelmedic.selection import BadSelection, Entry, chosen, names, parse

CHECKS = [
    Need("folder", "install.folder", None, (), "install"),
    Need("there-a", "weights.present", "model/a.pth", ("install.folder",), "weights"),
    Need("there-b", "weights.present", "model/sub/b.pth", ("install.folder",), "weights"),
    Need("hash-a", "weights.sha256", "model/a.pth", ("weights.present",), "weights"),
    Need("hash-b", "weights.sha256", "model/sub/b.pth", ("weights.present",), "weights"),
    Need("disk", "disk.space", None, (), "disk"),
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("disk", {"disk"}),
        ("disk.space", {"disk"}),
        ("weights.sha256[model/a.pth]", {"hash-a", "there-a", "folder"}),
        ("weights.sha256[b.pth]", {"hash-b", "there-b", "folder"}),
        ("weights.present[sub/b.pth],disk", {"there-b", "folder", "disk"}),
        ("weights.*[a.pth]", {"hash-a", "there-a", "folder"}),
        ("weights.present[*b.pth]", {"there-b", "folder"}),
        ("weights", {"hash-a", "hash-b", "there-a", "there-b", "folder"}),
        (" install , disk.* ", {"folder", "disk"}),
    ],
)
def test_a_selection_takes_what_it_names_and_all_that_is_needed(text, expected):
    assert chosen(parse(text), CHECKS) == expected


@pytest.mark.parametrize(
    "text",
    ["weight", "weights.sha", "weights.present[th]", "weights.present[.pth]", "disk[x]", "disk,gpu",
     "weights.present[model]", "space", "weights.present[A.pth]"],
)  # fmt: skip
def test_a_selection_that_means_nothing_is_refused_by_its_part(text):
    with pytest.raises(BadSelection, match="is no check of this run"):
        chosen(parse(text), CHECKS)


@pytest.mark.parametrize("text", ["[a]", "weights[", "weights]", "a b", "weights[a]b"])
def test_a_selection_that_cannot_be_read_is_refused(text):
    with pytest.raises(BadSelection, match="is no name of checks"):
        parse(text)


def test_a_comma_inside_the_brackets_is_part_of_a_name():
    assert parse("a[x,y],b") == (Entry("a", "x,y"), Entry("b"))
    assert [str(entry) for entry in parse("a[x,y],b")] == ["a[x,y]", "b"]
    assert parse("") == ()
    assert names("b,a,,a ") == ("a", "b")


def made(name):
    def mend():
        """Mend it."""

    mend.__name__ = name
    return recovery("system")(mend).recovery


def test_a_registry_that_is_kept_to_some_recoveries_offers_no_others():
    registry = Registry([made("one"), made("two")])
    registry.keep_to(["two"])
    assert [entry.name for entry in registry.chain(["system"])] == ["two"]
    assert registry.chain([], using=["one"]) == []
    assert registry.refusals(["missing_method"]) == []
    with pytest.raises(ValueError, match="no recovery three"):
        registry.keep_to(["three"])
    registry.keep_to([])
    assert [entry.name for entry in registry.chain(["system"])] == ["one", "two"]


# --- runs

ROOM = FOLDERS + heals("first") + heals("second") + HOLDS


@pytest.fixture
def room(tmp_path):
    return Room(tmp_path, host=None)


@pytest.mark.once
@pytest.mark.parametrize("workers", [[], ["-n2"]], ids=["alone", "workers"])
def test_only_the_chosen_checks_run_and_are_repaired(room, workers):
    run = room.run(ROOM, "--heal", "--checks=room.first", *workers)
    assert run.outcomes() == {"room.first": "healed"}, run.out
    assert run.code == 0
    assert folders_in(room) == {"first"}
    assert run.record["environment"]["is_partial"] is True


@pytest.mark.once
def test_no_other_recovery_is_tried_and_the_printed_command_says_so(room):
    run = room.run(ROOM, "--heal", "--checks=room.first", "--using=restore_config")
    assert run.outcomes() == {"room.first": "failed"}, run.out
    assert run.record["findings"][0]["attempts"] == []
    assert folders_in(room) == set()
    told = room.run(ROOM, "--checks=room.first", "--using=restore_config")
    assert "--checks=room.first --heal=plan" in told.out


@pytest.mark.once
@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--checks=room.third", "--checks: room.third is no check of this run"),
        ("--checks=room.first[", "is no name of checks"),
        ("--using=nobody", "--using: there is no recovery nobody"),
    ],
)
def test_an_unknown_name_is_wrong_use(room, option, words):
    run = room.run(ROOM, "--heal", option)
    assert run.code == 4
    assert words in run.out
    assert folders_in(room) == set()
