"""A change of this run's environment: what is written down, put back, and how it is made to last."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from support import make_context

from modelmedic.errors import RecoveryRefused
from modelmedic.facts import lasting, setting_source
from modelmedic.healing.engine import Engine, Plan
from modelmedic.operations import kinds
from modelmedic.operations.base import Workshop
from modelmedic.operations.run_environment import OF_THIS_RUN, SetRunEnvironment
from modelmedic.operations.tree import Tree

SECRET = "http://ann:s3cret@proxy.test:3128"
MASKED = "http://***@proxy.test:3128"


@pytest.fixture
def shop(tmp_path, monkeypatch):
    for name in ("MM_ONE", "MM_TWO"):
        monkeypatch.delenv(name, raising=False)
    yield Workshop(Tree(tmp_path), "run")
    OF_THIS_RUN.put_all_back()


def applied(shop, operation, seat="seat-0"):
    note = operation.prepare(shop, seat)
    operation.apply(shop, note)
    return note


def test_a_change_reaches_children_and_is_put_back(shop, monkeypatch):
    monkeypatch.setenv("MM_TWO", "old")
    operation = SetRunEnvironment.of({"MM_ONE": "new", "MM_TWO": None})
    note = applied(shop, operation)
    code = "import os; print(os.environ.get('MM_ONE'), os.environ.get('MM_TWO'))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["new", "None"]
    assert operation.inspect(shop, note) == "after"
    assert OF_THIS_RUN.names() == ["MM_ONE", "MM_TWO"]
    assert operation.undo(shop, note) is None
    assert (os.environ.get("MM_ONE"), os.environ["MM_TWO"]) == (None, "old")
    assert operation.inspect(shop, note) == "before"


def test_what_a_later_change_replaced_is_left_to_it(shop):
    first = SetRunEnvironment.of({"MM_ONE": "1"})
    second = SetRunEnvironment.of({"MM_ONE": "2"})
    note = applied(shop, first)
    applied(shop, second, "seat-1")
    first.undo(shop, note)
    assert os.environ["MM_ONE"] == "2"


def test_another_process_has_nothing_to_put_back(shop):
    operation = SetRunEnvironment.of({"MM_ONE": "1"})
    os.environ["MM_ONE"] = "of the person"
    try:
        said = operation.undo(shop, {"seat": "of a run that ended"})
        assert said == "There is nothing to put back: MM_ONE held for that run only."
        assert os.environ["MM_ONE"] == "of the person"
    finally:
        del os.environ["MM_ONE"]


def test_a_secret_is_read_from_its_source_and_written_nowhere(shop, monkeypatch):
    monkeypatch.setenv("MM_ONE", SECRET)
    operation = SetRunEnvironment((("MM_TWO", "variable:MM_ONE", MASKED),))
    note = applied(shop, operation)
    assert os.environ["MM_TWO"] == SECRET
    written = json.dumps([operation.to_json(), note, operation.describe(), operation.lasting()])
    assert "s3cret" not in written
    assert MASKED in written
    assert kinds.from_json(json.loads(json.dumps(operation.to_json()))) == operation


def test_what_was_typed_stays_in_this_process(shop):
    source = setting_source.keep_typed(SECRET)
    note = applied(shop, SetRunEnvironment((("MM_ONE", source, MASKED),)))
    assert os.environ["MM_ONE"] == SECRET
    assert note == {"seat": "seat-0"}
    with pytest.raises(RecoveryRefused, match="typed in another process"):
        setting_source.value_of("terminal:999", MASKED)


def test_another_process_of_the_run_takes_over_what_was_kept_and_no_more(shop, tmp_path):
    """As two workers do: each has an engine of its own, and they share the run's journal."""
    context = make_context(tmp_path)
    first, second = Engine(context), Engine(context)
    for name, is_kept in (("MM_ONE", True), ("MM_TWO", False)):
        change = SetRunEnvironment.of({name: "1"})
        made = first.apply(Plan("configure_proxy", "c", "n", operations=[change]))
        if is_kept:
            first.keep(made)
        else:
            first.undo(made)
    assert not first.adopt(), "it is this process's own"
    OF_THIS_RUN.put_all_back()  # the other process has none of it
    assert second.adopt()
    assert (os.environ.get("MM_ONE"), os.environ.get("MM_TWO")) == ("1", None)
    assert not second.adopt()


