"""Real runs store themselves, once each, and never end otherwise because of the history."""

from __future__ import annotations

import json
import subprocess

import pytest
from demo_support import Desk
from test_healing_runs import HEALS, desk, start  # noqa: F401 - fixture

from modelmedic.history import queries
from modelmedic.history.store import History

pytestmark = pytest.mark.once  # what is stored does not hang on the Python

FAILS = """
@pytest.mark.check("try.fail", area="install")
def test_fail():
    '''Fails.'''
    raise Unhealthy("It has none.", "Dust.", "Do.")

@pytest.mark.check("try.pass", area="install")
def test_pass():
    '''Passes.'''
"""


def run(desk, checks, *options):  # noqa: F811
    process, reports = start(
        desk, checks, *options,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    out, _err = process.communicate(timeout=100)
    return process.returncode, out, json.loads((reports / "report.json").read_text())


def stored(desk):  # noqa: F811
    with History.open(desk.folder.parent / "state", is_read_only=True) as history:
        assert history.trouble == ""
        return queries.runs(history), queries.failing(history), queries.heals(history)


@pytest.mark.parametrize("options", [(), ("-n2",)], ids=["alone", "workers"])
def test_a_run_is_stored_once_as_its_record_tells_it(desk, options):  # noqa: F811
    code, _out, record = run(desk, FAILS, *options)
    runs, failing, _heals = stored(desk)
    assert code == 1
    assert [(each.run_id, each.exit_code, each.is_own) for each in runs] == [
        (record["run_id"], 1, True)
    ]
    assert runs[0].counts == record["counts"]
    assert [(each.check, each.what) for each in failing] == [("try.fail", "It has none.")]
    assert runs[0].machine == record["environment"]["machine_id"]
    assert runs[0].environment
    with History.open(desk.folder.parent / "state") as history:
        done = history.import_paths([desk.folder.parent / "report"])
        assert (done.stored, done.known, done.refused) == (0, 1, ())


def test_a_heal_is_stored_with_its_repair_and_not_its_closing_pass(desk):  # noqa: F811
    code, _out, _record = run(desk, HEALS, "--heal")
    runs, _failing, heals = stored(desk)
    assert code == 0
    assert len(runs) == 1
    assert [(each.verdict, each.origin) for each in heals] == [("healed", "log")]


@pytest.mark.parametrize("option", ["--no-history", "-omodelmedic_no_history=true"])
def test_a_run_can_be_left_out(desk, option):  # noqa: F811
    code, _out, _record = run(desk, FAILS, option)
    assert code == 1
    assert not (desk.folder.parent / "state" / "history.db").exists()


def test_listing_the_checks_stores_nothing(desk):  # noqa: F811
    process, _reports = start(desk, FAILS, "--co", stdout=subprocess.PIPE)
    process.communicate(timeout=100)
    assert not (desk.folder.parent / "state" / "history.db").exists()


def test_a_history_that_cannot_be_used_is_a_note_and_changes_no_exit_code(desk):  # noqa: F811
    state = desk.folder.parent / "state"
    state.mkdir()
    (state / "history.db").mkdir()
    (state / "history.db").chmod(0o700)
    (state / "history.db" / "x").write_text("x")
    passing = FAILS.replace('    raise Unhealthy("It has none.", "Dust.", "Do.")\n', "")
    code, out, _record = run(desk, passing)
    assert code == 0
    assert "cannot be used" in out.replace("\n", " ")
    assert "Traceback" not in out
    assert len(stored(desk)[0]) == 1
    assert (next(state.glob("history.db.aside-*")) / "x").read_text() == "x"


def test_the_record_of_a_real_install_names_what_it_ran_on(tmp_path):
    (tmp_path / "desk").mkdir()
    done = Desk(tmp_path / "desk").run("--checks=install", "--stage=installed", "--offline")
    kept = done.record["environment"]["inventory"]
    assert kept["system"].startswith("Linux") or kept["system"]
    assert kept["memory_bytes"] > 1 << 28
    assert set(kept) == {
        *("hash", "system", "python", "driver", "gpus", "memory_bytes", "packages", "files"),
    }
