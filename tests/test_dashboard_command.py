"""``modelmedic dashboard``: what it takes in, says and ends with."""

from __future__ import annotations

import json
import re
from pathlib import Path

import bundle_support
import pytest
from test_dashboard import names_in

from modelmedic import cli
from modelmedic.history.store import History

pytestmark = pytest.mark.once


@pytest.fixture
def state(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("MODELMEDIC_STATE_DIR", str(folder))
    return folder


def a_report(number: int, outcome: str) -> dict:
    from test_report_html import a_finding, a_record

    record = a_record(
        [a_finding("x.one", outcome, what="It broke.")], exit_code=int(outcome == "failed")
    )
    record["run_id"] = f"20260101-120000-{number:06x}"
    record["environment"]["machine_id"] = f"machine:{number:010x}"
    return record


def test_the_command_takes_reports_in_and_writes_the_pages(state, tmp_path, capsys):
    for number, outcome in enumerate(["failed", "passed", "passed"], 1):
        folder = tmp_path / "reports" / str(number)
        folder.mkdir(parents=True)
        (folder / "report.json").write_text(json.dumps(a_report(number, outcome)))
    (tmp_path / "reports" / "9").mkdir()
    (tmp_path / "reports" / "9" / "report.json").write_text("{")
    output = tmp_path / "site"
    arguments = ["dashboard", "--output", str(output), "--import", str(tmp_path / "reports")]
    assert cli.main(arguments) == 0, "sick machines are no failure of this command"
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert lines[0] == "3 new runs, 0 known already."
    assert re.fullmatch(
        r"1 of 3 machines not well; 3 stopped reporting\. 4 pages, [\d.]+ KiB\.", lines[1]
    )
    assert lines[2:] == [str(output / "index.html")]
    assert "not taken" in told.err
    assert "It broke." in (output / "machine-0000000001.html").read_text(encoding="utf-8")
    assert cli.main(arguments) == 0
    assert "0 new runs, 3 known already." in capsys.readouterr().out


def test_without_a_name_the_pages_lie_in_the_state_folder(state, capsys):
    with History.open(state) as history:
        history.store(a_report(1, "passed"))
    assert cli.main(["dashboard", "--days", "7"]) == 0
    assert capsys.readouterr().out.endswith(f"\n{state / 'dashboard' / 'index.html'}\n")


def test_an_empty_history_says_what_to_do_and_makes_nothing(state, capsys):
    assert cli.main(["dashboard"]) == 0
    assert "Next: modelmedic check" in capsys.readouterr().out
    assert list(state.iterdir()) == []


def test_a_support_bundle_is_taken_in_as_the_history_does(state, tmp_path, capsys):
    bundle_support.make_run(tmp_path / "sick")
    (tmp_path / "gpu7.zip").write_bytes(bundle_support.make(tmp_path / "sick").data)
    assert cli.main(["dashboard", "--import", str(tmp_path / "gpu7.zip")]) == 0
    assert "1 new run, 0 known already." in capsys.readouterr().out
    assert len(names_in(state / "dashboard")) == 3  # the mark, the index and the machine


def test_what_was_refused_and_left_nothing_to_show_fails(state, tmp_path, capsys):
    assert cli.main(["dashboard", "--import", str(tmp_path / "not there")]) == 1
    told = capsys.readouterr()
    assert "not taken" in told.err
    assert "nothing to show" in told.out
    assert not (state / "dashboard").exists()


def test_a_damaged_history_is_said_and_fails(state, capsys):
    (state / "history.db").write_bytes(b"SQLite format 3\0" + bytes(5000))
    (state / "history.db").chmod(0o600)
    assert cli.main(["dashboard"]) == 1
    assert "history.db" in capsys.readouterr().err


@pytest.mark.parametrize("days", ["0", "367", "-1", "x", "1.5", "\u0663", "9" * 5000])
def test_days_that_are_none_are_wrong_use(state, capsys, days):
    with pytest.raises(SystemExit) as ended:
        cli.main(["dashboard", f"--days={days}"])
    assert ended.value.code == 4
    assert "a number from 1 to 366" in capsys.readouterr().err


def test_a_foreign_folder_is_refused_with_the_way_out(state, tmp_path, capsys):
    with History.open(state) as history:
        history.store(a_report(1, "passed"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    assert cli.main(["dashboard", "--output", str(tmp_path / "mine")]) == 1
    assert "thesis.txt in it is none of a dashboard's files" in capsys.readouterr().err
    assert names_in(tmp_path / "mine") == ["thesis.txt"]