def test_what_cannot_be_read_from_its_source_is_told_and_the_rest_taken_over(shop, tmp_path):
    context, told = make_context(tmp_path), []
    source = setting_source.keep_typed(SECRET)
    first = Engine(context)
    first.keep(
        first.apply(
            Plan("p", "network.proxy", "n", operations=[
                SetRunEnvironment((("MM_ONE", source, MASKED),)),
                SetRunEnvironment.of({"MM_TWO": "1"}),
            ])
        )
    )  # fmt: skip
    OF_THIS_RUN.put_all_back()
    assert Engine(context, told=told.append).adopt()
    assert (os.environ.get("MM_ONE"), os.environ.get("MM_TWO")) == (None, "1")
    assert "network.proxy does not hold in this process" in told[0]


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PYTHONPATH", "A=B", "", "MODELMEDIC_STATE_DIR"])
def test_a_variable_that_steers_more_than_a_network_is_refused(shop, name):
    operation = SetRunEnvironment(((name, "value", "x"),))
    with pytest.raises(RecoveryRefused, match="no variable that a repair sets"):
        operation.prepare(shop, "seat-0")


def test_a_source_without_a_value_is_refused_before_anything_is_set(shop):
    operation = SetRunEnvironment(
        (("MM_ONE", "value", "1"), ("MM_TWO", "variable:MM_NOT_THERE", MASKED))
    )
    with pytest.raises(RecoveryRefused, match="MM_NOT_THERE has no value here"):
        operation.prepare(shop, "seat-0")
    assert "MM_ONE" not in os.environ


@pytest.mark.skipif(sys.platform == "win32", reason="lines of a POSIX shell")
def test_the_lasting_commands_do_what_the_run_did():
    """Each is run by a shell as it is printed."""
    settings = (
        ("MM_THREE", "unset", ""),
        ("MM_ONE", "value", "it's a 'value' $HOME"),
        ("MM_TWO", "variable:MM_THREE", MASKED),
    )
    lines = "\n".join(lasting.commands(settings, "linux"))
    show = 'printf "%s|%s|%s" "$MM_ONE" "$MM_TWO" "${MM_THREE-gone}"'
    done = subprocess.run(
        ["sh", "-c", f"{lines}\n{show}"],
        env={"MM_THREE": SECRET, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"it's a 'value' $HOME|{SECRET}|gone"
    assert "export MM_TWO=" in lasting.sentence(settings, "linux")


def test_the_lasting_commands_of_windows_name_each_variable_once():
    settings = (
        ("https_proxy", "value", "http://p:1"),
        ("HTTPS_PROXY", "value", "http://p:1"),
        ("ALL_PROXY", "unset", ""),
        ("NO_PROXY", "variable:OTHER", MASKED),
        ("PIP_PROXY", "pip:global.proxy:C:\\it's\\python.exe", MASKED),
    )
    asked = r"(& 'C:\it''s\python.exe' -m pip config get 'global.proxy')"
    assert lasting.commands(settings, "win32") == (
        "[Environment]::SetEnvironmentVariable('NO_PROXY', $env:OTHER, 'User')",
        "[Environment]::SetEnvironmentVariable('HTTPS_PROXY', 'http://p:1', 'User')",
        "[Environment]::SetEnvironmentVariable('ALL_PROXY', $null, 'User')",
        f"[Environment]::SetEnvironmentVariable('PIP_PROXY', {asked}, 'User')",
    )


@pytest.mark.parametrize("first", ["older", "newer"])
def test_changes_may_be_put_back_in_any_order(monkeypatch, first):
    """An older one that goes takes nothing away that a newer one has set as well."""
    monkeypatch.setenv("MM_ONE", "at first")
    monkeypatch.delenv("MM_TWO", raising=False)
    OF_THIS_RUN.change("older", {"MM_ONE": "a", "MM_TWO": "1"})
    OF_THIS_RUN.change("newer", {"MM_ONE": "b", "MM_TWO": "1"})
    OF_THIS_RUN.put_back(first)
    left = "b" if first == "older" else "a"
    assert (os.environ["MM_ONE"], os.environ["MM_TWO"]) == (left, "1")
    OF_THIS_RUN.put_all_back()
    assert os.environ["MM_ONE"] == "at first"
    assert "MM_TWO" not in os.environ
    assert OF_THIS_RUN.names() == []
