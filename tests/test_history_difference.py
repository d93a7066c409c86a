"""What changed between green and red is named: packages, driver, files, checks."""

from __future__ import annotations

import pytest
from history_support import OTHER, inventory, record

from modelmedic.errors import CannotTell
from modelmedic.history import difference, queries
from modelmedic.history.store import History


@pytest.fixture
def history(tmp_path):
    with History.open(tmp_path) as history:
        yield history


def changes(history, first, second):
    for each in (first, second):
        history.store(each)
    found = difference.between(
        history,
        *(queries.find_run(history, each["run_id"]) for each in (first, second)),
    )
    return {(c.kind, c.name): (c.before, c.after) for c in found.changes}, found


def test_every_kind_of_change_is_named_and_nothing_else(history):
    green = record({"x.one": "passed", "x.gone": "passed", "x.same": "failed"}, kept=inventory())
    red = record(
        {"x.one": "failed", "x.new": "unknown", "x.same": "failed"},
        number=1,
        kept=inventory(
            packages={"torch": "2.9.0", "xformers": "0.0.33"}, driver="560.35", gpus=["A", "B"],
            memory_bytes=32 << 30, files={"weights/vae.pth": 999, "weights/new.pth": 5},
        ),
        modelmedic="0.2.0",
    )  # fmt: skip
    told, found = changes(history, green, red)
    assert told == {
        ("run", "modelmedic"): ("0.1.0", "0.2.0"),
        ("machine", "driver"): ("550.54", "560.35"),
        ("machine", "GPUs"): ("NVIDIA GeForce RTX 4090", "A, B"),
        ("machine", "memory"): (64 << 30, 32 << 30),
        ("package", "numpy"): ("2.1.0", None),
        ("package", "torch"): ("2.8.0", "2.9.0"),
        ("package", "xformers"): (None, "0.0.33"),
        ("file", "weights/new.pth"): (None, 5),
        ("file", "weights/vae.pth"): (1000, 999),
        ("check", "x.gone"): ("passed", None),
        ("check", "x.new"): (None, "unknown"),
        ("check", "x.one"): ("passed", "failed"),
    }
    assert found.of("check")[2].what == "x.one does not hold."
    assert found.unknown == ()


def test_a_run_without_an_inventory_is_said_and_its_checks_are_compared(history):
    green, red = record(kept=inventory()), record({"x.one": "failed"}, number=1)
    told, found = changes(history, green, red)
    assert told == {("check", "x.one"): ("passed", "failed")}
    assert "has no inventory" in found.unknown[0]


def stored(history, outcomes, **values):
    for number, outcome in enumerate(outcomes):
        history.store(record({"x.one": outcome}, number=number, **values))


def test_without_names_it_is_the_last_good_and_the_first_bad_run(history):
    stored(history, ["failed", "passed", "passed", "failed", "failed", "passed"])
    pair = difference.green_and_red(history)
    assert [run.run_id[-1] for run in pair] == ["2", "3"]


def test_this_machine_comes_before_others_and_a_partial_run_is_no_green(history):
    stored(history, ["passed", "failed"])
    own = record({"x.one": "passed"}, at=1_700_000_000, number=7)
    history.store(own, is_own=True)
    part = record({"x.one": "passed"}, at=1_700_003_600, number=8)
    part["environment"]["is_partial"] = True
    history.store(part, is_own=True)
    history.store(record({"x.one": "failed"}, at=1_700_007_200, number=9), is_own=True)
    first, second = difference.green_and_red(history)
    assert (first.run_id[-1], second.run_id[-1], first.is_own) == ("7", "9", True)


def test_where_there_is_no_such_pair_it_says_what_to_do(history):
    stored(history, ["failed", "passed"])
    with pytest.raises(CannotTell, match="history diff RUN RUN"):
        difference.green_and_red(history)


def test_a_run_is_named_by_its_id_its_beginning_or_with_its_machine(history):
    history.store(record(number=1))
    history.store(record(number=1, machine="machine:00000000cc"))
    run_id = record(number=1)["run_id"]
    with pytest.raises(CannotTell, match="names more than one run") as error:
        queries.find_run(history, run_id)
    assert f"{OTHER}/{run_id}" in str(error.value)
    assert queries.find_run(history, f"{OTHER}/{run_id[:8]}").machine == OTHER
    assert queries.find_run(history, f"00000000c/{run_id}").machine == "machine:00000000cc"
    for name in ("", "x", "%", f"none/{run_id}"):
        with pytest.raises(CannotTell):
            queries.find_run(history, name)
